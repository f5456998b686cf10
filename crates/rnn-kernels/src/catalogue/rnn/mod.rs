//! Kernels of `shaders/rnn/*.wgsl`: one driver per direction of time, joined with each cell, each way to fetch
//! the rows of the product, and each source of the step number.

pub mod constants;

use crate::cell::{CellKind, CellSpec};
use crate::kernel::{Access::*, Constants, Kernel, StepSource, part};
use crate::params::rnn::{
    BackwardParams, ForwardParams, InterleaveParams, NormRowsParams, PackBiasParams, PackRecurrentParams,
    PersistentRestoreParams, PersistentSettleParams, PersistentStartParams, PreviousParams,
    ReplaceLastGateParams,
};
use constants::{held_rows, held_weights, polls, staged, training};

/// Source of the recurrent product's operand rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// Workgroup memory, one part at a time: any adapter.
    Workgroup,
    /// Shuffles among the eight lanes of a subgroup.
    Subgroup,
    /// Workgroup memory that keeps the rows from step to step. Needs a workgroup that holds all units, and
    /// steps of one phase.
    Held,
    /// Rows as in [`Fetch::Held`], and the weights stay in workgroup memory, too.
    HeldWeights,
    /// Rows as in [`Fetch::Held`], and every invocation keeps its weights in registers. Needs a workgroup that passes
    /// over the units once, and at most [`KEPT_TURNS`] turns of the loop over k.
    KeptWeights,
}

impl Fetch {
    /// Whether rows stay in workgroup memory, for which the kernel has the constant `HELD_ROWS`.
    pub fn are_held(self) -> bool {
        matches!(self, Fetch::Held | Fetch::HeldWeights | Fetch::KeptWeights)
    }
}

/// Turns of the loop over k for which `lib/weights_registers.wgsl` has registers.
pub const KEPT_TURNS: usize = 4;

/// Vectors of four along k that `lib/weights_registers.wgsl` allows.
pub const KEPT_DEPTH: usize = 128;

/// Storage formats of a recurrence's arrays. Its arithmetic, the ring and c are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecurrenceFormats {
    /// All in f32.
    Single,
    /// Weights in f16: inference.
    HalfWeights,
    /// Weights, gates and y in f16: training.
    Half,
}

/// The validated sets of a driver's constants, extended by `others`.
macro_rules! variants {
    ($count:literal, $others:expr) => {
        &[
            &constants::validated::<{ 24 + $count }>(0, $others),
            &constants::validated::<{ 24 + $count }>(1, $others),
            &constants::validated::<{ 24 + $count }>(2, $others),
            &constants::validated::<{ 24 + $count }>(3, $others),
        ]
    };
}

/// By [`Fetch`].
const FORWARD_VARIANTS: [&[Constants]; 5] = [
    variants!(2, &[training(true), staged(512)]),
    variants!(1, &[training(true)]),
    variants!(2, &[training(true), held_rows(256)]),
    variants!(3, &[training(true), held_rows(256), held_weights(320)]),
    variants!(2, &[training(true), held_rows(256)]),
];
const FORWARD_PERSISTENT: &[Constants] = variants!(3, &[training(true), polls(65536), staged(512)]);
const BACKWARD_PERSISTENT: &[Constants] = variants!(2, &[polls(65536), staged(512)]);
/// By [`Fetch`].
const BACKWARD_VARIANTS: [&[Constants]; 5] = [
    variants!(1, &[staged(512)]),
    variants!(0, &[]),
    variants!(1, &[held_rows(256)]),
    variants!(2, &[held_rows(256), held_weights(320)]),
    variants!(1, &[held_rows(256)]),
];

/// One driver with one cell.
macro_rules! recurrence {
    ($direction:tt, $bindings:expr, $params:ty, $variants:expr, [$cell:literal, $gates:tt, $($part:literal),*], $weights:tt, $store:tt, $rows:ident, $step:ident) => {
        Kernel {
            label: concat!($cell, "_", $direction, "_", $weights, "_", $store, "_", stringify!($rows), "_", stringify!($step)),
            parts: &[
                part!("lib/math.wgsl"),
                part!("lib/activation.wgsl"),
                part!("lib/rng.wgsl"),
                recurrence!(@step $step),
                part!("lib/store_" $store ".wgsl"),
                part!("lib/weights_" $weights ".wgsl"),
                part!("lib/gates_" $gates ".wgsl"),
                recurrence!(@memory $direction, $gates),
                part!("lib/options.wgsl"),
                part!("lib/cell.wgsl"),
                $(part!("cells/" $part ".wgsl"),)*
                recurrence!(@held $rows),
                recurrence!(@elements $direction, $rows),
                recurrence!(@stores $direction, $rows),
                recurrence!(@ring $rows),
                recurrence!(@rows $rows),
                recurrence!(@sums $rows),
                part!("lib/row_means.wgsl"),
                part!("rnn/" $direction ".wgsl"),
            ],
            entry: $direction,
            bindings: $bindings,
            params: <$params>::LAYOUT,
            step: StepSource::$step,
            variants: recurrence!(@variants $direction, $rows, $variants),
            subgroups: recurrence!(@subgroups $rows),
            half: recurrence!(@half $store),
            matrix_units: false,
            trusted: true,
        }
    };
    (@variants "forward", Persistent, $variants:expr) => { FORWARD_PERSISTENT };
    (@variants "forward", PersistentKept, $variants:expr) => { FORWARD_PERSISTENT };
    (@variants "backward", Persistent, $variants:expr) => { BACKWARD_PERSISTENT };
    (@variants "backward", PersistentKept, $variants:expr) => { BACKWARD_PERSISTENT };
    (@variants $direction:tt, $rows:ident, $variants:expr) => { $variants[Fetch::$rows as usize] };
    (@subgroups Subgroup) => { true };
    (@subgroups $other:ident) => { false };
    (@memory "forward", $gates:tt) => { part!("lib/units_" $gates ".wgsl") };
    (@memory "backward", $gates:tt) => { part!("lib/quads_" $gates ".wgsl") };
    (@elements "forward", Subgroup) => { part!("lib/ring_quads.wgsl") };
    (@elements $direction:tt, Persistent) => { part!("lib/ring_atomics.wgsl") };
    (@elements $direction:tt, PersistentKept) => { part!("lib/ring_atomics.wgsl") };
    (@elements "forward", $other:ident) => { part!("lib/ring_scalars.wgsl") };
    (@elements "backward", $rows:ident) => { part!("lib/ring_quads.wgsl") };
    (@stores "forward", Subgroup) => { part!("lib/stores_lanes.wgsl") };
    (@stores "forward", $other:ident) => { part!("lib/stores_scalars.wgsl") };
    (@stores "backward", $rows:ident) => { part!("lib/stores_quads.wgsl") };
    (@half "f32") => { false };
    (@half "f16") => { true };
    (@step Immediate) => { part!("lib/step_immediate.wgsl") };
    (@step Uniform) => { part!("lib/step_uniform.wgsl") };
    (@rows Persistent) => { part!("lib/rows_workgroup.wgsl") };
    (@rows PersistentKept) => { part!("lib/rows_workgroup.wgsl") };
    (@rows Workgroup) => { part!("lib/rows_workgroup.wgsl") };
    (@rows Subgroup) => { part!("lib/rows_subgroup.wgsl") };
    (@rows $held:ident) => { part!("lib/rows_held.wgsl") };
    (@sums Subgroup) => { part!("lib/sums_own.wgsl") };
    (@sums $other:ident) => { part!("lib/sums_shared.wgsl") };
    (@ring Persistent) => { part!("lib/ring_persistent.wgsl") };
    (@ring PersistentKept) => { part!("lib/ring_persistent.wgsl") };
    (@ring Workgroup) => { part!("lib/ring_storage.wgsl") };
    (@ring Subgroup) => { part!("lib/ring_storage.wgsl") };
    (@ring $held:ident) => { part!("lib/ring_held.wgsl") };
    (@held HeldWeights) => { part!("lib/weights_held.wgsl") };
    (@held PersistentKept) => { part!("lib/weights_registers.wgsl") };
    (@held KeptWeights) => { part!("lib/weights_registers.wgsl") };
    (@held $other:ident) => { part!("lib/weights_streamed.wgsl") };
}

/// Both drivers with one cell, for all formats, every [`Fetch`] and every source of the step number.
macro_rules! cell {
    ($name:ident, $plain:expr, $cell:tt) => {
        static $name: CellKernels = CellKernels {
            name: cell!(@name $cell),
            plain: $plain,
            forward: [
                cell!(@every @forward $cell, "f32", "f32"),
                cell!(@every @forward $cell, "f16", "f32"),
                cell!(@every @forward $cell, "f16", "f16"),
            ],
            backward: [
                cell!(@every @backward $cell, "f32", "f32"),
                cell!(@every @backward $cell, "f16", "f16"),
            ],
            persistent: [
                cell!(@forward $cell, "f32", "f32", Persistent, Uniform),
                cell!(@forward $cell, "f16", "f32", Persistent, Uniform),
                cell!(@forward $cell, "f16", "f16", Persistent, Uniform),
            ],
            persistent_kept: [
                cell!(@forward $cell, "f32", "f32", PersistentKept, Uniform),
                cell!(@forward $cell, "f16", "f32", PersistentKept, Uniform),
                cell!(@forward $cell, "f16", "f16", PersistentKept, Uniform),
            ],
            persistent_backward: [
                cell!(@backward $cell, "f32", "f32", Persistent, Uniform),
                cell!(@backward $cell, "f16", "f16", Persistent, Uniform),
            ],
            persistent_backward_kept: [
                cell!(@backward $cell, "f32", "f32", PersistentKept, Uniform),
                cell!(@backward $cell, "f16", "f16", PersistentKept, Uniform),
            ],
        };
    };
    (@name [$cell:literal, $($part:literal),*]) => { $cell };
    (@every @$direction:ident $cell:tt, $weights:tt, $store:tt) => {
        [
            cell!(@$direction $cell, $weights, $store, Workgroup, Uniform),
            cell!(@$direction $cell, $weights, $store, Workgroup, Immediate),
            cell!(@$direction $cell, $weights, $store, Subgroup, Uniform),
            cell!(@$direction $cell, $weights, $store, Subgroup, Immediate),
            cell!(@$direction $cell, $weights, $store, Held, Uniform),
            cell!(@$direction $cell, $weights, $store, Held, Immediate),
            cell!(@$direction $cell, $weights, $store, HeldWeights, Uniform),
            cell!(@$direction $cell, $weights, $store, HeldWeights, Immediate),
            cell!(@$direction $cell, $weights, $store, KeptWeights, Uniform),
            cell!(@$direction $cell, $weights, $store, KeptWeights, Immediate),
        ]
    };
    (@forward $cell:tt, $weights:tt, $store:tt, $rows:ident, $step:ident) => {
        recurrence!(
            "forward",
            // weights, options, c0, gates, aux, y, ring, stats
            &[Read, Read, Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
            ForwardParams,
            FORWARD_VARIANTS,
            $cell,
            $weights,
            $store,
            $rows,
            $step
        )
    };
    (@backward $cell:tt, $weights:tt, $store:tt, $rows:ident, $step:ident) => {
        recurrence!(
            "backward",
            // weights, y, dy, options, gates, aux, state, ring
            &[Read, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
            BackwardParams,
            BACKWARD_VARIANTS,
            $cell,
            $weights,
            $store,
            $rows,
            $step
        )
    };
}

/// The kernels of one cell, for every [`Fetch`] and every source of the step number.
pub struct CellKernels {
    /// The cell's name in the labels of its kernels.
    pub name: &'static str,
    /// The cell without options, apart from those that choose these kernels.
    pub plain: CellSpec,
    /// Indexed by [`RecurrenceFormats`].
    forward: [[Kernel; 10]; 3],
    /// [`RecurrenceFormats::Single`] and [`RecurrenceFormats::Half`].
    backward: [[Kernel; 10]; 2],
    /// Indexed by [`RecurrenceFormats`].
    persistent: [Kernel; 3],
    /// [`Self::persistent`] with weights in registers.
    persistent_kept: [Kernel; 3],
    /// As [`Self::backward`].
    persistent_backward: [Kernel; 2],
    /// [`Self::persistent_backward`] with weights in registers.
    persistent_backward_kept: [Kernel; 2],
}

// The cell; its name, number of gates in memory, and parts in `shaders/cells/`.
cell!(LSTM, CellSpec::lstm(), ["lstm", "4", "no_second", "lstm", "lstm_gates"]);
cell!(
    LSTM_COUPLED,
    CellSpec { coupled: true, ..CellSpec::lstm() },
    ["lstm_coupled", "3", "no_second", "lstm", "lstm_coupled"]
);
cell!(GRU, CellSpec::gru(), ["gru", "3", "no_second", "no_c", "gru"]);
cell!(
    GRU_BEFORE,
    CellSpec { reset_after: false, ..CellSpec::gru() },
    ["gru_before", "3", "gru_before", "no_c", "gru"]
);
cell!(MGU, CellSpec::mgu(), ["mgu", "2", "no_second", "no_c", "mgu"]);
cell!(RNN, CellSpec::rnn_tanh(), ["rnn", "1", "no_second", "no_c", "rnn"]);

/// Every cell that has kernels of its own.
pub static CELLS: [&CellKernels; 6] = [&LSTM, &LSTM_COUPLED, &GRU, &GRU_BEFORE, &MGU, &RNN];

impl CellKernels {
    /// The kernels of a cell.
    pub fn of(spec: &CellSpec) -> &'static Self {
        match spec.kind {
            CellKind::Lstm if spec.coupled => &LSTM_COUPLED,
            CellKind::Lstm => &LSTM,
            CellKind::Gru if spec.reset_after => &GRU,
            CellKind::Gru => &GRU_BEFORE,
            CellKind::Mgu => &MGU,
            CellKind::Rnn => &RNN,
        }
    }
}

fn pick(kernels: &'static [Kernel; 10], rows: Fetch, immediates: bool) -> &'static Kernel {
    &kernels[2 * rows as usize + usize::from(immediates)]
}

/// The forward recurrence of a cell. With `immediates` the step number is an immediate, else a uniform.
pub fn forward(
    spec: &CellSpec,
    formats: RecurrenceFormats,
    rows: Fetch,
    immediates: bool,
) -> &'static Kernel {
    pick(&CellKernels::of(spec).forward[formats as usize], rows, immediates)
}

/// The forward recurrence whose workgroups wait for each other's values. Few dispatches run all steps, so the step number
/// is a uniform, which every adapter has. With `kept` every invocation keeps its weights in registers, as in
/// [`Fetch::KeptWeights`].
pub fn persistent(spec: &CellSpec, formats: RecurrenceFormats, kept: bool) -> &'static Kernel {
    let cell = CellKernels::of(spec);
    let kernels = if kept { &cell.persistent_kept } else { &cell.persistent };
    &kernels[formats as usize]
}

/// The backward recurrence whose workgroups wait for each other's values; see [`persistent`].
pub fn persistent_backward(spec: &CellSpec, half: bool, kept: bool) -> &'static Kernel {
    let cell = CellKernels::of(spec);
    let kernels = if kept { &cell.persistent_backward_kept } else { &cell.persistent_backward };
    &kernels[usize::from(half)]
}

/// The backward recurrence of a cell, with weights, gates and y in f16 or all in f32.
pub fn backward(spec: &CellSpec, half: bool, rows: Fetch, immediates: bool) -> &'static Kernel {
    pick(&CellKernels::of(spec).backward[usize::from(half)], rows, immediates)
}

/// Packs recurrent weights in the order of the recurrence.
pub static PACK_RECURRENT: Kernel = Kernel {
    label: "pack_recurrent",
    parts: &[part!("lib/index.wgsl"), part!("rnn/pack_recurrent.wgsl")],
    entry: "pack_recurrent",
    bindings: &[Read, ReadWrite], // u, out
    params: PackRecurrentParams::LAYOUT,
    variants: &[&[("BACKWARD", 0.0)], &[("BACKWARD", 1.0)]],
    ..Kernel::PLAIN
};

const PREVIOUS_VARIANTS: &[Constants] = &[&constants::previous(true), &constants::previous(false)];

/// The recurrent product's operand of every step.
pub static PREVIOUS: Kernel = Kernel {
    label: "previous",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/activation.wgsl"),
        part!("lib/rng.wgsl"),
        part!("lib/options.wgsl"),
        part!("lib/store_f32.wgsl"),
        part!("rnn/previous.wgsl"),
    ],
    entry: "previous",
    bindings: &[Read, Read, Read, ReadWrite], // options, y, h0, out
    params: PreviousParams::LAYOUT,
    variants: PREVIOUS_VARIANTS,
    ..Kernel::PLAIN
};

/// The same where y and the result are f16.
pub static PREVIOUS_HALF: Kernel = Kernel {
    label: "previous_f16",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/activation.wgsl"),
        part!("lib/rng.wgsl"),
        part!("lib/options.wgsl"),
        part!("lib/store_f16.wgsl"),
        part!("rnn/previous.wgsl"),
    ],
    half: true,
    ..PREVIOUS
};

/// Layer normalisation of the input's product, in place.
pub static NORM_ROWS: Kernel = Kernel {
    label: "norm_rows",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/sum_lanes.wgsl"),
        part!("lib/row_norm.wgsl"),
        part!("rnn/norm_rows.wgsl"),
    ],
    entry: "norm_rows",
    bindings: &[Read, Read, ReadWrite], // gain, bias, x
    params: NormRowsParams::LAYOUT,
    ..Kernel::PLAIN
};

/// The gradient of [`NORM_ROWS`].
pub static NORM_ROWS_BACKWARD: Kernel = Kernel {
    label: "norm_rows_backward",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/sum_lanes.wgsl"),
        part!("lib/row_norm.wgsl"),
        part!("rnn/norm_rows_backward.wgsl"),
    ],
    entry: "norm_rows_backward",
    bindings: &[Read, Read, ReadWrite, ReadWrite], // gain, d, x, of_gain
    params: NormRowsParams::LAYOUT,
    ..Kernel::PLAIN
};

/// Adds the two biases of a direction in the order of the kernels.
pub static PACK_BIAS: Kernel = Kernel {
    label: "pack_bias",
    parts: &[part!("lib/index.wgsl"), part!("rnn/pack_bias.wgsl")],
    entry: "pack_bias",
    bindings: &[Read, Read, ReadWrite, ReadWrite], // b_ih, b_hh, bias, cell_params
    params: PackBiasParams::LAYOUT,
    ..Kernel::PLAIN
};

/// Reorders the rows of a weight matrix between PyTorch's order and the recurrence's.
pub static INTERLEAVE: Kernel = Kernel {
    label: "interleave",
    parts: &[part!("lib/index.wgsl"), part!("rnn/interleave.wgsl")],
    entry: "interleave",
    bindings: &[Read, ReadWrite], // source, result
    params: InterleaveParams::LAYOUT,
    variants: &[&[("BACK", 0.0)], &[("BACK", 1.0)]],
    ..Kernel::PLAIN
};

/// Turns a GRU's gate gradients into those of the recurrent weights.
pub static REPLACE_LAST_GATE: Kernel = Kernel {
    label: "replace_last_gate",
    parts: &[part!("lib/index.wgsl"), part!("lib/store_f32.wgsl"), part!("rnn/replace_last_gate.wgsl")],
    entry: "replace_last_gate",
    bindings: &[Read, ReadWrite], // aux, gates
    params: ReplaceLastGateParams::LAYOUT,
    ..Kernel::PLAIN
};

/// The same for gates in f16.
pub static REPLACE_LAST_GATE_HALF: Kernel = Kernel {
    label: "replace_last_gate_f16",
    parts: &[part!("lib/index.wgsl"), part!("lib/store_f16.wgsl"), part!("rnn/replace_last_gate.wgsl")],
    half: true,
    ..REPLACE_LAST_GATE
};

/// Fills the ring of a persistent recurrence.
pub static PERSISTENT_START: Kernel = Kernel {
    label: "persistent_start",
    parts: &[part!("lib/index.wgsl"), part!("rnn/persistent_start.wgsl")],
    entry: "persistent_start",
    bindings: &[Read, Read, ReadWrite], // h0, gave_up, ring
    params: PersistentStartParams::LAYOUT,
    ..Kernel::PLAIN
};

/// Decides whether a persistent recurrence is repeated.
pub static PERSISTENT_SETTLE: Kernel = Kernel {
    label: "persistent_settle",
    parts: &[part!("rnn/persistent_settle.wgsl")],
    entry: "persistent_settle",
    bindings: &[Read, ReadWrite, ReadWrite], // ring, gave_up, sizes
    params: PersistentSettleParams::LAYOUT,
    ..Kernel::PLAIN
};

/// Restores the gates for a repetition.
pub static PERSISTENT_RESTORE: Kernel = Kernel {
    label: "persistent_restore",
    parts: &[part!("lib/index.wgsl"), part!("rnn/persistent_restore.wgsl")],
    entry: "persistent_restore",
    bindings: &[Read, ReadWrite], // saved, restored
    params: PersistentRestoreParams::LAYOUT,
    ..Kernel::PLAIN
};

/// Every kernel of the family.
pub fn all() -> Vec<&'static Kernel> {
    let recurrences = CELLS.iter().flat_map(|cell| {
        let back = cell.persistent_backward.iter().chain(&cell.persistent_backward_kept);
        let waiting = cell.persistent.iter().chain(&cell.persistent_kept).chain(back);
        cell.forward.iter().chain(&cell.backward).flatten().chain(waiting)
    });
    let others = [
        &NORM_ROWS,
        &NORM_ROWS_BACKWARD,
        &PREVIOUS,
        &PREVIOUS_HALF,
        &PACK_RECURRENT,
        &PACK_BIAS,
        &INTERLEAVE,
        &REPLACE_LAST_GATE,
        &REPLACE_LAST_GATE_HALF,
        &PERSISTENT_START,
        &PERSISTENT_SETTLE,
        &PERSISTENT_RESTORE,
    ];
    recurrences.chain(others).collect()
}
