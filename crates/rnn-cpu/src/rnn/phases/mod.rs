//! The driver of layers whose steps have several phases: with layer normalisation, which needs a whole row of products; a
//! GRU with the reset gate before its second product; projections of h.
//!
//! Threads that share a direction divide the columns of each product, and the rows of the work between two products,
//! with a barrier after each phase. The products of the input are computed ahead, for several steps at a time. Every
//! number is one chain of multiply-adds, however the work is divided.

mod backward;
mod division;
mod forward;
mod norms;
pub(super) mod weights;

pub(super) use backward::backward;
pub(super) use forward::{forward, working_len};
pub(crate) use norms::{NormGrads, input_norm_grads};
