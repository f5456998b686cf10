//! The gradient with respect to the state, by time step.

use serde::{Deserialize, Serialize};

/// The norm of a loss's gradient with respect to the states of the recurrent layers at every time step.
///
/// The gradient with respect to h after step t contains what y at this step receives and what comes back from later steps.
/// That with respect to c is taken with h of the same step held fixed: c and h are the two parts of the state.
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
    /// The same for c.
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

impl LayerFlow {
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
    /// The farthest horizon of all layers ([`LayerFlow::horizon`]); `None` if the gradient of one of them does not fall
    /// below `fraction`, or there is no gradient.
    pub fn horizon(&self, fraction: f64) -> Option<usize> {
        let horizons: Option<Vec<usize>> = self.layers.iter().map(|layer| layer.horizon(fraction)).collect();
        horizons?.into_iter().max()
    }
}
