//! Layers one after another.

use crate::error::{Error, Result};
use crate::live::PipelineBuilder;
use crate::nn::{LayerKind, Module, Visitor};
use crate::tensor::Tensor;
use rnn_runtime::ops::pointwise::UnaryOp;
use std::fmt;

/// A module that maps one tensor to one tensor.
pub trait Layer: Module {
    /// Applies the layer.
    ///
    /// # Errors
    /// Any error of the layer's ops.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// Appends the layer to a network that runs in real time, with the weights of the moment; see
    /// [`Pipeline`](crate::live::Pipeline). A layer that is made of others appends these.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless the layer has its own implementation; a width that does not fit.
    fn add_to(&self, _pipeline: PipelineBuilder) -> Result<PipelineBuilder> {
        let name = std::any::type_name::<Self>();
        Err(Error::Unsupported {
            what: format!("a layer {name} in a Pipeline"),
            why: "a pipeline has recurrent stacks, Linear, UnaryOp, activations, and Sequentials of them"
                .into(),
        })
    }
}

impl PipelineBuilder {
    /// A layer without a state: [`Linear`](crate::nn::Linear), [`UnaryOp`], [`Dropout`](crate::nn::Dropout) (which does
    /// nothing here), or a [`Sequential`] of these.
    ///
    /// # Errors
    /// Any other layer ([`Error::Unsupported`] with its type); another input size.
    pub fn layer(self, layer: &dyn Layer) -> Result<Self> {
        layer.add_to(self)
    }
}

/// An activation function is a layer without parameters: `UnaryOp::Relu`.
impl Module for UnaryOp {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.layer(LayerKind::Unary(*self));
    }
}

impl Layer for UnaryOp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.unary(*self)
    }

    fn add_to(&self, pipeline: PipelineBuilder) -> Result<PipelineBuilder> {
        Ok(pipeline.unary(*self))
    }
}

/// Layers one after another; parameters are named `0.weight`, `2.bias` and so on, as in PyTorch.
///
/// ```
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let device = Device::cpu();
/// let head = Sequential::new()
///     .with(LinearConfig::new(8, 16).init(&device, 1)?)
///     .with(UnaryOp::Relu)
///     .with(LinearConfig::new(16, 2).init(&device, 2)?);
/// let y = head.forward(&Tensor::ones(&device, &[3, 8])?)?;
/// assert_eq!(y.dims(), [3, 2]);
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Sequential {
    layers: Vec<Box<dyn Layer + Send + Sync>>,
}

impl Sequential {
    /// No layers: the identity.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a layer.
    #[must_use]
    pub fn with(mut self, layer: impl Layer + Send + Sync + 'static) -> Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Applies all layers in order, with their parameters of one moment; see [`Module::pinned`].
    ///
    /// # Errors
    /// Any error of a layer.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.pinned(|| self.layers.iter().try_fold(x.clone(), |x, layer| layer.forward(&x)))
    }
}

impl Module for Sequential {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.layer(LayerKind::Struct("Sequential"));
        for (n, layer) in self.layers.iter().enumerate() {
            visitor.module(&n.to_string(), &**layer);
        }
    }
}

impl Layer for Sequential {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }

    fn add_to(&self, pipeline: PipelineBuilder) -> Result<PipelineBuilder> {
        self.layers.iter().try_fold(pipeline, |pipeline, layer| layer.add_to(pipeline))
    }
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sequential({} layers)", self.layers.len())
    }
}
