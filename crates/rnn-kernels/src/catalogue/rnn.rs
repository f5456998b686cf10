//! Kernels of `shaders/rnn/*.wgsl`: one driver, joined with each cell and each source of the step
//! number.

use crate::cell::CellKind;
use crate::kernel::{Access::*, Constants, Kernel, StepSource, part};
use crate::params::rnn::{PackBiasParams, PackRecurrentParams, StepBackwardParams, StepForwardParams};

/// Sigmoid gates with tanh, the Elman cell with relu, and all linear: [`crate::cell::Activation`].
const FORWARD_VARIANTS: &[Constants] = &[
    &[("GATE_ACTIVATION", 0.0), ("CANDIDATE_ACTIVATION", 1.0), ("OUTPUT_ACTIVATION", 1.0), ("TRAINING", 1.0)],
    &[("GATE_ACTIVATION", 0.0), ("CANDIDATE_ACTIVATION", 2.0), ("OUTPUT_ACTIVATION", 1.0), ("TRAINING", 0.0)],
    &[("GATE_ACTIVATION", 3.0), ("CANDIDATE_ACTIVATION", 3.0), ("OUTPUT_ACTIVATION", 3.0), ("TRAINING", 1.0)],
];

const BACKWARD_VARIANTS: &[Constants] = &[
    &[("GATE_ACTIVATION", 0.0), ("CANDIDATE_ACTIVATION", 1.0), ("OUTPUT_ACTIVATION", 1.0)],
    &[("GATE_ACTIVATION", 0.0), ("CANDIDATE_ACTIVATION", 2.0), ("OUTPUT_ACTIVATION", 1.0)],
    &[("GATE_ACTIVATION", 3.0), ("CANDIDATE_ACTIVATION", 3.0), ("OUTPUT_ACTIVATION", 3.0)],
];

/// The step kernels of one cell with one source of the step number.
macro_rules! step_kernels {
    ($forward:ident, $backward:ident, $label:literal, $cell:literal, $source:literal, $step:expr) => {
        static $forward: Kernel = Kernel {
            label: concat!($label, "_step_forward"),
            parts: &[
                part!("lib/math.wgsl"),
                part!("lib/activation.wgsl"),
                part!($source),
                part!($cell),
                part!("rnn/step_forward.wgsl"),
            ],
            entry: "step_forward",
            // weights, cell_params, h0, c0, gates, aux, y
            bindings: &[Read, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite],
            params_size: size_of::<StepForwardParams>(),
            step: $step,
            variants: FORWARD_VARIANTS,
        };
        static $backward: Kernel = Kernel {
            label: concat!($label, "_step_backward"),
            parts: &[
                part!("lib/math.wgsl"),
                part!("lib/activation.wgsl"),
                part!($source),
                part!($cell),
                part!("rnn/step_backward.wgsl"),
            ],
            entry: "step_backward",
            // weights, y, dy, h0, c0, gates, aux, state
            bindings: &[Read, Read, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite],
            params_size: size_of::<StepBackwardParams>(),
            step: $step,
            variants: BACKWARD_VARIANTS,
        };
    };
}

step_kernels!(LSTM_F, LSTM_B, "lstm", "cells/lstm.wgsl", "lib/step_immediate.wgsl", StepSource::Immediate);
step_kernels!(
    LSTM_UF,
    LSTM_UB,
    "lstm_uniform",
    "cells/lstm.wgsl",
    "lib/step_uniform.wgsl",
    StepSource::Uniform
);
step_kernels!(GRU_F, GRU_B, "gru", "cells/gru.wgsl", "lib/step_immediate.wgsl", StepSource::Immediate);
step_kernels!(GRU_UF, GRU_UB, "gru_uniform", "cells/gru.wgsl", "lib/step_uniform.wgsl", StepSource::Uniform);
step_kernels!(RNN_F, RNN_B, "rnn", "cells/rnn.wgsl", "lib/step_immediate.wgsl", StepSource::Immediate);
step_kernels!(RNN_UF, RNN_UB, "rnn_uniform", "cells/rnn.wgsl", "lib/step_uniform.wgsl", StepSource::Uniform);

/// The forward step of a cell; `immediates` says where it finds the step number.
pub fn step_forward(kind: CellKind, immediates: bool) -> &'static Kernel {
    match (kind, immediates) {
        (CellKind::Lstm, true) => &LSTM_F,
        (CellKind::Lstm, false) => &LSTM_UF,
        (CellKind::Gru, true) => &GRU_F,
        (CellKind::Gru, false) => &GRU_UF,
        (CellKind::Rnn, true) => &RNN_F,
        (CellKind::Rnn, false) => &RNN_UF,
    }
}

/// The backward step of a cell.
pub fn step_backward(kind: CellKind, immediates: bool) -> &'static Kernel {
    match (kind, immediates) {
        (CellKind::Lstm, true) => &LSTM_B,
        (CellKind::Lstm, false) => &LSTM_UB,
        (CellKind::Gru, true) => &GRU_B,
        (CellKind::Gru, false) => &GRU_UB,
        (CellKind::Rnn, true) => &RNN_B,
        (CellKind::Rnn, false) => &RNN_UB,
    }
}

/// Recurrent weights in the order of the step kernels.
pub static PACK_RECURRENT: Kernel = Kernel {
    label: "pack_recurrent",
    parts: &[part!("lib/index.wgsl"), part!("rnn/pack_recurrent.wgsl")],
    entry: "pack_recurrent",
    bindings: &[Read, ReadWrite], // u, out
    params_size: size_of::<PackRecurrentParams>(),
    step: StepSource::None,
    variants: &[&[("BACKWARD", 0.0)], &[("BACKWARD", 1.0)]],
};

/// The two biases of a direction in the form the kernels use.
pub static PACK_BIAS: Kernel = Kernel {
    label: "pack_bias",
    parts: &[part!("lib/index.wgsl"), part!("rnn/pack_bias.wgsl")],
    entry: "pack_bias",
    bindings: &[Read, Read, ReadWrite, ReadWrite], // b_ih, b_hh, bias, cell_params
    params_size: size_of::<PackBiasParams>(),
    step: StepSource::None,
    variants: &[&[]],
};

/// Every kernel of the family.
pub static ALL: &[&Kernel] = &[
    &LSTM_F,
    &LSTM_B,
    &LSTM_UF,
    &LSTM_UB,
    &GRU_F,
    &GRU_B,
    &GRU_UF,
    &GRU_UB,
    &RNN_F,
    &RNN_B,
    &RNN_UF,
    &RNN_UB,
    &PACK_RECURRENT,
    &PACK_BIAS,
];
