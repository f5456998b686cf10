//! Statistics of gates and states.

use crate::error::{Error, Result};
use crate::nn::observe::{Observation, observe, path_of};
use crate::nn::{Lengths, Module, Trace};
use crate::tensor::Tensor;
use rnn_kernels::cell::{Activation, CellKind, CellSpec, StackSpec};
use serde::{Deserialize, Serialize};

/// The number of parts of a histogram, and the inverse of the share of the range that counts as saturated.
const PARTS: usize = 20;

/// Means, histograms and saturation of the gates and states of recurrent layers over a batch; padding does not count.
///
/// ```
/// use rnn_api::doctor::GateStatistics;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// let lstm = LstmConfig::new(3, 8).with_forget_bias(2.0).init(&device, 1)?;
/// let x = Tensor::ones(&device, &[10, 4, 3])?; // [T, B, I]
/// let statistics = GateStatistics::of(&lstm, || lstm.forward(&x, None))?;
/// let forget = statistics.layers[0].gate("f").expect("an LSTM has one");
/// assert!(forget.mean > 0.8 && forget.count == 10 * 4 * 8, "{forget:?}");
/// # Ok(()) }
/// ```
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
    /// The gates under PyTorch's names and in its order, then the states. An LSTM has i, f, g, o, c, h, and a GRU r, z, n, h.
    /// An MGU has f, n, h, and an Elman network h.
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

impl GateStatistics {
    /// Runs `forward` without a graph, and summarises what the recurrent layers of the model computed. A layer that is
    /// called several times has an entry for each call.
    ///
    /// # Errors
    /// Those of `forward`; no memory for the gates of all steps.
    pub fn of<R>(model: &dyn Module, forward: impl FnOnce() -> Result<R>) -> Result<Self> {
        let (result, observer) = observe(|| crate::no_grad(forward));
        result?;
        GateStatistics::seen(model, &observer.take())
    }

    /// Summarises traces of `forward_traced`: those of `layers`, the indices in the stack. `name` is the path of the layer.
    ///
    /// # Errors
    /// Another number of traces than layers, traces of another stack; lengths that are not B numbers; a failing device.
    pub fn of_traces(
        name: &str,
        spec: &StackSpec,
        (layers, traces): (&[usize], &[Trace]),
        lengths: Option<&Lengths>,
    ) -> Result<Self> {
        const OP: &str = "GateStatistics::of_traces";
        if layers.len() != traces.len() {
            return Err(Error::value(OP, "traces", format!("{}, as layers", layers.len()), traces.len()));
        }
        let mut statistics = GateStatistics::default();
        for (&layer, trace) in layers.iter().zip(traces) {
            let wanted = [spec.num_directions(), spec.cell.gates(), spec.hidden_size];
            let dims = trace.gates.dims();
            if dims.len() != 5 || dims[2..] != wanted {
                let expected = format!("gates [T, B, D, G, H] with D, G, H = {wanted:?}");
                return Err(Error::value(OP, "traces", expected, format!("{dims:?}")));
            }
            let lengths = lengths.map(Lengths::as_slice);
            if let Some(lengths) = lengths.filter(|lengths| lengths.len() != dims[1]) {
                return Err(Error::value(OP, "lengths", format!("B = {} of them", dims[1]), lengths.len()));
            }
            statistics.layers.extend(of_layer(name, spec, layer, trace, lengths)?);
        }
        Ok(statistics)
    }

    pub(crate) fn seen(model: &dyn Module, observation: &Observation) -> Result<Self> {
        let mut statistics = GateStatistics::default();
        for pass in &observation.passes {
            let name = path_of(model, pass.layer);
            for (layer, trace) in pass.traces.iter().enumerate() {
                let of = of_layer(&name, &pass.spec, layer, trace, pass.lengths.as_deref())?;
                statistics.layers.extend(of);
            }
        }
        Ok(statistics)
    }
}

impl LayerGates {
    /// The gate or state of this name.
    pub fn gate(&self, name: &str) -> Option<&GateSummary> {
        self.gates.iter().find(|gate| gate.name == name)
    }
}

/// Both directions of one layer of a stack.
fn of_layer(
    name: &str,
    spec: &StackSpec,
    stack_layer: usize,
    trace: &Trace,
    lengths: Option<&[usize]>,
) -> Result<Vec<LayerGates>> {
    let (cell, directions) = (&spec.cell, spec.num_directions());
    let (steps, batch) = (trace.gates.dims()[0], trace.gates.dims()[1]);
    let valid: Vec<usize> = (0..steps * batch)
        .filter(|row| lengths.is_none_or(|lengths| row / batch < lengths[row % batch]))
        .collect();
    let gates = trace.gates.to_vec()?;
    let c = trace.c.as_ref().map(Tensor::to_vec).transpose()?;
    let h = trace.h.to_vec()?;
    let mut layers = Vec::with_capacity(directions);
    for direction in 0..directions {
        let own = |row: &usize| row * directions + direction;
        let mut summaries = Vec::new();
        // The activated h of an Elman network is its state, too.
        let names = if cell.kind == CellKind::Rnn { &[][..] } else { cell.gate_names() };
        for (gate, name) in names.iter().enumerate() {
            let width = spec.hidden_size;
            let rows = valid.iter().map(|row| &gates[(own(row) * cell.gates() + gate) * width..][..width]);
            summaries.push(GateSummary::new(name, range_of(cell, name), width, rows));
        }
        if let Some(c) = &c {
            let width = spec.hidden_size;
            let rows = valid.iter().map(|row| &c[own(row) * width..][..width]);
            summaries.push(GateSummary::new("c", None, width, rows));
        }
        let width = spec.state_size();
        let rows = valid.iter().map(|row| &h[own(row) * width..][..width]);
        let bounded = if spec.proj_size > 0 { None } else { range_of(cell, "h") };
        summaries.push(GateSummary::new("h", bounded, width, rows));
        layers.push(LayerGates {
            layer: name.to_string(),
            stack_layer,
            reverse: spec.direction.runs_backwards(direction),
            time_constants: time_constants(cell, &summaries),
            gates: summaries,
        });
    }
    Ok(layers)
}

/// The limits of a gate or of h.
fn range_of(cell: &CellSpec, name: &str) -> Option<[f64; 2]> {
    let activation: Activation = match name {
        "g" | "n" => cell.candidate_activation,
        "h" if cell.kind == CellKind::Lstm => cell.output_activation,
        "h" => cell.candidate_activation,
        _ => cell.gate_activation,
    };
    activation.range()
}

/// See [`LayerGates::time_constants`].
fn time_constants(cell: &CellSpec, gates: &[GateSummary]) -> Vec<f64> {
    let Some(keep) = cell.keep_gate() else { return Vec::new() };
    let name = cell.gate_names()[keep.block];
    let units = gates.iter().find(|gate| gate.name == name).map_or(&[][..], |gate| &gate.units);
    let lost = |mean: f64| if keep.inverted { mean } else { 1.0 - mean };
    // A gate that is open to the last bit would give infinity, which JSON cannot hold.
    units.iter().map(|unit| 1.0 / lost(unit.mean).max(1e-9)).collect()
}

impl GateSummary {
    /// From rows of one value per unit. Without limits the range is that of the values.
    fn new<'a>(
        name: &str,
        bounds: Option<[f64; 2]>,
        width: usize,
        rows: impl Iterator<Item = &'a [f32]> + Clone,
    ) -> Self {
        let values = rows.clone().flatten().map(|&value| f64::from(value));
        let range = bounds.unwrap_or_else(|| {
            let seen = values.clone().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
                [low.min(value), high.max(value)]
            });
            if seen[0] <= seen[1] { seen } else { [0.0, 0.0] }
        });
        let size = range[1] - range[0];
        let part = |value: f64| match size > 0.0 {
            true => (((value - range[0]) / size * PARTS as f64) as usize).min(PARTS - 1),
            false => 0,
        };
        let mut histogram = vec![0; PARTS];
        let mut units = vec![Sums::default(); width];
        for row in rows {
            for (sums, &value) in units.iter_mut().zip(row) {
                let value = f64::from(value);
                let part = part(value);
                histogram[part] += 1;
                let bounded = bounds.is_some();
                sums.add(value, [bounded && part == 0, bounded && part == PARTS - 1]);
            }
        }
        let mut all = Sums::default();
        units.iter().for_each(|unit| all.merge(unit));
        let UnitSummary { mean, std, low, high } = all.summary();
        GateSummary {
            name: name.to_string(),
            count: all.count,
            mean,
            std,
            low,
            high,
            range,
            bounded: bounds.is_some(),
            histogram,
            units: units.iter().map(Sums::summary).collect(),
        }
    }
}

/// Count, mean, sum of squared differences from it (Welford 1962), and the numbers of saturated values.
#[derive(Clone, Default)]
struct Sums {
    count: u64,
    mean: f64,
    squares: f64,
    ends: [u64; 2],
}

impl Sums {
    fn add(&mut self, value: f64, ends: [bool; 2]) {
        self.count += 1;
        let off = value - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (value - self.mean);
        for (count, is) in self.ends.iter_mut().zip(ends) {
            *count += u64::from(is);
        }
    }

    /// Chan, Golub and LeVeque 1979.
    fn merge(&mut self, other: &Sums) {
        let count = self.count + other.count;
        if count == 0 {
            return;
        }
        let (off, share) = (other.mean - self.mean, other.count as f64 / count as f64);
        self.squares += other.squares + off * off * self.count as f64 * share;
        self.mean += off * share;
        self.count = count;
        for (count, more) in self.ends.iter_mut().zip(other.ends) {
            *count += more;
        }
    }

    fn summary(&self) -> UnitSummary {
        let count = self.count.max(1) as f64;
        let [low, high] = self.ends.map(|number| number as f64 / count);
        UnitSummary { mean: self.mean, std: (self.squares / count).sqrt(), low, high }
    }
}
