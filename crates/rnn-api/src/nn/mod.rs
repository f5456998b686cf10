//! Layers and the [`Module`] trait.

mod attention;
mod builder;
mod calls;
mod cell;
pub(crate) mod config;
mod decoding;
mod dropout;
mod embedding;
pub(crate) mod inspect;
mod kind;
mod layer_norm;
mod layers;
mod linear;
mod mode;
mod model;
mod module;
pub(crate) mod observe;
mod output;
mod part_seed;
mod recurrent;
mod scoped;
mod sequences;
mod sequential;
mod state;
mod stream;
mod summary;

pub use attention::{Attended, Attention, AttentionConfig, AttentionMemory, AttentionScore};
pub use config::cells::*;
pub use config::{ForgetBias, RecurrentCell, RecurrentConfig};
pub use decoding::Decoding;
pub use dropout::{Dropout, DropoutConfig};
pub use embedding::{Embedding, EmbeddingConfig};
pub use kind::LayerKind;
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use layers::RecurrentLayer;
pub use linear::{Linear, LinearConfig};
pub use mode::{Draws, Mode};
pub use model::{ModelConfig, Setting};
pub use module::{Found, Module, Visitor};
pub(crate) use module::{draw_problems, mismatches, prefix_problem};
pub use output::{RecurrentOutput, Trace};
pub use part_seed::part_seed;
pub(crate) use recurrent::Recurrent;
pub use sequences::{ForwardArgs, Lengths, Resets};
pub use sequential::{Layer, Sequential};
pub(crate) use state::sealed;
pub use state::{HiddenState, RecurrentState, StackState};
pub use stream::RecurrentStream;
pub use summary::{LayerCalls, LayerSummary, Summary, summary};

/// Streams of random draws, one per purpose, so that one seed serves a whole layer.
pub(crate) const WEIGHTS_STREAM: u32 = 1;
pub(crate) const DROPOUT_STREAM: u32 = 2;
pub(crate) const WEIGHT_DROPOUT_STREAM: u32 = 3;
