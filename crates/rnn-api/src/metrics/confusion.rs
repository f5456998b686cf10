//! [`ConfusionMatrix`]: how often each class is predicted as each other class.

use super::{expect_classes, expect_count, expect_pairs, ratio};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;

/// Precision, recall and F1 of one class, or an average over classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// `TP / (TP + FP)`: the share of the predictions of this class that are right. 0 without predictions.
    pub precision: f64,
    /// `TP / (TP + FN)`: the share of the examples of this class that were found. 0 without examples.
    pub recall: f64,
    /// `2 TP / (2 TP + FP + FN)`, the harmonic mean of precision and recall. 0 if all three counts are 0.
    pub f1: f64,
    /// The number of examples of the class, `TP + FN`.
    pub support: u64,
}

/// True positives, false positives and false negatives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) tp: u64,
    pub(super) fp: u64,
    pub(super) fn_: u64,
}

impl Counts {
    pub(super) fn scores(self) -> Scores {
        let Counts { tp, fp, fn_ } = self;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        Scores {
            precision: share(tp, tp + fp),
            recall: share(tp, tp + fn_),
            f1: share(2 * tp, 2 * tp + fp + fn_),
            support: tp + fn_,
        }
    }

    fn is_empty(self) -> bool {
        self == Counts::default()
    }
}

/// Micro average: scores of the summed counts, where every example has the same weight.
pub(super) fn micro(counts: &[Counts]) -> Scores {
    let sum = |count: fn(&Counts) -> u64| counts.iter().map(count).sum();
    Counts { tp: sum(|c| c.tp), fp: sum(|c| c.fp), fn_: sum(|c| c.fn_) }.scores()
}

/// Macro average: the mean of the scores of the classes that occur, where every class has the same weight.
pub(super) fn macro_average(op: &'static str, counts: &[Counts]) -> Result<Scores> {
    let scores: Vec<Scores> = counts.iter().filter(|c| !c.is_empty()).map(|c| c.scores()).collect();
    let mean = |score: fn(&Scores) -> f64| ratio(op, scores.iter().map(score).sum(), scores.len() as u64);
    Ok(Scores {
        precision: mean(|s| s.precision)?,
        recall: mean(|s| s.recall)?,
        f1: mean(|s| s.f1)?,
        support: scores.iter().map(|s| s.support).sum(),
    })
}

/// Counts of examples by label and prediction. It prints as a table: one row per label, one column per prediction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Saved")]
pub struct ConfusionMatrix {
    classes: usize,
    /// `[label, prediction]`
    counts: Vec<u64>,
    /// The names of the classes, or none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    classes: usize,
    counts: Vec<u64>,
    #[serde(default)]
    names: Vec<String>,
}

impl TryFrom<Saved> for ConfusionMatrix {
    type Error = Error;

    fn try_from(Saved { classes, counts, names }: Saved) -> Result<Self> {
        let mut matrix = if names.is_empty() { Self::new(classes)? } else { Self::with_names(names)? };
        if matrix.classes != classes {
            return Err(Error::value(OP, "names", format!("{classes}, one per class"), matrix.classes));
        }
        expect_pairs(OP, "counts", counts.len(), "pairs of classes", matrix.counts.len())?;
        matrix.counts = counts;
        Ok(matrix)
    }
}

const OP: &str = "ConfusionMatrix";

impl ConfusionMatrix {
    /// The largest number of classes; their pairs take 512 MiB.
    pub const MAX_CLASSES: usize = 1 << 13;

    /// Without examples yet.
    ///
    /// # Errors
    /// The number of classes is 0 or above [`ConfusionMatrix::MAX_CLASSES`].
    pub fn new(classes: usize) -> Result<Self> {
        expect_count(OP, "classes", classes, Self::MAX_CLASSES)?;
        Ok(ConfusionMatrix { classes, counts: vec![0; classes * classes], names: Vec::new() })
    }

    /// Without examples yet, with a name for each class, which the table shows. `classes.names()` of
    /// [`Classes`](crate::data::Classes) are such names.
    ///
    /// ```
    /// use rnn_api::metrics::ConfusionMatrix;
    /// # fn main() -> rnn_api::Result<()> {
    /// let mut confusion = ConfusionMatrix::with_names(["rest", "walk"])?;
    /// confusion.add(&[0, 1, 1], &[0, 0, 1])?;
    /// let table = "\
    /// label \\ predicted  rest  walk
    ///              rest     1     1
    ///              walk     0     1
    /// ";
    /// assert_eq!(confusion.to_string(), table);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There are no names or more than [`ConfusionMatrix::MAX_CLASSES`], or two are equal.
    pub fn with_names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(Error::value(OP, "names", "all different", format!("{twice:?} twice")));
        }
        expect_count(OP, "names", names.len(), Self::MAX_CLASSES)?;
        let matrix = Self::new(names.len())?;
        Ok(ConfusionMatrix { names, ..matrix })
    }

    /// The names of the classes; empty without names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds examples.
    ///
    /// # Errors
    /// The lists differ in length or are empty, or a label or prediction is not a class.
    pub fn add(&mut self, predictions: &[u32], labels: &[u32]) -> Result<()> {
        expect_pairs(OP, "predictions", predictions.len(), "labels", labels.len())?;
        expect_classes(OP, "predictions", predictions, self.classes)?;
        expect_classes(OP, "labels", labels, self.classes)?;
        for (&prediction, &label) in predictions.iter().zip(labels) {
            self.counts[label as usize * self.classes + prediction as usize] += 1;
        }
        Ok(())
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of examples of class `label` predicted as `prediction`; 0 if either is not a class.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        if prediction >= self.classes {
            return 0;
        }
        self.counts.get(label * self.classes + prediction).copied().unwrap_or(0)
    }

    /// The number of examples.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The accuracy: the share on the diagonal.
    ///
    /// # Errors
    /// No example was added.
    pub fn accuracy(&self) -> Result<f64> {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        ratio(OP, right as f64, self.total())
    }

    /// The scores of each class.
    pub fn per_class(&self) -> Vec<Scores> {
        self.class_counts().into_iter().map(Counts::scores).collect()
    }

    /// The scores of all examples together (micro average). As each example has one label and one prediction,
    /// precision, recall and F1 are all equal to the accuracy.
    ///
    /// # Errors
    /// No example was added.
    pub fn micro(&self) -> Result<Scores> {
        self.accuracy()?;
        Ok(micro(&self.class_counts()))
    }

    /// The mean over the classes that occur as a label or a prediction (macro average).
    ///
    /// # Errors
    /// No example was added.
    pub fn macro_average(&self) -> Result<Scores> {
        macro_average(OP, &self.class_counts())
    }

    fn class_counts(&self) -> Vec<Counts> {
        let others = |class: usize| (0..self.classes).filter(move |&other| other != class);
        let counts = |class: usize| Counts {
            tp: self.count(class, class),
            fp: others(class).map(|label| self.count(label, class)).sum(),
            fn_: others(class).map(|prediction| self.count(class, prediction)).sum(),
        };
        (0..self.classes).map(counts).collect()
    }
}

/// One row per label, one column per prediction; with the names of the classes, if there are any.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CORNER: &str = "label \\ predicted";
        let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let name_width = widest(&mut self.names.iter().map(|name| name.chars().count()));
        let count_width = widest(&mut self.counts.iter().map(|count| count.to_string().len()));
        let (first, width) = (name_width.max(CORNER.len()), name_width.max(count_width));
        if !self.names.is_empty() {
            write!(f, "{CORNER:>first$}")?;
            self.names.iter().try_for_each(|name| write!(f, "  {name:>width$}"))?;
            writeln!(f)?;
        }
        for (label, row) in self.counts.chunks(self.classes).enumerate() {
            let cells: Vec<String> = row.iter().map(|count| format!("{count:>width$}")).collect();
            match self.names.get(label) {
                Some(name) => writeln!(f, "{name:>first$}  {}", cells.join("  "))?,
                None => writeln!(f, "{}", cells.join(" "))?,
            }
        }
        Ok(())
    }
}
