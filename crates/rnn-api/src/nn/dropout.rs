//! Dropout as a layer.

use crate::error::Result;
use crate::live::PipelineBuilder;
use crate::nn::builder::Builder;
use crate::nn::{DROPOUT_STREAM, Draws, Layer, LayerKind, Mode, Module, Visitor};
use crate::tensor::Tensor;
use rnn_runtime::ops::dropout::DropoutMask;
use rnn_runtime::{Device, RngKey};
use serde::{Deserialize, Serialize};

/// Setting of a [`Dropout`] layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DropoutConfig {
    /// Probability that an element becomes zero.
    pub probability: f32,
}

impl DropoutConfig {
    /// Dropout with this probability.
    pub fn new(probability: f32) -> Self {
        DropoutConfig { probability }
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// A probability outside `[0, 1)`.
    pub fn init(&self, seed: u64) -> Result<Dropout> {
        // The layer owns no memory, so any device serves the builder.
        let device = Device::cpu();
        let builder = Builder::new(&device, seed, "DropoutConfig");
        builder.probability("probability", self.probability)?;
        let key = RngKey::new(seed).derive(DROPOUT_STREAM, 0);
        Ok(Dropout { probability: self.probability, mode: Mode::new(), draws: Draws::new(key) })
    }
}

/// In training, zeroes elements at random and scales the others by `1 / (1 - p)`; in evaluation it does
/// nothing. The first axis counts as time steps; see [`Draws`].
#[derive(Debug)]
pub struct Dropout {
    probability: f32,
    mode: Mode,
    draws: Draws,
}

impl Module for Dropout {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.layer(LayerKind::Dropout { probability: self.probability });
        visitor.mode(&self.mode);
        visitor.draws(&self.draws);
    }
}

impl Dropout {
    /// Applies dropout; the shape stays the same.
    ///
    /// # Errors
    /// Index data, or a failing device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !self.mode.is_training() || self.probability == 0.0 {
            return Ok(x.clone());
        }
        let steps = x.dims().first().copied().unwrap_or(1);
        let (key, first_step) = self.draws.take(steps);
        let row = x.len() / steps;
        x.dropout(&DropoutMask {
            probability: self.probability,
            key,
            first_step,
            row,
            first: 0,
            shared: false,
        })
    }
}

impl Layer for Dropout {
    /// Appends nothing: in real time nothing is dropped.
    fn add_to(&self, pipeline: PipelineBuilder) -> Result<PipelineBuilder> {
        Ok(pipeline)
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }
}
