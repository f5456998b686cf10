//! Softmax over the last axis.

use crate::autograd::record;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::ops;

impl Tensor {
    /// `exp(x) / sum(exp(x))` over the last axis, without overflow.
    ///
    /// # Errors
    /// Index data, or a failing device.
    pub fn softmax(&self) -> Result<Tensor> {
        let y = ops::softmax::softmax(self.array())?;
        let saved = y.clone();
        Ok(record("softmax", [self], y, move |dy, _| {
            Ok([Some(ops::softmax::softmax_backward(&saved, &dy)?)])
        }))
    }

    /// The logarithm of [`Tensor::softmax`]; exact even where a probability underflows.
    ///
    /// # Errors
    /// As [`Tensor::softmax`].
    pub fn log_softmax(&self) -> Result<Tensor> {
        let y = ops::softmax::log_softmax(self.array())?;
        let saved = y.clone();
        Ok(record("log_softmax", [self], y, move |dy, _| {
            Ok([Some(ops::softmax::log_softmax_backward(&saved, &dy)?)])
        }))
    }
}
