//! [`PipelineBuilder`]: the stages of a pipeline, checked one by one. Layers without a state append themselves; the methods for
//! them are in `nn/sequential.rs` and `nn/linear.rs`.

use super::pipeline::Pipeline;
use super::stage::{Kind, Stage};
use crate::error::{Error, Result};
use crate::nn::{RecurrentCell, RecurrentLayer, RecurrentState, sealed::Sealed};
use rnn_kernels::cell::{Activation, CellKind};
use rnn_runtime::host_memory;
use rnn_runtime::live::LiveDense;
use rnn_runtime::ops::pointwise::UnaryOp;
use std::fmt;

const OP: &str = "PipelineBuilder";

/// Makes a [`Pipeline`], stage by stage from the input on. It copies weights of the moment.
pub struct PipelineBuilder {
    inputs: usize,
    stages: Vec<Stage>,
    /// The initial state of the recurrent stages.
    initial: Vec<f32>,
    /// Their cells.
    cells: Vec<CellKind>,
}

impl Pipeline {
    /// Starts a pipeline of samples with `input_size` values each.
    ///
    /// # Errors
    /// A size of zero.
    pub fn builder(input_size: usize) -> Result<PipelineBuilder> {
        if input_size == 0 {
            return Err(Error::value(OP, "input_size", "at least 1", input_size));
        }
        Ok(PipelineBuilder { inputs: input_size, stages: Vec::new(), initial: Vec::new(), cells: Vec::new() })
    }
}

impl PipelineBuilder {
    /// Values of a sample after the stages so far.
    pub fn width(&self) -> usize {
        self.stages.last().map_or(self.inputs, |stage| stage.width)
    }

    fn expect_width(&self, arg: &'static str, expected: usize) -> Result<()> {
        if expected == self.width() {
            return Ok(());
        }
        let given = format!("an input of {}, the width of the stage before it", self.width());
        Err(Error::value(OP, arg, given, expected))
    }

    fn with(mut self, kind: Kind, width: usize) -> Self {
        self.stages.push(Stage::new(kind, width));
        self
    }

    /// A stack of recurrent layers, from its initial state.
    ///
    /// # Errors
    /// Another input size; a layer on a GPU, in two directions, or with layer normalisation, a projection or
    /// `reset_after = false` ([`Error::Unsupported`] with the option's name); no memory.
    pub fn recurrent<C: RecurrentCell>(mut self, layer: &RecurrentLayer<C>) -> Result<Self> {
        self.expect_width("layer", layer.spec().input_size)?;
        let stack = layer.live()?;
        let state = layer.zero_state(1)?;
        self.initial.extend(state.hidden().to_vec()?);
        if let Some(c) = state.cell() {
            self.initial.extend(c.to_vec()?);
        }
        self.cells.push(layer.spec().cell.kind);
        Ok(self.with(Kind::Recurrent(stack), layer.spec().hidden_size))
    }

    /// `y = x W^T + b` with W `[O, inputs]` and b `[O]`, or without b.
    pub(crate) fn dense(self, inputs: usize, weight: &[f32], bias: &[f32]) -> Result<Self> {
        self.expect_width("linear", inputs)?;
        let dense = LiveDense::new(weight, bias, inputs)?;
        let width = dense.outputs();
        Ok(self.with(Kind::Linear(dense), width))
    }

    /// A pointwise op, with the bits of [`Tensor::unary`](crate::Tensor::unary).
    #[must_use]
    pub fn unary(self, op: UnaryOp) -> Self {
        let width = self.width();
        self.with(Kind::Unary(op), width)
    }

    /// An activation, as cells have it: within 3 units in the last place of a [`UnaryOp`] of the same name.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        let width = self.width();
        self.with(Kind::Activation(activation), width)
    }

    /// Softmax over the values of a sample.
    #[must_use]
    pub fn softmax(self) -> Self {
        let width = self.width();
        self.with(Kind::Softmax, width)
    }

    /// Adds the pipeline's input. Where a sample has more inputs than values here, the first ones are added.
    ///
    /// # Errors
    /// Fewer inputs than values.
    pub fn residual(self) -> Result<Self> {
        let width = self.width();
        if width > self.inputs {
            let expected = format!("at most the {} inputs of a sample", self.inputs);
            return Err(Error::value(OP, "the width at the residual input", expected, width));
        }
        Ok(self.with(Kind::Residual, width))
    }

    /// The pipeline, in its initial state. Without stages it returns its input.
    ///
    /// # Errors
    /// No memory for a sample and the outputs of all stages.
    pub fn build(mut self) -> Result<Pipeline> {
        // All together: each alone may find room for itself.
        let widths = self.stages.iter().map(|stage| stage.width as u128).sum::<u128>();
        let bytes = (self.inputs as u128 + widths).saturating_mul(size_of::<f32>() as u128);
        let what = || format!("a sample of {} values and the outputs of its stages", self.inputs);
        host_memory::expect_room(OP, what, bytes)?;
        self.stages.iter_mut().try_for_each(|stage| stage.prepare(OP))?;
        Ok(Pipeline::new(self.stages, self.inputs, (self.initial, self.cells)))
    }
}

impl fmt::Debug for PipelineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipelineBuilder({} stages, {} to {} values)", self.stages.len(), self.inputs, self.width())
    }
}
