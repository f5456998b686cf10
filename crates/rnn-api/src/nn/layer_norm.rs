//! Layer normalisation.

use crate::error::Result;
use crate::nn::builder::{Builder, Planned};
use crate::nn::{Layer, LayerKind, Module, Visitor, calls};
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::Device;
use serde::{Deserialize, Serialize};

/// Sizes of a [`LayerNorm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LayerNormConfig {
    /// C: length of the last axis.
    pub size: usize,
    /// Added to the variance; 1e-5 by default.
    #[serde(default = "default_eps")]
    pub eps: f32,
}

fn default_eps() -> f32 {
    1e-5
}

impl LayerNormConfig {
    /// Normalises a last axis of C elements.
    pub fn new(size: usize) -> Self {
        LayerNormConfig { size, eps: default_eps() }
    }

    /// Sets the epsilon.
    #[must_use]
    pub fn with_eps(self, eps: f32) -> Self {
        LayerNormConfig { eps, ..self }
    }

    /// Makes the layer, with weight one and bias zero.
    ///
    /// # Errors
    /// A size of zero, an epsilon that is not positive and finite, no memory.
    pub fn init(&self, device: &Device) -> Result<LayerNorm> {
        let builder = Builder::new(device, 0, "LayerNormConfig");
        builder.positive("size", self.size)?;
        builder.check(self.eps.is_finite() && self.eps > 0.0, "eps", "positive", self.eps)?;
        let dims = [self.size];
        let planned = [Planned::one("weight", &dims), Planned::one("bias", &dims)];
        builder.expect_room(&[("size", self.size)], &planned)?;
        Ok(LayerNorm {
            weight: builder.constant(1.0, &dims)?,
            bias: builder.constant(0.0, &dims)?,
            eps: self.eps,
        })
    }
}

/// `weight (x - mean) / sqrt(var + eps) + bias` over the last axis.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `[C]`
    pub weight: Param,
    /// `[C]`
    pub bias: Param,
    eps: f32,
}

impl Module for LayerNorm {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.layer(self.kind());
        visitor.module("weight", &self.weight);
        visitor.module("bias", &self.bias);
    }
}

impl LayerNorm {
    /// Normalises `[.., C]`; the shape stays the same.
    ///
    /// # Errors
    /// Another last axis, another device, or index data.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [(weight, _), (bias, _)] = &Param::snapshot_all(&[&self.weight, &self.bias])[..] else {
            unreachable!("two parameters")
        };
        let y = x.layer_norm(weight, bias, self.eps)?;
        calls::note(&self.weight, self.kind(), x, &y);
        Ok(y)
    }

    fn kind(&self) -> LayerKind {
        LayerKind::LayerNorm { size: self.weight.len() }
    }
}

impl Layer for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }
}
