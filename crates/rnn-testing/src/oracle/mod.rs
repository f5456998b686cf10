//! The f64 reference: naive loops over flat row-major arrays, one equation per line, sharing no code with a
//! backend. Its backward passes are verified by central differences, and everything that PyTorch has is verified
//! against PyTorch.

mod cell;
mod choices;
mod kernel_sets;
mod masks;
mod options;
mod sample;
mod stack;
mod weights;

pub mod ctc;
pub mod loss;
pub mod matmul;
pub mod optim;
pub mod pointwise;
pub mod rows;
pub mod weighted;

pub use kernel_sets::{CASES, KernelSet, PassCase};
pub use masks::Masks;
pub use options::{EVERY_ACTIVATION, add_lengths, random_masks, random_spec, with_options};
pub use sample::{CELLS, StackCase, stack_spec};
pub use stack::{Forward, Grads, StackInput, backward, forward};
pub use weights::{CellWeights, StackWeights, named_weights, weights_by_name};
