//! The values that flow through a graph.

use crate::error::Why;
use rnn_api::{Device, Tensor};

/// A value: a tensor on a device, or integers or booleans in host memory, where shapes are computed.
#[derive(Clone, Debug)]
pub enum Value {
    /// Floating-point numbers.
    Float(Tensor),
    /// Integers: indices, lengths, sizes.
    Int(Host<i64>),
    /// Truth values.
    Bool(Host<bool>),
}

/// An array in host memory, row-major. It may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<T> {
    /// Axis lengths.
    pub dims: Vec<usize>,
    /// As many values as the lengths multiply to.
    pub values: Vec<T>,
}

impl<T> Host<T> {
    /// An array.
    ///
    /// # Errors
    /// The number of values is not the product of the lengths.
    pub fn new(values: Vec<T>, dims: impl Into<Vec<usize>>) -> Result<Self, crate::Error> {
        let dims = dims.into();
        if elements(&dims) == Some(values.len()) {
            return Ok(Host { dims, values });
        }
        let why = format!("{dims:?} must have as many elements as there are values, got {}", values.len());
        Err(crate::Error::Input { name: "values".into(), why })
    }

    pub(crate) fn scalar(value: T) -> Self {
        Host { dims: Vec::new(), values: vec![value] }
    }

    pub(crate) fn list(values: Vec<T>) -> Self {
        Host { dims: vec![values.len()], values }
    }
}

/// The number of elements; `None` above `usize`. Axes of length 0 do not excuse the others: their product, from which strides
/// come, must be a `usize`, too.
pub(crate) fn elements(dims: &[usize]) -> Option<usize> {
    let product = dims.iter().try_fold(1usize, |product, &size| product.checked_mul(size.max(1)))?;
    Some(if dims.contains(&0) { 0 } else { product })
}

/// An empty vector with room for `count` elements.
///
/// # Errors
/// No memory.
pub(crate) fn room<T>(count: usize) -> Result<Vec<T>, Why> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| Why::Text(format!("no memory for {count} elements")))?;
    Ok(values)
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Value::Float(tensor)
    }
}

impl From<&Tensor> for Value {
    fn from(tensor: &Tensor) -> Self {
        Value::Float(tensor.clone())
    }
}

impl From<Host<i64>> for Value {
    fn from(integers: Host<i64>) -> Self {
        Value::Int(integers)
    }
}

impl From<Host<bool>> for Value {
    fn from(booleans: Host<bool>) -> Self {
        Value::Bool(booleans)
    }
}

impl Value {
    /// Axis lengths.
    pub fn dims(&self) -> &[usize] {
        match self {
            Value::Float(tensor) => tensor.dims(),
            Value::Int(host) => &host.dims,
            Value::Bool(host) => &host.dims,
        }
    }

    /// What the value is, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Float(_) => "floating-point numbers",
            Value::Int(_) => "integers",
            Value::Bool(_) => "booleans",
        }
    }

    pub(crate) fn float(&self) -> Result<&Tensor, Why> {
        match self {
            Value::Float(tensor) => Ok(tensor),
            other => Err(Why::Text(format!("expected floating-point numbers, got {}", other.kind()))),
        }
    }

    pub(crate) fn int(&self) -> Result<&Host<i64>, Why> {
        match self {
            Value::Int(host) => Ok(host),
            other => Err(Why::Text(format!("expected integers, got {}", other.kind()))),
        }
    }

    /// The same value with its numbers on a device.
    pub(crate) fn to_device(&self, device: &Device) -> rnn_api::Result<Value> {
        Ok(match self {
            Value::Float(tensor) => Value::Float(tensor.to_device(device)?),
            other => other.clone(),
        })
    }
}
