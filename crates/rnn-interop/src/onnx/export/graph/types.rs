//! Which types the values of a graph have, and how many axes, as far as that follows from the graph.

use super::super::super::proto::{DataType, Dimension, ShapeProto, TensorType, TypeProto, ValueInfo};
use crate::graph::{Mask, ModelParts, Node, Op, Port, Reduce, Slot, Stored, ValueType};
use crate::value::Value;
use std::collections::HashMap;

/// The type of a value, and the number of its axes where it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub(super) kind: ValueType,
    pub(super) rank: Option<usize>,
}

impl Default for Type {
    fn default() -> Self {
        Type { kind: ValueType::Float, rank: None }
    }
}

impl Type {
    fn of(value: &Value) -> Self {
        let kind = match value {
            Value::Float(_) => ValueType::Float,
            Value::Int(_) => ValueType::Int,
            Value::Bool(_) => ValueType::Bool,
        };
        Type { kind, rank: Some(value.dims().len()) }
    }
}

pub(super) fn data_type(kind: ValueType) -> DataType {
    match kind {
        ValueType::Float => DataType::Float,
        ValueType::Int => DataType::Int64,
        ValueType::Bool => DataType::Bool,
    }
}

pub(super) fn of(parts: &ModelParts) -> HashMap<Slot, Type> {
    let mut types = HashMap::new();
    for port in &parts.inputs {
        // Numbers of rows are integers, where the file does not say what an input is.
        let rows = parts.nodes.iter().any(|node| match &node.op {
            Op::Embedding | Op::Gather { .. } => node.inputs.get(1) == Some(&Some(port.slot)),
            _ => false,
        });
        let kind = port.kind.unwrap_or(if rows { ValueType::Int } else { ValueType::Float });
        types.insert(port.slot, Type { kind, rank: port.sizes.as_ref().map(Vec::len) });
    }
    for (slot, stored) in &parts.stored {
        let own = match stored {
            Stored::Constant(value) => Type::of(value),
            Stored::Param(_, param) => Type { kind: ValueType::Float, rank: Some(param.dims().len()) },
        };
        types.insert(*slot, own);
    }
    add(parts, &parts.nodes, &mut types);
    types
}

fn add(parts: &ModelParts, nodes: &[Node], types: &mut HashMap<Slot, Type>) {
    for node in nodes {
        let results = match &node.op {
            Op::If(branches) => {
                branches.iter().for_each(|branch| add(parts, &branch.nodes, types));
                let result = |&slot: &Slot| types.get(&slot).map(|own| Type { rank: None, ..*own });
                branches[0].results.iter().map(|slot| result(slot).unwrap_or_default()).collect()
            }
            _ => results(parts, node, types),
        };
        let last = results.last().copied().unwrap_or_default();
        let each = results.into_iter().chain(std::iter::repeat(last));
        types.extend(node.outputs.iter().zip(each).filter_map(|(slot, own)| Some(((*slot)?, own))));
    }
}

/// The types of a node's outputs; the last is that of all further ones.
fn results(parts: &ModelParts, node: &Node, types: &HashMap<Slot, Type>) -> Vec<Type> {
    let at = |n: usize| node.input(n).and_then(|slot| types.get(&slot).copied()).unwrap_or_default();
    let (x, rank) = (at(0), at(0).rank);
    let of = |kind: ValueType, rank: Option<usize>| vec![Type { kind, rank }];
    let broadcast = || {
        let mut ranks = (0..node.inputs.len()).map(|n| at(n).rank);
        ranks.try_fold(0, |most, rank| Some(most.max(rank?)))
    };
    let known = |n: usize| match parts.constant(node.input(n)?) {
        Some(Value::Int(host)) => Some(&host.values[..]),
        _ => None,
    };
    // An input where there is one, else the attribute.
    let axes = |own: &Option<Vec<i64>>| match node.input(1) {
        Some(_) => known(1).map(<[i64]>::len),
        None => own.as_ref().map(Vec::len),
    };
    match &node.op {
        Op::Recurrent(_) | Op::RecurrentOf(_) => {
            let [y, state] = [4, 3].map(|rank| Type { kind: ValueType::Float, rank: Some(rank) });
            vec![y, state]
        }
        Op::Binary(_) => of(x.kind, broadcast()),
        Op::Compare(_) => of(ValueType::Bool, broadcast()),
        Op::Where => of(at(1).kind, broadcast()),
        Op::Linear | Op::Convolution(_) | Op::MaxPool(_) | Op::Softmax { .. } | Op::LayerNorm { .. } => {
            of(ValueType::Float, rank)
        }
        Op::DequantizeLinear { .. } => of(ValueType::Float, rank),
        Op::MatMul | Op::MatMulInteger => {
            let both = rank.zip(at(1).rank).filter(|(a, b)| *a > 1 && *b > 1);
            of(ValueType::Float, both.map(|(a, b)| a.max(b)))
        }
        Op::Gemm(_) => of(ValueType::Float, Some(2)),
        Op::Embedding => of(ValueType::Float, at(1).rank.map(|rank| rank + 1)),
        Op::Mask(mask) => of_mask(*mask, rank),
        Op::DynamicQuantizeLinear => {
            let [scale, zero] = [ValueType::Float, ValueType::Int].map(|kind| Type { kind, rank: Some(0) });
            vec![x, scale, zero]
        }
        Op::Reduce(Reduce { keep: true, .. }) | Op::ArgMax { keep: true, .. } => of(kind_of(node, x), rank),
        Op::Reduce(reduce) => {
            let rank = match (axes(&reduce.axes), reduce.none_is_identity) {
                (Some(0), true) => rank,
                (Some(0), false) => Some(0),
                (Some(count), _) => rank.map(|rank| rank.saturating_sub(count)),
                (None, true) if node.input(1).is_none() => rank,
                (None, false) if node.input(1).is_none() => Some(0),
                (None, _) => None,
            };
            of(x.kind, rank)
        }
        Op::ArgMax { .. } => of(ValueType::Int, rank.map(|rank| rank.saturating_sub(1))),
        Op::Shape { .. } | Op::Range => of(ValueType::Int, Some(1)),
        Op::Size => of(ValueType::Int, Some(0)),
        Op::Cast(kind) => of(*kind, rank),
        Op::ConstantOfShape(value) => of(Type::of(value).kind, known(0).map(<[i64]>::len)),
        Op::Gather { .. } => {
            of(x.kind, rank.zip(at(1).rank).map(|(rank, indices)| (rank + indices).saturating_sub(1)))
        }
        Op::Reshape { .. } => of(x.kind, known(1).map(<[i64]>::len)),
        Op::Expand => of(x.kind, rank.zip(known(1)).map(|(rank, dims)| rank.max(dims.len()))),
        Op::Flatten { .. } => of(x.kind, Some(2)),
        Op::Unsqueeze { axes: own } => of(x.kind, rank.zip(axes(own)).map(|(rank, count)| rank + count)),
        Op::Squeeze { axes: own } => {
            of(x.kind, rank.zip(axes(own)).map(|(rank, count)| rank.saturating_sub(count)))
        }
        Op::Unary(_) | Op::Not | Op::Clip { .. } | Op::Identity | Op::Pad { .. } => vec![x],
        Op::Slice(_) | Op::Split { .. } | Op::Concat { .. } | Op::Transpose { .. } | Op::If(_) => vec![x],
    }
}

fn kind_of(node: &Node, x: Type) -> ValueType {
    if matches!(node.op, Op::ArgMax { .. }) { ValueType::Int } else { x.kind }
}

fn of_mask(mask: Mask, rank: Option<usize>) -> Vec<Type> {
    let less = rank.map(|rank| rank.saturating_sub(1));
    let float = |rank| Type { kind: ValueType::Float, rank };
    match mask {
        Mask::Find(_) => vec![float(rank), Type { kind: ValueType::Bool, rank: less }],
        Mask::Gather => vec![float(Some(3)), Type { kind: ValueType::Int, rank: Some(1) }],
        Mask::Scatter { .. } => vec![float(Some(3))],
        Mask::Mean => vec![float(Some(2))],
        Mask::Any { .. } => vec![Type { kind: ValueType::Bool, rank: less }],
    }
}

/// A port of the file. `own` says that names of sizes are not those of other ports.
pub(super) fn info(port: &Port, of: Type, own: bool) -> ValueInfo {
    let dimension = |text: &String| match text.parse::<i64>() {
        Ok(size) => Dimension { value: Some(size), param: None },
        Err(_) if text == "?" => Dimension::default(),
        // Readers of layers have no other names. Two sequences may differ in length.
        Err(_) if own && ["T", "features"].contains(&text.as_str()) && port.kind.is_none() => {
            Dimension { value: None, param: Some(format!("{}_{text}", port.name)) }
        }
        Err(_) => Dimension { value: None, param: Some(text.clone()) },
    };
    let open = || of.rank.map(|rank| vec![Dimension::default(); rank]);
    let sizes = port.sizes.as_ref().map(|sizes| sizes.iter().map(dimension).collect());
    let shape = sizes.or_else(open).map(|dim| ShapeProto { dim });
    let tensor = TensorType { elem_type: data_type(port.kind.unwrap_or(of.kind)) as i32, shape };
    ValueInfo { name: port.name.clone(), r#type: Some(TypeProto { tensor: Some(tensor) }) }
}
