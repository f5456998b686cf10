//! The f64 reference: naive loops over flat row-major arrays, one equation a line, no code
//! shared with a backend. Its backward passes are verified by central differences, all of it
//! against PyTorch.

mod cell;
mod sample;
mod stack;

pub mod ctc;
pub mod loss;
pub mod matmul;
pub mod optim;
pub mod pointwise;
pub mod rows;
pub mod weighted;

pub use sample::{StackCase, stack_spec};
pub use stack::{
    CellWeights, Forward, Grads, StackInput, StackWeights, backward, forward, forward_with_masks,
    named_weights, weights_by_name,
};
