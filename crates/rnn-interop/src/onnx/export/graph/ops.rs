//! The nodes of ONNX for each op of the graph.

use super::super::super::proto::AttributeProto;
use super::super::nodes::{float, graph, int, ints, text};
use super::writer::{Outcome, Writer};
use crate::graph::{
    Binary, Branch, Compare, ModelParts, Node, Op, Reduce, ReduceKind, Unary, ValueType, Window,
};
use crate::value::Value;
use rnn_api::UnaryOp;

/// The smallest opset from 17 on that has these nodes.
pub(super) fn opset(parts: &ModelParts, nodes: &[Node]) -> i64 {
    let of = |node: &Node| match &node.op {
        Op::Unary(Unary::Gelu { .. }) => 20,
        // Parts of which the last is shorter.
        Op::Split { sizes: None, .. } if node.input(1).is_none() => 18,
        Op::Reduce(Reduce { kind, .. })
            if *kind != ReduceKind::Sum
                && node.input(1).is_some_and(|slot| parts.constant(slot).is_none()) =>
        {
            18
        }
        Op::Pad { .. } if node.input(3).is_some() => 18,
        Op::If(branches) => branches.iter().map(|branch| opset(parts, &branch.nodes)).max().unwrap_or(17),
        _ => 17,
    };
    nodes.iter().map(of).max().unwrap_or(17)
}

impl Writer<'_> {
    pub(super) fn node(&mut self, node: &Node) -> Outcome {
        match &node.op {
            Op::Recurrent(layer) => self.recurrent(node, layer),
            Op::RecurrentOf(make) => self.recurrent_of(node, &**make),
            Op::Mask(mask) => self.mask(node, *mask),
            Op::Unary(op) => {
                let (op, attributes) = unary(*op);
                self.same(node, op, attributes)
            }
            Op::Binary(op) => self.binary(node, *op),
            Op::Compare(op) => self.compare(node, *op),
            Op::Not => self.same(node, "Not", vec![]),
            Op::Where => self.same(node, "Where", vec![]),
            Op::Clip { min, max } => self.clip(node, *min, *max),
            Op::MatMul | Op::Linear | Op::Embedding | Op::Gemm(_) => self.product(node),
            Op::MatMulInteger | Op::DynamicQuantizeLinear | Op::DequantizeLinear { .. } => {
                self.quantised(node)
            }
            Op::Convolution(window) => self.same(node, "Conv", window_of(window, true)),
            Op::MaxPool(window) => self.same(node, "MaxPool", window_of(window, false)),
            Op::Softmax { axis, log, flatten } => self.softmax(node, *axis, *log, *flatten),
            Op::LayerNorm { axis, eps } => {
                self.same(node, "LayerNormalization", vec![int("axis", *axis), float("epsilon", *eps)])
            }
            Op::Reduce(reduce) => self.reduce(node, reduce),
            Op::ArgMax { axis, keep } => {
                self.same(node, "ArgMax", vec![int("axis", *axis), int("keepdims", i64::from(*keep))])
            }
            Op::If(branches) => {
                let [yes, no] = &**branches;
                let mut branch = |Branch { nodes, results }: &Branch| self.branch(nodes, results);
                let sides = vec![graph("then_branch", branch(yes)), graph("else_branch", branch(no))];
                self.same(node, "If", sides)
            }
            _ => self.shape(node),
        }
    }

    fn binary(&mut self, node: &Node, op: Binary) -> Outcome {
        let inputs = self.inputs(node);
        let name = match op {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Mul => "Mul",
            Binary::Div => "Div",
            Binary::Pow => "Pow",
            Binary::Max => "Max",
            Binary::Min => "Min",
            Binary::Mod => "Mod",
        };
        let any = matches!(op, Binary::Max | Binary::Min);
        let (Some((first, rest)), true) = (inputs.split_first(), inputs.len() != 2 && !any) else {
            return self.last(node, name, &inputs, vec![]);
        };
        let Some((end, between)) = rest.split_last() else {
            return self.last(node, "Identity", &inputs, vec![]);
        };
        let mut sum = first.clone();
        for next in between {
            sum = self.put(name, &[&sum, next], vec![]);
        }
        self.last(node, name, &[&sum, end], vec![])
    }

    /// ONNX compares arrays of one type.
    fn compare(&mut self, node: &Node, op: Compare) -> Outcome {
        let name = match op {
            Compare::Equal => "Equal",
            Compare::Less => "Less",
            Compare::LessOrEqual => "LessOrEqual",
            Compare::Greater => "Greater",
            Compare::GreaterOrEqual => "GreaterOrEqual",
            Compare::And => "And",
            Compare::Or => "Or",
        };
        let kinds = [self.kind(node, 0), self.kind(node, 1)];
        let common = match (op, kinds) {
            (Compare::And | Compare::Or, _) | (Compare::Equal, [ValueType::Bool, ValueType::Bool]) => {
                ValueType::Bool
            }
            (_, [ValueType::Float, _] | [_, ValueType::Float]) => ValueType::Float,
            _ => ValueType::Int,
        };
        let inputs = [self.cast_input(node, 0, common)?, self.cast_input(node, 1, common)?];
        self.last(node, name, &inputs, vec![])
    }

    /// Bounds are inputs.
    fn clip(&mut self, node: &Node, min: Option<f32>, max: Option<f32>) -> Outcome {
        let mut inputs = vec![self.need(node, 0)?];
        for (n, own) in [(1, min), (2, max)] {
            let given = self.input(node, n);
            inputs.push(match (given, own) {
                (Some(given), _) => given,
                (None, Some(own)) => self.number(own)?,
                (None, None) => String::new(),
            });
        }
        self.last(node, "Clip", &inputs, vec![])
    }

    /// Before opset 13 the axes from one on were one.
    fn softmax(&mut self, node: &Node, axis: i64, log: bool, flatten: bool) -> Outcome {
        let op = if log { "LogSoftmax" } else { "Softmax" };
        let rank = self.rank(node.inputs[0]);
        if !flatten || axis == -1 || rank.is_some_and(|rank| axis + 1 == rank as i64) {
            return self.same(node, op, vec![int("axis", axis)]);
        }
        let x = self.need(node, 0)?;
        let shape = self.put("Shape", &[&x], vec![]);
        let flat = self.put("Flatten", &[&x], vec![int("axis", axis)]);
        let flat = self.put(op, &[&flat], vec![int("axis", -1)]);
        self.last(node, "Reshape", &[flat, shape], vec![])
    }

    /// Axes are an attribute before opset 18, and for sums before opset 13.
    fn reduce(&mut self, node: &Node, reduce: &Reduce) -> Outcome {
        let op = match reduce.kind {
            ReduceKind::Mean => "ReduceMean",
            ReduceKind::Sum => "ReduceSum",
            ReduceKind::Max => "ReduceMax",
            ReduceKind::Min => "ReduceMin",
            ReduceKind::Prod => "ReduceProd",
            ReduceKind::L2 => "ReduceL2",
        };
        let x = self.need(node, 0)?;
        let mut attributes = vec![int("keepdims", reduce.keep.into())];
        let fixed = match node.input(1).map(|slot| self.parts.constant(slot)) {
            None => reduce.axes.clone().unwrap_or_default(),
            Some(Some(Value::Int(host))) => host.values.clone(),
            Some(_) => {
                attributes.push(int("noop_with_empty_axes", reduce.none_is_identity.into()));
                return self.same(node, op, attributes);
            }
        };
        if fixed.is_empty() && reduce.none_is_identity {
            return self.last(node, "Identity", &[x], vec![]);
        }
        let mut inputs = vec![x];
        if !fixed.is_empty() && (reduce.kind == ReduceKind::Sum || self.opset >= 18) {
            inputs.push(self.out.integers(&fixed));
        } else if !fixed.is_empty() {
            attributes.push(ints("axes", &fixed));
        }
        self.last(node, op, &inputs, attributes)
    }
}

fn unary(op: Unary) -> (&'static str, Vec<AttributeProto>) {
    match op {
        Unary::Engine(UnaryOp::Neg) => ("Neg", vec![]),
        Unary::Engine(UnaryOp::Exp) => ("Exp", vec![]),
        Unary::Engine(UnaryOp::Log) => ("Log", vec![]),
        Unary::Engine(UnaryOp::Sqrt) => ("Sqrt", vec![]),
        Unary::Engine(UnaryOp::Tanh) => ("Tanh", vec![]),
        Unary::Engine(UnaryOp::Sigmoid) => ("Sigmoid", vec![]),
        Unary::Engine(UnaryOp::Softsign) => ("Softsign", vec![]),
        Unary::Engine(UnaryOp::Relu) => ("Relu", vec![]),
        Unary::Engine(UnaryOp::Softplus) => ("Softplus", vec![]),
        Unary::Abs => ("Abs", vec![]),
        Unary::Reciprocal => ("Reciprocal", vec![]),
        Unary::Erf => ("Erf", vec![]),
        Unary::HardSigmoid(alpha, beta) => ("HardSigmoid", vec![float("alpha", alpha), float("beta", beta)]),
        Unary::LeakyRelu(alpha) => ("LeakyRelu", vec![float("alpha", alpha)]),
        Unary::Elu(alpha) => ("Elu", vec![float("alpha", alpha)]),
        Unary::Gelu { tanh } => ("Gelu", vec![text("approximate", if tanh { "tanh" } else { "none" })]),
    }
}

fn window_of(window: &Window, groups: bool) -> Vec<AttributeProto> {
    let lists = [
        ("kernel_shape", &window.kernel),
        ("strides", &window.strides),
        ("dilations", &window.dilations),
        ("pads", &window.pads),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let mut all: Vec<AttributeProto> = lists.map(|(name, list)| ints(name, list)).collect();
    all.extend(window.auto_pad.as_deref().map(|mode| text("auto_pad", mode)));
    if groups {
        all.push(int("group", window.groups));
    } else {
        all.push(int("ceil_mode", window.ceil.into()));
    }
    all
}
