//! [`Recordings`]: sequences with a label per step, from a long table.

use super::error::{Place, Problem};
use super::labels::Labels;
use super::sequence::{Missing, Sequence, check_features};
use super::split::{Parts, Shares, grouped};
use super::table::{Column, Table};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Which columns of a long table make [`Recordings`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordingColumns {
    /// The measured values.
    pub features: Vec<Column>,
    /// The group of a row: subject, patient, machine. No group is on both sides of a split.
    pub group: Column,
    /// The label of a row.
    pub label: Column,
    /// The recording of a row within its group. Without it, the default, a group is one recording.
    pub recording: Option<Column>,
}

impl RecordingColumns {
    /// Features, the group and the label, by name or number.
    pub fn new<C: Into<Column>>(
        features: impl IntoIterator<Item = C>,
        group: impl Into<Column>,
        label: impl Into<Column>,
    ) -> Self {
        let features = features.into_iter().map(Into::into).collect();
        RecordingColumns { features, group: group.into(), label: label.into(), recording: None }
    }

    /// Sets the column of recordings. Two groups may have recordings of the same name.
    #[must_use]
    pub fn with_recording(self, column: impl Into<Column>) -> Self {
        RecordingColumns { recording: Some(column.into()), ..self }
    }
}

/// Recordings of sensors or machines, with a label for every step and a group for every recording: a long table, one row
/// per step. [`Windows::labelled`](super::Windows::labelled) cuts them.
///
/// ```
/// use rnn_api::data::{
///     BatchConfig, Batches, Classes, Missing, Normaliser, RecordingColumns, Scaling, Shares, Table, TableOptions,
///     WindowConfig, Windows,
/// };
/// # fn main() -> rnn_api::Result<()> {
/// # let device = rnn_api::Device::cpu();
/// # let mut text = "subject,x,y,activity\n".to_string();
/// # for row in 0..400 {
/// #     text += &format!("s{},{}.5,{},{}\n", row / 40, row % 7, row % 5, ["rest", "walk"][row / 20 % 2]);
/// # }
/// # let table = Table::parse(&text, &TableOptions::new())?;
/// // let table = Table::read("sensors.csv", &TableOptions::new())?;
/// let columns = RecordingColumns::new(["x", "y"], "subject", "activity");
/// let parts = table.recordings(&columns, Missing::Error)?.split(Shares::new(0.2, 0.2)?, 42)?;
/// let classes = Classes::fit(&parts.train.labels())?;
/// let normaliser = Normaliser::fit(Scaling::ZScore, parts.train.sequences())?;
/// let config = WindowConfig::new(10).with_stride(5);
/// let windows = parts.try_map(|part| {
///     Windows::labelled(&part.try_map(|sequence| normaliser.apply(sequence))?, &classes, &config)
/// })?;
/// for batch in Batches::new(windows.train.len(), &BatchConfig::new(8).with_shuffle(1))? {
///     let batch = windows.train.batch(&batch.indices)?;
///     let x = batch.x.to_tensor(&device)?; // [10, B, 2]
///     let y = batch.y.to_tensor(&device)?; // [B]
/// #   assert_eq!((x.dims()[0], x.dims()[1], x.dims()[2]), (10, y.dims()[0], 2));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Recordings {
    sequences: Vec<Sequence>,
    groups: Vec<String>,
    /// The label of each step of each recording, as its number in `labels`: the row of the table.
    rows: Vec<Vec<usize>>,
    /// The labels of all rows of the table, or of all recordings.
    labels: Arc<Labels>,
}

impl Table {
    /// The rows of each recording, in the order of the table, which has to be that of time. Recordings are in the order of
    /// their first rows; their rows may be mixed.
    ///
    /// # Errors
    /// A column does not exist; there are no features; a group, recording or label is empty; or an error of
    /// [`Table::numbers`].
    pub fn recordings(&self, columns: &RecordingColumns, missing: Missing) -> Result<Recordings> {
        let RecordingColumns { features, group, label, recording } = columns;
        if features.is_empty() {
            return Err(Error::config("RecordingColumns", "features", "at least one", "none"));
        }
        let labels = Arc::new(self.labels(label.clone())?);
        let groups = self.labels(group.clone())?;
        let of_group = recording.as_ref().map(|column| self.labels(column.clone())).transpose()?;
        let all = self.sequence(features, missing)?;
        let mut numbers = HashMap::new();
        let (mut rows, mut names) = (Vec::<Vec<usize>>::new(), Vec::new());
        for (row, group) in groups.values().iter().enumerate() {
            let key = (group, of_group.as_ref().map(|names| &names.values()[row]));
            let number = *numbers.entry(key).or_insert(rows.len());
            if number == rows.len() {
                rows.push(Vec::new());
                names.push(group.clone());
            }
            rows[number].push(row);
        }
        let steps: Vec<&[f32]> = all.steps().collect();
        let sequence = |rows: &Vec<usize>| {
            Sequence::from_parts(rows.iter().flat_map(|&row| steps[row]).copied().collect(), all.features())
        };
        let sequences = rows.iter().map(sequence).collect();
        Ok(Recordings { sequences, groups: names, rows, labels })
    }
}

impl Recordings {
    /// Recordings that have one label each, such as a file each; `groups` and `labels` have one entry per recording.
    ///
    /// # Errors
    /// There are no recordings, or another number of groups or labels; or the numbers of features differ.
    pub fn new(sequences: Vec<Sequence>, groups: Vec<String>, labels: &Labels) -> Result<Self> {
        let Some(first) = sequences.first() else {
            return Err(Problem::Empty { what: "the list of sequences" }.at(Place::default()));
        };
        for (arg, got) in [("groups", groups.len()), ("labels", labels.len())] {
            if got != sequences.len() {
                let expected = format!("one per recording, {}", sequences.len());
                return Err(Error::value("Recordings::new", arg, expected, got));
            }
        }
        let (expected, differs) = (first.features(), |s: &Sequence| s.features() != first.features());
        if let Some(index) = sequences.iter().position(differs) {
            let got = sequences[index].features();
            return Err(Problem::Ragged { what: "features", expected, got }.at(Place::sequence(index)));
        }
        let rows =
            sequences.iter().enumerate().map(|(index, sequence)| vec![index; sequence.len()]).collect();
        Ok(Recordings { sequences, groups, rows, labels: Arc::new(labels.clone()) })
    }

    /// The number of recordings.
    pub fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Whether there are none: in a part of a split whose share is 0.
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// The measured values of each recording.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// The group of each recording.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The labels of all steps of all recordings, for [`Classes::fit`](super::Classes::fit).
    pub fn labels(&self) -> Labels {
        self.labels_of(&self.rows.concat())
    }

    /// The labels of the steps of one recording; empty if there is no such recording.
    pub fn labels_of_recording(&self, recording: usize) -> Labels {
        self.labels_of(self.rows.get(recording).map_or(&[], Vec::as_slice))
    }

    fn labels_of(&self, rows: &[usize]) -> Labels {
        self.labels.select(rows).unwrap_or_else(|error| unreachable!("rows of the table: {error}"))
    }

    /// Only these recordings, in this order.
    ///
    /// # Errors
    /// No recordings are given, or one does not exist.
    pub fn select(&self, recordings: &[usize]) -> Result<Self> {
        check_features("Recordings::select", recordings, self.len())?;
        Ok(self.pick(recordings))
    }

    fn pick(&self, recordings: &[usize]) -> Self {
        let of = |&number: &usize| (self.sequences[number].clone(), self.groups[number].clone());
        let (sequences, groups) = recordings.iter().map(of).unzip();
        let rows = recordings.iter().map(|&number| self.rows[number].clone()).collect();
        Recordings { sequences, groups, rows, labels: self.labels.clone() }
    }

    /// Divides whole groups into parts in a seeded random order, so that the parts approach their shares of the
    /// recordings; see [`grouped`]. No group is in two parts.
    ///
    /// # Errors
    /// A share is invalid, or a part with a share would be empty.
    pub fn split(&self, shares: Shares, seed: u64) -> Result<Parts<Self>> {
        Ok(grouped(&self.groups, shares, seed)?.map(|recordings| self.pick(&recordings)))
    }

    /// Changes the values of every recording: normalises them, fills what is missing.
    ///
    /// # Errors
    /// An error of `change`, located at the recording; or it changes the number of steps.
    pub fn try_map(&self, change: impl FnMut(&Sequence) -> Result<Sequence>) -> Result<Self> {
        let mut change = change;
        let mut sequences = Vec::with_capacity(self.len());
        for (index, sequence) in self.sequences.iter().enumerate() {
            let named = |place| Place { sequence: Some(index), ..place };
            let changed = change(sequence).map_err(|error| error.located(named))?;
            if changed.len() != sequence.len() {
                let (expected, got) = (sequence.len(), changed.len());
                return Err(Problem::Ragged { what: "steps", expected, got }.at(Place::sequence(index)));
            }
            sequences.push(changed);
        }
        Ok(Recordings { sequences, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TableOptions;
    use std::collections::HashSet;

    fn table(rows: &str) -> Table {
        Table::parse(&format!("who,run,x,y,what\n{rows}"), &TableOptions::new()).unwrap()
    }

    fn columns() -> RecordingColumns {
        RecordingColumns::new(["y", "x"], "who", "what")
    }

    const MIXED: &str = "a,1,1,10,rest\nb,1,2,20,walk\na,2,3,30,walk\na,1,4,40,walk\nb,1,5,50,rest\n";

    #[test]
    fn rows_are_grouped_in_their_order() {
        let all = table(MIXED).recordings(&columns(), Missing::Error).unwrap();
        assert_eq!((all.len(), all.groups()), (2, &["a".to_string(), "b".to_string()][..]));
        assert_eq!(all.sequences()[0].values(), [10.0, 1.0, 30.0, 3.0, 40.0, 4.0]);
        assert_eq!(all.labels_of_recording(1).values(), ["walk", "rest"]);
        assert_eq!(all.labels().values(), ["rest", "walk", "walk", "walk", "rest"]);
        let runs = table(MIXED).recordings(&columns().with_recording("run"), Missing::Error).unwrap();
        assert_eq!(runs.groups(), ["a", "b", "a"]);
        assert_eq!(runs.sequences()[0].values(), [10.0, 1.0, 40.0, 4.0]);
        assert_eq!(runs.sequences()[2].values(), [30.0, 3.0]);
    }

    #[test]
    fn recordings_have_a_label_each() {
        let sequence = |steps: usize| Sequence::new(vec![0.5; 2 * steps], 2).unwrap();
        let groups = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let labels = Labels::new(["rest", "walk"]);
        let all = Recordings::new(vec![sequence(1), sequence(3)], groups(&["a", "b"]), &labels).unwrap();
        assert_eq!(all.labels_of_recording(1).values(), ["walk"; 3]);
        assert_eq!(all.select(&[1]).unwrap().groups(), ["b"]);
        let error = |sequences, names: &[&str], labels: &Labels| {
            Recordings::new(sequences, groups(names), labels).unwrap_err().to_string()
        };
        assert_eq!(error(vec![], &[], &labels), "the list of sequences is empty");
        let short = error(vec![sequence(1)], &["a"], &labels);
        assert_eq!(short, "Recordings::new: labels must be one per recording, 1, got 2");
        let short = error(vec![sequence(1), sequence(1)], &["a"], &labels);
        assert_eq!(short, "Recordings::new: groups must be one per recording, 2, got 1");
        let narrow = Sequence::new(vec![1.0], 1).unwrap();
        let ragged = error(vec![sequence(1), narrow], &["a", "b"], &labels);
        assert_eq!(ragged, "sequence 1: expected 2 features, got 1");
    }

    #[test]
    fn no_group_is_in_two_parts() {
        let rows: String = (0..60).map(|k| format!("g{},{},{k},0,w\n", k / 3 % 10, k / 3)).collect();
        let all = table(&rows).recordings(&columns().with_recording("run"), Missing::Error).unwrap();
        assert_eq!(all.len(), 20);
        for seed in 0..20 {
            let parts = all.split(Shares::new(0.2, 0.3).unwrap(), seed).unwrap();
            let groups = parts.as_ref().map(|part| part.groups().iter().collect::<HashSet<_>>());
            assert!(groups.train.is_disjoint(&groups.validation) && groups.train.is_disjoint(&groups.test));
            assert!(groups.validation.is_disjoint(&groups.test));
            assert_eq!(parts.train.len() + parts.validation.len() + parts.test.len(), 20);
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let text = |rows: &str, columns: &RecordingColumns| {
            table(rows).recordings(columns, Missing::Error).unwrap_err().to_string()
        };
        assert!(text(MIXED, &RecordingColumns::new(["z"], "who", "what")).contains("no field \"z\""));
        assert!(text(MIXED, &columns().with_recording("z")).contains("no field \"z\""));
        assert!(
            text(MIXED, &RecordingColumns::new([""; 0], "who", "what")).contains("features must be at least")
        );
        assert!(text("a,1,1,1,rest\n,1,1,1,rest\n", &columns()).starts_with("line 3, field \"who\""));
        assert!(text("a,1,1,1,\n", &columns()).starts_with("line 2, field \"what\""));
        assert!(text("a,1,1,x,rest\n", &columns()).starts_with("line 2, field \"y\""));
        let all = table(MIXED).recordings(&columns(), Missing::Error).unwrap();
        assert!(all.select(&[2]).is_err() && all.select(&[]).is_err());
        let two = all.split(Shares::new(0.0, 0.5).unwrap(), 1).unwrap();
        assert_eq!((two.train.len(), two.validation.is_empty(), two.test.len()), (1, true, 1));
        let error = |shares| all.split(shares, 1).unwrap_err().to_string();
        assert!(error(Shares::new(0.2, 0.5).unwrap()).contains("would be empty"));
        let cut = all.try_map(|sequence| sequence.slice(0..1)).unwrap_err().to_string();
        assert_eq!(cut, "sequence 0: expected 3 steps, got 1");
        let changed =
            all.try_map(|sequence| Sequence::new(sequence.values().iter().map(|x| 2.0 * x).collect(), 2));
        assert_eq!(changed.unwrap().sequences()[1].values(), [40.0, 4.0, 100.0, 10.0]);
    }
}
