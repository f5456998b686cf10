//! The safetensors file format.

use super::atomic::{read_regular, write_atomically};
use super::element::Element;
use super::foreign::describe;
use super::host_tensor::{HostTensor, not_finite};
use super::torch;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::{Array, Device};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The content of a safetensors file, or of a file of `torch.save`.
#[derive(Clone, Debug, Default)]
pub struct TensorFile {
    /// Tensors by name.
    pub tensors: BTreeMap<String, HostTensor>,
    /// The file's metadata.
    pub metadata: HashMap<String, String>,
    path: PathBuf,
    /// What [`TensorFile::with_prefix`] removed.
    prefix: String,
}

impl TensorFile {
    /// Reads and verifies a whole file: safetensors or, recognised by its first bytes, a file of `torch.save` (.pt, .pth),
    /// of which nothing is executed. Tensors in dicts and lists have dotted names there, such as
    /// `model.rnn.weight_ih_l0`; a pickled module counts as its state dict.
    ///
    /// # Errors
    /// [`Error::Io`], also for what is no regular file; or [`Error::Checkpoint`] for a file that is corrupt, truncated or
    /// of another format. Well-known formats are named.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_regular(path)?;
        if !torch::is_torch(&bytes) {
            return Self::parse(path, &bytes);
        }
        let damaged = |why| Error::Checkpoint {
            path: path.to_path_buf(),
            problems: vec![format!("not a whole file of torch.save: {why}")],
        };
        let tensors = torch::tensors(&bytes).map_err(damaged)?;
        Ok(TensorFile { tensors, path: path.to_path_buf(), ..TensorFile::default() })
    }

    /// Verifies the bytes of a safetensors file; `path` is for errors.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let corrupt = |error: safetensors::SafeTensorError| {
            let why = describe(bytes).unwrap_or_else(|| error.to_string());
            let problems = vec![format!("not a whole safetensors file: {why}")];
            Error::Checkpoint { path: path.to_path_buf(), problems }
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(corrupt)?;
        let file = SafeTensors::deserialize(bytes).map_err(corrupt)?;
        let read = |(name, view): (&str, TensorView<'_>)| (name.to_string(), HostTensor::from(view));
        Ok(TensorFile {
            tensors: file.iter().map(read).collect(),
            metadata: header.metadata().clone().unwrap_or_default(),
            path: path.to_path_buf(),
            prefix: String::new(),
        })
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors whose name starts with `prefix`, without the prefix.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        if !prefix.is_empty() {
            let tensors = std::mem::take(&mut self.tensors).into_iter();
            self.tensors = tensors
                .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor)))
                .collect();
            self.prefix.push_str(prefix);
        }
        self
    }

    /// A name as the file has it without the prefix that was removed.
    pub(super) fn without_prefix<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.prefix)
    }

    /// Copies a tensor to a device, with whatever values it has; only [`load`](super::load) refuses NaN.
    ///
    /// # Errors
    /// There is no such tensor, it has another type than f32, f64, f16 and bf16, or the allocation fails.
    pub fn upload(&self, name: &str, device: &Device) -> Result<Tensor> {
        let missing = || format!("`{name}` is missing");
        let problem = match self.tensors.get(name).map(|t| (&t.dims, &t.values)) {
            Some((dims, Ok(values))) => return Tensor::from_slice(device, values, dims),
            Some((_, Err(_))) => self.type_problem(name).unwrap_or_else(missing),
            None => missing(),
        };
        Err(Error::Checkpoint { path: self.path.clone(), problems: vec![problem] })
    }

    /// Names and axis lengths.
    pub(crate) fn dims(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), &tensor.dims[..]))
    }

    /// The problem with the type of a tensor, if any.
    pub(crate) fn type_problem(&self, name: &str) -> Option<String> {
        match &self.tensors.get(name)?.values {
            Ok(_) => None,
            Err(dtype) => Some(format!("`{name}` must be F32, F64, F16 or BF16, got {dtype}")),
        }
    }

    /// The problem with the type of a tensor or with its values: they must be finite.
    pub(crate) fn value_problem(&self, name: &str) -> Option<String> {
        match &self.tensors.get(name)?.values {
            Ok(values) => not_finite(name, values),
            Err(_) => self.type_problem(name),
        }
    }
}

impl From<TensorView<'_>> for HostTensor {
    fn from(view: TensorView<'_>) -> Self {
        let dims = view.shape().to_vec();
        let element = match view.dtype() {
            Dtype::F64 => Element::F64,
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::Bf16,
            Dtype::I64 => Element::I64,
            Dtype::I32 => Element::I32,
            Dtype::I16 => Element::I16,
            Dtype::I8 => Element::I8,
            Dtype::U8 => Element::U8,
            Dtype::BOOL => Element::Bool,
            other => return HostTensor { dims, values: Err(format!("{other:?}")), integers: None },
        };
        // The safetensors crate has checked that the number of bytes fits type and shape.
        element.tensor(dims, view.data())
    }
}

/// Copies arrays to host memory.
pub(super) fn to_host(arrays: &BTreeMap<String, Array>) -> Result<BTreeMap<String, HostTensor>> {
    let host = |(name, array): (&String, &Array)| {
        let tensor = HostTensor { dims: array.dims().to_vec(), values: Ok(array.to_vec()?), integers: None };
        Ok((name.clone(), tensor))
    };
    arrays.iter().map(host).collect()
}

/// Values as a file holds them.
pub(super) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Writes f32 arrays and metadata to a safetensors file, which is complete or absent; see [`save`](super::save).
///
/// # Errors
/// The file cannot be written, values are neither f32 nor f16, or the device fails.
pub fn write(
    path: impl AsRef<Path>,
    arrays: &BTreeMap<String, Array>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let (path, tensors) = (path.as_ref(), to_host(arrays)?);
    for (name, tensor) in &tensors {
        if let Some(problem) = tensor.not_finite(name) {
            tracing::warn!(path = %path.display(), problem, "saved, but loading it is refused by default");
        }
    }
    write_host(path, tensors, metadata)
}

/// Writes tensors in host memory, those with values.
pub(super) fn write_host(
    path: &Path,
    tensors: BTreeMap<String, HostTensor>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    write_atomically(path, &serialized(path, tensors, metadata)?)
}

/// The bytes of a file; `path` is for errors.
pub(super) fn serialized(
    path: &Path,
    tensors: BTreeMap<String, HostTensor>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>> {
    let refused = |problem: String| Error::Checkpoint { path: path.to_path_buf(), problems: vec![problem] };
    // The values of a tensor go when its bytes are there.
    let host: Vec<_> = tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name, tensor.dims, bytes(&tensor.values.ok()?))))
        .collect();
    let mut views = Vec::with_capacity(host.len());
    for (name, dims, bytes) in &host {
        let view = TensorView::new(Dtype::F32, dims.clone(), bytes);
        views.push((name.as_str(), view.map_err(|error| refused(error.to_string()))?));
    }
    let metadata = (!metadata.is_empty()).then_some(metadata);
    let bytes = serialize(views, metadata).map_err(|error| refused(error.to_string()))?;
    // The first number is the length of the header, which readers limit.
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if header > MAX_HEADER {
        return Err(refused(format!(
            "names and metadata take {header} bytes, the format allows {MAX_HEADER}"
        )));
    }
    Ok(bytes)
}

/// The longest header that safetensors reads.
const MAX_HEADER: u64 = 100_000_000;
