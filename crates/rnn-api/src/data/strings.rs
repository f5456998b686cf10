//! Labelled strings: names, DNA, protein.

use super::error::{Place, Problem};
use super::fasta::Fasta;
use super::labels::Labels;
use super::text::{TextOptions, files_with_extension, filled_lines, read_text_with};
use super::vocabulary::Vocabulary;
use crate::Result;
use std::path::Path;

/// Non-empty texts, each with a class label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelledStrings {
    texts: Vec<String>,
    labels: Labels,
}

impl LabelledStrings {
    /// Reads a file of lines `label<TAB>text`. Empty lines are skipped.
    ///
    /// # Errors
    /// As [`LabelledStrings::read_with`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Self::read_with(path, &TextOptions::new())
    }

    /// As [`LabelledStrings::read`], with another encoding or in a Unicode normal form.
    ///
    /// # Errors
    /// As [`read_text_with`] and [`LabelledStrings::parse`].
    pub fn read_with(path: impl AsRef<Path>, options: &TextOptions) -> Result<Self> {
        parse(&read_text_with(&path, options)?, Some(path.as_ref()))
    }

    /// Reads lines `label<TAB>text`.
    ///
    /// # Errors
    /// There are no lines, or a line has no tab or nothing before or after it.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text, None)
    }

    /// Reads the `.txt` files of a folder, sorted by name. Each line is a text; its label is the file name without
    /// the extension. Empty lines are skipped, and so are hidden files, whose names begin with a dot.
    ///
    /// # Errors
    /// As [`LabelledStrings::read_folder_with`].
    pub fn read_folder(folder: impl AsRef<Path>) -> Result<Self> {
        Self::read_folder_with(folder, &TextOptions::new())
    }

    /// As [`LabelledStrings::read_folder`], with another encoding or in a Unicode normal form.
    ///
    /// # Errors
    /// The folder cannot be read or has no such files, a file cannot be read as text, or it has no lines.
    pub fn read_folder_with(folder: impl AsRef<Path>, options: &TextOptions) -> Result<Self> {
        let mut all = LabelledStrings::default();
        for path in files_with_extension(folder, "txt")? {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
            // Some systems decompose the accents in names of files.
            let label = options.normalisation.map_or(stem.clone(), |form| form.apply(&stem)).into_owned();
            let before = all.texts.len();
            all.labels.start_file(Some(&path));
            for (line, text) in filled_lines(&read_text_with(&path, options)?) {
                all.texts.push(text.to_string());
                all.labels.push(label.clone(), line);
            }
            if all.texts.len() == before {
                return Err(Problem::Empty { what: "the file" }.at(Place::file(Some(&path))));
            }
        }
        Ok(all)
    }

    /// The sequences of FASTA records. `label` derives the label from a record.
    ///
    /// # Errors
    /// There are no records, or `label` returns none for a record.
    pub fn from_fasta(records: &[Fasta], label: impl Fn(&Fasta) -> Option<String>) -> Result<Self> {
        let mut all = LabelledStrings::default();
        for (index, record) in records.iter().enumerate() {
            let file = record.file.as_deref();
            let place = Place { sequence: Some(index), ..Place::file(file).line(record.line) };
            let label = label(record).ok_or_else(|| {
                Problem::format("a header that names a class", record.header.as_str()).at(place)
            })?;
            if index == 0 || records[index - 1].file != record.file {
                all.labels.start_file(file);
            }
            all.labels.push(label, record.line);
            all.texts.push(record.sequence.clone());
        }
        if records.is_empty() {
            return Err(Problem::Empty { what: "the list of records" }.at(Place::default()));
        }
        Ok(all)
    }

    /// The texts.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Their labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Encodes every text with a vocabulary.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`]; the error names file, line and the column in the text.
    pub fn encode(&self, vocabulary: &Vocabulary) -> Result<Vec<Vec<u32>>> {
        let encode = |(index, text): (usize, &String)| {
            let named =
                |place: Place| Place { column: place.column, ..self.labels.place(index).field("text") };
            vocabulary.encode(text).map_err(|error| error.located(named))
        };
        self.texts.iter().enumerate().map(encode).collect()
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// A subset of the texts with their labels, for one part of a split.
    ///
    /// # Errors
    /// An index is beyond the texts.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        let labels = self.labels.select(indices)?;
        Ok(LabelledStrings { texts: indices.iter().map(|&i| self.texts[i].clone()).collect(), labels })
    }
}

fn parse(text: &str, path: Option<&Path>) -> Result<LabelledStrings> {
    let mut all = LabelledStrings::default();
    all.labels.start_file(path);
    for (line, text) in filled_lines(text) {
        let place = Place::file(path).line(line);
        let Some((label, text)) = text.split_once('\t').map(|(label, text)| (label.trim(), text.trim()))
        else {
            return Err(Problem::format("a label, a tab and a text", text).at(place));
        };
        if label.is_empty() || text.is_empty() {
            let what = if label.is_empty() { "the label" } else { "the text" };
            return Err(Problem::Empty { what }.at(place));
        }
        all.texts.push(text.to_string());
        all.labels.push(label, line);
    }
    if all.texts.is_empty() {
        return Err(Problem::Empty { what: "the list of labelled texts" }.at(Place::file(path)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::text::tests::TestFile;
    use crate::data::{Classes, VocabularyConfig};

    #[test]
    fn labelled_lines() {
        let all = LabelledStrings::parse("EI\tACGT\r\n\nN\tTT A\n").unwrap();
        assert_eq!(all.texts(), ["ACGT", "TT A"]);
        assert_eq!(all.labels.values(), ["EI", "N"]);
        assert_eq!(all.select(&[1]).unwrap().texts(), ["TT A"]);
        let error = |text: &str| LabelledStrings::parse(text).unwrap_err().to_string();
        assert!(error("a\tb\nc d\n").starts_with("line 2: expected a label, a tab"));
        assert!(error("a\tb\nc\t \n").starts_with("line 2: expected a label"));
        assert!(error(" \n").contains("empty"));
    }

    #[test]
    fn files_of_a_folder_are_classes_and_unknown_ones_are_named() {
        let file = TestFile::new("Greek.txt", "Adamou\n\nAgelakos\n".as_bytes());
        let all = LabelledStrings::read_folder(file.0.parent().unwrap()).unwrap();
        assert_eq!((all.len(), all.labels.values()), (2, &["Greek".to_string(), "Greek".into()][..]));
        let error = Classes::from_names(vec!["Irish".into()]).unwrap().encode(&all.labels).unwrap_err();
        assert!(error.to_string().contains("Greek.txt, line 1: the label \"Greek\""), "{error}");
        let vocabulary = VocabularyConfig::characters().fit(["Adamou"]).unwrap();
        let error = all.encode(&vocabulary).unwrap_err().to_string();
        let want = "Greek.txt, line 3, column 2, field \"text\": the vocabulary has no \"g\"";
        assert!(error.contains(want), "{error}");
        // A hidden file, such as macOS leaves on other systems, is no class.
        std::fs::write(file.0.with_file_name("._Greek.txt"), b"\0\x05\x16\x07").unwrap();
        std::fs::write(&file.0, b"Adamo\xfa\r\rAgelakos\r").unwrap();
        let folder = file.0.parent().unwrap();
        let latin1 = TextOptions::new().with_encoding("latin1");
        assert_eq!(
            LabelledStrings::read_folder_with(folder, &latin1).unwrap().texts(),
            ["Adamoú", "Agelakos"]
        );
        std::fs::write(&file.0, " \n").unwrap();
        let error = LabelledStrings::read_folder(file.0.parent().unwrap()).unwrap_err().to_string();
        assert!(error.ends_with("Greek.txt: the file is empty"), "{error}");
        std::fs::remove_file(&file.0).unwrap();
        assert!(LabelledStrings::read_folder(file.0.parent().unwrap()).is_err());
    }
}
