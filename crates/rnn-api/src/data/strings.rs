//! Labelled strings: names, DNA, protein.

use super::error::{Place, Problem};
use super::labels::Labels;
use super::text::{files_with_extension, read_text};
use super::vocabulary::Vocabulary;
use crate::Result;
use std::path::{Path, PathBuf};

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
    /// As [`read_text`] and [`LabelledStrings::parse`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        parse(&read_text(&path)?, Some(path.as_ref()))
    }

    /// Reads lines `label<TAB>text`.
    ///
    /// # Errors
    /// There are no lines, or a line has no tab or nothing before or after it.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text, None)
    }

    /// Reads the `.txt` files of a folder, sorted by name. Each line is a text; its label is the file name without
    /// the extension. Empty lines are skipped.
    ///
    /// # Errors
    /// The folder cannot be read or has no such files, or a file has no lines.
    pub fn read_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let mut all = LabelledStrings::default();
        for path in files_with_extension(folder, "txt")? {
            let label = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let before = all.texts.len();
            all.labels.start_file(Some(&path));
            for (line, text) in lines(&read_text(&path)?) {
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

/// Non-empty lines with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())).filter(|(_, line)| !line.is_empty())
}

fn parse(text: &str, path: Option<&Path>) -> Result<LabelledStrings> {
    let mut all = LabelledStrings::default();
    all.labels.start_file(path);
    for (line, text) in lines(text) {
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

/// A record of a FASTA file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fasta {
    /// The header line after `>`: an identifier, often followed by a description.
    pub header: String,
    /// The sequence lines, joined, in the original case.
    pub sequence: String,
    /// The file, if the record was read from one.
    pub file: Option<PathBuf>,
    /// The line of the header.
    pub line: usize,
}

impl Fasta {
    /// The first word of the header.
    pub fn id(&self) -> &str {
        self.header.split_whitespace().next().unwrap_or("")
    }

    /// Reads the records of a file.
    ///
    /// # Errors
    /// As [`read_text`] and [`Fasta::parse`].
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let file = Some(path.as_ref().to_path_buf());
        let text = read_text(&path)?;
        let mut records = Self::parse(&text)
            .map_err(|error| error.located(|place| Place { file: file.clone(), ..place }))?;
        records.iter_mut().for_each(|record| record.file = file.clone());
        Ok(records)
    }

    /// Reads records. A sequence may span several lines. A `*` at the end of a protein is dropped.
    ///
    /// # Errors
    /// There are no records; a sequence stands before the first header; a record has no sequence; or a character is
    /// not a letter, `-` or `*`.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let mut records: Vec<Fasta> = Vec::new();
        for (line, text) in lines(text).filter(|(_, text)| !text.starts_with(';')) {
            let place = Place::default().line(line);
            if let Some(header) = text.strip_prefix('>') {
                complete(records.last_mut())?;
                let (header, sequence) = (header.trim().to_string(), String::new());
                records.push(Fasta { header, sequence, file: None, line });
                continue;
            }
            let Some(record) = records.last_mut() else {
                return Err(Problem::format("a header that begins with >", text).at(place));
            };
            let bad = |c: char| !(c.is_ascii_alphabetic() || c == '-' || c == '*' || c == ' ');
            if let Some((column, c)) = text.chars().enumerate().find(|(_, c)| bad(*c)) {
                return Err(Problem::format("letters, - or *", c.to_string()).at(place.column(column + 1)));
            }
            record.sequence.extend(text.chars().filter(|c| *c != ' '));
        }
        complete(records.last_mut())?;
        if records.is_empty() {
            return Err(Problem::Empty { what: "the list of records" }.at(Place::default()));
        }
        Ok(records)
    }
}

fn complete(record: Option<&mut Fasta>) -> Result<()> {
    let Some(record) = record else { return Ok(()) };
    record.sequence.truncate(record.sequence.trim_end_matches('*').len());
    if record.sequence.is_empty() {
        let place = Place::default().line(record.line);
        return Err(Problem::Empty { what: "the sequence of the record" }.at(place));
    }
    Ok(())
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
        std::fs::write(&file.0, " \n").unwrap();
        let error = LabelledStrings::read_folder(file.0.parent().unwrap()).unwrap_err().to_string();
        assert!(error.ends_with("Greek.txt: the file is empty"), "{error}");
        std::fs::remove_file(&file.0).unwrap();
        assert!(LabelledStrings::read_folder(file.0.parent().unwrap()).is_err());
    }

    #[test]
    fn fasta_records() {
        let text = ">sp|P1 kinase OS=Mus\nMKV\nLA*\n;note\n>sp|P2 other\nggc-a\n";
        let records = Fasta::parse(text).unwrap();
        assert_eq!((records[0].id(), records[0].sequence.as_str()), ("sp|P1", "MKVLA"));
        assert_eq!((records[1].line, records[1].sequence.as_str()), (5, "ggc-a"));
        let class = |r: &Fasta| r.header.split_whitespace().nth(1).map(str::to_string);
        let all = LabelledStrings::from_fasta(&records, class).unwrap();
        assert_eq!(all.labels.values(), ["kinase", "other"]);
        let error = LabelledStrings::from_fasta(&records, |r| (r.line == 1).then(String::new));
        assert!(error.unwrap_err().to_string().starts_with("line 5, sequence 1"));
        let file = TestFile::new("two.fasta", text.as_bytes());
        let labels = LabelledStrings::from_fasta(&Fasta::read(&file.0).unwrap(), class).unwrap().labels;
        let error = Classes::from_names(vec!["kinase".into()]).unwrap().encode(&labels).unwrap_err();
        assert!(error.to_string().contains("two.fasta, line 5: the label \"other\""), "{error}");
        let error = |text: &str| Fasta::parse(text).unwrap_err().to_string();
        assert!(error("ACGT\n>a\nA").starts_with("line 1: expected a header"));
        assert!(error(">a\n>b\nA").starts_with("line 1: the sequence of the record is empty"));
        assert!(error(">a\nAC\nA1T").starts_with("line 3, column 2: expected letters"));
        assert!(error("").contains("empty"));
    }
}
