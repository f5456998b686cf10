//! Losses: means over all elements or rows, scalars.

use crate::autograd::record;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::ops::loss::{self, CrossEntropyOptions};
use rnn_runtime::ops::pointwise;

impl Tensor {
    /// Mean negative log-likelihood of `labels` under the softmax of these logits: `[.., C]` and
    /// `[..]`, e.g. `[B, C]` and `[B]`, or `[T, B, C]` and `[T, B]`.
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy_with`].
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Tensor> {
        self.cross_entropy_with(labels, &CrossEntropyOptions::default())
    }

    /// As [`Tensor::cross_entropy`], with an index to ignore or smoothed labels. The mean is over
    /// the rows that are not ignored.
    ///
    /// # Errors
    /// A label that is not in `0..C`, labels of another shape, every row ignored, different
    /// devices.
    pub fn cross_entropy_with(&self, labels: &Tensor, options: &CrossEntropyOptions) -> Result<Tensor> {
        const OP: &str = "cross_entropy";
        let Some((_, leading)) = self.dims().split_last() else {
            return Err(Error::shape(OP, "logits", "[.., C]", self.shape()));
        };
        if labels.dims() != leading {
            let expected = format!("{leading:?}, the leading axes of the logits");
            return Err(Error::shape(OP, "labels", expected, labels.shape()));
        }
        let (rows, cols) = self.shape().rows_cols();
        let logits = self.array().reshape(&[rows, cols])?;
        let labels = labels.array().reshape(&[rows])?;
        let out = loss::cross_entropy(&logits, &labels, options)?;
        let (lse, options, dims) = (out.lse, *options, self.dims().to_vec());
        Ok(record(OP, [self], out.loss, move |dloss, _| {
            let dlogits = loss::cross_entropy_backward(&logits, &lse, &labels, &options, &dloss)?;
            Ok([Some(dlogits.reshape(&dims)?)])
        }))
    }

    /// Mean squared difference to a target of the same shape.
    ///
    /// # Errors
    /// Shapes or devices that differ, or index data.
    pub fn mse(&self, target: &Tensor) -> Result<Tensor> {
        let (x, goal) = (self.array().clone(), target.array().clone());
        let y = loss::mse(&x, &goal)?;
        Ok(record("mse", [self, target], y, move |dloss, [want_x, want_target]| {
            let dx = loss::mse_backward(&x, &goal, &dloss)?;
            let dtarget = if want_target { Some(pointwise::affine(&dx, -1.0, 0.0)?) } else { None };
            Ok([want_x.then_some(dx), dtarget])
        }))
    }

    /// Mean binary cross entropy of the sigmoid of these logits with targets in `[0, 1]` of the
    /// same shape; exact for logits of any size.
    ///
    /// # Errors
    /// Shapes or devices that differ, or targets that require a gradient, which they do not have.
    pub fn bce_with_logits(&self, targets: &Tensor) -> Result<Tensor> {
        if targets.is_tracked() {
            return Err(Error::Unsupported {
                what: "bce_with_logits with targets that require a gradient".into(),
                why: "targets are data; use detach()".into(),
            });
        }
        let (x, goal) = (self.array().clone(), targets.array().clone());
        let y = loss::bce_with_logits(&x, &goal)?;
        Ok(record("bce_with_logits", [self], y, move |dloss, _| {
            Ok([Some(loss::bce_with_logits_backward(&x, &goal, &dloss)?)])
        }))
    }
}
