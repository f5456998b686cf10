//! [`ArrayOf`]: a contiguous row-major array over the memory of one backend.

use crate::dims::Shape;
use crate::dtype::DType;
use crate::error::{Error, Result};

/// A contiguous row-major array in the memory of one backend. `B` is the backend's memory handle; clones
/// share the memory.
#[derive(Clone, Debug)]
pub struct ArrayOf<B> {
    /// Axis lengths.
    pub shape: Shape,
    /// Element type.
    pub dtype: DType,
    /// The memory.
    pub buffer: B,
}

impl<B> ArrayOf<B> {
    /// The memory.
    pub fn buffer(&self) -> &B {
        &self.buffer
    }

    /// Axis lengths as a slice.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Never true: arrays have no zero-length axes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Number of 4-byte words of the elements, rounded up.
    pub fn words(&self) -> usize {
        words(self.len(), self.dtype)
    }

    /// The same memory with other axis lengths.
    ///
    /// # Errors
    /// The number of elements must stay the same.
    pub fn reshape(&self, dims: &[usize]) -> Result<Self>
    where
        B: Clone,
    {
        self.clone().into_shape(dims)
    }

    /// [`reshape`](Self::reshape) that consumes the handle.
    ///
    /// # Errors
    /// As [`reshape`](Self::reshape).
    pub fn into_shape(self, dims: &[usize]) -> Result<Self> {
        let shape = Shape::new("reshape", dims)?;
        if shape.len() != self.len() {
            return Err(Error::Shape {
                op: "reshape",
                arg: "shape".into(),
                expected: format!("of {} elements, as {:?} has", self.len(), self.shape),
                got: dims.to_vec(),
            });
        }
        Ok(ArrayOf { shape, ..self })
    }
}

/// 4-byte words of `len` elements, rounded up.
pub fn words(len: usize, dtype: DType) -> usize {
    (len * dtype.size()).div_ceil(4)
}
