//! Dropout with an explicit mask.

use crate::autograd::record;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::ops::dropout::{DropoutMask, dropout};

impl Tensor {
    /// Zeroes the elements that `mask` drops and scales the others by `1 / (1 - p)`. The mask is a
    /// pure function of its key, step and element, the same on every device.
    ///
    /// # Errors
    /// A probability outside `[0, 1)`, or index data.
    pub fn dropout(&self, mask: &DropoutMask) -> Result<Tensor> {
        let y = dropout(self.array(), mask)?;
        let mask = *mask;
        // A diagonal linear map is its own transpose.
        Ok(record("dropout", [self], y, move |dy, _| Ok([Some(dropout(&dy, &mask)?)])))
    }
}
