//! [`ConfusionMatrix`]: which classes are taken for which.

use super::{expect_classes, expect_count, expect_pairs, ratio};
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Precision, recall and F1 of a class, or of several.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// `TP / (TP + FP)`: of what was said to be the class, the share that is. 0 when it was never said.
    pub precision: f64,
    /// `TP / (TP + FN)`: of what is the class, the share that was found. 0 when there is none.
    pub recall: f64,
    /// `2 TP / (2 TP + FP + FN)`, the harmonic mean of both. 0 when all three counts are 0.
    pub f1: f64,
    /// Examples that are of the class, `TP + FN`.
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

/// The scores of all counts added up: every example weighs the same.
pub(super) fn micro(counts: &[Counts]) -> Scores {
    let sum = |count: fn(&Counts) -> u64| counts.iter().map(count).sum();
    Counts { tp: sum(|c| c.tp), fp: sum(|c| c.fp), fn_: sum(|c| c.fn_) }.scores()
}

/// The mean of the scores of the classes that occur: every class weighs the same.
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

/// How many examples of each class were taken for which class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    classes: usize,
    /// `[label, prediction]`
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// Most classes: their pairs take 512 MiB.
    pub const MAX_CLASSES: usize = 1 << 13;

    /// Nothing counted.
    ///
    /// # Errors
    /// No class, or more than [`ConfusionMatrix::MAX_CLASSES`].
    pub fn new(classes: usize) -> Result<Self> {
        expect_count("ConfusionMatrix", "classes", classes, Self::MAX_CLASSES)?;
        Ok(ConfusionMatrix { classes, counts: vec![0; classes * classes] })
    }

    /// Counts examples.
    ///
    /// # Errors
    /// Lists of different lengths, empty ones, a label or prediction that is no class.
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

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Examples of class `label` that were taken for `prediction`; 0 for what is no class.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        if prediction >= self.classes {
            return 0;
        }
        self.counts.get(label * self.classes + prediction).copied().unwrap_or(0)
    }

    /// Examples counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share on the diagonal.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn accuracy(&self) -> Result<f64> {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        ratio("ConfusionMatrix", right as f64, self.total())
    }

    /// The scores of every class.
    pub fn per_class(&self) -> Vec<Scores> {
        self.class_counts().into_iter().map(Counts::scores).collect()
    }

    /// The scores of all examples together. Where each has one label and one prediction, as here, precision,
    /// recall and F1 all are the accuracy.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn micro(&self) -> Result<Scores> {
        self.accuracy()?;
        Ok(micro(&self.class_counts()))
    }

    /// The mean over the classes that occur as a label or a prediction.
    ///
    /// # Errors
    /// When nothing was counted.
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

/// A row per label, a column per prediction.
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
