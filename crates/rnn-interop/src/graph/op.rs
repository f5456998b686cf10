//! Nodes: their kinds, and what each computes.

use super::inputs::Inputs;
use super::recurrent::Recurrent;
use super::{convolve, embedding, host, mask, pointwise, product, reduce, shape, take};
use crate::error::{Result, Why};
use crate::value::Value;
use rnn_api::Device;
use std::any::Any;
use std::sync::Arc;

/// The number of a value.
pub(crate) type Slot = usize;

/// One step of a model.
pub(crate) struct Node {
    pub(crate) name: String,
    /// Its kind in the file.
    pub(crate) kind: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Option<Slot>>,
    pub(crate) outputs: Vec<Option<Slot>>,
}

/// What a node computes from its inputs. Optional inputs are `None` where a file leaves them out.
pub(crate) enum Op {
    /// Nodes may share a layer.
    Recurrent(Arc<Recurrent>),
    /// A recurrent layer whose weights are inputs of the run, behind x, lengths, h and c. No gradient reaches them.
    RecurrentOf(Box<dyn Make>),
    /// A function of one array, element by element.
    Unary(pointwise::Unary),
    /// A function of two arrays that broadcast, element by element.
    Binary(pointwise::Binary),
    Compare(host::Compare),
    Not,
    Where,
    Clip {
        min: Option<f32>,
        max: Option<f32>,
    },
    MatMul,
    /// `alpha A B + beta C`
    Gemm(product::Gemm),
    /// `x W^T + b` over the last axis. Inputs: x, W `[O, I]` and, if there is one, b.
    Linear,
    /// Rows of a table. Inputs: the table, and their numbers.
    Embedding,
    Mask(mask::Mask),
    /// `A B` of integers without their zero points.
    MatMulInteger,
    /// Quantisation is left out: the value itself, scale 1 and zero point 0.
    DynamicQuantizeLinear,
    DequantizeLinear {
        axis: i64,
    },
    /// Over one axis, or over all from it on.
    Softmax {
        axis: i64,
        log: bool,
        flatten: bool,
    },
    LayerNorm {
        axis: i64,
        eps: f32,
    },
    Reduce(reduce::Reduce),
    ArgMax {
        axis: i64,
        keep: bool,
    },
    Convolution(convolve::Window),
    MaxPool(convolve::Window),
    Shape {
        start: i64,
        end: Option<i64>,
    },
    Size,
    /// Integers, booleans or floats.
    Cast(host::ValueType),
    ConstantOfShape(Value),
    Range,
    Gather {
        axis: i64,
    },
    Slice(take::Slice),
    Split {
        axis: i64,
        sizes: Option<Vec<i64>>,
        parts: usize,
    },
    Concat {
        axis: i64,
    },
    Pad {
        mode: String,
        pads: Option<Vec<i64>>,
        value: f32,
    },
    Reshape {
        allow_zero: bool,
    },
    Flatten {
        axis: i64,
    },
    Transpose {
        perm: Option<Vec<i64>>,
    },
    Expand,
    Unsqueeze {
        axes: Option<Vec<i64>>,
    },
    Squeeze {
        axes: Option<Vec<i64>>,
    },
    Identity,
    If(Box<[Branch; 2]>),
}

/// Makes a layer from the weights among a node's inputs.
pub(crate) trait Make: Any + Send + Sync {
    /// # Errors
    /// In words: weights of the wrong shape, or an option that is not supported.
    fn make(&self, device: &Device, weights: &[Option<Value>]) -> Result<Recurrent, String>;
}

/// The nodes of one side of a condition, true first, and the slots of their results.
pub(crate) struct Branch {
    pub(crate) nodes: Vec<Node>,
    pub(crate) results: Vec<Slot>,
}

impl Op {
    /// The results, one for each output.
    pub(crate) fn run(&self, device: &Device, inputs: &[Option<Value>]) -> Result<Vec<Value>, Why> {
        let inputs = Inputs(inputs);
        let one = |value: Value| Ok(vec![value]);
        match self {
            Op::Recurrent(layer) => layer.run(&inputs),
            Op::RecurrentOf(make) => {
                let (data, weights) = inputs.0.split_at_checked(4).ok_or("a layer without weights")?;
                make.make(device, weights)?.run(&Inputs(data))
            }
            Op::Unary(op) => one(op.run(inputs.need(0)?)?),
            Op::Binary(op) => one(op.run_all(device, &inputs)?),
            Op::Compare(op) => one(op.run(inputs.need(0)?, inputs.need(1)?)?),
            Op::Not => one(host::not(inputs.need(0)?)?),
            Op::Where => one(host::select(inputs.need(0)?, inputs.need(1)?, inputs.need(2)?)?),
            Op::Clip { min, max } => one(pointwise::clip(&inputs, *min, *max)?),
            Op::MatMul => {
                one(Value::Float(product::matmul(inputs.need(0)?.float()?, inputs.need(1)?.float()?)?))
            }
            Op::Gemm(gemm) => one(gemm.run(&inputs)?),
            Op::Linear => {
                let bias = inputs.get(2).map(Value::float).transpose()?;
                one(inputs.need(0)?.float()?.linear(inputs.need(1)?.float()?, bias)?.into())
            }
            Op::Embedding => one(embedding::embedding(inputs.need(0)?.float()?, inputs.need(1)?)?),
            Op::Mask(mask) => mask.run(&inputs),
            Op::MatMulInteger => one(product::matmul_integer(device, &inputs)?),
            Op::DynamicQuantizeLinear => {
                let zero = Value::Int(crate::value::Host::scalar(0));
                let scale = rnn_api::Tensor::full(device, &[], 1.0)?;
                Ok(vec![inputs.need(0)?.clone(), scale.into(), zero])
            }
            Op::DequantizeLinear { axis } => one(product::dequantize(device, &inputs, *axis)?),
            Op::Softmax { axis, log, flatten } => {
                one(reduce::softmax(inputs.need(0)?, *axis, *log, *flatten)?)
            }
            Op::LayerNorm { axis, eps } => one(reduce::layer_norm(device, &inputs, *axis, *eps)?),
            Op::Reduce(reduce) => one(reduce.run(&inputs)?),
            Op::ArgMax { axis, keep } => one(reduce::argmax(inputs.need(0)?, *axis, *keep)?),
            Op::Convolution(window) => one(window.convolve(&inputs)?),
            Op::MaxPool(window) => one(window.max(&inputs)?),
            Op::Shape { start, end } => one(shape::shape(inputs.need(0)?, *start, *end)),
            Op::Size => one(shape::size(inputs.need(0)?)),
            Op::Cast(kind) => one(host::cast(device, inputs.need(0)?, *kind)?),
            Op::ConstantOfShape(value) => one(shape::constant(device, inputs.need(0)?, value)?),
            Op::Range => one(host::range(&inputs)?),
            Op::Gather { axis } => one(take::gather(inputs.need(0)?, inputs.need(1)?, *axis)?),
            Op::Slice(slice) => one(slice.run(&inputs)?),
            Op::Split { axis, sizes, parts } => take::split(&inputs, *axis, sizes.as_deref(), *parts),
            Op::Concat { axis } => one(take::concat(&inputs, *axis)?),
            Op::Pad { mode, pads, value } => one(take::pad(device, &inputs, mode, pads.as_deref(), *value)?),
            Op::Reshape { allow_zero } => one(shape::reshape(&inputs, *allow_zero)?),
            Op::Flatten { axis } => one(shape::flatten(inputs.need(0)?, *axis)?),
            Op::Transpose { perm } => one(shape::transpose(inputs.need(0)?, perm.as_deref())?),
            Op::Expand => one(shape::expand(&inputs)?),
            Op::Unsqueeze { axes } => one(shape::unsqueeze(&inputs, axes.as_deref())?),
            Op::Squeeze { axes } => one(shape::squeeze(&inputs, axes.as_deref())?),
            Op::Identity => one(inputs.need(0)?.clone()),
            // `Node::run` runs a branch, because it reads slots.
            Op::If(_) => Err("a condition inside of a node".into()),
        }
    }

    /// Whether the result for constant inputs is a constant.
    pub(crate) fn folds(&self) -> bool {
        !matches!(self, Op::Recurrent(_) | Op::RecurrentOf(_) | Op::If(_) | Op::DynamicQuantizeLinear)
    }

    /// Whether the result is the values of the first input in another order, so that weights stay weights.
    pub(crate) fn rearranges(&self) -> bool {
        matches!(
            self,
            Op::Identity
                | Op::Transpose { .. }
                | Op::Reshape { .. }
                | Op::Slice(_)
                | Op::Concat { .. }
                | Op::Split { .. }
                | Op::Squeeze { .. }
                | Op::Unsqueeze { .. }
                | Op::Flatten { .. }
                | Op::Cast(host::ValueType::Float)
        )
    }
}

impl Node {
    /// The recurrent layer, if the node is one.
    pub(super) fn layer(&self) -> Option<&Arc<Recurrent>> {
        if let Op::Recurrent(layer) = &self.op { Some(layer) } else { None }
    }

    /// The slot of input `n`, if it has one.
    pub(crate) fn input(&self, n: usize) -> Option<Slot> {
        self.inputs.get(n).copied().flatten()
    }

    /// The slot of output `n`, if it has one.
    pub(crate) fn output(&self, n: usize) -> Option<Slot> {
        self.outputs.get(n).copied().flatten()
    }

    /// Calls `read` for every slot that the node reads, those of its branches among them.
    pub(crate) fn each_read(&self, read: &mut dyn FnMut(Slot)) {
        self.inputs.iter().flatten().for_each(|&slot| read(slot));
        if let Op::If(branches) = &self.op {
            for Branch { nodes, results } in branches.iter() {
                nodes.iter().for_each(|node| node.each_read(read));
                results.iter().for_each(|&slot| read(slot));
            }
        }
    }

    pub(crate) fn run(&self, device: &Device, slots: &mut Vec<Option<Value>>) -> Result<()> {
        let inputs: Vec<Option<Value>> = self.inputs.iter().map(|slot| slots[(*slot)?].clone()).collect();
        let results = match &self.op {
            Op::If(branches) => self.branch(device, branches, &inputs, slots)?,
            op => op.run(device, &inputs).map_err(|why| why.at(&self.name, &self.kind))?,
        };
        for (slot, value) in self.outputs.iter().zip(results) {
            if let Some(slot) = slot {
                slots[*slot] = Some(value);
            }
        }
        Ok(())
    }

    fn branch(
        &self,
        device: &Device,
        branches: &[Branch; 2],
        inputs: &[Option<Value>],
        slots: &mut Vec<Option<Value>>,
    ) -> Result<Vec<Value>> {
        let refuse = |why: &str| Why::from(why).at(&self.name, &self.kind);
        let Some(Some(Value::Bool(condition))) = inputs.first() else {
            return Err(refuse("the condition must be a boolean"));
        };
        let first = condition.values.first().ok_or_else(|| refuse("the condition is empty"))?;
        let branch = &branches[usize::from(!first)];
        for node in &branch.nodes {
            node.run(device, slots)?;
        }
        let result = |&slot: &Slot| slots[slot].clone().ok_or_else(|| refuse("a branch lacks a result"));
        branch.results.iter().map(result).collect()
    }
}
