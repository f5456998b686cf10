//! The recurrent stack: all layers, both directions, over the whole sequence, forward and backward.
//!
//! This folder checks arguments, keeps states, packs ragged rows, applies dropout, merges directions, and
//! goes from layer to layer. A backend runs a `LayerPass`: one layer over all steps, both directions at once;
//! or, for a packed sequence, one direction in its own order of steps. The forward pass returns y and, in
//! training, the activated gates. The backward pass overwrites these with the gradients of the
//! pre-activations and returns dx and the weights' gradients.

mod backward;
mod check;
mod checkpoint;
#[cfg(feature = "gpu")]
mod comparison;
#[cfg(feature = "gpu")]
mod explain;
mod flow;
mod flow_noise;
mod forward;
mod kept;
mod live;
mod memory;
mod merge;
mod pack;
mod packed;
mod parts;
mod rows;
mod sequences;
mod states;
mod trace;
mod types;
#[cfg(feature = "gpu")]
mod wavefront;
mod weights;

pub use backward::{backward, backward_checkpointed, backward_in_parts, backward_with_flow};
pub use checkpoint::Checkpoints;
#[cfg(feature = "gpu")]
pub use comparison::Comparison;
#[cfg(feature = "gpu")]
pub use explain::Explanation;
pub use flow::{StateFlow, flow_problem};
pub use forward::{forward, forward_checkpointed, forward_for_flow, forward_in_parts};
pub use kept::{Groups, Kept};
pub use live::{host_values, host_values_mut, live_problem, live_stack};
pub use memory::kept_bytes;
pub use pack::pack;
pub use packed::Packed;
pub use parts::Division;
pub use sequences::Sequences;
pub use trace::LayerTrace;
pub use types::{
    DROPOUT_STREAM, INPUT_STREAM, NOISE_STREAM, OUTPUT_STREAM, Saved, StackArgs, StackCotangents, StackDraws,
    StackGrads, StackOutput, Wanted,
};
pub use weights::CellWeights;
