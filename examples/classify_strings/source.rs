//! Strings from files: lines, FASTA, folders, or tables.

use super::dna;
use anyhow::Result;
use clap::Args;
use rnn_api::data::{Fasta, LabelledStrings, Table, TableOptions, read_text};
use rnn_examples::flag::FlagError;
use rnn_examples::labelled::Dataset;
use rnn_examples::protocol::Protocol;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is learnt from, and its columns.
#[derive(Args)]
pub(crate) struct Data {
    /// Learn from this: a file of lines `label<TAB>text`, a FASTA file whose headers have the label as their second word, a
    /// folder with one .txt file of texts per label, or a table with a header, which needs --text. The default is generated
    /// DNA.
    #[arg(long, visible_alias = "train", value_name = "PATH")]
    pub(crate) data: Option<PathBuf>,
    /// Table: the column with the strings.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    text: Option<String>,
    /// Table: the column with the classes.
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label: String,
    /// Table: the column with the author, family or source of a string. None of them is in two parts.
    #[arg(long, value_name = "COLUMN", requires = "text")]
    group: Option<String>,
}

/// How the strings of a file are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextColumn(Option<String>);

/// Items of one or more files.
pub(crate) struct Source {
    pub(crate) texts: Vec<String>,
    pub(crate) dataset: Dataset,
}

impl Data {
    pub(crate) fn column(&self) -> TextColumn {
        TextColumn(self.text.clone())
    }

    /// All files in one list.
    pub(crate) fn read(&self, protocol: &Protocol) -> Result<Source> {
        let Some(path) = &self.data else {
            return Ok(strings(&LabelledStrings::parse(&dna::lines(3000, 1))?));
        };
        let mut all = self.read_one(path)?;
        for (part, path) in protocol.files() {
            let file = self.read_one(path)?;
            all.texts.extend(file.texts);
            all.dataset.add(part, file.dataset);
        }
        Ok(all)
    }

    fn read_one(&self, path: &Path) -> Result<Source> {
        if let Some(text) = &self.text {
            let table = Table::read(path, &TableOptions::new())?;
            let groups = self.group.as_ref().map(|group| table.labels(group.as_str())).transpose()?;
            let groups = groups.map_or_else(Vec::new, |groups| groups.values().to_vec());
            let dataset = Dataset { groups, ..Dataset::of(&table.labels(self.label.as_str())?) };
            return Ok(Source { texts: texts_of(&table, text)?, dataset });
        }
        if path.is_dir() {
            return Ok(strings(&LabelledStrings::read_folder(path)?));
        }
        if Fasta::is_fasta(&read_text(path)?) {
            let label = |record: &Fasta| record.header.split_whitespace().nth(1).map(str::to_string);
            return Ok(strings(&LabelledStrings::from_fasta(&Fasta::read(path)?, label)?));
        }
        Ok(strings(&LabelledStrings::read(path)?))
    }
}

fn strings(strings: &LabelledStrings) -> Source {
    Source { texts: strings.texts().to_vec(), dataset: Dataset::of(strings.labels()) }
}

fn texts_of(table: &Table, column: &str) -> Result<Vec<String>> {
    let texts: Vec<String> = table.strings(column)?.into_iter().map(str::to_string).collect();
    match texts.iter().position(String::is_empty) {
        None => Ok(texts),
        Some(row) => {
            Err(FlagError::new("--text", "a string in every row", format!("none in row {}", row + 1)).into())
        }
    }
}

impl TextColumn {
    /// The strings of a file for predictions, whose labels are not read: of a table, of FASTA records, or of lines, where a
    /// tab ends a label.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<String>> {
        if let Some(column) = &self.0 {
            return texts_of(&Table::read(path, &TableOptions::new())?, column);
        }
        let text = read_text(path)?;
        if Fasta::is_fasta(&text) {
            return Ok(Fasta::read(path)?.into_iter().map(|record| record.sequence).collect());
        }
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let texts: Vec<String> =
            lines.map(|line| line.split_once('\t').map_or(line, |(_, text)| text).to_string()).collect();
        match texts.is_empty() {
            true => Err(FlagError::new("--predict", "at least one string", "none").into()),
            false => Ok(texts),
        }
    }
}
