//! Element types of tensors in files, and how their bytes become values.

use super::host_tensor::HostTensor;

/// The type of the elements of a tensor in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Element::F64 | Element::I64 => 8,
            Element::F32 | Element::I32 => 4,
            Element::F16 | Element::Bf16 | Element::I16 => 2,
            Element::I8 | Element::U8 | Element::Bool => 1,
        }
    }

    /// The tensor of these elements, which are little-endian: floating-point values in f32, or integers.
    pub(super) fn tensor(self, dims: Vec<usize>, data: &[u8]) -> HostTensor {
        let floats = |values: Vec<f32>| (Ok(values), None);
        let integers = |values: Vec<i64>| (Err(format!("{self:?}").to_uppercase()), Some(values));
        let (values, integers) = match self {
            Element::F64 => floats(each(data, |bytes| f64::from_le_bytes(bytes) as f32)),
            Element::F32 => floats(each(data, f32::from_le_bytes)),
            Element::F16 => floats(each(data, |bytes| half::f16::from_le_bytes(bytes).to_f32())),
            Element::Bf16 => floats(each(data, |bytes| half::bf16::from_le_bytes(bytes).to_f32())),
            Element::I64 => integers(each(data, i64::from_le_bytes)),
            Element::I32 => integers(each(data, |bytes| i32::from_le_bytes(bytes).into())),
            Element::I16 => integers(each(data, |bytes| i16::from_le_bytes(bytes).into())),
            Element::I8 => integers(each(data, |[byte]| (byte as i8).into())),
            Element::U8 | Element::Bool => integers(each(data, |[byte]| byte.into())),
        };
        HostTensor { dims, values, integers }
    }
}

fn each<const N: usize, T>(data: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks().0.iter().map(|bytes| read(*bytes)).collect()
}
