//! Datasets: arrays of numbers.

use super::attribute::{self, Value};
use super::bytes::{Fields, part};
use super::datatype::{self, Datatype, ElementKind};
use super::header::{DATASPACE, DATATYPE, EXTERNAL, FILTERS, LAYOUT, Message};
use super::numbers::numbers;

/// An array of a file that is decoded when it is asked for.
#[derive(Debug)]
pub struct Dataset<'a> {
    pub(super) file: &'a [u8],
    pub(super) messages: Vec<Message<'a>>,
}

/// Dimensions and values, the last dimension fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// None of a scalar.
    pub dims: Vec<usize>,
    /// As many as the dimensions say.
    pub values: Vec<f32>,
}

/// The address of data that were never written.
const UNDEFINED: u64 = u64::MAX;

impl<'a> Dataset<'a> {
    /// Dimensions and values. Numbers of other types become f32, the nearest ones.
    ///
    /// # Errors
    /// The dataset is damaged, no array of numbers, or stored in chunks.
    pub fn read(&self) -> Result<Array, String> {
        let (dims, datatype, data) = self.data()?;
        Ok(Array { dims, values: numbers(data, &datatype, |value| value as f32)? })
    }

    /// As [`Dataset::read`] of 16-bit integers that hold the bits of bf16.
    ///
    /// # Errors
    /// As [`Dataset::read`], and where the elements are not 16-bit integers.
    pub fn read_bf16(&self) -> Result<Array, String> {
        let (dims, datatype, data) = self.data()?;
        if !matches!(datatype, Datatype { kind: ElementKind::Integer { .. }, size: 2, .. }) {
            return Err("bf16 must be stored as integers of 16 bits".to_string());
        }
        let bits =
            numbers(data, &Datatype { kind: ElementKind::Integer { signed: false }, ..datatype }, |value| {
                value
            })?;
        Ok(Array { dims, values: bits.into_iter().map(|bits| f32::from_bits((bits as u32) << 16)).collect() })
    }

    /// The value of an attribute; `None` where there is none of this name.
    ///
    /// # Errors
    /// The attribute is damaged, or neither text nor number.
    pub fn attribute(&self, name: &str) -> Result<Option<Value>, String> {
        attribute::read(self.file, &self.messages, name)
    }

    fn message(&self, kind: u16, name: &str) -> Result<&'a [u8], String> {
        let message = self.messages.iter().find(|message| message.kind == kind);
        let message = message.ok_or_else(|| format!("the dataset has no {name}"))?;
        match message.is_shared() {
            true => Err(format!("the dataset's {name} lies outside of it, which Keras does not write")),
            false => Ok(message.data),
        }
    }

    fn data(&self) -> Result<(Vec<usize>, Datatype, &'a [u8]), String> {
        let dims = datatype::dims(self.message(DATASPACE, "dataspace")?)?;
        let datatype = datatype::datatype(self.message(DATATYPE, "datatype")?)?;
        let (_, size) = datatype::extent(&dims, &datatype)?;
        if self.messages.iter().any(|message| matches!(message.kind, FILTERS | EXTERNAL)) {
            return Err(
                "the dataset is compressed or lies in another file, which is not supported".to_string()
            );
        }
        let layout = self.message(LAYOUT, "layout")?;
        let data = if size == 0 { &[] } else { stored(self.file, layout, size)? };
        Ok((dims, datatype, data))
    }
}

/// The bytes of a dataset, by its layout message.
fn stored<'a>(file: &'a [u8], layout: &'a [u8], size: usize) -> Result<&'a [u8], String> {
    let damaged = || format!("the HDF5 file is damaged: no {size} bytes of a dataset lie in it");
    let mut fields = Fields(layout);
    let version = fields.u8().ok_or_else(damaged)?;
    let class = match version {
        1 | 2 => fields.take(7).and_then(|start| start.get(1).copied()),
        3 | 4 => fields.u8(),
        _ => return Err(format!("the layout of a dataset must have version 1 to 4, got {version}")),
    };
    let data = match (class.ok_or_else(damaged)?, version) {
        (0, 3 | 4) => fields.u16().and_then(|length| fields.take(length.into())),
        (1, _) => match fields.u64().ok_or_else(damaged)? {
            UNDEFINED => return Err("the values of a dataset were never written".to_string()),
            address => part(file, address, size as u64),
        },
        (2.., _) => return Err("the dataset is stored in chunks, which is not supported".to_string()),
        _ => return Err(format!("a compact dataset of layout version {version} is not supported")),
    };
    data.and_then(|data| data.get(..size)).ok_or_else(damaged)
}
