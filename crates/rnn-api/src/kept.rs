//! Values that a program keeps beside weights, in checkpoints and model files.
//!
//! JSON loses some of them without an error. It writes NaN and infinity as null, and its reader refuses what is nested too
//! deeply. They are found here, before they are written.

use serde::de::{self, DeserializeOwned, Deserializer};
use serde::ser::{self, Serialize, Serializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The largest number of lists and objects in each other. The reader of `serde_json` refuses 128, some of which belong
/// to the file.
const MAX_DEPTH: usize = 100;

/// The value as JSON, if it comes back from JSON as it is; else the problem.
pub(crate) fn kept_value(value: &(impl Serialize + ?Sized)) -> Result<Value, String> {
    value.serialize(Check { depth: 0 }).map_err(|problem| problem.0)?;
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// A value of JSON as a `T`; else the problem, with the field where it is, such as `lstm.hidden_size` of `lstm`. `name` is
/// the name of the value itself.
pub(crate) fn from_kept<T: DeserializeOwned>(name: &str, value: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let dot = if path.starts_with('[') { "" } else { "." };
        match path.as_str() {
            "." => format!("`{name}`: {inner}"),
            path => format!("`{name}{dot}{path}`: {inner}"),
        }
    })
}

/// The fields of a struct in any format, for [`model!`](crate::model!).
#[derive(Debug)]
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Reads them all.
    ///
    /// # Errors
    /// It is no struct, or has a field that is not among `known`.
    pub fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
        known: &'static [&'static str],
    ) -> Result<Self, D::Error> {
        let fields = <BTreeMap<String, Value> as de::Deserialize>::deserialize(deserializer)?;
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(de::Error::unknown_field(unknown, known)),
            None => Ok(Fields(fields)),
        }
    }

    /// The value of a field.
    ///
    /// # Errors
    /// It is missing, or has another type; the error names the field.
    pub fn take<T: DeserializeOwned, E: de::Error>(&mut self, name: &'static str) -> Result<T, E> {
        let value = self.0.remove(name).ok_or_else(|| E::missing_field(name))?;
        from_kept(name, &value).map_err(E::custom)
    }
}

/// How JSON writes a value.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    Null,
    Other,
}

#[derive(Debug)]
struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

impl ser::Error for Problem {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Problem(problem.to_string())
    }
}

/// Walks through a value and writes nothing.
#[derive(Clone, Copy)]
struct Check {
    depth: usize,
}

impl Check {
    /// One level deeper.
    fn inner(self) -> Result<PartsCheck, Problem> {
        if self.depth == MAX_DEPTH {
            return Err(Problem(format!("more than {MAX_DEPTH} lists and objects in each other")));
        }
        Ok(PartsCheck { inside: Check { depth: self.depth + 1 }, keys: BTreeSet::new() })
    }

    /// Two levels deeper: a variant with several parts is an object of one entry.
    fn variant(self) -> Result<PartsCheck, Problem> {
        self.inner()?.inside.inner()
    }

    fn float(self, value: f64) -> Result<Written, Problem> {
        if value.is_finite() {
            Ok(Written::Other)
        } else {
            Err(Problem(format!("{value}, which JSON does not have")))
        }
    }
}

/// The parts of a list or object.
struct PartsCheck {
    inside: Check,
    /// Keys of a map as JSON writes them.
    keys: BTreeSet<String>,
}

impl PartsCheck {
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        value.serialize(self.inside).map(drop)
    }

    /// Numbers are text as keys, so 1 and "1" are the same key.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Problem> {
        let text = serde_json::to_string(key).map_err(ser::Error::custom)?;
        let text = text.trim_matches('"');
        if self.keys.insert(text.to_string()) {
            Ok(())
        } else {
            Err(Problem(format!("two entries under the key {text}")))
        }
    }
}

/// Methods for values without parts.
macro_rules! scalars {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, _: $type) -> Result<Written, Problem> {
            Ok(Written::Other)
        })*
    };
}

impl Serializer for Check {
    type Ok = Written;
    type Error = Problem;
    type SerializeSeq = PartsCheck;
    type SerializeTuple = PartsCheck;
    type SerializeTupleStruct = PartsCheck;
    type SerializeTupleVariant = PartsCheck;
    type SerializeMap = PartsCheck;
    type SerializeStruct = PartsCheck;
    type SerializeStructVariant = PartsCheck;

    scalars!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8]
    );

    fn serialize_f32(self, value: f32) -> Result<Written, Problem> {
        self.float(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<Written, Problem> {
        self.float(value)
    }

    fn serialize_none(self) -> Result<Written, Problem> {
        Ok(Written::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Written, Problem> {
        match value.serialize(self)? {
            Written::Null => {
                Err(Problem("`Some` of a value that JSON writes as null, as it does `None`".into()))
            }
            Written::Other => Ok(Written::Other),
        }
    }

    fn serialize_unit(self) -> Result<Written, Problem> {
        Ok(Written::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Written, Problem> {
        Ok(Written::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Written, Problem> {
        Ok(Written::Other)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Written, Problem> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Written, Problem> {
        self.inner()?.part(value)?;
        Ok(Written::Other)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<PartsCheck, Problem> {
        self.inner()
    }

    fn serialize_tuple(self, _: usize) -> Result<PartsCheck, Problem> {
        self.inner()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<PartsCheck, Problem> {
        self.inner()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<PartsCheck, Problem> {
        self.variant()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<PartsCheck, Problem> {
        self.inner()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<PartsCheck, Problem> {
        self.inner()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<PartsCheck, Problem> {
        self.variant()
    }
}

/// Implements the traits of lists, whose parts have no names.
macro_rules! lists {
    ($($trait:ident $method:ident),*) => {
        $(impl ser::$trait for PartsCheck {
            type Ok = Written;
            type Error = Problem;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
                self.part(value)
            }

            fn end(self) -> Result<Written, Problem> {
                Ok(Written::Other)
            }
        })*
    };
}
lists!(
    SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

/// Implements the traits of structs.
macro_rules! structs {
    ($($trait:ident),*) => {
        $(impl ser::$trait for PartsCheck {
            type Ok = Written;
            type Error = Problem;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Problem> {
                self.part(value)
            }

            fn end(self) -> Result<Written, Problem> {
                Ok(Written::Other)
            }
        })*
    };
}
structs!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for PartsCheck {
    type Ok = Written;
    type Error = Problem;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Problem> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        self.part(value)
    }

    fn end(self) -> Result<Written, Problem> {
        Ok(Written::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashMap};

    #[derive(serde::Serialize)]
    enum Tree {
        Leaf(f32),
        Pair { left: Box<Tree>, right: Option<Box<Tree>> },
    }

    /// Lists in each other.
    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::from(1), |inner, _| Value::Array(vec![inner]))
    }

    /// As a checkpoint stores it, and through the reader that has the limit.
    fn read_back(value: &Value) -> serde_json::Result<Value> {
        let file = BTreeMap::from([("kept", BTreeMap::from([("name", value)]))]);
        let file: Value = serde_json::from_str(&serde_json::to_string(&file)?)?;
        Ok(file["kept"]["name"].clone())
    }

    #[test]
    fn what_is_accepted_comes_back() {
        let pair = Tree::Pair { left: Box::new(Tree::Leaf(0.1)), right: None };
        let maps = BTreeMap::from([(1u8, Some(vec![1.5f64, -0.0, f64::MIN_POSITIVE])), (2, None)]);
        let values = [
            kept_value(&pair),
            kept_value(&maps),
            kept_value(&("text \u{1f600} \" \\ \0", 'c', u64::MAX, i64::MIN, f32::MAX, ())),
            kept_value(&nested(MAX_DEPTH)),
        ];
        for value in values {
            let value = value.unwrap();
            assert_eq!(read_back(&value).unwrap(), value);
        }
    }

    #[test]
    fn what_json_would_lose_is_refused() {
        let right = Some(Box::new(Tree::Leaf(f32::NAN)));
        let tree = Tree::Pair { left: Box::new(Tree::Leaf(1.0)), right };
        assert!(kept_value(&tree).unwrap_err().contains("NaN"));
        assert!(kept_value(&HashMap::from([("a", [1.0, f64::INFINITY])])).unwrap_err().contains("inf"));
        assert!(kept_value(&Some(None::<u8>)).unwrap_err().contains("null"));
        assert!(kept_value(&vec![Some(())]).unwrap_err().contains("null"));
        assert!(kept_value(&nested(MAX_DEPTH + 1)).unwrap_err().contains("100"));
        assert!(kept_value(&nested(200)).is_err());
        assert!(kept_value(&u128::MAX).is_err());
        assert!(kept_value(&HashMap::from([((1, 2), 3)])).is_err(), "a key that is no text");
    }

    #[test]
    fn keys_that_are_equal_as_text_are_refused() {
        struct Twice;
        impl Serialize for Twice {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map([("a", 1), ("a", 2)])
            }
        }
        assert!(kept_value(&Twice).unwrap_err().contains("two entries under the key a"));
    }
}
