//! The result of a classifier, over one test part or several folds.

use crate::common::{Common, print_result_with};
use rnn_api::data::Classes;
use rnn_api::metrics::{ConfusionMatrix, MajorityClass};
use std::time::Instant;

/// Most classes whose confusion matrix is printed.
const FEW: usize = 12;

/// Test results.
pub struct Report {
    confusion: ConfusionMatrix,
    accuracies: Vec<f64>,
    baselines: Vec<f64>,
}

impl Report {
    /// No results yet.
    ///
    /// # Errors
    /// There are no classes.
    pub fn new(classes: &Classes) -> rnn_api::Result<Self> {
        let confusion = ConfusionMatrix::with_names(classes.names().to_vec())?;
        Ok(Report { confusion, accuracies: Vec::new(), baselines: Vec::new() })
    }

    /// Adds the predictions of a test part with their truth. The baseline predicts the most frequent class of the training
    /// part.
    ///
    /// # Errors
    /// A part without items, or of two lengths.
    pub fn add(&mut self, predictions: &[u32], truth: &[u32], training: &[u32]) -> rnn_api::Result<()> {
        let classes = self.confusion.classes();
        let mut own = ConfusionMatrix::new(classes)?;
        own.add(predictions, truth)?;
        self.confusion.add(predictions, truth)?;
        self.accuracies.push(own.accuracy()?);
        self.baselines.push(MajorityClass::fit(training, classes)?.accuracy(truth)?);
        Ok(())
    }

    /// Counts of all test parts so far.
    pub fn confusion(&self) -> &ConfusionMatrix {
        &self.confusion
    }

    /// Prints the confusion matrix where classes are few, else the scores of each; then the result line. Of folds it has mean
    /// and standard deviation.
    pub fn print(&self, common: &Common, started: Instant) {
        if self.confusion.classes() <= FEW {
            common.say(&self.confusion);
        } else {
            for (name, scores) in self.confusion.names().iter().zip(self.confusion.per_class()) {
                common.say(format!("{name:>12}: F1 {:.3} of {}", scores.f1, scores.support));
            }
        }
        let (mean, deviation) = mean_and_deviation(&self.accuracies);
        let (baseline, _) = mean_and_deviation(&self.baselines);
        let folds = self.accuracies.len();
        let mut more = String::new();
        if folds > 1 {
            let each: Vec<String> = self.accuracies.iter().map(|accuracy| format!("{accuracy:.4}")).collect();
            common.say(format!("folds: {}", each.join(", ")));
            more = format!("deviation={deviation:.4} folds={folds} ");
        }
        print_result_with("accuracy", mean, baseline, &more, started);
    }
}

/// The mean, and the standard deviation of a sample.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, if values.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_those_of_a_sample() {
        // 2, 4, 9: mean 5, squares 9 + 1 + 16 over 2.
        assert_eq!(mean_and_deviation(&[2.0, 4.0, 9.0]), (5.0, 13f64.sqrt()));
        assert_eq!(mean_and_deviation(&[0.5]), (0.5, 0.0));
    }
}
