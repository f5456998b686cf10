//! Sequences from files: .ts of the UCR and UEA archives, or tables with one row per step.

use super::waves;
use anyhow::{Result, ensure};
use clap::Args;
use rnn_api::data::{Missing, RecordingColumns, Recordings, Sequence, Table, TableOptions, TsFile};
use rnn_examples::flag::FlagError;
use rnn_examples::labelled::Dataset;
use rnn_examples::protocol::{HeldOut, Protocol};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is learnt from, and its columns.
#[derive(Args)]
pub(crate) struct Data {
    /// Learn from this file: a .ts file, or a table with a header and one row per step, which needs --recording. The default
    /// is generated waves of three shapes.
    #[arg(long = "train", visible_alias = "data", value_name = "FILE")]
    data: Option<PathBuf>,
    /// Table: the column that says which rows are one sequence.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    recording: Option<String>,
    /// Table: the column with the class of a sequence.
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    label: String,
    /// Table: the column with the subject, patient or machine of a sequence. None of them is in two parts.
    #[arg(long, value_name = "COLUMN", requires = "recording")]
    group: Option<String>,
    /// Table: the measured columns, with commas between them; by default all others.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "recording")]
    columns: Vec<String>,
}

/// The columns of a table that a prediction needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Columns {
    recording: String,
    features: Vec<String>,
}

/// Items of one or more files.
pub(crate) struct Source {
    pub(crate) sequences: Vec<Sequence>,
    pub(crate) dataset: Dataset,
    /// Of a table.
    pub(crate) columns: Option<Columns>,
}

/// All files in one list.
pub(crate) fn read(data: &Data, protocol: &Protocol) -> Result<Source> {
    let Some(path) = &data.data else {
        let (sequences, labels) = waves::waves(600, 0)?;
        return Ok(Source { sequences, dataset: Dataset::of(&labels), columns: None });
    };
    let mut all = read_labelled(path, "--train", data, None)?;
    for (part, path) in protocol.files() {
        let flag = if part == HeldOut::Test { "--test" } else { "--valid" };
        let file = read_labelled(path, flag, data, all.columns.as_ref())?;
        all.sequences.extend(file.sequences);
        all.dataset.add(part, file.dataset);
    }
    Ok(all)
}

/// `.ts`, also compressed.
fn is_ts(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    name.trim_end_matches(".gz").ends_with(".ts")
}

fn read_labelled(path: &Path, flag: &'static str, data: &Data, columns: Option<&Columns>) -> Result<Source> {
    if is_ts(path) {
        if let Some(column) = &data.recording {
            let expected = format!("a table for --recording {column}");
            return Err(FlagError::new(flag, expected, path.display()).into());
        }
        let file = TsFile::read(path, Missing::Error)?;
        ensure!(!file.labels.is_empty(), "{}: no labels (it has no `@classLabel true`)", path.display());
        let dataset = Dataset::of(&file.labels);
        return Ok(Source { sequences: file.sequences, dataset, columns: None });
    }
    let Some(recording) = &data.recording else {
        let got = format!("the table {}", path.display());
        return Err(
            FlagError::new("--recording", "the column that says which rows are one sequence", got).into()
        );
    };
    let table = Table::read(path, &TableOptions::new())?;
    let columns = match columns {
        Some(columns) => columns.clone(),
        None => Columns { recording: recording.clone(), features: features(&table, data, recording) },
    };
    let names = RecordingColumns::new(
        &columns.features,
        data.group.as_ref().unwrap_or(recording).as_str(),
        data.label.as_str(),
    );
    let names = if data.group.is_some() { names.with_recording(recording.as_str()) } else { names };
    let recordings = table.recordings(&names, Missing::Error)?;
    let labels = (0..recordings.len()).map(|item| label(&recordings, item)).collect::<Result<_>>()?;
    let groups = data.group.as_ref().map_or_else(Vec::new, |_| recordings.groups().to_vec());
    let dataset = Dataset { labels, groups, ..Dataset::default() };
    Ok(Source { sequences: recordings.sequences().to_vec(), dataset, columns: Some(columns) })
}

/// The measured columns: those of the command line, else all that mean nothing else.
fn features(table: &Table, data: &Data, recording: &str) -> Vec<String> {
    if !data.columns.is_empty() {
        return data.columns.clone();
    }
    let others = [Some(recording), Some(&data.label), data.group.as_deref()];
    let names = table.names().unwrap_or_default().iter();
    names.filter(|name| !others.contains(&Some(name))).cloned().collect()
}

/// The one label of all steps of a recording.
fn label(recordings: &Recordings, item: usize) -> Result<String> {
    let labels = recordings.labels_of_recording(item);
    let first = &labels.values()[0];
    match labels.values().iter().find(|&label| label != first) {
        None => Ok(first.clone()),
        Some(other) => {
            let got = format!("{first} and {other} in sequence {}", item + 1);
            Err(FlagError::new("--label", "one class per sequence", got).into())
        }
    }
}

/// The sequences of a file for predictions: its labels are not read.
pub(crate) fn read_unlabelled(path: &Path, columns: Option<&Columns>) -> Result<Vec<Sequence>> {
    match columns {
        None => Ok(TsFile::read(path, Missing::Error)?.sequences),
        Some(columns) => {
            let table = Table::read(path, &TableOptions::new())?;
            let names = RecordingColumns::unlabelled(&columns.features, columns.recording.as_str());
            Ok(table.recordings(&names, Missing::Error)?.sequences().to_vec())
        }
    }
}
