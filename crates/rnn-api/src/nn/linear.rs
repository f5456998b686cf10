//! A fully connected layer.

use crate::error::Result;
use crate::init::{Init, InitShape};
use crate::live::PipelineBuilder;
use crate::nn::builder::{Builder, Planned};
use crate::nn::kind::sides;
use crate::nn::{Layer, LayerKind, Module, Visitor, calls};
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
    /// A size of zero, an invalid init, a weight that the device or the machine has no memory for.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Linear> {
        let mut builder = Builder::new(device, seed, "LinearConfig");
        let (rows, cols) = (self.output_size, self.input_size);
        builder.positive("input_size", cols)?;
        builder.positive("output_size", rows)?;
        let planned = [Planned::one("weight", &[rows, cols]), Planned::one("bias", &[rows])];
        builder.expect_room(&[("input_size", cols), ("output_size", rows)], &planned)?;
        let shape = InitShape { blocks: 1, rows, cols, pytorch_fan: cols };
        let weight = builder.draw(self.init, shape, "init")?;
        let weight = builder.param(&weight, &[rows, cols])?;
        let bias_init = if self.init == Init::PyTorch { Init::PyTorch } else { Init::Zeros };
        let bias = match self.bias {
            true => {
                let shape = InitShape { cols: 0, ..shape };
                let bias = builder.draw(bias_init, shape, "init")?;
                Some(builder.param(&bias, &[rows])?)
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

impl Module for Linear {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.layer(self.kind());
        visitor.module("weight", &self.weight);
        visitor.module("bias", &self.bias);
    }
}

impl Linear {
    /// Maps `[.., I]` to `[.., O]`.
    ///
    /// # Errors
    /// Another last axis, another device, or index data.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let params: Vec<&Param> = [&self.weight].into_iter().chain(&self.bias).collect();
        let y = match &Param::snapshot_all(&params)[..] {
            [(weight, _), (bias, _)] => x.linear(weight, Some(bias))?,
            [(weight, _), ..] => x.linear(weight, None)?,
            [] => unreachable!("there is a weight"),
        };
        calls::note(&self.weight, self.kind(), x, &y);
        Ok(y)
    }

    fn kind(&self) -> LayerKind {
        let [output_size, input_size] = sides(&self.weight);
        LayerKind::Linear { input_size, output_size }
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }

    fn add_to(&self, pipeline: PipelineBuilder) -> Result<PipelineBuilder> {
        pipeline.linear(self)
    }
}

impl PipelineBuilder {
    /// A fully connected layer.
    ///
    /// # Errors
    /// Another input size, no memory, or a failing device.
    pub fn linear(self, linear: &Linear) -> Result<Self> {
        let params: Vec<&Param> = [&linear.weight].into_iter().chain(&linear.bias).collect();
        let values = Param::snapshot_all(&params);
        let of = |n: usize| values.get(n).map_or_else(|| Ok(Vec::new()), |(tensor, _)| tensor.to_vec());
        let (weight, bias) = (of(0)?, of(1)?);
        let inputs = values.first().and_then(|(weight, _)| weight.dims().last().copied()).unwrap_or(1);
        self.dense(inputs, &weight, &bias)
    }
}
