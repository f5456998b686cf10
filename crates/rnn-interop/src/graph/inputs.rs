//! What a node reads.

use crate::error::Why;
use crate::value::Value;

/// Access to the inputs of a node by position.
pub(crate) struct Inputs<'a>(pub(crate) &'a [Option<Value>]);

impl<'a> Inputs<'a> {
    pub(crate) fn get(&self, index: usize) -> Option<&'a Value> {
        self.0.get(index)?.as_ref()
    }

    pub(crate) fn need(&self, index: usize) -> Result<&'a Value, Why> {
        self.get(index).ok_or_else(|| Why::Text(format!("input {index} is missing")))
    }

    pub(crate) fn ints(&self, index: usize) -> Result<Option<&'a [i64]>, Why> {
        self.get(index).map(|value| Ok(&value.int()?.values[..])).transpose()
    }
}
