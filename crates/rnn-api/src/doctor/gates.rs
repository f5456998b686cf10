//! Statistics of gates and states.

use serde::{Deserialize, Serialize};

/// Means, histograms and saturation of the gates and states of recurrent layers over a batch; padding does not count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GateStatistics {
    /// One entry per layer of a stack and direction, in the order of computation.
    pub layers: Vec<LayerGates>,
}

/// The gates and states of one layer of a stack in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerGates {
    /// The path of the recurrent layer in the model.
    pub layer: String,
    /// The index in the stack.
    pub stack_layer: usize,
    /// Whether it belongs to the direction that runs backwards in time.
    pub reverse: bool,
    /// The gates under PyTorch's names and in its order, then the states: i, f, g, o, c, h of an LSTM; r, z, n, h of a GRU;
    /// f, n, h of an MGU; h of an Elman network.
    pub gates: Vec<GateSummary>,
    /// `[H]`: the steps after which a unit has forgotten all but 1/e of its state if its gate stays at its mean:
    /// `1 / (1 - f)` of an LSTM, `1 / (1 - z)` of a GRU, `1 / f` of an MGU. Empty for an Elman network.
    pub time_constants: Vec<f64>,
}

/// One gate or state over all steps, batch rows and units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GateSummary {
    /// Its name: i, f, g, o, r, z, n, c or h.
    pub name: String,
    /// The number of values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub std: f64,
    /// The share of values in the lowest twentieth of [`range`](Self::range); 0 for an unbounded range.
    pub low: f64,
    /// The share of values in the highest twentieth; 0 for an unbounded range.
    pub high: f64,
    /// The limits of the histogram: those of the activation, or of the values if it is unbounded.
    pub range: [f64; 2],
    /// Whether [`range`](Self::range) is that of the activation.
    pub bounded: bool,
    /// The number of values in each of 20 equal parts of the range.
    pub histogram: Vec<u64>,
    /// `[H]`
    pub units: Vec<UnitSummary>,
}

/// One gate or state of one unit over all steps and batch rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnitSummary {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
    /// As [`GateSummary::low`].
    pub low: f64,
    /// As [`GateSummary::high`].
    pub high: f64,
}
