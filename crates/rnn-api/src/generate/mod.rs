//! Text, music and other sequences of symbols from a network that gives the logits of the next symbol.
//!
//! - [`Sampling`] takes one symbol from logits: greedy, temperature, top-k, top-p, min-p, repetition penalty.
//! - [`Generation`] continues prompts by sampling, all at once or symbol by symbol.
//! - [`BeamSearch`] looks for the likeliest continuations.
//!
//! The network is any function `step(symbols, &state)` that maps symbols `[T, B]` to the logits `[T, B, V]` of the symbol
//! after each, and returns the state after them. It runs without a graph; layers should be in [`eval`] mode.
//! See `docs/generation.md`.
//!
//! [`eval`]: crate::nn::Module::eval

mod beam;
mod feed;
mod generation;
mod logits;
mod rows;
mod sampling;
mod symbols;

pub use beam::{BeamSearch, Hypothesis};
pub use generation::Generation;
pub use sampling::Sampling;
pub use symbols::{Drawn, End, Generated, Symbols};
