//! A fully connected layer.

use crate::error::Result;
use crate::init::{Init, InitShape};
use crate::nn::{Builder, Layer};
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::Device;
use serde::{Deserialize, Serialize};

/// Sizes of a [`Linear`] layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LinearConfig {
    /// I
    pub input_size: usize,
    /// O
    pub output_size: usize,
    /// Whether there is a bias; true by default.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Init of the weight; [`Init::PyTorch`] by default.
    #[serde(default = "pytorch")]
    pub init: Init,
}

fn yes() -> bool {
    true
}

fn pytorch() -> Init {
    Init::PyTorch
}

impl LinearConfig {
    /// A layer that maps `[.., I]` to `[.., O]`.
    pub fn new(input_size: usize, output_size: usize) -> Self {
        LinearConfig { input_size, output_size, bias: true, init: Init::PyTorch }
    }

    /// Whether there is a bias.
    #[must_use]
    pub fn with_bias(self, bias: bool) -> Self {
        LinearConfig { bias, ..self }
    }

    /// Init of the weight. The bias starts at zero, except with [`Init::PyTorch`].
    #[must_use]
    pub fn with_init(self, init: Init) -> Self {
        LinearConfig { init, ..self }
    }

    /// Draws the parameters.
    ///
    /// # Errors
    /// A size of zero, an invalid init, no memory.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Linear> {
        let mut builder = Builder::new(device, seed, "LinearConfig");
        let (rows, cols) = (self.output_size, self.input_size);
        builder.positive("input_size", cols)?;
        builder.positive("output_size", rows)?;
        let shape = InitShape { blocks: 1, rows, cols, pytorch_fan: cols };
        let weight = self.init.draw(shape, builder.key(), (builder.config, "init"))?;
        let weight = builder.param(weight, &[rows, cols])?;
        let bias_init = if self.init == Init::PyTorch { Init::PyTorch } else { Init::Zeros };
        let bias = match self.bias {
            true => {
                let shape = InitShape { cols: 0, ..shape };
                let bias = bias_init.draw(shape, builder.key(), (builder.config, "init"))?;
                Some(builder.param(bias, &[rows])?)
            }
            false => None,
        };
        Ok(Linear { weight, bias })
    }
}

/// `y = x W^T + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[O, I]`
    pub weight: Param,
    /// `[O]`
    pub bias: Option<Param>,
}

crate::module!(Linear { weight, bias });

impl Linear {
    /// Maps `[.., I]` to `[.., O]`.
    ///
    /// # Errors
    /// Another last axis, another device, or index data.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::value);
        x.linear(&self.weight.value(), bias.as_ref())
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }
}
