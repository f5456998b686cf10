//! Attributes: small named values of groups and datasets.

use super::bytes::Fields;
use super::datatype::{self, Datatype, ElementKind};
use super::header::{ATTRIBUTE, Message};
use super::heap::Heap;
use super::numbers::numbers;

/// The value of an attribute. A scalar is one element.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Texts.
    Texts(Vec<String>),
    /// Numbers and booleans.
    Numbers(Vec<f64>),
}

impl Value {
    /// The text of a value that is one text.
    #[must_use]
    pub fn into_text(self) -> Option<String> {
        match self {
            Value::Texts(texts) => <[String; 1]>::try_from(texts).ok().map(|[text]| text),
            Value::Numbers(_) => None,
        }
    }
}

/// An attribute message in its parts.
struct AttributeParts<'a> {
    name: &'a [u8],
    datatype: &'a [u8],
    dataspace: &'a [u8],
    data: &'a [u8],
}

/// The names of all attributes that can be read.
pub(super) fn names(messages: &[Message]) -> Vec<String> {
    let attributes = messages.iter().filter(|message| message.kind == ATTRIBUTE);
    let parts = attributes.filter_map(|message| parts(message).ok());
    parts.map(|parts| String::from_utf8_lossy(parts.name).into_owned()).collect()
}

/// The value of the attribute `name`.
pub(super) fn read(file: &[u8], messages: &[Message], name: &str) -> Result<Option<Value>, String> {
    for message in messages.iter().filter(|message| message.kind == ATTRIBUTE) {
        let parts = parts(message)?;
        if parts.name == name.as_bytes() {
            let value = value(file, &parts).map_err(|error| format!("attribute `{name}`: {error}"))?;
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn parts<'a>(message: &Message<'a>) -> Result<AttributeParts<'a>, String> {
    let damaged = "the HDF5 file is damaged: an attribute is cut off";
    if message.is_shared() {
        return Err(
            "the HDF5 file has an attribute of several objects, which Keras does not write".to_string()
        );
    }
    let mut fields = Fields(message.data);
    let mut start = || Some((fields.u8()?, fields.u8()?, [fields.u16()?, fields.u16()?, fields.u16()?]));
    let (version, flags, lengths) = start().ok_or(damaged)?;
    match version {
        1 => (),
        2 | 3 if flags != 0 => return Err("the HDF5 file has an attribute of a named type".to_string()),
        2 => (),
        3 => fields.take(1).map(|_| ()).ok_or(damaged)?,
        _ => return Err(format!("attributes must have version 1, 2 or 3, got {version}")),
    }
    let mut part = |length: u16| {
        let length = usize::from(length);
        let stored = if version == 1 { length.next_multiple_of(8) } else { length };
        fields.take(stored).map(|part| &part[..length]).ok_or(damaged)
    };
    let [name, datatype, dataspace] = lengths;
    let (name, datatype, dataspace) = (part(name)?, part(datatype)?, part(dataspace)?);
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    Ok(AttributeParts { name, datatype, dataspace, data: fields.0 })
}

fn value(file: &[u8], parts: &AttributeParts) -> Result<Value, String> {
    let datatype = datatype::datatype(parts.datatype)?;
    let (_, bytes) = datatype::extent(&datatype::dims(parts.dataspace)?, &datatype)?;
    let data = parts.data.get(..bytes).ok_or_else(|| {
        format!("the HDF5 file is damaged: expected {bytes} bytes, got {}", parts.data.len())
    })?;
    match datatype.kind {
        ElementKind::Float | ElementKind::Integer { .. } => {
            Ok(Value::Numbers(numbers(data, &datatype, |value| value)?))
        }
        ElementKind::Text { .. } | ElementKind::LongText => texts(file, data, &datatype).map(Value::Texts),
    }
}

fn texts(file: &[u8], data: &[u8], datatype: &Datatype) -> Result<Vec<String>, String> {
    let mut heap = Heap::of(file);
    let mut text = |element| {
        let bytes = match datatype.kind {
            ElementKind::LongText => heap.get(element)?,
            _ => element,
        };
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| "the text is not UTF-8".to_string())?;
        let padded = matches!(datatype.kind, ElementKind::Text { space_padded: true });
        Ok(if padded { text.trim_end_matches(' ') } else { text }.to_string())
    };
    data.chunks_exact(datatype.size).map(&mut text).collect()
}
