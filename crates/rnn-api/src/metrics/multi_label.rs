//! [`MultiLabel`]: several labels can hold at once, such as the notes of a chord.

use super::confusion::{Counts, Scores, macro_average, micro};
use super::{MAX_CLASSES, expect_count, expect_pairs, ratio};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Precision, recall and F1 of classes that hold independently of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultiLabel {
    threshold: f32,
    counts: Vec<Counts>,
}

impl MultiLabel {
    /// A class is predicted when its score is at least `threshold`: 0.5 for probabilities, 0 for logits.
    ///
    /// # Errors
    /// The number of classes is 0 or above 2^24, or the threshold is not finite.
    pub fn new(classes: usize, threshold: f32) -> Result<Self> {
        const OP: &str = "MultiLabel";
        expect_count(OP, "classes", classes, MAX_CLASSES)?;
        if !threshold.is_finite() {
            return Err(Error::value(OP, "threshold", "finite", threshold));
        }
        Ok(MultiLabel { threshold, counts: vec![Counts::default(); classes] })
    }

    /// Adds examples: `scores` and `targets` `[N, C]`, targets 0 or 1.
    ///
    /// # Errors
    /// The lists differ in length, are empty or hold an incomplete example; a score is NaN; or a target is neither
    /// 0 nor 1.
    pub fn add(&mut self, scores: &[f32], targets: &[f32]) -> Result<()> {
        const OP: &str = "MultiLabel";
        let classes = self.counts.len();
        expect_pairs(OP, "scores", scores.len(), "targets", targets.len())?;
        if !scores.len().is_multiple_of(classes) {
            return Err(Error::value(OP, "scores", format!("rows of {classes} classes"), scores.len()));
        }
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            return Err(Error::value(OP, "scores", "numbers", format!("NaN at position {at}")));
        }
        if let Some(at) = targets.iter().position(|&target| target != 0.0 && target != 1.0) {
            return Err(Error::value(OP, "targets", "0 or 1", format!("{} at position {at}", targets[at])));
        }
        for (at, (&score, &target)) in scores.iter().zip(targets).enumerate() {
            let counts = &mut self.counts[at % classes];
            match (score >= self.threshold, target == 1.0) {
                (true, true) => counts.tp += 1,
                (true, false) => counts.fp += 1,
                (false, true) => counts.fn_ += 1,
                (false, false) => {}
            }
        }
        Ok(())
    }

    /// The scores of each class.
    pub fn per_class(&self) -> Vec<Scores> {
        self.counts.iter().map(|counts| counts.scores()).collect()
    }

    /// The scores of all classes together (micro average).
    ///
    /// # Errors
    /// No label holds and none was predicted.
    pub fn micro(&self) -> Result<Scores> {
        self.accuracy()?;
        Ok(micro(&self.counts))
    }

    /// The mean over the classes that hold or were predicted at least once (macro average).
    ///
    /// # Errors
    /// There is no such class.
    pub fn macro_average(&self) -> Result<Scores> {
        macro_average("MultiLabel", &self.counts)
    }

    /// `TP / (TP + FP + FN)`, the accuracy used for polyphonic music (Bay, Ehmann and Downie 2009). It does not
    /// count the many notes that are correctly silent.
    ///
    /// # Errors
    /// No label holds and none was predicted.
    pub fn accuracy(&self) -> Result<f64> {
        let tp: u64 = self.counts.iter().map(|c| c.tp).sum();
        let all: u64 = self.counts.iter().map(|c| c.tp + c.fp + c.fn_).sum();
        ratio("MultiLabel", tp as f64, all)
    }
}
