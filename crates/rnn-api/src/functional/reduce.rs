//! Sums, means and maxima.

use crate::autograd::record;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::{Array, ops};

/// Spreads the gradient of a sum over `axis` back over an array of shape `dims`, times `scale`.
fn spread(dy: &Array, dims: &[usize], axis: Option<usize>, scale: f32) -> Result<Array> {
    // Scale before broadcasting, because the array is smaller then.
    let dy = if scale == 1.0 { dy.clone() } else { ops::pointwise::affine(dy, scale, 0.0)? };
    let dy = match axis {
        Some(axis) => {
            let mut kept = dims.to_vec();
            kept[axis] = 1;
            dy.reshape(&kept)?
        }
        None => dy,
    };
    Ok(ops::copy::broadcast_to(&dy, dims)?)
}

impl Tensor {
    /// The sum along `axis`, which is removed.
    ///
    /// # Errors
    /// No such axis, or index data.
    pub fn sum_axis(&self, axis: usize) -> Result<Tensor> {
        let y = ops::reduce::sum_axis(self.array(), axis)?;
        let dims = self.dims().to_vec();
        Ok(record("sum_axis", [self], y, move |dy, _| Ok([Some(spread(&dy, &dims, Some(axis), 1.0)?)])))
    }

    /// The mean along `axis`, which is removed.
    ///
    /// # Errors
    /// No such axis, or index data.
    pub fn mean_axis(&self, axis: usize) -> Result<Tensor> {
        let y = ops::reduce::mean_axis(self.array(), axis)?;
        let dims = self.dims().to_vec();
        let scale = 1.0 / dims[axis] as f32;
        Ok(record("mean_axis", [self], y, move |dy, _| Ok([Some(spread(&dy, &dims, Some(axis), scale)?)])))
    }

    /// The largest value along `axis`, which is removed. A NaN counts as the largest value. The gradient goes
    /// to the first of equal values.
    ///
    /// # Errors
    /// No such axis, or index data.
    pub fn max_axis(&self, axis: usize) -> Result<Tensor> {
        let (y, argmax) = ops::reduce::max_axis(self.array(), axis)?;
        let dims = self.dims().to_vec();
        Ok(record("max_axis", [self], y, move |dy, _| {
            Ok([Some(ops::reduce::max_axis_backward(&dy, &argmax, &dims, axis)?)])
        }))
    }

    /// The sum of all elements, a scalar.
    ///
    /// # Errors
    /// Index data, or a failing device.
    pub fn sum_all(&self) -> Result<Tensor> {
        let y = ops::reduce::sum_all(self.array())?;
        let dims = self.dims().to_vec();
        Ok(record("sum_all", [self], y, move |dy, _| Ok([Some(spread(&dy, &dims, None, 1.0)?)])))
    }

    /// The mean of all elements, a scalar.
    ///
    /// # Errors
    /// Index data, or a failing device.
    pub fn mean_all(&self) -> Result<Tensor> {
        let y = ops::reduce::mean_all(self.array())?;
        let dims = self.dims().to_vec();
        let scale = 1.0 / self.len() as f32;
        Ok(record("mean_all", [self], y, move |dy, _| Ok([Some(spread(&dy, &dims, None, scale)?)])))
    }
}
