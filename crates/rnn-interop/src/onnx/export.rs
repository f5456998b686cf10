//! Writes ONNX models, opset 17. A program names inputs with example values, passes them through its layers as in its own
//! forward pass, and names outputs. Each call runs the layer and writes its nodes, so that the file can be compared with the
//! model before it is there.

mod graph;
mod nodes;
mod stack;

pub use graph::export_graph;

use super::proto::{
    DataType, Dimension, GraphProto, ModelProto, OperatorSetId, ShapeProto, TensorProto, TensorType,
    TypeProto, ValueInfo,
};
use crate::Model;
use crate::error::{Error, Result};
use crate::value::{Host, Value};
use prost::Message;
use rnn_api::{Device, Tensor};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Opset 17 has layer normalisation and every attribute of recurrent nodes.
const OPSET: i64 = 17;

/// Largest difference between the model and the file that is written from it, over the largest value: both compute in f32,
/// in another order.
const BOUND: f32 = 1e-4;

/// A value on its way through an [`Exporter`].
#[derive(Clone, Debug)]
pub struct Edge {
    name: String,
    value: Value,
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

/// Collects the nodes of a model; see [`export`].
#[derive(Default)]
pub struct Exporter {
    nodes: Vec<super::proto::NodeProto>,
    weights: Vec<TensorProto>,
    inputs: Vec<(ValueInfo, Value)>,
    outputs: Vec<(ValueInfo, Value)>,
    names: usize,
    /// Names of values.
    taken: HashSet<String>,
}

/// Writes a model. The file is read again and run on the example inputs, compared with what the layers computed, and
/// written beside its destination and renamed: it is complete and right, or absent. Layers run as they are: call
/// [`eval`](rnn_api::nn::Module::eval) before, because dropout makes the comparison fail.
///
/// ```
/// use rnn_api::prelude::*;
/// use rnn_interop::onnx;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("rnn-interop-doc-{}.onnx", std::process::id()));
/// let device = Device::cpu();
/// let lstm = LstmConfig::new(3, 8).init(&device, 1)?;
/// let head = LinearConfig::new(8, 2).init(&device, 2)?;
/// let x = Tensor::ones(&device, &[5, 2, 3])?;
/// onnx::export(&path, |g| {
///     let x = g.input("x", &x, &["T", "B", "3"])?;
///     let out = g.lstm("rnn", &lstm, &x)?;
///     let y = g.linear("head", &head, &out.y)?;
///     g.output("y", &y, &["T", "B", "2"])
/// })?;
/// assert_eq!(onnx::Model::load(&path, &device)?.outputs()[0].name, "y");
/// # std::fs::remove_file(&path)?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// A layer has an option that ONNX lacks; the error names it. The file computes something else than the model, or cannot
/// be written.
pub fn export(path: impl AsRef<Path>, build: impl FnOnce(&mut Exporter) -> Result<()>) -> Result<()> {
    let path = path.as_ref();
    let mut exporter = Exporter::default();
    rnn_api::no_grad(|| build(&mut exporter))?;
    let graph = GraphProto {
        node: exporter.nodes,
        name: "model".into(),
        initializer: exporter.weights,
        input: exporter.inputs.iter().map(|(info, _)| info.clone()).collect(),
        output: exporter.outputs.iter().map(|(info, _)| info.clone()).collect(),
    };
    let bytes = encoded(graph, OPSET);
    write(path, &bytes, |bytes| compare(path, bytes, &exporter.inputs, &exporter.outputs))
}

fn encoded(graph: GraphProto, opset: i64) -> Vec<u8> {
    // The IR versions that came with the opsets.
    let ir_version = match opset {
        ..=18 => 8,
        19 | 20 => 9,
        _ => 10,
    };
    let opset_import = vec![OperatorSetId { domain: String::new(), version: opset }];
    ModelProto { ir_version, opset_import, graph: Some(graph) }.encode_to_vec()
}

/// Runs the file on the example inputs.
fn compare(
    path: &Path,
    bytes: &[u8],
    inputs: &[(ValueInfo, Value)],
    outputs: &[(ValueInfo, Value)],
) -> Result<()> {
    let refused = |why: String| Error::File { path: path.to_path_buf(), problems: vec![why] };
    let model = Model::parse(path, bytes, &Device::cpu())?;
    let inputs: Vec<(&str, Value)> =
        inputs.iter().map(|(info, value)| (info.name.as_str(), value.clone())).collect();
    let results = rnn_api::no_grad(|| model.run(&inputs))?;
    for (info, expected) in outputs {
        let got = results.tensor(&info.name)?.to_vec()?;
        let want = expected.float().map_err(|why| refused(why.text()))?.to_vec()?;
        let largest = want.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= BOUND * largest;
        if got.len() != want.len() || !got.iter().zip(&want).all(near) {
            return Err(refused(format!("output `{}` of the file differs from the model's", info.name)));
        }
    }
    Ok(())
}

/// Beside the destination, read again and checked, then renamed.
fn write(path: &Path, bytes: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
    // A message of protocol buffers has at most 2^31 - 1 bytes.
    if i32::try_from(bytes.len()).is_err() {
        let why = format!("the file would have {} bytes, expected less than 2 GiB", bytes.len());
        return Err(Error::File { path: path.to_path_buf(), problems: vec![why] });
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let failed = |error| Error::Io { path: path.to_path_buf(), error };
    let written = std::fs::File::create_new(&temporary).and_then(|mut file| {
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    });
    let read = written.and_then(|()| std::fs::read(&temporary)).map_err(failed);
    let checked = read.and_then(|bytes| check(&bytes));
    let renamed = checked.and_then(|()| std::fs::rename(&temporary, path).map_err(failed));
    if renamed.is_err() {
        // The first error is the one to report.
        drop(std::fs::remove_file(&temporary));
    }
    renamed
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

#[cfg(test)]
mod tests;
