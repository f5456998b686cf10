//! Embedding lookup: rows of a table by index.

use crate::autograd::record;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::ops;

impl Tensor {
    /// Rows of this table `[V, E]`: maps indices of any shape to `[.., E]`.
    ///
    /// # Errors
    /// An index outside `0..V`, other ranks or types, different devices.
    pub fn gather(&self, indices: &Tensor) -> Result<Tensor> {
        let y = ops::embed::gather(self.array(), indices.array())?;
        let (rows, indices) = (self.dims()[0], indices.array().clone());
        Ok(record("gather", [self], y, move |dy, _| {
            Ok([Some(ops::embed::scatter_add(&dy, &indices, rows)?)])
        }))
    }
}
