//! What a model is written through: its inputs, its outputs, and the nodes between them.

use super::super::proto::{
    DataType, Dimension, NodeProto, ShapeProto, TensorProto, TensorType, TypeProto, ValueInfo,
};
use crate::error::{Error, Result};
use crate::value::{Host, Value};
use rnn_api::{Device, Tensor};
use std::collections::HashSet;

/// A value on its way through an [`Exporter`].
#[derive(Clone, Debug)]
pub struct Edge {
    pub(super) name: String,
    pub(super) value: Value,
}

impl Edge {
    /// The value for the example inputs.
    ///
    /// # Errors
    /// The edge has integers.
    pub fn tensor(&self) -> Result<&Tensor> {
        self.value.float().map_err(|why| why.at(&self.name, "export"))
    }
}

/// The outputs of a recurrent stack.
#[derive(Clone, Debug)]
pub struct RecurrentEdges {
    /// `[T, B, D*H]`
    pub y: Edge,
    /// `[L*D, B, H]`
    pub h: Edge,
    /// `[L*D, B, H]` of an LSTM.
    pub c: Option<Edge>,
}

/// Collects the nodes of a model; see [`export`](super::export).
#[derive(Default)]
pub struct Exporter {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) weights: Vec<TensorProto>,
    pub(super) inputs: Vec<(ValueInfo, Value)>,
    pub(super) outputs: Vec<(ValueInfo, Value)>,
    pub(super) names: usize,
    /// Names of values.
    pub(super) taken: HashSet<String>,
}

impl Exporter {
    /// An input of floating-point numbers with an example of its value. `sizes` names each axis: `T` for a size that may
    /// differ from run to run, a number for one that may not.
    ///
    /// # Errors
    /// Another number of axes, or a number that is not the example's.
    pub fn input(&mut self, name: &str, example: &Tensor, sizes: &[&str]) -> Result<Edge> {
        self.place(name, example.to_device(&Device::cpu())?.into(), sizes, Some(example))
    }

    /// An input of integers, such as symbols; as [`Exporter::input`].
    ///
    /// # Errors
    /// As [`Exporter::input`].
    pub fn indices(&mut self, name: &str, example: Host<i64>, sizes: &[&str]) -> Result<Edge> {
        self.place(name, example.into(), sizes, None)
    }

    fn place(&mut self, name: &str, value: Value, sizes: &[&str], own: Option<&Tensor>) -> Result<Edge> {
        self.inputs.push((port(name, &value, sizes)?, value.clone()));
        self.taken.insert(name.to_string());
        // The layers compute on the device of the example.
        Ok(Edge { name: name.to_string(), value: own.map_or(value, Value::from) })
    }

    /// An output.
    ///
    /// # Errors
    /// As [`Exporter::input`]; or the edge has integers.
    pub fn output(&mut self, name: &str, edge: &Edge, sizes: &[&str]) -> Result<()> {
        edge.tensor()?;
        let info = port(name, &edge.value, sizes)?;
        self.node("Identity", &[&edge.name], &[name], vec![]);
        self.outputs.push((info, edge.value.clone()));
        Ok(())
    }
}

/// A port with named or fixed sizes.
fn port(name: &str, value: &Value, sizes: &[&str]) -> Result<ValueInfo> {
    let dims = value.dims();
    let refused = |why: String| Error::Input { name: name.to_string(), why };
    if sizes.len() != dims.len() {
        return Err(refused(format!("{sizes:?} must name the {} axes of {dims:?}", dims.len())));
    }
    let dimension = |(text, &size): (&&str, &usize)| match text.parse::<i64>() {
        Ok(fixed) if usize::try_from(fixed) == Ok(size) => Ok(Dimension { value: Some(fixed), param: None }),
        Ok(fixed) => Err(refused(format!("an axis of {dims:?} must be {fixed}"))),
        Err(_) => Ok(Dimension { value: None, param: Some((*text).to_string()) }),
    };
    let dim = sizes.iter().zip(dims).map(dimension).collect::<Result<_>>()?;
    let kind = if matches!(value, Value::Float(_)) { DataType::Float } else { DataType::Int64 };
    let tensor = TensorType { elem_type: kind as i32, shape: Some(ShapeProto { dim }) };
    Ok(ValueInfo { name: name.to_string(), r#type: Some(TypeProto { tensor: Some(tensor) }) })
}
