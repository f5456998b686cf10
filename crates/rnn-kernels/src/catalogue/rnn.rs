//! Kernels of `shaders/rnn/*.wgsl`: one driver per direction of time, joined with each cell, each way to fetch
//! the rows of the product, and each source of the step number.

use crate::cell::{CellKind, WeightFormat};
use crate::kernel::{Access::*, Constants, Kernel, StepSource, part};
use crate::params::rnn::{
    BackwardParams, ForwardParams, InterleaveParams, PackBiasParams, PackRecurrentParams,
    ReplaceLastGateParams,
};

/// How the rows of the recurrent product reach an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// Through workgroup memory: any adapter.
    Workgroup,
    /// By shuffles among the eight lanes of a subgroup.
    Subgroup,
}

/// Sigmoid gates with tanh, the Elman cell with relu, and all linear: [`crate::cell::Activation`]. Rows from
/// one to the most that workgroup memory has room for.
const FORWARD_VARIANTS: &[Constants] = &[
    &[
        ("GATE_ACTIVATION", 0.0),
        ("GATE_ALPHA", 0.5),
        ("GATE_BETA", 0.25),
        ("CANDIDATE_ACTIVATION", 1.0),
        ("CANDIDATE_ALPHA", 0.5),
        ("CANDIDATE_BETA", 0.25),
        ("OUTPUT_ACTIVATION", 1.0),
        ("OUTPUT_ALPHA", 0.5),
        ("OUTPUT_BETA", 0.25),
        ("TRAINING", 1.0),
        ("WORKGROUP", 256.0),
        ("ROWS", 4.0),
    ],
    &[
        ("GATE_ACTIVATION", 0.0),
        ("GATE_ALPHA", 0.5),
        ("GATE_BETA", 0.25),
        ("CANDIDATE_ACTIVATION", 2.0),
        ("CANDIDATE_ALPHA", 0.5),
        ("CANDIDATE_BETA", 0.25),
        ("OUTPUT_ACTIVATION", 1.0),
        ("OUTPUT_ALPHA", 0.5),
        ("OUTPUT_BETA", 0.25),
        ("TRAINING", 0.0),
        ("WORKGROUP", 64.0),
        ("ROWS", 1.0),
    ],
    &[
        ("GATE_ACTIVATION", 3.0),
        ("GATE_ALPHA", 0.5),
        ("GATE_BETA", 0.25),
        ("CANDIDATE_ACTIVATION", 3.0),
        ("CANDIDATE_ALPHA", 0.5),
        ("CANDIDATE_BETA", 0.25),
        ("OUTPUT_ACTIVATION", 3.0),
        ("OUTPUT_ALPHA", 0.5),
        ("OUTPUT_BETA", 0.25),
        ("TRAINING", 1.0),
        ("WORKGROUP", 8.0),
        ("ROWS", 32.0),
    ],
];

const BACKWARD_VARIANTS: &[Constants] = &[
    &[
        ("GATE_ACTIVATION", 0.0),
        ("GATE_ALPHA", 0.5),
        ("GATE_BETA", 0.25),
        ("CANDIDATE_ACTIVATION", 1.0),
        ("CANDIDATE_ALPHA", 0.5),
        ("CANDIDATE_BETA", 0.25),
        ("OUTPUT_ACTIVATION", 1.0),
        ("OUTPUT_ALPHA", 0.5),
        ("OUTPUT_BETA", 0.25),
        ("WORKGROUP", 256.0),
        ("ROWS", 4.0),
    ],
    &[
        ("GATE_ACTIVATION", 0.0),
        ("GATE_ALPHA", 0.5),
        ("GATE_BETA", 0.25),
        ("CANDIDATE_ACTIVATION", 2.0),
        ("CANDIDATE_ALPHA", 0.5),
        ("CANDIDATE_BETA", 0.25),
        ("OUTPUT_ACTIVATION", 1.0),
        ("OUTPUT_ALPHA", 0.5),
        ("OUTPUT_BETA", 0.25),
        ("WORKGROUP", 64.0),
        ("ROWS", 1.0),
    ],
    &[
        ("GATE_ACTIVATION", 3.0),
        ("GATE_ALPHA", 0.5),
        ("GATE_BETA", 0.25),
        ("CANDIDATE_ACTIVATION", 3.0),
        ("CANDIDATE_ALPHA", 0.5),
        ("CANDIDATE_BETA", 0.25),
        ("OUTPUT_ACTIVATION", 3.0),
        ("OUTPUT_ALPHA", 0.5),
        ("OUTPUT_BETA", 0.25),
        ("WORKGROUP", 8.0),
        ("ROWS", 32.0),
    ],
];

/// One driver with one cell.
macro_rules! recurrence {
    ($direction:literal, $bindings:expr, $params:ty, $variants:expr, $cell:literal, $weights:literal, $rows:ident, $step:ident) => {
        Kernel {
            label: concat!($cell, "_", $direction, "_", $weights, "_", stringify!($rows), "_", stringify!($step)),
            parts: &[
                part!("lib/math.wgsl"),
                part!("lib/activation.wgsl"),
                recurrence!(@step $step),
                part!("lib/weights_" $weights ".wgsl"),
                part!("cells/" $cell ".wgsl"),
                recurrence!(@rows $rows),
                part!("rnn/" $direction ".wgsl"),
            ],
            entry: $direction,
            bindings: $bindings,
            params_size: size_of::<$params>(),
            step: StepSource::$step,
            variants: $variants,
            subgroups: matches!(Rows::$rows, Rows::Subgroup),
            trusted: true,
        }
    };
    (@step Immediate) => { part!("lib/step_immediate.wgsl") };
    (@step Uniform) => { part!("lib/step_uniform.wgsl") };
    (@rows Workgroup) => { part!("lib/rows_workgroup.wgsl") };
    (@rows Subgroup) => { part!("lib/rows_subgroup.wgsl") };
}

/// Both drivers with one cell, for every way to fetch rows and every source of the step number.
macro_rules! cell {
    ($forward:ident, $backward:ident, $cell:literal) => {
        static $forward: [Kernel; 8] = [
    cell!(@forward $cell, "f32", Workgroup, Uniform),
    cell!(@forward $cell, "f32", Workgroup, Immediate),
    cell!(@forward $cell, "f32", Subgroup, Uniform),
    cell!(@forward $cell, "f32", Subgroup, Immediate),
    cell!(@forward $cell, "f16", Workgroup, Uniform),
    cell!(@forward $cell, "f16", Workgroup, Immediate),
    cell!(@forward $cell, "f16", Subgroup, Uniform),
    cell!(@forward $cell, "f16", Subgroup, Immediate),
        ];
        static $backward: [Kernel; 4] = [
    cell!(@backward $cell, Workgroup, Uniform),
    cell!(@backward $cell, Workgroup, Immediate),
    cell!(@backward $cell, Subgroup, Uniform),
    cell!(@backward $cell, Subgroup, Immediate),
        ];
    };
    (@forward $cell:literal, $weights:literal, $rows:ident, $step:ident) => {
        recurrence!(
            "forward",
            // weights, cell_params, c0, gates, aux, y, ring
            &[Read, Read, Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
            ForwardParams,
            FORWARD_VARIANTS,
            $cell,
            $weights,
            $rows,
            $step
        )
    };
    (@backward $cell:literal, $rows:ident, $step:ident) => {
        recurrence!(
            "backward",
            // weights, y, dy, initial, gates, aux, state, ring
            &[Read, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
            BackwardParams,
            BACKWARD_VARIANTS,
            $cell,
            "f32",
            $rows,
            $step
        )
    };
}

cell!(LSTM_FORWARD, LSTM_BACKWARD, "lstm");
cell!(GRU_FORWARD, GRU_BACKWARD, "gru");
cell!(RNN_FORWARD, RNN_BACKWARD, "rnn");

fn pick(kernels: &'static [Kernel], rows: Rows, immediates: bool) -> &'static Kernel {
    &kernels[2 * usize::from(rows == Rows::Subgroup) + usize::from(immediates)]
}

/// The forward recurrence of a cell, with weights in f32 or f16; `immediates` says where it finds the step number.
pub fn forward(kind: CellKind, weights: WeightFormat, rows: Rows, immediates: bool) -> &'static Kernel {
    let kernels: &'static [Kernel; 8] = match kind {
        CellKind::Lstm => &LSTM_FORWARD,
        CellKind::Gru => &GRU_FORWARD,
        CellKind::Rnn => &RNN_FORWARD,
    };
    let (f32_kernels, f16_kernels) = kernels.split_at(4);
    pick(if weights == WeightFormat::F16 { f16_kernels } else { f32_kernels }, rows, immediates)
}

/// The backward recurrence of a cell.
pub fn backward(kind: CellKind, rows: Rows, immediates: bool) -> &'static Kernel {
    let kernels = match kind {
        CellKind::Lstm => &LSTM_BACKWARD,
        CellKind::Gru => &GRU_BACKWARD,
        CellKind::Rnn => &RNN_BACKWARD,
    };
    pick(kernels, rows, immediates)
}

/// Recurrent weights in the order of the recurrence.
pub static PACK_RECURRENT: Kernel = Kernel {
    label: "pack_recurrent",
    parts: &[part!("lib/index.wgsl"), part!("rnn/pack_recurrent.wgsl")],
    entry: "pack_recurrent",
    bindings: &[Read, ReadWrite], // u, out
    params_size: size_of::<PackRecurrentParams>(),
    variants: &[&[("BACKWARD", 0.0)], &[("BACKWARD", 1.0)]],
    ..Kernel::PLAIN
};

/// The two biases of a direction in the form the kernels use.
pub static PACK_BIAS: Kernel = Kernel {
    label: "pack_bias",
    parts: &[part!("lib/index.wgsl"), part!("rnn/pack_bias.wgsl")],
    entry: "pack_bias",
    bindings: &[Read, Read, ReadWrite, ReadWrite], // b_ih, b_hh, bias, cell_params
    params_size: size_of::<PackBiasParams>(),
    ..Kernel::PLAIN
};

/// Rows of a weight matrix between PyTorch's order and the recurrence's.
pub static INTERLEAVE: Kernel = Kernel {
    label: "interleave",
    parts: &[part!("lib/index.wgsl"), part!("rnn/interleave.wgsl")],
    entry: "interleave",
    bindings: &[Read, ReadWrite], // source, result
    params_size: size_of::<InterleaveParams>(),
    variants: &[&[("BACK", 0.0)], &[("BACK", 1.0)]],
    ..Kernel::PLAIN
};

/// A GRU's gate gradients for the recurrent weights.
pub static REPLACE_LAST_GATE: Kernel = Kernel {
    label: "replace_last_gate",
    parts: &[part!("lib/index.wgsl"), part!("rnn/replace_last_gate.wgsl")],
    entry: "replace_last_gate",
    bindings: &[Read, ReadWrite], // aux, gates
    params_size: size_of::<ReplaceLastGateParams>(),
    ..Kernel::PLAIN
};

/// Every kernel of the family.
pub fn all() -> Vec<&'static Kernel> {
    let forward = [&LSTM_FORWARD, &GRU_FORWARD, &RNN_FORWARD].into_iter().flatten();
    let backward = [&LSTM_BACKWARD, &GRU_BACKWARD, &RNN_BACKWARD].into_iter().flatten();
    let others = [&PACK_RECURRENT, &PACK_BIAS, &INTERLEAVE, &REPLACE_LAST_GATE];
    forward.chain(backward).chain(others).collect()
}
