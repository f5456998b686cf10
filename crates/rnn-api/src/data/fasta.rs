//! FASTA: sequences of nucleotides or amino acids.

use super::error::{Place, Problem};
use super::text::{TextOptions, filled_lines, read_text_with};
use crate::Result;
use std::path::{Path, PathBuf};

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

    /// Reads the records of a file, whatever its extension.
    ///
    /// # Errors
    /// As [`Fasta::read_with`].
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        Self::read_with(path, &TextOptions::new())
    }

    /// As [`Fasta::read`], with another encoding or limit of unpacked text.
    ///
    /// # Errors
    /// As [`read_text_with`] and [`Fasta::parse`].
    pub fn read_with(path: impl AsRef<Path>, options: &TextOptions) -> Result<Vec<Self>> {
        let file = Some(path.as_ref().to_path_buf());
        let text = read_text_with(&path, options)?;
        let mut records = Self::parse(&text)
            .map_err(|error| error.located(|place| Place { file: file.clone(), ..place }))?;
        records.iter_mut().for_each(|record| record.file = file.clone());
        Ok(records)
    }

    /// Whether a text is FASTA: its first line that is neither empty nor a comment (`;`) is a header.
    pub fn is_fasta(text: &str) -> bool {
        filled_lines(text)
            .find(|(_, line)| !line.starts_with(';'))
            .is_some_and(|(_, line)| line.starts_with('>'))
    }

    /// Reads records. A sequence may span several lines. A `*` at the end of a protein is dropped.
    ///
    /// # Errors
    /// There are no records; a sequence stands before the first header; a record has no sequence; or a character is
    /// not a letter, `-` or `*`.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let mut records: Vec<Fasta> = Vec::new();
        for (line, text) in filled_lines(text).filter(|(_, text)| !text.starts_with(';')) {
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
    use crate::data::{Classes, LabelledStrings};

    #[test]
    fn fasta_records() {
        let text = ">sp|P1 kinase OS=Mus\nMKV\nLA*\n;note\n>sp|P2 other\nggc-a\n";
        let records = Fasta::parse(text).unwrap();
        assert_eq!((records[0].id(), records[0].sequence.as_str()), ("sp|P1", "MKVLA"));
        assert_eq!((records[1].line, records[1].sequence.as_str()), (5, "ggc-a"));
        let class = |r: &Fasta| r.header.split_whitespace().nth(1).map(str::to_string);
        let all = LabelledStrings::from_fasta(&records, class).unwrap();
        assert_eq!(all.labels().values(), ["kinase", "other"]);
        let error = LabelledStrings::from_fasta(&records, |r| (r.line == 1).then(String::new));
        assert!(error.unwrap_err().to_string().starts_with("line 5, sequence 1"));
        let file = TestFile::new("two.fasta", text.as_bytes());
        let labels =
            LabelledStrings::from_fasta(&Fasta::read(&file.0).unwrap(), class).unwrap().labels().clone();
        let error = Classes::from_names(vec!["kinase".into()]).unwrap().encode(&labels).unwrap_err();
        assert!(error.to_string().contains("two.fasta, line 5: the label \"other\""), "{error}");
        let error = |text: &str| Fasta::parse(text).unwrap_err().to_string();
        assert!(error("ACGT\n>a\nA").starts_with("line 1: expected a header"));
        assert!(error(">a\n>b\nA").starts_with("line 1: the sequence of the record is empty"));
        assert!(error(">a\nAC\nA1T").starts_with("line 3, column 2: expected letters"));
        assert!(error("").contains("empty"));
    }

    #[test]
    fn fasta_is_known_by_its_content() {
        for text in [">a\nAC", "\n;note\r>a\rAC\r", "  >a\r\nAC"] {
            assert!(Fasta::is_fasta(text), "{text:?}");
            assert_eq!(Fasta::parse(text).unwrap()[0].sequence, "AC", "{text:?}");
        }
        for text in ["", ";note\n", "label\tACGT", "ACGT\n>a\nAC"] {
            assert!(!Fasta::is_fasta(text), "{text:?}");
        }
    }
}
