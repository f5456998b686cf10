//! Structs whose last field is flattened, so that both are one flat object in JSON.

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Reads the flattened field of a struct, for `#[serde(flatten, deserialize_with = "crate::flat::rest")]`, from all
/// fields that the rest of the struct does not have. With `deny_unknown_fields`, which serde does not support on the
/// outer of two such structs, the inner one then refuses the names that neither of them has.
pub(crate) fn rest<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(Rest(deserializer))
}

/// Gives a flattened struct the fields that it does not know, too: asked for a struct, serde leaves them out; asked for
/// a map, it does not.
struct Rest<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Rest<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(bound = "T: Deserialize<'de>")]
    struct Outer<T> {
        a: u8,
        #[serde(flatten, deserialize_with = "rest")]
        inner: T,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        b: u8,
        c: Option<f32>,
    }

    fn read(json: &str) -> Result<(u8, u8, Option<f32>), String> {
        let outer: Outer<Inner> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Ok((outer.a, outer.inner.b, outer.inner.c))
    }

    #[test]
    fn both_structs_are_read_from_one_object() {
        assert_eq!(read(r#"{"c": 0.1, "a": 1, "b": 2}"#), Ok((1, 2, Some(0.1))));
        assert_eq!(read(r#"{"a": 1}"#), Ok((1, 0, None)));
    }

    #[test]
    fn what_neither_has_and_what_comes_twice_is_refused() {
        for (json, problem) in [
            (r#"{"a": 1, "d": 2}"#, "unknown field `d`"),
            (r#"{"b": 1}"#, "missing field `a`"),
            (r#"{"a": 1, "a": 1}"#, "duplicate field `a`"),
            (r#"{"a": 1, "b": 1, "b": 1}"#, "duplicate field `b`"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(problem), "{json}: {error}");
        }
    }
}
