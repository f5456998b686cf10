//! Small readers of JSON values.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// The members of an object.
pub(super) type Fields = Map<String, Value>;

/// A number. Java's JSON has texts for those that are not finite.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// A length that may be absent.
pub(super) fn length(fields: &Fields, name: &str) -> Result<Option<usize>, String> {
    let Some(value) = fields.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let length = value.as_u64().and_then(|length| usize::try_from(length).ok());
    length.map(Some).ok_or_else(|| format!("`{name}` is {value}, not a length"))
}

/// A list of texts; an absent one is empty.
pub(super) fn texts(value: Option<&Value>, name: &str) -> Result<Vec<String>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let texts =
        value.as_array().and_then(|list| list.iter().map(|text| Some(text.as_str()?.to_string())).collect());
    texts.ok_or_else(|| format!("`{name}` is {value}, not a list of names"))
}

/// The class of an object, without its package, and its fields. Old files wrap the fields: `{"gravesLSTM": {..}}`; newer ones
/// have `@class` among them.
pub(super) fn typed(value: &Value) -> Option<(&str, &Fields)> {
    let fields = value.as_object()?;
    if let Some(class) = fields.get("@class") {
        return Some((class.as_str()?.rsplit(['.', '$']).next()?, fields));
    }
    let (class, inner) = fields.iter().next().filter(|_| fields.len() == 1)?;
    Some((class, inner.as_object()?))
}

/// The members of an object in the order of the file.
#[derive(Default)]
pub(super) struct Ordered(pub(super) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Ordered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Ordered(members))
    }
}
