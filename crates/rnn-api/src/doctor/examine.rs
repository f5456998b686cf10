//! [`Doctor`]: examines a model.

use super::finding::Finding;
use super::history::History;
use super::rules;
use super::symptoms::Symptoms;
use crate::autograd::no_grad;
use crate::error::Result;
use crate::nn::Module;
use crate::nn::observe::{Observation, observe};
use crate::tensor::Tensor;

/// Examines a model on one batch, with the course of its training if there was one, and says in plain sentences what is
/// wrong, why it thinks so, and what to do. A [`Trainer`](crate::train::Trainer) does this at the end of every run and puts
/// the findings into its outcome.
///
/// ```
/// use rnn_api::doctor::{Doctor, Rule};
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// let lstm = LstmConfig::new(1, 8).with_forget_bias(-5.0).init(&device, 1)?;
/// let prices: Vec<f32> = (0..100).map(|t| 3000.0 + t as f32).collect();
/// let x = Tensor::from_slice(&device, &prices, &[50, 2, 1])?; // [T, B, I]
/// let findings = Doctor::new().examine(&lstm, || lstm.forward(&x, None)?.last()?.mean_all())?;
/// assert_eq!(findings[0].rule, Rule::InputScale);
/// println!("{}", findings[0]); // The inputs of `model` are too large: 3050 where gates expect about 1. ..
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Doctor {
    known: Symptoms,
}

impl Doctor {
    /// Without a history.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the course of a run into account. Without it, everything that is bad for learning is a finding, as it is unknown
    /// whether the network learns.
    #[must_use]
    pub fn with_history(mut self, history: History) -> Self {
        self.known.history = history;
        self
    }

    pub(crate) fn with_known(known: Symptoms) -> Self {
        Doctor { known }
    }

    /// Computes the loss and its gradients twice at most and applies all rules. The findings are in order of importance; a
    /// healthy model has none. The model should be in evaluation mode, or random masks blur what is seen.
    ///
    /// # Errors
    /// Those of `loss`; a loss without a graph; no memory for the gates of all steps.
    pub fn examine(&self, model: &dyn Module, loss: impl FnMut() -> Result<Tensor>) -> Result<Vec<Finding>> {
        Ok(Doctor::findings(&self.symptoms(model, loss)?))
    }

    /// What the rules look at.
    ///
    /// # Errors
    /// As [`Doctor::examine`].
    pub fn symptoms(&self, model: &dyn Module, mut loss: impl FnMut() -> Result<Tensor>) -> Result<Symptoms> {
        let (result, observer) = observe(&mut loss);
        result?.backward()?;
        let observation = observer.take();
        let mut symptoms = self.known.clone().observed(model, &observation)?;
        if observation.passes.iter().any(|pass| pass.given.is_some()) {
            let (again, observer) = observe(|| no_grad(&mut loss));
            again?;
            symptoms.carries_state = goes_on(&observation, &observer.take())?;
        }
        Ok(symptoms)
    }

    /// All findings of these symptoms.
    pub fn findings(symptoms: &Symptoms) -> Vec<Finding> {
        rules::all(symptoms)
    }
}

/// Whether the second computation starts from a state that the first one ended with.
fn goes_on(first: &Observation, second: &Observation) -> Result<bool> {
    for pass in &second.passes {
        let Some(given) = &pass.given else { continue };
        let given = given.to_vec()?;
        let is_zero = given.iter().all(|&value| value == 0.0);
        for before in first.passes.iter().filter(|before| before.layer == pass.layer) {
            if !is_zero && before.last.dims() == pass.last.dims() && before.last.to_vec()? == given {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
