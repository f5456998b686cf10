//! Which op of the graph computes an ONNX node, by the specification of opsets 7 to 22.

use super::attributes::Attributes;
use super::proto::{DataType, NodeProto};
use super::tensor;
use crate::graph::{Binary, Compare, Gemm, Op, Reduce, ReduceKind, Slice, Unary, ValueType, Window};
use crate::value::{Host, Value};
use rnn_api::{Device, Tensor, UnaryOp};
use std::path::Path;

/// The op of a node that is neither recurrent nor a condition.
///
/// # Errors
/// In words: the op, or one of its attributes, is not supported.
pub(super) fn op(node: &NodeProto, opset: i64, folder: &Path) -> Result<Op, String> {
    let attributes = Attributes::of(node);
    let op = pointwise(node, &attributes)
        .or_else(|| shapes(node, &attributes, opset, folder))
        .or_else(|| along_axes(node, &attributes, opset))
        .or_else(|| products(node, &attributes))
        .unwrap_or_else(|| Err("the op is not supported".to_string()))?;
    attributes.expect_all_read()?;
    Ok(op)
}

fn pointwise(node: &NodeProto, attributes: &Attributes<'_>) -> Option<Result<Op, String>> {
    let unary = |op| Op::Unary(Unary::Engine(op));
    Some(Ok(match node.op_type.as_str() {
        "Neg" => unary(UnaryOp::Neg),
        "Exp" => unary(UnaryOp::Exp),
        "Log" => unary(UnaryOp::Log),
        "Sqrt" => unary(UnaryOp::Sqrt),
        "Tanh" => unary(UnaryOp::Tanh),
        "Sigmoid" => unary(UnaryOp::Sigmoid),
        "Softsign" => unary(UnaryOp::Softsign),
        "Relu" => unary(UnaryOp::Relu),
        "Softplus" => unary(UnaryOp::Softplus),
        "Abs" => Op::Unary(Unary::Abs),
        "Reciprocal" => Op::Unary(Unary::Reciprocal),
        "Erf" => Op::Unary(Unary::Erf),
        "Gelu" => Op::Unary(Unary::Gelu { tanh: attributes.text("approximate").as_deref() == Some("tanh") }),
        "HardSigmoid" => {
            Op::Unary(Unary::HardSigmoid(attributes.float("alpha", 0.2), attributes.float("beta", 0.5)))
        }
        "LeakyRelu" => Op::Unary(Unary::LeakyRelu(attributes.float("alpha", 0.01))),
        "Elu" => Op::Unary(Unary::Elu(attributes.float("alpha", 1.0))),
        "Add" | "Sum" => Op::Binary(Binary::Add),
        "Sub" => Op::Binary(Binary::Sub),
        "Mul" => Op::Binary(Binary::Mul),
        "Div" => Op::Binary(Binary::Div),
        "Pow" => Op::Binary(Binary::Pow),
        "Max" => Op::Binary(Binary::Max),
        "Min" => Op::Binary(Binary::Min),
        "Mod" if !attributes.flag("fmod", false) => Op::Binary(Binary::Mod),
        "Equal" => Op::Compare(Compare::Equal),
        "Less" => Op::Compare(Compare::Less),
        "LessOrEqual" => Op::Compare(Compare::LessOrEqual),
        "Greater" => Op::Compare(Compare::Greater),
        "GreaterOrEqual" => Op::Compare(Compare::GreaterOrEqual),
        "And" => Op::Compare(Compare::And),
        "Or" => Op::Compare(Compare::Or),
        "Not" => Op::Not,
        "Where" => Op::Where,
        "Clip" => Op::Clip { min: attributes.maybe_float("min"), max: attributes.maybe_float("max") },
        "Identity" => Op::Identity,
        // Inference: nothing is dropped.
        "Dropout" => {
            attributes.ignore(&["ratio", "seed"]);
            Op::Identity
        }
        "Cast" => return Some(cast(attributes)),
        _ => return None,
    }))
}

fn cast(attributes: &Attributes<'_>) -> Result<Op, String> {
    attributes.ignore(&["saturate"]);
    let to = i32::try_from(attributes.int("to", 0)).ok().and_then(|to| DataType::try_from(to).ok());
    let kind = to.and_then(kind_of).ok_or("`to` must be a type of numbers")?;
    Ok(Op::Cast(kind))
}

/// What the elements of a type are here.
pub(super) fn kind_of(kind: DataType) -> Option<ValueType> {
    match kind {
        DataType::Float | DataType::Float16 | DataType::Double | DataType::Bfloat16 => Some(ValueType::Float),
        DataType::Bool => Some(ValueType::Bool),
        DataType::Undefined | DataType::String => None,
        _ => Some(ValueType::Int),
    }
}

fn shapes(
    node: &NodeProto,
    attributes: &Attributes<'_>,
    opset: i64,
    folder: &Path,
) -> Option<Result<Op, String>> {
    Some(Ok(match node.op_type.as_str() {
        "Shape" => Op::Shape { start: attributes.int("start", 0), end: attributes.maybe_int("end") },
        "Size" => Op::Size,
        "ConstantOfShape" => {
            let value = attributes.tensor("value").map(|value| tensor::value(value, folder));
            match value.transpose() {
                Ok(value) => Op::ConstantOfShape(value.flatten().unwrap_or_else(zero)),
                Err(why) => return Some(Err(why)),
            }
        }
        "Range" => Op::Range,
        "Gather" => Op::Gather { axis: attributes.int("axis", 0) },
        "Slice" => Op::Slice(Slice {
            starts: attributes.ints("starts"),
            ends: attributes.ints("ends"),
            axes: attributes.ints("axes"),
        }),
        "Split" => Op::Split {
            axis: attributes.int("axis", 0),
            sizes: attributes.ints("split"),
            parts: usize::try_from(attributes.int("num_outputs", node.output.len() as i64))
                .unwrap_or(0)
                .min(1 << 16),
        },
        "Concat" => Op::Concat { axis: attributes.int("axis", 1) },
        "Pad" => Op::Pad {
            mode: attributes.text("mode").unwrap_or_else(|| "constant".into()),
            pads: attributes.ints("pads"),
            value: attributes.float("value", 0.0),
        },
        "Reshape" => Op::Reshape { allow_zero: attributes.flag("allowzero", false) },
        "Flatten" => Op::Flatten { axis: attributes.int("axis", 1) },
        "Transpose" => Op::Transpose { perm: attributes.ints("perm") },
        "Expand" => Op::Expand,
        "Unsqueeze" => Op::Unsqueeze { axes: attributes.ints("axes") },
        "Squeeze" => Op::Squeeze { axes: attributes.ints("axes") },
        _ => return None,
    }))
    .filter(|_| opset > 0)
}

fn zero() -> Value {
    Tensor::zeros(&Device::cpu(), &[1]).map_or_else(|_| Value::Int(Host::scalar(0)), Value::Float)
}

fn along_axes(node: &NodeProto, attributes: &Attributes<'_>, opset: i64) -> Option<Result<Op, String>> {
    let reduce = |kind| {
        Op::Reduce(Reduce {
            kind,
            axes: attributes.ints("axes"),
            keep: attributes.flag("keepdims", true),
            none_is_identity: attributes.flag("noop_with_empty_axes", false),
        })
    };
    // Before opset 13 all axes from the given one on are one, and the default is 1.
    let flatten = opset < 13;
    let softmax =
        |log| Op::Softmax { axis: attributes.int("axis", if flatten { 1 } else { -1 }), log, flatten };
    Some(Ok(match node.op_type.as_str() {
        "Softmax" => softmax(false),
        "LogSoftmax" => softmax(true),
        "LayerNormalization" => {
            attributes.ignore(&["stash_type"]);
            if node.output.iter().skip(1).any(|name| !name.is_empty()) {
                return Some(Err("the mean and deviation as outputs are not supported".into()));
            }
            Op::LayerNorm { axis: attributes.int("axis", -1), eps: attributes.float("epsilon", 1e-5) }
        }
        "ReduceMean" => reduce(ReduceKind::Mean),
        "ReduceSum" => reduce(ReduceKind::Sum),
        "ReduceMax" => reduce(ReduceKind::Max),
        "ReduceMin" => reduce(ReduceKind::Min),
        "ReduceProd" => reduce(ReduceKind::Prod),
        "ReduceL2" => reduce(ReduceKind::L2),
        "ArgMax" if attributes.int("select_last_index", 0) == 0 => {
            Op::ArgMax { axis: attributes.int("axis", 0), keep: attributes.flag("keepdims", true) }
        }
        _ => return None,
    }))
}

fn products(node: &NodeProto, attributes: &Attributes<'_>) -> Option<Result<Op, String>> {
    let window = || Window {
        kernel: attributes.ints("kernel_shape").unwrap_or_default(),
        strides: attributes.ints("strides").unwrap_or_default(),
        dilations: attributes.ints("dilations").unwrap_or_default(),
        pads: attributes.ints("pads").unwrap_or_default(),
        groups: attributes.int("group", 1),
        auto_pad: attributes.text("auto_pad"),
        ceil: attributes.flag("ceil_mode", false),
    };
    Some(Ok(match node.op_type.as_str() {
        "MatMul" => Op::MatMul,
        "Gemm" => Op::Gemm(Gemm {
            alpha: attributes.float("alpha", 1.0),
            beta: attributes.float("beta", 1.0),
            transpose_a: attributes.flag("transA", false),
            transpose_b: attributes.flag("transB", false),
        }),
        "Conv" => Op::Convolution(window()),
        "MaxPool" if attributes.int("storage_order", 0) == 0 && node.output.len() == 1 => {
            Op::MaxPool(window())
        }
        "MatMulInteger" => Op::MatMulInteger,
        "DynamicQuantizeLinear" => Op::DynamicQuantizeLinear,
        "DequantizeLinear" => Op::DequantizeLinear { axis: attributes.int("axis", 1) },
        _ => return None,
    }))
}
