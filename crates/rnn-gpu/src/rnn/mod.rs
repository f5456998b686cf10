//! Recurrent layers on the GPU. Twin of `rnn-cpu/src/rnn/`.
//!
//! `forward` and `backward` run one layer: products over all steps, and the recurrence between them. `layer`
//! has the code that both share, and `memory` the memory they take. `wavefront` runs all layers of a stack
//! side by side. `weights` holds a layer's weights in the order of the kernels; `weight_grads` computes their
//! gradients. `recurrence` enqueues the kernels of `rnn/*.wgsl` by a plan: `algorithm` names the algorithms,
//! `plan` estimates the cost of plans, `choice` chooses one, `tune` measures them, `tuning` keeps what was measured, and `explain`
//! reports them. `persistent` runs recurrences whose workgroups wait for each other, and repeats them if one waits too
//! long. `planned` lists the kernels of a layer for an adapter that is not opened. `options` converts a cell's
//! options for the kernels. `pack` and `rows` run the smaller kernels.
//! `self_test` checks the optional kernels, which simpler ones can replace. `base_test` checks the simplest kernels.
//!
//! In this folder every width is padded to a multiple of four, so that kernels read vectors of four: the
//! letters H, P and I mean the padded widths (`layer::Layer::widths`). P is the width of h: the
//! projection's features, or H without a projection. Arrays are padded with zeros on the way in and cut on
//! the way out. The gates of a unit lie side by side: `[T, B, D, H, G]`.

mod algorithm;
mod backward;
pub(crate) mod base_test;
mod choice;
mod explain;
mod forward;
mod layer;
mod memory;
mod options;
mod pack;
mod persistent;
pub(crate) mod plan;
mod planned;
mod recurrence;
mod rows;
mod self_test;
mod sums;
mod tune;
mod tuning;
pub mod wavefront;
mod weight_grads;
mod weights;

pub use algorithm::Algorithm;
pub use backward::backward;
pub use choice::Recurrence;
pub use explain::{recurrences, tune};
pub use forward::forward;
pub use memory::{Largest, working_len};
pub use options::padded;
pub(crate) use persistent::Persistence;
pub use planned::{AdapterFacts, PlannedKernel, Role, layer_kernels, persistent_kernels};
pub(crate) use tuning::Tuning;
pub use weights::{CellWeights, LayerWeights};
