//! The nodes of ONNX for each op of the graph.

use super::super::super::proto::AttributeProto;
use super::super::data;
use super::super::nodes::{float, graph, int, ints, tensor, text};
use super::{Writer, known};
use crate::graph::{
    Binary, Branch, Compare, Gemm, Kind, Node, Op, Parts, Reduce, ReduceKind, Slot, Stored, Unary, Window,
};
use crate::value::Value;
use rnn_api::UnaryOp;

/// The smallest opset from 17 on that has these nodes.
pub(super) fn opset(parts: &Parts, nodes: &[Node]) -> i64 {
    let of = |node: &Node| {
        let given = |n: usize| node.inputs.get(n).copied().flatten();
        match &node.op {
            Op::Unary(Unary::Gelu { .. }) => 20,
            // Parts of which the last is shorter.
            Op::Split { sizes: None, .. } if given(1).is_none() => 18,
            Op::Reduce(Reduce { kind, .. }) if *kind != ReduceKind::Sum => {
                if given(1).is_some_and(|slot| known(parts, slot).is_none()) { 18 } else { 17 }
            }
            Op::Pad { .. } if given(3).is_some() => 18,
            Op::If(branches) => branches.iter().map(|branch| opset(parts, &branch.nodes)).max().unwrap_or(17),
            _ => 17,
        }
    };
    nodes.iter().map(of).max().unwrap_or(17)
}

type Outcome = Result<(), String>;

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

    pub(super) fn inputs(&mut self, node: &Node) -> Vec<String> {
        node.inputs.iter().map(|slot| slot.map_or_else(String::new, |slot| self.name(slot))).collect()
    }

    pub(super) fn outputs(&mut self, node: &Node) -> Vec<String> {
        node.outputs.iter().map(|slot| slot.map_or_else(String::new, |slot| self.name(slot))).collect()
    }

    /// One node with the same inputs and outputs.
    fn same(&mut self, node: &Node, op: &str, attributes: Vec<AttributeProto>) -> Outcome {
        let inputs = self.inputs(node);
        self.last(node, op, &inputs, attributes)
    }

    /// The node that computes the outputs.
    pub(super) fn last(
        &mut self,
        node: &Node,
        op: &str,
        inputs: &[impl AsRef<str>],
        attributes: Vec<AttributeProto>,
    ) -> Outcome {
        let outputs = self.outputs(node);
        let inputs: Vec<&str> = inputs.iter().map(AsRef::as_ref).collect();
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.emit(op, &inputs, &outputs, attributes);
        Ok(())
    }

    pub(super) fn input(&mut self, node: &Node, n: usize) -> Option<String> {
        node.inputs.get(n).copied().flatten().map(|slot| self.name(slot))
    }

    pub(super) fn need(&mut self, node: &Node, n: usize) -> Result<String, String> {
        self.input(node, n).ok_or_else(|| format!("input {n} is missing"))
    }

    pub(super) fn kind(&self, node: &Node, n: usize) -> Kind {
        let slot = node.inputs.get(n).copied().flatten();
        slot.and_then(|slot| self.types.get(&slot)).copied().unwrap_or_default().kind
    }

    pub(super) fn rank(&self, slot: Option<Slot>) -> Option<usize> {
        self.types.get(&slot?)?.rank
    }

    /// An input as another type.
    pub(super) fn cast_input(&mut self, node: &Node, n: usize, to: Kind) -> Result<String, String> {
        let name = self.need(node, n)?;
        Ok(if self.kind(node, n) == to { name } else { self.cast(&name, to) })
    }

    pub(super) fn cast(&mut self, name: &str, to: Kind) -> String {
        self.put("Cast", &[name], vec![int("to", super::types::data_type(to) as i64)])
    }

    /// The input where there is one, else the attribute as one.
    fn or_integers(&mut self, node: &Node, n: usize, own: Option<&Vec<i64>>) -> String {
        let given = self.input(node, n);
        given.or_else(|| own.map(|own| self.out.integers(own))).unwrap_or_default()
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
            (Compare::And | Compare::Or, _) | (Compare::Equal, [Kind::Bool, Kind::Bool]) => Kind::Bool,
            (_, [Kind::Float, _] | [_, Kind::Float]) => Kind::Float,
            _ => Kind::Int,
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

    fn product(&mut self, node: &Node) -> Outcome {
        match &node.op {
            Op::Gemm(Gemm { alpha, beta, transpose_a, transpose_b }) => {
                let attributes = vec![
                    float("alpha", *alpha),
                    float("beta", *beta),
                    int("transA", (*transpose_a).into()),
                    int("transB", (*transpose_b).into()),
                ];
                self.same(node, "Gemm", attributes)
            }
            Op::Embedding => {
                let mut rows = self.cast_input(node, 1, Kind::Int)?;
                // Numbers of rows may be given as floating-point ones, where the source of the model takes both.
                if self.parts.inputs.iter().any(|port| port.kind.is_none() && port.name == rows) {
                    rows = self.cast(&rows, Kind::Int);
                }
                let inputs = [self.need(node, 0)?, rows];
                self.last(node, "Gather", &inputs, vec![int("axis", 0)])
            }
            Op::Linear if self.rank(node.inputs[0]) == Some(2) => {
                self.same(node, "Gemm", vec![int("transB", 1)])
            }
            Op::Linear => {
                let (x, weight) = (self.need(node, 0)?, self.need(node, 1)?);
                let turned = self.put("Transpose", &[&weight], vec![ints("perm", &[1, 0])]);
                let Some(bias) = self.input(node, 2) else {
                    return self.last(node, "MatMul", &[x, turned], vec![]);
                };
                let product = self.put("MatMul", &[&x, &turned], vec![]);
                self.last(node, "Add", &[product, bias], vec![])
            }
            _ => self.same(node, "MatMul", vec![]),
        }
    }

    /// Integers are floating-point numbers without their zero point, as the model computes.
    fn quantised(&mut self, node: &Node) -> Outcome {
        match node.op {
            Op::MatMulInteger => {
                let factors = [self.centred(node, 0, 2)?, self.centred(node, 1, 3)?];
                self.last(node, "MatMul", &factors, vec![])
            }
            Op::DequantizeLinear { axis } => {
                let along = self.along(node, axis)?;
                let [scale, zero] = [1, 2].map(|n| {
                    let value = self.input(node, n)?;
                    Some(self.put("Reshape", &[&value, &along], vec![]))
                });
                let mut x = self.cast_input(node, 0, Kind::Float)?;
                if let Some(zero) = zero {
                    let zero = self.cast(&zero, Kind::Float);
                    x = self.put("Sub", &[&x, &zero], vec![]);
                }
                self.last(node, "Mul", &[x, scale.ok_or("no scale")?], vec![])
            }
            _ => {
                let outputs = self.outputs(node);
                let x = self.need(node, 0)?;
                let one = self.number(1.0)?;
                let zero = self.constant(&Value::Int(crate::Host::scalar(0)));
                let zero = zero.map_err(|error| error.to_string())?;
                for (value, output) in
                    [x, one, zero].iter().zip(&outputs).filter(|(_, name)| !name.is_empty())
                {
                    self.emit("Identity", &[value], &[output], vec![]);
                }
                Ok(())
            }
        }
    }

    fn centred(&mut self, node: &Node, n: usize, zero: usize) -> Result<String, String> {
        let value = self.cast_input(node, n, Kind::Float)?;
        if self.input(node, zero).is_none() {
            return Ok(value);
        }
        let zero = self.cast_input(node, zero, Kind::Float)?;
        Ok(self.put("Sub", &[&value, &zero], vec![]))
    }

    /// The shape of scales: one, or one for each element of an axis.
    fn along(&mut self, node: &Node, axis: i64) -> Result<String, String> {
        let scale = node.inputs.get(1).copied().flatten();
        let stored = self.parts.stored.iter().find(|(slot, _)| Some(*slot) == scale);
        let dims = stored.map(|(_, stored)| match stored {
            Stored::Constant(value) => value.dims().to_vec(),
            Stored::Param(_, param) => param.dims().to_vec(),
        });
        let dims = dims.ok_or("scales that are no constants are not supported")?;
        let shape = match dims[..] {
            [length] if length > 1 => {
                let rank = self.rank(node.inputs[0]).ok_or("the number of axes of x is not known")?;
                let at = if axis < 0 { axis + rank as i64 } else { axis };
                (0..rank as i64).map(|n| if n == at { length as i64 } else { 1 }).collect()
            }
            _ => Vec::new(),
        };
        Ok(self.out.integers(&shape))
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

    /// Axes are an attribute before opset 18, but for sums.
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
        let given = node.inputs.get(1).copied().flatten();
        let fixed = match given.map(|slot| self.known(slot)) {
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

    /// Nodes that read or change shapes, or move elements.
    fn shape(&mut self, node: &Node) -> Outcome {
        match &node.op {
            Op::Shape { start, end } => {
                let end = end.map(|end| int("end", end));
                self.same(node, "Shape", [int("start", *start)].into_iter().chain(end).collect())
            }
            Op::Size => self.same(node, "Size", vec![]),
            Op::Cast(kind) => self.same(node, "Cast", vec![int("to", super::types::data_type(*kind) as i64)]),
            Op::ConstantOfShape(value) => {
                let mut one = data(value).map_err(|error| error.to_string())?;
                one.dims = vec![1];
                self.same(node, "ConstantOfShape", vec![tensor("value", one)])
            }
            Op::Range => self.same(node, "Range", vec![]),
            Op::Gather { axis } => self.same(node, "Gather", vec![int("axis", *axis)]),
            Op::Slice(slice) => {
                let mut inputs = vec![self.need(node, 0)?];
                let own = [&slice.starts, &slice.ends, &slice.axes];
                inputs.extend((1..).zip(own).map(|(n, own)| self.or_integers(node, n, own.as_ref())));
                inputs.push(self.input(node, 4).unwrap_or_default());
                self.last(node, "Slice", &inputs, vec![])
            }
            Op::Split { axis, sizes, parts } => {
                let sizes = self.or_integers(node, 1, sizes.as_ref());
                let mut attributes = vec![int("axis", *axis)];
                if sizes.is_empty() {
                    attributes.push(int("num_outputs", *parts as i64));
                }
                let inputs = [self.need(node, 0)?, sizes];
                self.last(node, "Split", &inputs, attributes)
            }
            Op::Concat { axis } => self.same(node, "Concat", vec![int("axis", *axis)]),
            Op::Pad { mode, pads, value } => {
                let filler = match self.input(node, 2) {
                    Some(filler) => filler,
                    None => self.number(*value)?,
                };
                let pads = self.or_integers(node, 1, pads.as_ref());
                let axes = self.input(node, 3).unwrap_or_default();
                let inputs = [self.need(node, 0)?, pads, filler, axes];
                self.last(node, "Pad", &inputs, vec![text("mode", mode)])
            }
            Op::Reshape { allow_zero } => {
                self.same(node, "Reshape", vec![int("allowzero", (*allow_zero).into())])
            }
            Op::Flatten { axis } => self.same(node, "Flatten", vec![int("axis", *axis)]),
            Op::Transpose { perm } => {
                self.same(node, "Transpose", perm.iter().map(|perm| ints("perm", perm)).collect())
            }
            Op::Expand => self.same(node, "Expand", vec![]),
            Op::Unsqueeze { axes } | Op::Squeeze { axes } => {
                let op = if matches!(node.op, Op::Squeeze { .. }) { "Squeeze" } else { "Unsqueeze" };
                let inputs = [self.need(node, 0)?, self.or_integers(node, 1, axes.as_ref())];
                self.last(node, op, &inputs, vec![])
            }
            Op::Identity => self.same(node, "Identity", vec![]),
            _ => Err("ONNX has no such node".to_string()),
        }
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
