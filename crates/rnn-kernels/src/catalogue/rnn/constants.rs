//! The constants of the recurrence's kernels. This is the only Rust file that spells their names.

use crate::ROWS;

/// An `override` of a shader, or [`ROWS`], by name.
pub type Constant = (&'static str, f64);

/// Mode of zoneout and dropout in a time step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseMode {
    /// No noise.
    None = 0,
    /// Zoneout mixes by its rates, as in inference.
    Mean = 1,
    /// Zoneout and dropout by random draws, as in training.
    Draws = 2,
}

/// Constants of `lib/options.wgsl`, which the options of a cell determine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptionConstants {
    /// Code, alpha and beta of the activations of gates, candidate and output.
    pub activations: [[f64; 3]; 3],
    /// Whether rows are a packed sequence.
    pub ragged: bool,
    /// Whether states are cleared inside a sequence.
    pub resets: bool,
    /// Whether pre-activations or the cell state are clipped.
    pub clip: bool,
    /// Whether gates read the cell state.
    pub peephole: bool,
    /// Whether every unit sees only its own h.
    pub independent: bool,
    /// Whether products are normalised.
    pub layer_norm: bool,
    /// Zoneout and dropout.
    pub noise: NoiseMode,
}

/// Constants of the drivers, `rnn/forward.wgsl` and `rnn/backward.wgsl`, which a plan determines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverConstants {
    /// Whether h is a projection of the cell's output.
    pub projected: bool,
    /// Phases of a time step: one per product, and one per mean over normalised rows.
    pub phases: usize,
    /// Invocations that share the product of a unit.
    pub split: usize,
    /// Vectors of four along k in a part.
    pub chunk: usize,
    /// Turns of the loop over a part of k, if they are constant; else 0.
    pub turns: usize,
    /// Sums of products in workgroup memory at the same time, a multiple of `workgroup`. [`super::Fetch::Subgroup`] keeps
    /// none there.
    pub partials: usize,
    /// Invocations per workgroup.
    pub workgroup: usize,
    /// Batch rows per invocation.
    pub rows: usize,
}

const fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

impl OptionConstants {
    /// The constants with their names.
    pub const fn list(&self) -> [Constant; 16] {
        let [gate, candidate, output] = self.activations;
        [
            ("GATE_ACTIVATION", gate[0]),
            ("GATE_ALPHA", gate[1]),
            ("GATE_BETA", gate[2]),
            ("CANDIDATE_ACTIVATION", candidate[0]),
            ("CANDIDATE_ALPHA", candidate[1]),
            ("CANDIDATE_BETA", candidate[2]),
            ("OUTPUT_ACTIVATION", output[0]),
            ("OUTPUT_ALPHA", output[1]),
            ("OUTPUT_BETA", output[2]),
            ("RAGGED", flag(self.ragged)),
            ("RESETS", flag(self.resets)),
            ("CLIP", flag(self.clip)),
            ("PEEPHOLE", flag(self.peephole)),
            ("INDEPENDENT", flag(self.independent)),
            ("NORMED", flag(self.layer_norm)),
            ("NOISE", self.noise as u32 as f64),
        ]
    }
}

impl DriverConstants {
    /// The constants with their names.
    pub const fn list(&self) -> [Constant; 8] {
        [
            ("PROJECTED", flag(self.projected)),
            ("PHASES", self.phases as f64),
            ("SPLIT", self.split as f64),
            ("CHUNK", self.chunk as f64),
            ("TURNS", self.turns as f64),
            ("PARTIALS", self.partials as f64),
            ("WORKGROUP", self.workgroup as f64),
            (ROWS, self.rows as f64),
        ]
    }
}

/// Forward only: whether the pass keeps the arrays for the backward pass.
pub const fn training(is: bool) -> Constant {
    ("TRAINING", flag(is))
}

/// Persistent kernels only: how often an invocation looks for a value of another workgroup before it gives up.
pub const fn polls(most: u32) -> Constant {
    ("POLLS", most as f64)
}

/// Size of a part of k of all rows of a workgroup, in vectors of four, where rows pass through workgroup memory.
pub const fn staged(vectors: usize) -> Constant {
    ("STAGED", vectors as f64)
}

/// Size of the rows that a workgroup keeps from step to step, in elements of the ring: scalars forward, vectors of four
/// backward.
pub const fn held_rows(elements: usize) -> Constant {
    ("HELD_ROWS", elements as f64)
}

/// Size of the weights that a workgroup keeps from step to step, in vectors of four.
pub const fn held_weights(vectors: usize) -> Constant {
    ("HELD_WEIGHTS", vectors as f64)
}

/// The validated sets of options and plans: sigmoid gates with tanh and no option; the Elman cell with relu
/// and every kind of noise; all activations linear with a packed sequence; layer normalisation with a packed
/// sequence and noise.
const SETS: [(OptionConstants, DriverConstants); 4] = [
    (
        options([0.0, 1.0, 1.0], [false, false, false, false, false], NoiseMode::None),
        DriverConstants {
            projected: false,
            phases: 1,
            split: 1,
            chunk: 32,
            turns: 0,
            partials: 256,
            workgroup: 256,
            rows: 4,
        },
    ),
    (
        options([5.0, 2.0, 7.0], [false, false, true, true, false], NoiseMode::Draws),
        DriverConstants {
            projected: false,
            phases: 1,
            split: 16,
            chunk: 32,
            turns: 2,
            partials: 64,
            workgroup: 64,
            rows: 1,
        },
    ),
    (
        options([3.0, 3.0, 3.0], [true, true, false, false, false], NoiseMode::Mean),
        DriverConstants {
            projected: false,
            phases: 1,
            split: 2,
            chunk: 32,
            turns: 0,
            partials: 64,
            workgroup: 32,
            rows: 16,
        },
    ),
    (
        options([4.0, 12.0, 11.0], [true, false, true, false, true], NoiseMode::Draws),
        DriverConstants {
            projected: false,
            phases: 3,
            split: 1,
            chunk: 32,
            turns: 0,
            partials: 256,
            workgroup: 32,
            rows: 8,
        },
    ),
];

const fn options(
    codes: [f64; 3],
    [ragged, resets, clip, peephole, layer_norm]: [bool; 5],
    noise: NoiseMode,
) -> OptionConstants {
    let [gate, candidate, output] = codes;
    OptionConstants {
        activations: [[gate, 0.5, 0.25], [candidate, 0.5, 0.25], [output, 0.5, 0.25]],
        ragged,
        resets,
        clip,
        peephole,
        independent: false,
        layer_norm,
        noise,
    }
}

/// All constants of one of the validated sets; N is 24 plus the number of `others`.
pub(super) const fn validated<const N: usize>(set: usize, others: &[Constant]) -> [Constant; N] {
    let (options, driver) = (SETS[set].0.list(), SETS[set].1.list());
    let mut all = [("", 0.0); N];
    let mut n = 0;
    while n < N {
        all[n] = match n {
            0..16 => options[n],
            16..24 => driver[n - 16],
            _ => others[n - 24],
        };
        n += 1;
    }
    all
}

/// Options of a pass with random draws, with or without a packed sequence; `rnn/previous.wgsl` is validated
/// with them.
pub(super) const fn previous(ragged: bool) -> [Constant; 16] {
    let mut of = options([0.0; 3], [ragged, ragged, false, false, false], NoiseMode::Draws);
    of.activations = [[0.0; 3]; 3];
    of.list()
}
