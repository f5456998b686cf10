//! Converts the options of a layer into constants and parameters of the recurrence's kernels; see
//! `lib/options.wgsl`.

use super::plan::{Holds, Plan, Work};
use rnn_base::args::recurrence::{LayerDims, Noise, PackedSequence};
use rnn_base::error::{Error, Result};
use rnn_base::rng::drop_threshold;
use rnn_kernels::catalogue::rnn::constants::{Constant, DriverConstants, NoiseMode, OptionConstants};
use rnn_kernels::cell::{Activation, CellKind, Direction, Parameter, StackSpec};
use rnn_kernels::params::rnn::OptionsParams;

/// Override constants and parameters of one pass over a layer.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) constants: OptionConstants,
    pub(crate) params: OptionsParams,
    /// Phases of a step, see [`phases`].
    pub(crate) phases: usize,
    /// State that a dispatch of whole sequences may keep in workgroup memory.
    pub(crate) holds: Holds,
    /// Whether the layer projects h.
    pub(crate) projected: bool,
    /// Whether the pass draws random numbers.
    pub(crate) draws: bool,
    /// Whether zoneout mixes old and new states, by draws or by their mean.
    pub(crate) mixes: bool,
}

/// H padded to a multiple of four.
pub fn padded(hidden: usize) -> usize {
    hidden.next_multiple_of(4)
}

/// Most packed rows: row numbers are stored as floats, which are exact up to here.
const MOST_ROWS: usize = 1 << 24;

/// Code, alpha and beta of an activation.
fn activation(activation: Activation) -> [f64; 3] {
    let [alpha, beta] = activation.parameters().map(f64::from);
    [f64::from(activation.code()), alpha, beta]
}

/// Number of the cell's own parameters per unit: peepholes of i, f and o, u of an independent recurrence, or
/// b_hn with linear before reset.
pub(crate) fn own_parameters(spec: &StackSpec) -> usize {
    match spec.cell.kind {
        CellKind::Lstm if spec.cell.peephole => 3,
        CellKind::Rnn if spec.cell.independent => 1,
        _ => usize::from(spec.cell.linear_before_reset()),
    }
}

/// Number of all parameters per unit that the recurrence reads: the cell's own, then with layer normalisation
/// the gains of the gates, and gain and offset of an LSTM's c.
pub(crate) fn unit_parameters(spec: &StackSpec) -> usize {
    let of_c = if spec.cell.kind.has_cell_state() { 2 } else { 0 };
    own_parameters(spec) + if spec.cell.layer_norm { spec.cell.gates() + of_c } else { 0 }
}

/// The planes `[H]` of one parameter among all parameters per unit: `first`, `first + apart`, ..., `count` of them. The
/// backward recurrence sums their gradients in the same planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitPlanes {
    pub(super) parameter: Parameter,
    pub(super) first: usize,
    pub(super) apart: usize,
    pub(super) count: usize,
}

/// Every parameter per unit that is not a bias.
pub(super) fn unit_planes(spec: &StackSpec) -> Vec<UnitPlanes> {
    let (cell, own, gates) = (&spec.cell, own_parameters(spec), spec.cell.gates());
    let planes = |parameter, first, apart, count| UnitPlanes { parameter, first, apart, count };
    let mut all = Vec::new();
    match (cell.peephole, cell.coupled) {
        (true, false) => all.push(planes(Parameter::Peephole, 0, 1, 3)),
        // Coupled gates have no f: its plane stays zero.
        (true, true) => all.push(planes(Parameter::Peephole, 0, 2, 2)),
        (false, _) => {}
    }
    if cell.independent {
        all.push(planes(Parameter::WeightHh, 0, 1, 1));
    }
    if cell.layer_norm {
        all.push(planes(Parameter::NormHh, own, 1, gates));
        if cell.kind.has_cell_state() {
            all.push(planes(Parameter::NormC, own + gates, 1, 1));
            all.push(planes(Parameter::NormCBias, own + gates + 1, 1, 1));
        }
    }
    all
}

/// Phases of a step: one per product, and one per mean over normalised rows.
fn phases(spec: &StackSpec) -> usize {
    let cell = &spec.cell;
    let second = spec.proj_size > 0 || (cell.kind == CellKind::Gru && !cell.reset_after);
    let norms = match (cell.layer_norm, cell.kind.has_cell_state()) {
        (true, true) => 2,
        (true, false) => 1,
        _ => 0,
    };
    1 + usize::from(second) + norms
}

/// State that a dispatch of whole sequences may keep in workgroup memory. Steps of several phases exchange
/// values through the ring in storage memory. An independent recurrence has no matrix to keep.
pub(crate) fn holds(spec: &StackSpec) -> Holds {
    match phases(spec) {
        1 if spec.cell.independent => Holds::Fetch,
        1 => Holds::All,
        _ => Holds::Nothing,
    }
}

/// Added to the variance in layer normalisation, as in PyTorch.
pub(super) const EPSILON: f32 = 1e-5;

impl Setup {
    /// The setup of a pass that starts at `direction`.
    ///
    /// # Errors
    /// More packed rows than the kernels can count.
    pub(crate) fn new(
        op: &'static str,
        spec: &StackSpec,
        direction: usize,
        ragged: Option<&PackedSequence>,
        noise: Noise,
    ) -> Result<Setup> {
        let (cell, rates) = (&spec.cell, noise.rates);
        if let Some(ragged) = ragged.filter(|ragged| ragged.len() > MOST_ROWS) {
            return Err(Error::Unsupported {
                op,
                what: format!("{} rows of ragged or interrupted sequences on a GPU", ragged.len()),
                why: format!("there are {MOST_ROWS} at most; split the sequence in time"),
            });
        }
        let zoneout = rates.zoneout_h > 0.0 || rates.zoneout_c > 0.0;
        let drawn = zoneout || rates.candidate_dropout > 0.0 || rates.recurrent_dropout > 0.0;
        let mode = match noise.draws {
            Some(_) if drawn => NoiseMode::Draws,
            None if zoneout => NoiseMode::Mean,
            _ => NoiseMode::None,
        };
        let activations = [cell.gate_activation, cell.candidate_activation, cell.output_activation];
        let constants = OptionConstants {
            activations: activations.map(activation),
            ragged: ragged.is_some(),
            resets: ragged.is_some_and(|ragged| ragged.keep.is_some()),
            clip: cell.clip.is_some() || cell.cell_clip.is_some(),
            peephole: cell.peephole,
            independent: cell.independent,
            layer_norm: cell.layer_norm,
            noise: mode,
        };
        let scale = |rate: f32| 1.0 / (1.0 - rate);
        let mut params = OptionsParams {
            units: spec.hidden_size as u32,
            state_units: spec.state_size() as u32,
            first_direction: direction as u32,
            cell_planes: unit_parameters(spec) as u32,
            zoneout_h_below: drop_threshold(rates.zoneout_h),
            zoneout_c_below: drop_threshold(rates.zoneout_c),
            candidate_below: drop_threshold(rates.candidate_dropout),
            recurrent_below: drop_threshold(rates.recurrent_dropout),
            zoneout_h: rates.zoneout_h,
            zoneout_c: rates.zoneout_c,
            candidate_scale: scale(rates.candidate_dropout),
            recurrent_scale: scale(rates.recurrent_dropout),
            epsilon: EPSILON,
            clip: cell.clip.unwrap_or(f32::MAX),
            cell_clip: cell.cell_clip.unwrap_or(f32::MAX),
            reversed_from: match spec.direction {
                Direction::Forward => u32::MAX,
                Direction::Reverse => 0,
                Direction::Bidirectional => 1,
            },
            ..OptionsParams::default()
        };
        if let Some(draws) = noise.draws {
            let [[key0, key1], [key2, key3]] = draws.keys.map(|key| key.0);
            params = OptionsParams {
                first_step: draws.first_step,
                sequence: draws.sequence,
                key0,
                key1,
                key2,
                key3,
                ..params
            };
        }
        let projected = spec.proj_size > 0;
        Ok(Setup {
            constants,
            params,
            phases: phases(spec),
            holds: holds(spec),
            projected,
            draws: mode == NoiseMode::Draws,
            mixes: mode != NoiseMode::None && zoneout,
        })
    }

    /// The constants of both drivers besides the options, on an adapter with `memory` bytes of workgroup memory.
    pub(super) fn driver_constants(&self, plan: &Plan, work: Work, memory: usize) -> Vec<Constant> {
        let driver = DriverConstants {
            projected: self.projected,
            phases: self.phases,
            split: plan.split,
            chunk: plan.chunk(work, memory),
            turns: if self.phases == 1 { plan.turns(work, memory) } else { 0 },
            partials: plan.sums(work, memory),
            workgroup: plan.workgroup,
            rows: plan.rows,
        };
        [&self.constants.list()[..], &driver.list()[..]].concat()
    }

    /// Lays out the ring and the parts after it: `second`, `third`, `raw`, `norm` and `fresh`. [`RingParts`]
    /// has their sizes per line (batch row and direction) or in all. Returns the total in vectors of four.
    pub(crate) fn place_ring(&mut self, dims: LayerDims, parts: RingParts) -> usize {
        let lines = dims.directions * dims.batch;
        let mut end = 2 * lines * parts.width / 4;
        let mut take = |vectors: usize| {
            let start = end;
            end += vectors;
            start as u32
        };
        self.params.second = take(lines * parts.second / 4);
        self.params.third = take(parts.third / 4);
        self.params.raw = take(parts.raw / 4);
        self.params.norm = take(lines * parts.norm / 4);
        self.params.fresh = take(lines * parts.fresh / 4);
        end
    }
}

/// Sizes in floats of a ring's parts. A line is a batch row and direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RingParts {
    /// One line of a slot.
    pub(crate) width: usize,
    /// One line of the second product's operand.
    pub(crate) second: usize,
    /// The gradients of projected h, all steps together.
    pub(crate) third: usize,
    /// The recurrent products before normalisation, all steps together.
    pub(crate) raw: usize,
    /// One line of the sums for the products' normalisation.
    pub(crate) norm: usize,
    /// One line of c before its normalisation, or of the sums for its gradient.
    pub(crate) fresh: usize,
}

impl RingParts {
    /// The parts of a forward pass.
    pub(crate) fn forward(dims: LayerDims, spec: &StackSpec) -> Self {
        let second = dims.hidden * usize::from(spec.proj_size > 0 || !spec.cell.reset_after);
        let mut parts = RingParts { width: dims.state, second, ..RingParts::default() };
        if spec.cell.layer_norm {
            parts.raw = dims.directions * dims.batch * dims.hidden * spec.cell.gates();
            parts.fresh = dims.hidden;
        }
        parts
    }

    /// The parts of a backward pass over `rows` rows, all steps together.
    pub(crate) fn backward(dims: LayerDims, spec: &StackSpec, rows: usize) -> Self {
        let gates = dims.hidden * spec.cell.gates();
        let mut parts = RingParts { width: gates, ..RingParts::default() };
        if !spec.cell.reset_after {
            parts.second = dims.hidden;
        }
        if spec.proj_size > 0 {
            parts.second = dims.state;
            parts.third = rows * dims.directions * dims.state;
        }
        if spec.cell.layer_norm {
            parts.raw = rows * dims.directions * gates;
            parts.norm = 2 * gates;
            parts.fresh = 3 * dims.hidden;
        }
        parts
    }
}

/// A packed sequence as values of the options' buffer: first packed row of every step, batch rows, resets.
/// Whole numbers as floats.
pub(crate) fn ragged_values(ragged: &PackedSequence) -> Vec<f32> {
    let mut values: Vec<f32> = ragged.offsets.iter().map(|&n| n as f32).collect();
    values.extend(ragged.rows.iter().map(|&row| (ragged.first_row + row) as f32));
    values.extend(ragged.keep.iter().flatten());
    values
}

impl Setup {
    /// Stores the offsets of a packed sequence's values, which start at element `at` of the options' buffer.
    pub(crate) fn place_ragged(&mut self, ragged: &PackedSequence, at: usize) {
        self.params.offsets = at as u32;
        self.params.rows = (at + ragged.offsets.len()) as u32;
        self.params.keep = (at + ragged.offsets.len() + ragged.rows.len()) as u32;
    }
}

/// Vectors of four of one direction's first weight matrix: padded columns by padded units of G gates.
pub(crate) fn first_weights(spec: &StackSpec) -> usize {
    padded(spec.state_size()) / 4 * padded(spec.hidden_size) * spec.cell.gates()
}
