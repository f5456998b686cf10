//! The gradient with respect to the state, by time step.

use crate::autograd::Gradients;
use crate::error::Result;
use crate::nn::Module;
use crate::nn::observe::{Observation, SeenFlow, SeenPass, observe, path_of};
use crate::tensor::Tensor;
use rnn_runtime::ops::rnn::StateFlow;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The norm of a loss's gradient with respect to the states of the recurrent layers at every time step.
///
/// The gradient with respect to h after step t contains what y at this step receives and what comes back from later steps.
/// That with respect to c is taken with h of the same step held fixed: c and h are the two parts of the state.
///
/// ```
/// use rnn_api::doctor::GradientFlow;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// let lstm = LstmConfig::new(3, 8).with_forget_bias(-5.0).init(&device, 1)?;
/// let x = Tensor::ones(&device, &[40, 2, 3])?; // [T, B, I]
/// let (flow, gradients) = GradientFlow::of(&lstm, || lstm.forward(&x, None)?.last()?.mean_all())?;
/// assert_eq!(flow.layers[0].h.len(), 40);
/// // Learning reaches back few steps of 40: the forget gates are almost shut.
/// assert!(flow.horizon(0.01).is_some_and(|steps| steps < 10), "{flow:?}");
/// # let mut sgd = SgdConfig::new(0.1).init(&lstm)?;
/// sgd.step(&gradients)?; // the gradients are those of an ordinary backward pass
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GradientFlow {
    /// One entry per call of a recurrent layer, layer of its stack and direction, in the order of computation.
    pub layers: Vec<LayerFlow>,
    /// Recurrent layers whose gradients were not measured.
    pub skipped: Vec<SkippedLayer>,
}

/// The gradient norms of one layer of a stack in one direction. Norms are Euclidean, over all batch rows and units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerFlow {
    /// The path of the recurrent layer in the model.
    pub layer: String,
    /// The number of the call of this recurrent layer within the loss, from 0.
    pub call: usize,
    /// The index in the stack.
    pub stack_layer: usize,
    /// Whether it belongs to the direction that runs backwards in time.
    pub reverse: bool,
    /// `[T]`: the norm with respect to h after each step.
    pub h: Vec<f64>,
    /// `[T]`: the norm with respect to c after each step; LSTM only.
    pub c: Option<Vec<f64>>,
    /// `[T]`: the norm with respect to h, by the number of steps before the last one that a row computes: entry 0 is the
    /// row's last step (t = 0 of a reverse direction). Rows of different lengths are aligned at their ends.
    pub h_back: Vec<f64>,
    /// `[T]`: the norm with respect to c, by the number of steps before a row's last one; LSTM only.
    pub c_back: Option<Vec<f64>>,
}

/// A recurrent layer whose gradients were not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SkippedLayer {
    /// Its path in the model.
    pub layer: String,
    /// The reason.
    pub why: String,
}

/// Norms by time step, and by the number of steps before each row's last one.
struct Norms {
    by_step: Vec<f64>,
    back: Vec<f64>,
}

impl Norms {
    /// From squares `[T, B]`.
    fn new(squares: &[f64], [steps, batch]: [usize; 2], lengths: Option<&[usize]>, reverse: bool) -> Self {
        let (mut by_step, mut back) = (vec![0.0; steps], vec![0.0; steps]);
        for (at, square) in squares.iter().enumerate() {
            let (t, b) = (at / batch, at % batch);
            let length = lengths.map_or(steps, |lengths| lengths[b]);
            if t < length {
                by_step[t] += square;
                back[if reverse { t } else { length - 1 - t }] += square;
            }
        }
        let root = |squares: Vec<f64>| squares.into_iter().map(f64::sqrt).collect();
        Norms { by_step: root(by_step), back: root(back) }
    }
}

impl LayerFlow {
    fn new(pass: &SeenPass, (layer, call): (String, usize), state: usize, flow: &StateFlow) -> Self {
        let directions = pass.spec.num_directions();
        let reverse = pass.spec.direction.runs_backwards(state % directions);
        let sizes = [pass.x.dims()[0], pass.x.dims()[1]];
        let norms = |squares: &[f64]| Norms::new(squares, sizes, pass.lengths.as_deref(), reverse);
        let (h, c) = (norms(&flow.h), flow.c.as_deref().map(norms));
        let (c, c_back) = c.map_or((None, None), |c| (Some(c.by_step), Some(c.back)));
        let (stack_layer, h_back) = (state / directions, h.back);
        LayerFlow { layer, call, stack_layer, reverse, h: h.by_step, c, h_back, c_back }
    }

    /// The gradient of the whole state by steps before the end: the larger of the norms of h and c.
    pub fn back(&self) -> Vec<f64> {
        match &self.c_back {
            Some(c) => self.h_back.iter().zip(c).map(|(&h, &c)| h.max(c)).collect(),
            None => self.h_back.clone(),
        }
    }

    /// The number of steps back from the end after which the gradient stays below `fraction` of its largest value:
    /// 3 means that the third step before the last is the first one of those. `None` if it never falls so far within
    /// the sequence, or is zero everywhere.
    pub fn horizon(&self, fraction: f64) -> Option<usize> {
        let norms = self.back();
        let largest = norms.iter().copied().fold(0.0, f64::max);
        let last = norms.iter().rposition(|&norm| norm >= fraction * largest && norm > 0.0)?;
        (last + 1 < norms.len()).then_some(last + 1)
    }
}

impl GradientFlow {
    /// Computes a loss and its gradients, and what they were on their way. The backward pass is the ordinary one, so the
    /// gradients can make a training step. The flow costs a product with the recurrent weights and a readback beside it.
    ///
    /// Take a loss of the last step to see how far back learning reaches: the gradient of a loss at every step does not
    /// fall, because each step receives its own. Layers with layer normalisation are [`skipped`](Self::skipped).
    ///
    /// # Errors
    /// Those of `loss`; a loss without a graph; no memory for the gates of all steps.
    pub fn of(model: &dyn Module, loss: impl FnOnce() -> Result<Tensor>) -> Result<(Self, Gradients)> {
        let (loss, observer) = observe(loss);
        let gradients = loss?.backward()?;
        Ok((GradientFlow::seen(model, &observer.take()), gradients))
    }

    pub(crate) fn seen(model: &dyn Module, observation: &Observation) -> Self {
        let (mut flow, mut calls) = (GradientFlow::default(), BTreeMap::new());
        for pass in &observation.passes {
            let layer = path_of(model, pass.layer);
            let call: &mut usize = calls.entry(pass.layer).or_default();
            match &pass.flow {
                SeenFlow::Of(states) => {
                    let each = states.iter().enumerate();
                    let each = each.map(|(n, of)| LayerFlow::new(pass, (layer.clone(), *call), n, of));
                    flow.layers.extend(each);
                }
                SeenFlow::Skipped(why) => flow.skipped.push(SkippedLayer { layer, why: (*why).into() }),
                SeenFlow::None => {
                    let why = "the loss does not depend on it".into();
                    flow.skipped.push(SkippedLayer { layer, why });
                }
            }
            *call += 1;
        }
        flow
    }

    /// The farthest horizon of all layers ([`LayerFlow::horizon`]); `None` if the gradient of one of them does not fall
    /// below `fraction`, or there is no gradient.
    pub fn horizon(&self, fraction: f64) -> Option<usize> {
        let horizons: Option<Vec<usize>> = self.layers.iter().map(|layer| layer.horizon(fraction)).collect();
        horizons?.into_iter().max()
    }
}
