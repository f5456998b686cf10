//! [`Trainer`]: a model, its optimizer, and the validation and callbacks of a run.

use super::config::TrainerConfig;
use super::event::{Callback, Event, Flow, StopReason};
use super::interrupt::Interrupt;
use super::run::{Fit, Validate};
use super::score::Score;
use crate::error::{Error, Result};
use crate::kept::kept_value;
use crate::nn::Module;
use crate::optim::{Ema, Optimizer};
use rnn_runtime::{Array, Device};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Trains a model with epochs, schedule, validation, early stopping and checkpoints. Made by
/// [`TrainerConfig::init`].
///
/// ```
/// use rnn_api::data::{BatchConfig, Batches};
/// use rnn_api::prelude::*;
/// use rnn_api::train::{EarlyStopping, Score, TrainerConfig};
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// // y = mean of x
/// let model = LinearConfig::new(3, 1).init(&device, 1)?;
/// let rows: Vec<[f32; 3]> = (0..40).map(|k| [k as f32 / 40.0, (k % 7) as f32 / 7.0, (k % 3) as f32 / 3.0]).collect();
/// let batch_of = |indices: &[usize]| -> rnn_api::Result<(Tensor, Tensor)> {
///     let x: Vec<f32> = indices.iter().flat_map(|&i| rows[i]).collect();
///     let y: Vec<f32> = indices.iter().map(|&i| rows[i].iter().sum::<f32>() / 3.0).collect();
///     let n = indices.len();
///     Ok((Tensor::from_vec(&device, x, &[n, 3])?, Tensor::from_vec(&device, y, &[n, 1])?))
/// };
///
/// let held_out: Vec<usize> = (30..40).collect();
/// let adam = AdamConfig::new(0.05).init(&model)?;
/// let stopping = EarlyStopping::new().with_target(1e-4);
/// let mut trainer = TrainerConfig::new(100).with_early_stopping(stopping).init(&model, adam)?;
/// trainer.validate(|| {
///     let (x, y) = batch_of(&held_out)?;
///     Ok(Score::min("mse", model.forward(&x)?.mse(&y)?.item()?.into()))
/// });
/// let outcome = trainer.fit(Batches::new(30, &BatchConfig::new(8).with_shuffle(1))?, |batch| {
///     let (x, y) = batch_of(&batch.indices)?;
///     model.forward(&x)?.mse(&y)
/// })?;
/// assert!(outcome.best.is_some_and(|best| best.score.value < 1e-3), "{}", outcome.reason);
/// # Ok(()) }
/// ```
///
/// Whatever the reason for stopping, the model then has the weights of the best validation and is in
/// evaluation mode; [`Trainer::restore_last`] restores the last weights. If a callback, the data source or
/// the device fails, the run returns the error and does not change the model any further.
pub struct Trainer<'a> {
    pub(super) config: TrainerConfig,
    pub(super) model: &'a dyn Module,
    pub(super) optimizer: Box<dyn Optimizer + 'a>,
    pub(super) ema: Option<Ema>,
    pub(super) validation: Option<Validate<'a>>,
    pub(super) callbacks: Vec<Box<dyn Callback + 'a>>,
    pub(super) kept: BTreeMap<String, serde_json::Value>,
    pub(super) interrupt: Interrupt,
    pub(super) last: Option<BTreeMap<String, Array>>,
    /// The learning rate of the optimizer at first; a schedule changes it.
    pub(super) lr: f64,
}

impl TrainerConfig {
    /// A trainer of `model`, whose parameters `optimizer` changes.
    ///
    /// # Errors
    /// Invalid or contradictory settings.
    pub fn init<'a>(&self, model: &'a dyn Module, optimizer: impl Optimizer + 'a) -> Result<Trainer<'a>> {
        self.check()?;
        Ok(Trainer {
            lr: optimizer.lr(),
            config: self.clone(),
            model,
            optimizer: Box::new(optimizer),
            ema: self.ema.as_ref().map(|ema| ema.init(model)).transpose()?,
            validation: None,
            callbacks: Vec::new(),
            kept: BTreeMap::new(),
            interrupt: Interrupt::new(),
            last: None,
        })
    }
}

impl<'a> Trainer<'a> {
    /// Sets the validation. It is called with the model in evaluation mode, under
    /// [`no_grad`](crate::no_grad), and with the averaged weights if the configuration has an average.
    ///
    /// The trainer keeps it, so what it borrows has to be declared before the trainer. [`Trainer::run`] takes a validation
    /// that borrows anything.
    pub fn validate(&mut self, validation: impl FnMut() -> Result<Score> + 'a) -> &mut Self {
        self.validation = Some(Box::new(validation));
        self
    }

    /// Adds a callback. What it borrows has to be declared before the trainer; see [`Trainer::run`].
    pub fn on_event(&mut self, callback: impl Callback + 'a) -> &mut Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Stops the run when `interrupt` is set: after the current step, with a checkpoint.
    pub fn interrupt(&mut self, interrupt: &Interrupt) -> &mut Self {
        self.interrupt = interrupt.clone();
        self
    }

    /// Stores a value in every checkpoint, for [`Checkpoint::kept`](super::Checkpoint::kept): a configuration, a
    /// normaliser, a vocabulary.
    ///
    /// # Errors
    /// A value that would not come back as it is: numbers that are infinite or NaN, `Some` of a value that JSON writes as
    /// null, more than 100 levels of lists and objects in each other, or what JSON cannot represent.
    pub fn keep(&mut self, name: &str, value: &impl Serialize) -> Result<&mut Self> {
        let value = kept_value(value);
        let value = value.map_err(|problem| {
            let expected = format!("one that comes back from JSON as it is, for `{name}`");
            Error::value("Trainer::keep", "value", expected, problem)
        })?;
        self.kept.insert(name.into(), value);
        Ok(self)
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &(dyn Optimizer + 'a) {
        &*self.optimizer
    }

    /// Restores the weights of the last step of the last run; [`Trainer::fit`] leaves the best ones in the
    /// model.
    ///
    /// # Errors
    /// There was no run yet, or the device fails.
    pub fn restore_last(&self) -> Result<()> {
        match &self.last {
            Some(weights) => self.model.load_state_dict(weights),
            None => Err(Error::value("Trainer::restore_last", "self", "after a run", "before the first")),
        }
    }

    /// The device of the model; the CPU if the model has no parameters.
    pub(super) fn device(&self) -> Device {
        self.model.parameters().first().map_or_else(Device::cpu, |param| param.device())
    }

    /// Calls all callbacks, those of the run last; the first request to stop is the reason.
    pub(super) fn emit(&mut self, fit: &mut Fit<'_>, event: &Event<'_>) -> Result<Option<StopReason>> {
        let mut stop = None;
        let mut call = |callback: &mut dyn Callback| -> Result<()> {
            if let Flow::Stop(why) = callback.on_event(event)? {
                stop.get_or_insert(StopReason::Requested { why });
            }
            Ok(())
        };
        self.callbacks.iter_mut().try_for_each(|callback| call(&mut **callback))?;
        fit.own.callbacks.iter_mut().try_for_each(|callback| call(&mut **callback))?;
        Ok(stop)
    }
}

impl fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (callbacks, validates) = (self.callbacks.len(), self.validation.is_some());
        write!(f, "Trainer({:?}, {callbacks} callbacks, validates: {validates})", self.config)
    }
}
