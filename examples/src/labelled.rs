//! The data handling of all classifiers: train on one part, choose the epoch by another, test on a third.

use crate::common::Common;
use rnn_api::data::Batches;
use rnn_api::metrics::{ConfusionMatrix, MajorityClass};
use rnn_api::prelude::*;
use rnn_api::train::{Outcome, Score, Trainer};

/// The class of every item, and the indices of the items in each part.
pub struct Labelled {
    /// A class per item.
    pub labels: Vec<u32>,
    /// How many there are.
    pub classes: usize,
    /// Items to train on.
    pub train: Vec<usize>,
    /// Items that choose the epoch.
    pub validation: Vec<usize>,
    /// Items that nothing is chosen by.
    pub test: Vec<usize>,
}

impl Labelled {
    /// Trains on batches of the training part. `logits` computes a model's logits for items given by index. The
    /// validation score is the likelihood, because the accuracy of few items has only few values.
    pub fn train<'a>(
        &'a self,
        mut trainer: Trainer<'a>,
        batches: Batches,
        common: &Common,
        logits: &'a impl Fn(&[usize]) -> rnn_api::Result<Tensor>,
    ) -> anyhow::Result<Outcome> {
        trainer.validate(move || {
            let mut total = 0.0;
            for items in self.validation.chunks(100) {
                let nats = no_grad(|| self.loss(items, logits))?.item()?;
                total += f64::from(nats) * items.len() as f64 / self.validation.len() as f64;
            }
            Ok(Score::min("nats", total).with_baseline((self.classes as f64).ln()))
        });
        common.equip(&mut trainer)?;
        Ok(trainer.fit(batches, |batch| self.loss(&batch.copy(&self.train)?, logits))?)
    }

    /// The predicted classes of the test part, for a model in evaluation mode, as training leaves it.
    pub fn predict(
        &self,
        logits: &impl Fn(&[usize]) -> rnn_api::Result<Tensor>,
    ) -> rnn_api::Result<Vec<u32>> {
        let classes = |items| no_grad(|| logits(items))?.argmax(1);
        Ok(self.test.chunks(100).map(classes).collect::<rnn_api::Result<Vec<_>>>()?.concat())
    }

    /// The confusion matrix of predictions for the test part, and the accuracy of always predicting
    /// the most frequent class of the training part.
    pub fn score(&self, predictions: &[u32]) -> rnn_api::Result<(ConfusionMatrix, f64)> {
        let truth = self.labels_of(&self.test);
        let mut confusion = ConfusionMatrix::new(self.classes)?;
        confusion.add(predictions, &truth)?;
        let majority = MajorityClass::fit(&self.labels_of(&self.train), self.classes)?;
        Ok((confusion, majority.accuracy(&truth)?))
    }

    fn loss(
        &self,
        items: &[usize],
        logits: impl Fn(&[usize]) -> rnn_api::Result<Tensor>,
    ) -> rnn_api::Result<Tensor> {
        let logits = logits(items)?;
        let labels = Tensor::from_indices(logits.device(), &self.labels_of(items), &[items.len()])?;
        logits.cross_entropy(&labels)
    }

    fn labels_of(&self, items: &[usize]) -> Vec<u32> {
        items.iter().map(|&item| self.labels[item]).collect()
    }
}
