//! The values of tensors, which are views of storages.

use super::pickle::TensorData;
use crate::io::element::Element;
use crate::io::host_tensor::HostTensor;
use std::collections::{BTreeMap, HashMap};

/// The storages of a file by key.
pub(super) struct Memory<'a> {
    pub(super) storages: HashMap<String, &'a [u8]>,
    pub(super) big_endian: bool,
    /// Bytes of the file.
    pub(super) file: usize,
}

/// Elements that views of one storage may have beyond those in the file, so that a small file does not fill the memory.
const SHARED: usize = 1 << 24;

impl Memory<'_> {
    pub(super) fn tensors(
        &self,
        named: BTreeMap<String, TensorData>,
    ) -> Result<BTreeMap<String, HostTensor>, String> {
        let mut left = self.file.saturating_add(SHARED);
        let mut tensors = BTreeMap::new();
        for (name, data) in named {
            let tensor = self.tensor(&data, &mut left).map_err(|why| format!("`{name}`: {why}"))?;
            tensors.insert(name, tensor);
        }
        Ok(tensors)
    }

    fn tensor(&self, data: &TensorData, left: &mut usize) -> Result<HostTensor, String> {
        let storage = &data.storage;
        let bytes = self.storages.get(&storage.key).copied().unwrap_or_default();
        let sizes: Option<Vec<usize>> = data.dims.iter().map(|&size| size.try_into().ok()).collect();
        let dims = sizes.ok_or_else(|| format!("sizes {:?} are too large", data.dims))?;
        let Some(element) = element(&storage.kind) else {
            return Ok(HostTensor { dims, values: Err(storage.kind.clone()), integers: None });
        };
        let outside = || {
            let TensorData { dims, strides, offset, .. } = data;
            let held = bytes.len() / element.size();
            format!("sizes {dims:?}, strides {strides:?}, offset {offset} leave a storage of {held} elements")
        };
        let view = View::of(data, bytes.len() / element.size()).ok_or_else(outside)?;
        *left = left.checked_sub(view.count).ok_or("tensors share storages too often for the file's size")?;
        let mut values = view.bytes(bytes, element.size())?;
        if self.big_endian {
            values.chunks_exact_mut(element.size()).for_each(<[u8]>::reverse);
        }
        Ok(element.tensor(dims, &values))
    }
}

/// The element type of a storage class or of a `torch.dtype`.
pub(super) fn element(kind: &str) -> Option<Element> {
    Some(match kind.strip_suffix("Storage").unwrap_or(kind) {
        "Double" | "float64" => Element::F64,
        "Float" | "float32" => Element::F32,
        "Half" | "float16" => Element::F16,
        "BFloat16" | "bfloat16" => Element::Bf16,
        "Long" | "int64" => Element::I64,
        "Int" | "int32" => Element::I32,
        "Short" | "int16" => Element::I16,
        "Char" | "int8" => Element::I8,
        "Byte" | "uint8" => Element::U8,
        "Bool" | "bool" => Element::Bool,
        _ => return None,
    })
}

/// A strided view that lies in its storage.
struct View {
    /// Elements of the view.
    count: usize,
    offset: usize,
    /// Length and stride of each axis.
    axes: Vec<(usize, usize)>,
}

impl View {
    /// `None` if the view leaves a storage of `held` elements.
    fn of(data: &TensorData, held: usize) -> Option<Self> {
        let offset = usize::try_from(data.offset).ok()?;
        let (mut count, mut last, mut empty) = (1usize, offset, false);
        let mut axes = Vec::with_capacity(data.dims.len());
        for (&size, &stride) in data.dims.iter().zip(&data.strides) {
            let (size, stride) = (usize::try_from(size).ok()?, usize::try_from(stride).ok()?);
            empty |= size == 0;
            axes.push((size, stride));
        }
        if empty {
            return Some(View { count: 0, offset: 0, axes });
        }
        for &(size, stride) in &axes {
            count = count.checked_mul(size)?;
            last = last.checked_add(stride.checked_mul(size - 1)?)?;
        }
        (last < held).then_some(View { count, offset, axes })
    }

    /// The elements in row-major order.
    fn bytes(&self, storage: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let length = self.count.checked_mul(size);
        let reserved = length.and_then(|length| bytes.try_reserve_exact(length).ok());
        reserved.ok_or_else(|| format!("no memory for {} elements", self.count))?;
        let mut index = vec![0; self.axes.len()];
        for _ in 0..self.count {
            let steps = index.iter().zip(&self.axes).map(|(at, (_, stride))| at * stride);
            let at = (self.offset + steps.sum::<usize>()) * size;
            bytes.extend_from_slice(&storage[at..at + size]);
            for (at, (length, _)) in index.iter_mut().zip(&self.axes).rev() {
                *at += 1;
                if *at < *length {
                    break;
                }
                *at = 0;
            }
        }
        Ok(bytes)
    }
}
