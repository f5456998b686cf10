//! Writes ONNX models, opset 17. A program names inputs with example values, passes them through its layers as in its own
//! forward pass, and names outputs. Each call runs the layer and writes its nodes, so that the file can be compared with the
//! model before it is there.

mod exporter;
mod file;
mod graph;
mod nodes;
mod stack;

pub use exporter::{Edge, Exporter, RecurrentEdges};
pub use graph::export_graph;

use super::proto::{GraphProto, ValueInfo};
use crate::Model;
use crate::error::{Error, Result};
use crate::value::Value;
use file::{encoded, write};
use rnn_api::Device;
use std::path::Path;

/// Opset 17 has layer normalisation and every attribute of recurrent nodes.
const OPSET: i64 = 17;

/// Largest difference between the model and the file that is written from it, over the largest value: both compute in f32,
/// in another order.
const BOUND: f32 = 1e-4;

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

#[cfg(test)]
mod tests;
