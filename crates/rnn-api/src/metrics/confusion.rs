//! [`ConfusionMatrix`]: how often each class is predicted as each other class.

use super::{expect_classes, expect_count, expect_pairs, ratio};
use crate::error::Result;
use serde::{Deserialize, Serialize};
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

/// Counts of examples by label and prediction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    classes: usize,
    /// `[label, prediction]`
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// The largest number of classes; their pairs take 512 MiB.
    pub const MAX_CLASSES: usize = 1 << 13;

    /// Without examples yet.
    ///
    /// # Errors
    /// The number of classes is 0 or above [`ConfusionMatrix::MAX_CLASSES`].
    pub fn new(classes: usize) -> Result<Self> {
        expect_count("ConfusionMatrix", "classes", classes, Self::MAX_CLASSES)?;
        Ok(ConfusionMatrix { classes, counts: vec![0; classes * classes] })
    }

    /// Adds examples.
    ///
    /// # Errors
    /// The lists differ in length or are empty, or a label or prediction is not a class.
    pub fn add(&mut self, predictions: &[u32], labels: &[u32]) -> Result<()> {
        const OP: &str = "ConfusionMatrix";
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
        ratio("ConfusionMatrix", right as f64, self.total())
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
        macro_average("ConfusionMatrix", &self.class_counts())
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

/// One row per label, one column per prediction.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.counts.iter().max().map_or(1, |most| most.to_string().len());
        for row in self.counts.chunks(self.classes) {
            let cells: Vec<String> = row.iter().map(|count| format!("{count:>width$}")).collect();
            writeln!(f, "{}", cells.join(" "))?;
        }
        Ok(())
    }
}
