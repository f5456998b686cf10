//! Networks in real time: one row, sample by sample, on the CPU. After construction no memory is taken or given back, no
//! lock is taken, no thread is started, and the system is not called; every sample costs the same work, whatever its value.
//!
//! - [`Pipeline`] is a whole small network as one object: recurrent stacks, linear layers, activations and a residual
//!   input.
//! - [`RecurrentStream::step_into`](crate::nn::RecurrentStream::step_into) and
//!   [`block_into`](crate::nn::RecurrentStream::block_into) are the same for a single recurrent layer;
//!   [`reset_in_place`](crate::nn::RecurrentStream::reset_in_place) and
//!   [`is_finite`](crate::nn::RecurrentStream::is_finite) go with them.
//!
//! Subnormal numbers count as zero, so a sound that fades out does not slow the network; the former mode of the thread is
//! back when a call returns. See `docs/streaming.md`.

mod builder;
mod error;
mod pipeline;
mod row;
mod stage;

pub use builder::PipelineBuilder;
pub use error::LiveError;
pub use pipeline::{Pipeline, PipelineState};
pub(crate) use row::{LiveRow, finite, unshare};
