//! Rows of a table by index.

use crate::autograd::record;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::ops;

impl Tensor {
    /// Rows of this table `[V, E]`: indices of any shape give `[.., E]`.
    ///
    /// # Errors
    /// An index that is not in `0..V`, other ranks or types, different devices.
    pub fn gather(&self, indices: &Tensor) -> Result<Tensor> {
        let y = ops::embed::gather(self.array(), indices.array())?;
        let (rows, indices) = (self.dims()[0], indices.array().clone());
        Ok(record("gather", [self], y, move |dy, _| {
            Ok([Some(ops::embed::scatter_add(&dy, &indices, rows)?)])
        }))
    }
}
