//! The calls that train: [`Trainer::fit`] and its forms, and [`TrainerRun`] for closures of one run.

use super::event::{Callback, Outcome};
use super::run::Own;
use super::score::Score;
use super::source::Source;
use super::steps::{Independent, Streamed};
use super::trainer::Trainer;
use crate::carried::Carried;
use crate::data::{Chunk, Streams};
use crate::error::Result;
use crate::tensor::Tensor;
use std::borrow::BorrowMut;
use std::fmt;

impl<'a> Trainer<'a> {
    /// Trains on independent items; `step` computes the loss of one item. `source` may be a reference.
    ///
    /// If a step accumulates several items, their gradients are weighted as [`Source::weight`] says: for [`Batches`] by
    /// rows. Where losses are means over valid time steps, use [`Trainer::fit_weighted`].
    ///
    /// [`Batches`]: crate::data::Batches
    ///
    /// # Errors
    /// Contradictory settings; a checkpoint folder that must not be continued or does not fit; any error of
    /// `step`, the validation, the source or a callback. A loss or gradients that are not finite are not an
    /// error but a [`StopReason`](super::StopReason).
    pub fn fit<S: Source>(
        &mut self,
        source: S,
        step: impl FnMut(&S::Item) -> Result<Tensor>,
    ) -> Result<Outcome> {
        self.run().fit(source, step)
    }

    /// As [`Trainer::fit`], for items of unequal weight: `step` computes the loss of an item, and the number of elements
    /// over which that is a mean, such as valid time steps. With
    /// [`TrainerConfig::accumulate`](super::TrainerConfig::accumulate), the gradient of a step is then that of one batch
    /// of all its items. Only ratios of weights matter.
    ///
    /// ```
    /// use rnn_api::LossOptions;
    /// use rnn_api::data::{BatchConfig, Batches};
    /// use rnn_api::prelude::*;
    /// use rnn_api::train::TrainerConfig;
    /// # fn main() -> rnn_api::Result<()> {
    /// # let device = Device::cpu();
    /// # let model = LstmConfig::new(1, 2).init(&device, 1)?;
    /// # let adam = AdamConfig::new(0.01).init(&model)?;
    /// let lengths = [5, 2, 4, 1];
    /// let mut trainer = TrainerConfig::new(1).with_accumulate(2).init(&model, adam)?;
    /// trainer.fit_weighted(Batches::new(lengths.len(), &BatchConfig::new(2))?, |batch| {
    ///     let valid = batch.copy(&lengths)?;
    ///     let x = Tensor::ones(&device, &[5, valid.len(), 1])?;
    ///     let labels = Tensor::zeros(&device, &[5, valid.len(), 2])?;
    ///     let over = LossOptions::new().with_lengths(&valid);
    ///     let loss = model.forward(&x, None)?.y.mse_over(&labels, &over)?;
    ///     Ok((loss, valid.iter().sum::<usize>() as f32))
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Trainer::fit`]; a weight that is not finite and positive.
    pub fn fit_weighted<S: Source>(
        &mut self,
        source: S,
        step: impl FnMut(&S::Item) -> Result<(Tensor, f32)>,
    ) -> Result<Outcome> {
        self.run().fit_weighted(source, step)
    }

    /// Trains on streams by truncated BPTT. `step` computes the loss of a chunk and the state after it, from
    /// the state before it, which is `None` at the start of an epoch. The state after a chunk is the initial
    /// state of the next; gradients flow back over
    /// [`TrainerConfig::backward_steps`](super::TrainerConfig::backward_steps). `streams` may be a reference.
    ///
    /// # Errors
    /// As [`Trainer::fit`]; `backward_steps` above the steps of a chunk and not a multiple of them.
    pub fn fit_streams<T: Copy, C: Carried>(
        &mut self,
        streams: impl BorrowMut<Streams<T>>,
        step: impl FnMut(&Chunk<T>, Option<&C>) -> Result<(Tensor, C)>,
    ) -> Result<Outcome> {
        self.run().fit_streams(streams, step)
    }

    /// A run whose validation and callbacks belong to it and not to the trainer, so they may borrow what is declared after
    /// the trainer:
    ///
    /// ```
    /// use rnn_api::data::{BatchConfig, Batches};
    /// use rnn_api::prelude::*;
    /// use rnn_api::train::{Event, Flow, Score, TrainerConfig};
    /// # fn main() -> rnn_api::Result<()> {
    /// # let device = Device::cpu();
    /// let model = LinearConfig::new(1, 1).init(&device, 1)?;
    /// let sgd = SgdConfig::new(0.1).init(&model)?;
    /// let mut trainer = TrainerConfig::new(3).init(&model, sgd)?;
    ///
    /// let x = Tensor::ones(&device, &[4, 1])?;
    /// let loss = || model.forward(&x)?.mse(&x);
    /// let mut losses = Vec::new();
    /// let outcome = trainer
    ///     .run()
    ///     .validate(|| Ok(Score::min("mse", loss()?.item()?.into())))
    ///     .on_event(|event: &Event<'_>| {
    ///         if let Event::Step(step) = event {
    ///             losses.push(step.loss);
    ///         }
    ///         Ok(Flow::Continue)
    ///     })
    ///     .fit(Batches::new(4, &BatchConfig::new(4))?, |_| loss())?;
    /// assert_eq!((losses.len(), outcome.epochs.len()), (3, 3));
    /// # Ok(()) }
    /// ```
    pub fn run(&mut self) -> TrainerRun<'_, 'a> {
        TrainerRun { trainer: self, own: Own::default() }
    }
}

/// One run of a trainer, from [`Trainer::run`].
#[must_use = "a run trains when `fit` is called"]
pub struct TrainerRun<'r, 'a> {
    trainer: &'r mut Trainer<'a>,
    own: Own<'r>,
}

impl<'r> TrainerRun<'r, '_> {
    /// Sets the validation of this run, instead of that of the trainer; see [`Trainer::validate`].
    pub fn validate(mut self, validation: impl FnMut() -> Result<Score> + 'r) -> Self {
        self.own.validation = Some(Box::new(validation));
        self
    }

    /// Adds a callback for this run. It is called after those of the trainer.
    pub fn on_event(mut self, callback: impl Callback + 'r) -> Self {
        self.own.callbacks.push(Box::new(callback));
        self
    }

    /// As [`Trainer::fit`].
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    pub fn fit<S: Source>(self, source: S, step: impl FnMut(&S::Item) -> Result<Tensor>) -> Result<Outcome> {
        let mut step = step;
        let steps = &mut Independent::new(source, |item: &S::Item| Ok((step(item)?, None)));
        self.trainer.drive(steps, self.own)
    }

    /// As [`Trainer::fit_weighted`].
    ///
    /// # Errors
    /// As [`Trainer::fit_weighted`].
    pub fn fit_weighted<S: Source>(
        self,
        source: S,
        step: impl FnMut(&S::Item) -> Result<(Tensor, f32)>,
    ) -> Result<Outcome> {
        let mut step = step;
        let weighted = |item: &S::Item| {
            let (loss, weight) = step(item)?;
            Ok((loss, Some(weight)))
        };
        self.trainer.drive(&mut Independent::new(source, weighted), self.own)
    }

    /// As [`Trainer::fit_streams`].
    ///
    /// # Errors
    /// As [`Trainer::fit_streams`].
    pub fn fit_streams<T: Copy, C: Carried>(
        self,
        streams: impl BorrowMut<Streams<T>>,
        step: impl FnMut(&Chunk<T>, Option<&C>) -> Result<(Tensor, C)>,
    ) -> Result<Outcome> {
        let mut streams = streams;
        let backward = self.trainer.config.backward_steps;
        let steps = &mut Streamed::new(streams.borrow_mut(), backward, step)?;
        self.trainer.drive(steps, self.own)
    }
}

impl fmt::Debug for TrainerRun<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Own { validation, callbacks } = &self.own;
        write!(
            f,
            "TrainerRun({:?}, {} callbacks of its own, validates: {})",
            self.trainer,
            callbacks.len(),
            validation.is_some()
        )
    }
}
