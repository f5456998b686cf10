//! ONNX models, opsets 7 to 22.
//!
//! At load, constants are folded, LSTM, GRU and RNN nodes become layers with PyTorch's parameters, and nodes that no output
//! needs are left out. Everything that is not supported is listed in one error. Sizes of time and batch are those of a run.

mod attributes;
mod build;
mod export;
mod ops;
mod proto;
mod recurrent;
mod tensor;
mod weights;

pub use crate::graph::Model;
pub use export::{Edge, Exporter, RecurrentEdges, export, export_graph};

use crate::error::{Error, Result};
use prost::Message;
use proto::ModelProto;
use rnn_api::Device;
use std::path::Path;

impl Model {
    /// Reads an ONNX model. Floating-point initialisers become parameters, also those that a constant expression
    /// rearranges. Data in other files is read from the model's folder alone.
    ///
    /// # Errors
    /// [`Error::Io`]: a file cannot be read. [`Error::File`]: the file is damaged, or has nodes that are not supported:
    /// all of them are listed.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let bytes = crate::file::read(path)?;
        Self::parse(path, &bytes, device)
    }

    fn parse(path: &Path, bytes: &[u8], device: &Device) -> Result<Self> {
        let refused = |problems: Vec<String>| Error::File { path: path.to_path_buf(), problems };
        let model = ModelProto::decode(bytes)
            .map_err(|error| refused(vec![format!("not a whole ONNX model: {error}")]))?;
        let opset = model.opset_import.iter().find(|set| set.domain.is_empty() || set.domain == "ai.onnx");
        let opset = opset.map_or(0, |set| set.version);
        if !(7..=22).contains(&opset) {
            return Err(refused(vec![format!("opset must be 7 to 22, got {opset}")]));
        }
        let graph = model.graph.ok_or_else(|| refused(vec!["an ONNX model without a graph".into()]))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parts = build::parts(&graph, opset, folder, device).map_err(refused)?;
        Model::new(parts, device)
    }
}

#[cfg(test)]
mod tests;
