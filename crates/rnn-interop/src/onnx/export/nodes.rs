//! Single nodes and what they are made of.

use super::super::proto::{AttributeProto, DataType, GraphProto, NodeProto, TensorProto};
use super::exporter::{Edge, Exporter};
use crate::error::Result;
use crate::value::Value;
use rnn_api::Tensor;
use rnn_api::nn::{Embedding, Linear};

/// The types of attributes in `onnx.proto`.
#[derive(Clone, Copy)]
enum AttributeType {
    Float = 1,
    Int = 2,
    Text = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Texts = 8,
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..Default::default() }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, AttributeType::Float) }
}

pub(super) fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto { s: text.into(), ..attribute(name, AttributeType::Text) }
}

pub(super) fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(t), ..attribute(name, AttributeType::Tensor) }
}

pub(super) fn graph(name: &str, g: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(g), ..attribute(name, AttributeType::Graph) }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub(super) fn floats(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto { floats, ..attribute(name, AttributeType::Floats) }
}

pub(super) fn texts(name: &str, texts: &[&str]) -> AttributeProto {
    AttributeProto {
        strings: texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
        ..attribute(name, AttributeType::Texts)
    }
}

fn sizes(dims: &[usize]) -> Vec<i64> {
    dims.iter().map(|&size| size as i64).collect()
}

fn of_floats(dims: &[usize], values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let data_type = DataType::Float as i32;
    TensorProto { dims: sizes(dims), data_type, raw_data: Some(raw), ..Default::default() }
}

fn of_integers(dims: &[usize], values: &[i64]) -> TensorProto {
    let data_type = DataType::Int64 as i32;
    TensorProto { dims: sizes(dims), data_type, int64_data: values.to_vec(), ..Default::default() }
}

/// A value without a name.
pub(super) fn data(value: &Value) -> rnn_api::Result<TensorProto> {
    Ok(match value {
        Value::Float(tensor) => of_floats(tensor.dims(), &tensor.to_vec()?),
        Value::Int(host) => of_integers(&host.dims, &host.values),
        Value::Bool(host) => TensorProto {
            dims: sizes(&host.dims),
            data_type: DataType::Bool as i32,
            raw_data: Some(host.values.iter().map(|&value| value.into()).collect()),
            ..Default::default()
        },
    })
}

impl Exporter {
    /// A name that no other value has.
    pub(super) fn fresh(&mut self, what: &str) -> String {
        loop {
            self.names += 1;
            let name = format!("{what}_{}", self.names);
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    /// This name, or one like it if another value has it.
    pub(super) fn unique(&mut self, name: &str) -> String {
        if self.taken.insert(name.to_string()) { name.to_string() } else { self.fresh(name) }
    }

    /// This name, or one that ends in `_END` if another value has it.
    pub(super) fn named_or(&mut self, name: &str, end: &str) -> String {
        if self.taken.insert(name.to_string()) {
            name.to_string()
        } else {
            self.unique(&format!("{name}_{end}"))
        }
    }

    pub(super) fn has_node(&self, name: &str) -> bool {
        self.nodes.iter().any(|node| node.name == name)
    }

    pub(super) fn node(&mut self, op: &str, input: &[&str], output: &[&str], attribute: Vec<AttributeProto>) {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (input, output) = (names(input), names(output));
        let name = self.fresh(op);
        self.named_node(name, op, input, output, attribute);
    }

    /// A node with a name that shows its origin, in viewers and in the layers that readers make of it.
    pub(super) fn named_node(
        &mut self,
        name: String,
        op: &str,
        input: Vec<String>,
        output: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            input,
            output,
            name,
            op_type: op.into(),
            attribute,
            ..Default::default()
        });
    }

    /// A node with one output, whose value is known.
    pub(super) fn edge(
        &mut self,
        op: &str,
        input: &[&str],
        attribute: Vec<AttributeProto>,
        value: Value,
    ) -> Edge {
        let name = self.fresh(&op.to_lowercase());
        self.node(op, input, &[&name], attribute);
        Edge { name, value }
    }

    /// An initialiser of floating-point numbers.
    pub(super) fn weight(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let name = self.unique(name);
        self.weights.push(TensorProto { name: name.clone(), ..of_floats(dims, values) });
        name
    }

    /// An initialiser of integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        let name = self.fresh("integers");
        self.weights.push(TensorProto { name: name.clone(), ..of_integers(&[values.len()], values) });
        name
    }

    fn parameter(&mut self, name: &str, value: &Tensor) -> Result<String> {
        Ok(self.weight(name, value.dims(), &value.to_vec()?))
    }

    /// A linear layer over the last axis.
    ///
    /// # Errors
    /// As the layer's forward pass.
    pub fn linear(&mut self, name: &str, layer: &Linear, x: &Edge) -> Result<Edge> {
        let value = layer.forward(x.tensor()?)?;
        // [O, I] is transposed, because MatMul alone takes any number of axes.
        let weight = layer.weight.value().transpose(0, 1)?;
        let weight = self.parameter(&format!("{name}.weight"), &weight)?;
        let Some(bias) = &layer.bias else {
            return Ok(self.edge("MatMul", &[&x.name, &weight], vec![], value.into()));
        };
        let product = self.fresh("matmul");
        self.node("MatMul", &[&x.name, &weight], &[&product], vec![]);
        let bias = self.parameter(&format!("{name}.bias"), &bias.value())?;
        Ok(self.edge("Add", &[&product, &bias], vec![], value.into()))
    }

    /// The rows of a table.
    ///
    /// # Errors
    /// As the layer's forward pass; or the edge has no integers.
    pub fn embedding(&mut self, name: &str, layer: &Embedding, symbols: &Edge) -> Result<Edge> {
        let host = symbols.value.int().map_err(|why| why.at(name, "Gather"))?;
        let numbers: Vec<u32> =
            host.values.iter().map(|&symbol| u32::try_from(symbol).unwrap_or(u32::MAX)).collect();
        let numbers = Tensor::from_indices(&layer.weight.device(), &numbers, &host.dims)?;
        let value = layer.forward(&numbers)?;
        let weight = self.parameter(&format!("{name}.weight"), &layer.weight.value())?;
        Ok(self.edge("Gather", &[&weight, &symbols.name], vec![int("axis", 0)], value.into()))
    }

    /// `tanh`.
    ///
    /// # Errors
    /// A failing device.
    pub fn tanh(&mut self, x: &Edge) -> Result<Edge> {
        let value = x.tensor()?.tanh()?;
        Ok(self.edge("Tanh", &[&x.name], vec![], value.into()))
    }

    /// The logistic function.
    ///
    /// # Errors
    /// A failing device.
    pub fn sigmoid(&mut self, x: &Edge) -> Result<Edge> {
        let value = x.tensor()?.sigmoid()?;
        Ok(self.edge("Sigmoid", &[&x.name], vec![], value.into()))
    }

    /// `max(x, 0)`.
    ///
    /// # Errors
    /// A failing device.
    pub fn relu(&mut self, x: &Edge) -> Result<Edge> {
        let value = x.tensor()?.relu()?;
        Ok(self.edge("Relu", &[&x.name], vec![], value.into()))
    }

    /// Softmax over the last axis.
    ///
    /// # Errors
    /// A failing device.
    pub fn softmax(&mut self, x: &Edge) -> Result<Edge> {
        let value = x.tensor()?.softmax()?;
        Ok(self.edge("Softmax", &[&x.name], vec![int("axis", -1)], value.into()))
    }

    /// The mean along an axis, which is removed.
    ///
    /// # Errors
    /// No such axis.
    pub fn mean(&mut self, x: &Edge, axis: usize) -> Result<Edge> {
        let value = x.tensor()?.mean_axis(axis)?;
        let attributes = vec![ints("axes", &[axis as i64]), int("keepdims", 0)];
        Ok(self.edge("ReduceMean", &[&x.name], attributes, value.into()))
    }

    /// One element of an axis, which is removed; the last one for -1.
    ///
    /// # Errors
    /// No such axis or element.
    pub fn select(&mut self, x: &Edge, axis: usize, index: i64) -> Result<Edge> {
        let length = x.tensor()?.dims().get(axis).copied().unwrap_or(0) as i64;
        let at = usize::try_from(if index < 0 { index + length } else { index }).unwrap_or(usize::MAX);
        let value = x.tensor()?.select(axis, at)?;
        let index = self.integers(&[index]);
        let taken = self.fresh("gather");
        self.node("Gather", &[&x.name, &index], &[&taken], vec![int("axis", axis as i64)]);
        let axes = self.integers(&[axis as i64]);
        Ok(self.edge("Squeeze", &[&taken, &axes], vec![], value.into()))
    }
}
