//! What the options of a layer mean to the recurrence's kernels; see `lib/options.wgsl`.

use super::rnn::padded;
use crate::error::{Error, Result};
use crate::recurrence::{LayerDims, Noise, Walk};
use crate::rng::drop_threshold;
use rnn_kernels::cell::{Activation, CellKind, StackSpec};
use rnn_kernels::params::rnn::OptionsParams;

/// Override constants and numbers of one pass over a layer.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) constants: Vec<(&'static str, f64)>,
    pub(crate) params: OptionsParams,
    /// Products of a step.
    pub(crate) phases: usize,
    /// Whether h is a product of what the cell puts out.
    pub(crate) projected: bool,
    /// Whether the pass draws.
    pub(crate) draws: bool,
    /// Whether zoneout mixes, by draws or on average.
    pub(crate) mixes: bool,
}

/// Numbers of [`Setup`]'s NOISE.
const NO_NOISE: f64 = 0.0;
const MEAN: f64 = 1.0;
const DRAWS: f64 = 2.0;

/// Floats that can count rows.
const MOST_ROWS: usize = 1 << 24;

/// Override constants that choose a cell's activations.
fn activations(activations: [Activation; 3]) -> Vec<(&'static str, f64)> {
    const NAMES: [[&str; 3]; 3] = [
        ["GATE_ACTIVATION", "GATE_ALPHA", "GATE_BETA"],
        ["CANDIDATE_ACTIVATION", "CANDIDATE_ALPHA", "CANDIDATE_BETA"],
        ["OUTPUT_ACTIVATION", "OUTPUT_ALPHA", "OUTPUT_BETA"],
    ];
    let each = NAMES.into_iter().zip(activations).flat_map(|(names, activation)| {
        let [alpha, beta] = activation.parameters().map(f64::from);
        names.into_iter().zip([f64::from(activation.code()), alpha, beta])
    });
    each.collect()
}

/// Parameters per unit that the recurrence reads: b_hn of a GRU, peepholes of i, f and o, u of an independent
/// recurrence.
pub(crate) fn unit_parameters(spec: &StackSpec) -> usize {
    match spec.cell.kind {
        CellKind::Lstm if spec.cell.peephole => 3,
        CellKind::Gru if spec.cell.reset_after => 1,
        CellKind::Rnn if spec.cell.independent => 1,
        _ => 0,
    }
}

impl Setup {
    /// Of a pass that starts at `direction`.
    ///
    /// # Errors
    /// More ragged rows than the kernels can count.
    pub(crate) fn new(
        op: &'static str,
        spec: &StackSpec,
        direction: usize,
        walk: Option<&Walk>,
        noise: Noise,
    ) -> Result<Setup> {
        let (cell, rates) = (&spec.cell, noise.rates);
        if let Some(walk) = walk.filter(|walk| walk.len() > MOST_ROWS) {
            return Err(Error::Unsupported {
                op,
                what: format!("{} rows of ragged or interrupted sequences on a GPU", walk.len()),
                why: format!("there are {MOST_ROWS} at most; split the sequence in time"),
            });
        }
        let zoneout = rates.zoneout_h > 0.0 || rates.zoneout_c > 0.0;
        let drawn = zoneout || rates.candidate_dropout > 0.0 || rates.recurrent_dropout > 0.0;
        let mode = match noise.draws {
            Some(_) if drawn => DRAWS,
            None if zoneout => MEAN,
            _ => NO_NOISE,
        };
        let flag = |is: bool| f64::from(u8::from(is));
        let mut constants =
            activations([cell.gate_activation, cell.candidate_activation, cell.output_activation]);
        constants.extend([
            ("WALK", flag(walk.is_some())),
            ("RESETS", flag(walk.is_some_and(|walk| walk.keep.is_some()))),
            ("CLIP", flag(cell.clip.is_some() || cell.cell_clip.is_some())),
            ("PEEPHOLE", flag(cell.peephole)),
            ("INDEPENDENT", flag(cell.independent)),
            ("NOISE", mode),
        ]);
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
            clip: cell.clip.unwrap_or(f32::MAX),
            cell_clip: cell.cell_clip.unwrap_or(f32::MAX),
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
        let second = projected || (cell.kind == CellKind::Gru && !cell.reset_after);
        Ok(Setup {
            constants,
            params,
            phases: if second { 2 } else { 1 },
            projected,
            draws: mode == DRAWS,
            mixes: mode != NO_NOISE && zoneout,
        })
    }

    /// What both drivers have beside the options.
    pub(super) fn driver_constants(&self, workgroup: usize, rows: usize) -> Vec<(&'static str, f64)> {
        let mut constants = self.constants.clone();
        constants.extend([
            ("PROJECTED", f64::from(u8::from(self.projected))),
            ("PHASES", self.phases as f64),
            ("WORKGROUP", workgroup as f64),
            (rnn_kernels::ROWS, rows as f64),
        ]);
        constants
    }

    /// Vectors of four of a ring of rows of `width` values, with the second product's operand behind it, and of
    /// a projection `after` vectors more.
    pub(crate) fn place_ring(&mut self, dims: LayerDims, [width, second]: [usize; 2], after: usize) -> usize {
        let lines = dims.directions * dims.batch;
        let ring = 2 * lines * width / 4;
        if self.phases == 1 {
            return ring;
        }
        self.params.second = ring as u32;
        let end = ring + lines * second / 4;
        self.params.third = end as u32;
        end + after
    }
}

/// Rows of `options` that a walk takes: first packed rows, batch rows, resets. Whole numbers as floats.
pub(crate) fn walk_values(walk: &Walk) -> Vec<f32> {
    let mut values: Vec<f32> = walk.offsets.iter().chain(&walk.rows).map(|&n| n as f32).collect();
    values.extend(walk.keep.iter().flatten());
    values
}

impl Setup {
    /// Says where in the options' buffer things start: `walk` values from element `at` on.
    pub(crate) fn place_walk(&mut self, walk: &Walk, at: usize) {
        self.params.offsets = at as u32;
        self.params.rows = (at + walk.offsets.len()) as u32;
        self.params.keep = (at + walk.offsets.len() + walk.rows.len()) as u32;
    }
}

/// Vectors of four of the weights that one direction of the first product takes: K padded columns by N padded
/// units of G gates.
pub(crate) fn first_weights(spec: &StackSpec) -> usize {
    padded(spec.state_size()) / 4 * padded(spec.hidden_size) * spec.cell.gates()
}
