//! Layers and the [`Module`] trait.

mod cell;
pub(crate) mod config;
mod dropout;
mod embedding;
pub(crate) mod inspect;
mod layer_norm;
mod layers;
mod linear;
mod mode;
mod module;
mod output;
mod recurrent;
mod sequences;
mod sequential;
mod state;
mod stream;

pub use config::cells::*;
pub use config::{ForgetBias, RecurrentCell, RecurrentConfig};
pub use dropout::{Dropout, DropoutConfig};
pub use embedding::{Embedding, EmbeddingConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use layers::RecurrentLayer;
pub use linear::{Linear, LinearConfig};
pub use mode::{Draws, Mode};
pub use module::{Found, Module, Visitor};
pub(crate) use module::{draw_problems, mismatches, prefix_problem};
pub use output::{RecurrentOutput, Trace};
pub use sequences::{ForwardArgs, Lengths, Resets};
pub use sequential::{Layer, Sequential};
pub use state::{HiddenState, RecurrentState, StackState};
pub use stream::RecurrentStream;

use crate::error::{Error, Result};
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::{Device, RngKey};

/// Streams of random draws, one per purpose, so that one seed serves a whole layer.
pub(crate) const WEIGHTS_STREAM: u32 = 1;
pub(crate) const DROPOUT_STREAM: u32 = 2;
pub(crate) const WEIGHT_DROPOUT_STREAM: u32 = 3;

/// State for drawing a layer's parameters.
pub(crate) struct Builder<'a> {
    pub(crate) device: &'a Device,
    pub(crate) key: RngKey,
    /// Name of the configuration, for errors.
    pub(crate) config: &'static str,
    /// Index of the next parameter; each has its own key.
    pub(crate) next: u32,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(device: &'a Device, seed: u64, config: &'static str) -> Self {
        let key = RngKey::new(seed).derive(WEIGHTS_STREAM, 0);
        Builder { device, key, config, next: 0 }
    }

    /// The key of the next parameter.
    pub(crate) fn key(&mut self) -> RngKey {
        self.next += 1;
        self.key.derive(WEIGHTS_STREAM, self.next)
    }

    pub(crate) fn param(&self, values: Vec<f32>, dims: &[usize]) -> Result<Param> {
        Param::new(&Tensor::from_vec(self.device, values, dims)?)
    }

    /// Refuses a size of zero.
    pub(crate) fn positive(&self, field: &'static str, value: usize) -> Result<()> {
        self.check(value > 0, field, "at least 1", value)
    }

    /// Refuses a value outside `[0, 1)`.
    pub(crate) fn probability(&self, field: &'static str, value: f32) -> Result<()> {
        self.check((0.0..1.0).contains(&value), field, "in [0, 1)", value)
    }

    pub(crate) fn check(
        &self,
        ok: bool,
        field: &'static str,
        expected: &str,
        got: impl ToString,
    ) -> Result<()> {
        if ok {
            return Ok(());
        }
        let (config, expected, got) = (self.config, expected.to_string(), got.to_string());
        Err(Error::Config { config, field, expected, got })
    }
}
