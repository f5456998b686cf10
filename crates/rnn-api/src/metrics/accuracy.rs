//! How often a prediction is right.

use super::{MAX_CLASSES, expect_classes, expect_count, expect_pairs, ratio};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Accuracy: the share of examples whose label is among the k highest scores. Of equal scores the lower class comes
/// first.
///
/// An example is one row of scores: a whole sequence if there is one output per sequence, a token if there is one
/// per step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    k: usize,
    correct: u64,
    total: u64,
}

impl Default for Accuracy {
    fn default() -> Self {
        Self::new()
    }
}

impl Accuracy {
    /// Counts an example as right if the highest score is that of its label.
    pub fn new() -> Self {
        Accuracy { k: 1, correct: 0, total: 0 }
    }

    /// Counts an example as right if its label is among the `k` highest scores.
    ///
    /// # Errors
    /// `k` is 0.
    pub fn top(k: usize) -> Result<Self> {
        if k == 0 {
            return Err(Error::value("Accuracy", "k", "at least 1", k));
        }
        Ok(Accuracy { k, ..Self::new() })
    }

    /// Adds examples: `scores` `[N, C]`, on any scale, and `labels` `[N]`.
    ///
    /// # Errors
    /// There is no example; the number of scores is not N rows; a label is not a class; there are fewer than k
    /// classes; or a score is NaN.
    pub fn add(&mut self, scores: &[f32], labels: &[u32]) -> Result<()> {
        const OP: &str = "Accuracy";
        let classes = scores.len() / labels.len().max(1);
        expect_pairs(OP, "scores", scores.len(), "labels times classes", labels.len() * classes.max(1))?;
        expect_classes(OP, "labels", labels, classes)?;
        if self.k > classes {
            return Err(Error::value(OP, "k", format!("at most the {classes} classes"), self.k));
        }
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            let got = format!("NaN for class {} of example {}", at % classes, at / classes);
            return Err(Error::value(OP, "scores", "numbers", got));
        }
        for (scores, &label) in scores.chunks(classes).zip(labels) {
            let label = label as usize;
            let before = |&(class, &score): &(usize, &f32)| {
                score > scores[label] || score == scores[label] && class < label
            };
            let rank = scores.iter().enumerate().filter(before).count();
            self.correct += u64::from(rank < self.k);
        }
        self.total += labels.len() as u64;
        Ok(())
    }

    /// Adds examples whose class has already been chosen.
    ///
    /// # Errors
    /// The lists differ in length or are empty, or k is above 1.
    pub fn add_predictions(&mut self, predictions: &[u32], labels: &[u32]) -> Result<()> {
        const OP: &str = "Accuracy";
        expect_pairs(OP, "predictions", predictions.len(), "labels", labels.len())?;
        if self.k != 1 {
            return Err(Error::value(OP, "k", "1 for predictions without scores", self.k));
        }
        self.correct += predictions.iter().zip(labels).filter(|(a, b)| a == b).count() as u64;
        self.total += labels.len() as u64;
        Ok(())
    }

    /// The share of right examples.
    ///
    /// # Errors
    /// No example was added.
    pub fn value(&self) -> Result<f64> {
        ratio("Accuracy", self.correct as f64, self.total)
    }

    /// The number of right examples.
    pub fn correct(&self) -> u64 {
        self.correct
    }

    /// The number of examples.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// The share of sequences that are right as a whole, in every token and in length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExactMatch {
    correct: u64,
    total: u64,
}

impl ExactMatch {
    /// Without sequences yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sequence.
    pub fn add<X: PartialEq>(&mut self, prediction: &[X], reference: &[X]) {
        self.correct += u64::from(prediction == reference);
        self.total += 1;
    }

    /// The share of right sequences.
    ///
    /// # Errors
    /// No sequence was added.
    pub fn value(&self) -> Result<f64> {
        ratio("ExactMatch", self.correct as f64, self.total)
    }
}

/// Baseline for classification: always predicts the most frequent class of the training part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MajorityClass {
    class: u32,
}

impl MajorityClass {
    /// Fits the baseline on the labels of the training part. Of equally frequent classes it takes the lowest.
    ///
    /// # Errors
    /// There are no labels, a label is not a class, or the number of classes is 0 or above 2^24.
    pub fn fit(labels: &[u32], classes: usize) -> Result<Self> {
        const OP: &str = "MajorityClass";
        expect_count(OP, "classes", classes, MAX_CLASSES)?;
        expect_pairs(OP, "labels", labels.len(), "examples", labels.len())?;
        expect_classes(OP, "labels", labels, classes)?;
        let mut counts = vec![0u64; classes];
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        let best = (0..classes).rev().max_by_key(|&class| counts[class]).unwrap_or(0);
        Ok(MajorityClass { class: best as u32 })
    }

    /// The predicted class.
    pub fn class(&self) -> u32 {
        self.class
    }

    /// The share of `labels` that it predicts correctly.
    ///
    /// # Errors
    /// There are no labels.
    pub fn accuracy(&self, labels: &[u32]) -> Result<f64> {
        let right = labels.iter().filter(|&&label| label == self.class).count();
        ratio("MajorityClass", right as f64, labels.len() as u64)
    }
}
