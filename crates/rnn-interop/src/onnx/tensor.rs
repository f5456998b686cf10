//! Tensors in a model, and those whose data is in a file beside it.

use super::proto::{DataType, TensorProto};
use crate::value::{Host, Value, elements};
use half::{bf16, f16};
use rnn_api::{Device, Tensor};
use std::path::{Component, Path, PathBuf};

/// The value of a tensor in host memory; `None` if it has no elements and is no integer, which no tensor here can be.
///
/// # Errors
/// In words: a type without values, sizes that do not fit the data, or data outside of the model's folder.
pub(super) fn value(tensor: &TensorProto, folder: &Path) -> Result<Option<Value>, String> {
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&size| size.try_into().ok()).collect();
    let dims = dims.ok_or_else(|| format!("sizes {:?} must not be negative", tensor.dims))?;
    let count = elements(&dims).ok_or_else(|| format!("sizes {dims:?} are too large"))?;
    let outside = match tensor.data_location {
        1 => Some(external(tensor, folder)?),
        _ => None,
    };
    let raw = outside.as_deref().or(tensor.raw_data.as_deref());
    let kind = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
    let numbers = match kind {
        DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16 => {
            let values = floats(tensor, kind, raw)?;
            return of_floats(values, dims, count);
        }
        DataType::Undefined | DataType::String => return Err(format!("elements of type {kind:?}")),
        _ => integers(tensor, kind, raw)?,
    };
    if numbers.len() != count {
        return Err(format!("sizes {dims:?} do not fit {} elements", numbers.len()));
    }
    Ok(Some(match kind {
        DataType::Bool => {
            Value::Bool(Host { dims, values: numbers.iter().map(|&value| value != 0).collect() })
        }
        _ => Value::Int(Host { dims, values: numbers }),
    }))
}

fn of_floats(values: Vec<f32>, dims: Vec<usize>, count: usize) -> Result<Option<Value>, String> {
    if values.len() != count {
        return Err(format!("sizes {dims:?} do not fit {} elements", values.len()));
    }
    if count == 0 {
        return Ok(None);
    }
    let tensor = Tensor::from_slice(&Device::cpu(), &values, &dims).map_err(|error| error.to_string())?;
    Ok(Some(Value::Float(tensor)))
}

/// Little-endian elements of N bytes each.
fn each<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    let (chunks, rest) = raw.as_chunks::<N>();
    match rest.is_empty() {
        true => Ok(chunks.iter().map(|bytes| read(*bytes)).collect()),
        false => Err(format!("{} bytes are no whole elements", raw.len())),
    }
}

fn floats(tensor: &TensorProto, kind: DataType, raw: Option<&[u8]>) -> Result<Vec<f32>, String> {
    // Halves without raw data are the low bits of integers.
    let halves = || tensor.int32_data.iter().map(|&bits| bits as u16);
    match (kind, raw) {
        (DataType::Float, Some(raw)) => each(raw, f32::from_le_bytes),
        (DataType::Float, None) => Ok(tensor.float_data.clone()),
        (DataType::Double, Some(raw)) => each(raw, |bytes| f64::from_le_bytes(bytes) as f32),
        (DataType::Double, None) => Ok(tensor.double_data.iter().map(|&value| value as f32).collect()),
        (DataType::Float16, Some(raw)) => each(raw, |bytes| f16::from_le_bytes(bytes).to_f32()),
        (DataType::Float16, None) => Ok(halves().map(|bits| f16::from_bits(bits).to_f32()).collect()),
        (_, Some(raw)) => each(raw, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        (_, None) => Ok(halves().map(|bits| bf16::from_bits(bits).to_f32()).collect()),
    }
}

fn integers(tensor: &TensorProto, kind: DataType, raw: Option<&[u8]>) -> Result<Vec<i64>, String> {
    let wide = |value: u64| i64::try_from(value).map_err(|_| format!("{value} is beyond 64-bit integers"));
    let Some(raw) = raw else {
        return match kind {
            DataType::Int64 => Ok(tensor.int64_data.clone()),
            DataType::Uint64 | DataType::Uint32 => {
                tensor.uint64_data.iter().map(|&value| wide(value)).collect()
            }
            _ => Ok(tensor.int32_data.iter().map(|&value| value.into()).collect()),
        };
    };
    match kind {
        DataType::Int64 => each(raw, i64::from_le_bytes),
        DataType::Uint64 => each(raw, u64::from_le_bytes)?.into_iter().map(wide).collect(),
        DataType::Int32 => each(raw, |bytes| i32::from_le_bytes(bytes).into()),
        DataType::Uint32 => each(raw, |bytes| u32::from_le_bytes(bytes).into()),
        DataType::Int16 => each(raw, |bytes| i16::from_le_bytes(bytes).into()),
        DataType::Uint16 => each(raw, |bytes| u16::from_le_bytes(bytes).into()),
        DataType::Int8 => each(raw, |[byte]| (byte as i8).into()),
        _ => each(raw, |[byte]| byte.into()),
    }
}

/// The bytes of a tensor in another file, which must lie in the model's folder.
fn external(tensor: &TensorProto, folder: &Path) -> Result<Vec<u8>, String> {
    let entry = |key: &str| {
        tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    };
    let location = entry("location").ok_or("external data without a location")?;
    let path = inside(folder, Path::new(location))?;
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let number = |key: &str, default: usize| match entry(key) {
        Some(text) => text.trim().parse().map_err(|_| format!("external data: {key} `{text}` is no number")),
        None => Ok(default),
    };
    let start = number("offset", 0)?;
    let length = number("length", bytes.len().saturating_sub(start))?;
    let part = start.checked_add(length).and_then(|end| bytes.get(start..end));
    part.map(<[u8]>::to_vec).ok_or_else(|| {
        format!(
            "{}: bytes {start} to {start} + {length} are not in the file of {}",
            path.display(),
            bytes.len()
        )
    })
}

/// A path below a folder; links must not lead out of it either.
fn inside(folder: &Path, location: &Path) -> Result<PathBuf, String> {
    let out = || format!("external data `{}` is outside of the model's folder", location.display());
    if !location.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(out());
    }
    let path = folder.join(location);
    let real = |path: &Path| path.canonicalize().map_err(|error| format!("{}: {error}", path.display()));
    let (real_path, real_folder) = (real(&path)?, real(folder)?);
    match real_path.starts_with(&real_folder) && real_path.is_file() {
        true => Ok(real_path),
        false => Err(out()),
    }
}
