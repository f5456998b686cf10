//! Ops that move elements: reshape, permute, slice, concat, stack, broadcast.

use crate::autograd::{is_recorded, record, record_many};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::{Array, ops};
use std::ops::Range;

impl Tensor {
    /// The same values with other axis lengths; no copy.
    ///
    /// # Errors
    /// Another number of elements.
    pub fn reshape(&self, dims: &[usize]) -> Result<Tensor> {
        let y = self.array().reshape(dims)?;
        let from = self.dims().to_vec();
        Ok(record("reshape", [self], y, move |dy, _| Ok([Some(dy.reshape(&from)?)])))
    }

    /// Reorders the axes: axis `n` of the result is axis `axes[n]` of `self`.
    ///
    /// # Errors
    /// `axes` that do not name every axis once.
    pub fn permute(&self, axes: &[usize]) -> Result<Tensor> {
        let y = ops::copy::transpose(self.array(), axes)?;
        let mut inverse = vec![0; axes.len()];
        for (to, &from) in axes.iter().enumerate() {
            inverse[from] = to;
        }
        Ok(record("permute", [self], y, move |dy, _| Ok([Some(ops::copy::transpose(&dy, &inverse)?)])))
    }

    /// Swaps two axes. `x.transpose(0, 1)` turns `[B, T, F]` into the `[T, B, F]` that recurrent
    /// layers take.
    ///
    /// # Errors
    /// No such axis.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Tensor> {
        let rank = self.rank();
        if a >= rank || b >= rank {
            let expected = format!("two axes below the rank {rank} of shape {}", self.shape());
            return Err(Error::value("transpose", "axes", expected, format!("{a} and {b}")));
        }
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(a, b);
        self.permute(&axes)
    }

    /// The range `range` along `axis`. A whole axis is not copied.
    ///
    /// # Errors
    /// No such axis, an empty range, or a range that ends beyond the axis.
    pub fn slice(&self, axis: usize, range: Range<usize>) -> Result<Tensor> {
        if range.start == 0 && self.dims().get(axis) == Some(&range.end) {
            return Ok(self.clone());
        }
        let Range { start, end } = range;
        let y = ops::copy::slice(self.array(), axis, start, end)?;
        let from = self.dims().to_vec();
        Ok(record("slice", [self], y, move |dy, _| {
            Ok([Some(ops::copy::slice_backward(&dy, &from, axis, start)?)])
        }))
    }

    /// Element `index` along `axis`; the axis is removed. `y.select(0, t)` is one time step.
    ///
    /// # Errors
    /// No such axis or element.
    pub fn select(&self, axis: usize, index: usize) -> Result<Tensor> {
        let one = self.slice(axis, index..index.saturating_add(1))?;
        let mut dims = one.dims().to_vec();
        dims.remove(axis);
        one.reshape(&dims)
    }

    /// Joins tensors along an existing axis; all other axes must have equal lengths.
    ///
    /// # Errors
    /// No tensors, no such axis, other axes of different lengths, different devices.
    pub fn concat(tensors: &[&Tensor], axis: usize) -> Result<Tensor> {
        let arrays: Vec<&Array> = tensors.iter().map(|t| t.array()).collect();
        let y = ops::copy::concat(&arrays, axis)?;
        if !is_recorded(tensors.iter().copied()) {
            return Ok(Tensor::from_array(y));
        }
        let parts: Vec<(bool, usize)> = tensors.iter().map(|t| (t.is_tracked(), t.dims()[axis])).collect();
        let backward = move |dy: Vec<Option<Array>>| {
            let Some(dy) = dy.into_iter().next().flatten() else { return Ok(Vec::new()) };
            let mut start = 0;
            let mut grads = Vec::with_capacity(parts.len());
            for (wanted, length) in parts {
                let end = start + length;
                let grad = if wanted { Some(ops::copy::slice(&dy, axis, start, end)?) } else { None };
                grads.push(grad);
                start = end;
            }
            Ok(grads)
        };
        let mut outputs = record_many("concat", tensors, vec![y], backward);
        Ok(outputs.remove(0))
    }

    /// Joins tensors of one shape along a new axis.
    ///
    /// # Errors
    /// No tensors, shapes that differ, an axis beyond the rank.
    pub fn stack(tensors: &[&Tensor], axis: usize) -> Result<Tensor> {
        if let Some(first) = tensors.first()
            && axis > first.rank()
        {
            let expected = format!("at most the rank {} of the tensors", first.rank());
            return Err(Error::value("stack", "axis", expected, axis));
        }
        let mut widened = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            if tensor.dims() != tensors[0].dims() {
                let expected = format!("the shape of the first, {}", tensors[0].shape());
                return Err(Error::shape("stack", "tensor", expected, tensor.shape()));
            }
            let mut dims = tensor.dims().to_vec();
            dims.insert(axis, 1);
            widened.push(tensor.reshape(&dims)?);
        }
        Self::concat(&widened.iter().collect::<Vec<_>>(), axis)
    }

    /// Repeats values along axes of length 1 and along new leading axes.
    ///
    /// # Errors
    /// A shape that `self` does not broadcast to.
    pub fn broadcast_to(&self, dims: &[usize]) -> Result<Tensor> {
        let y = ops::copy::broadcast_to(self.array(), dims)?;
        let from = self.shape().clone();
        Ok(record("broadcast_to", [self], y, move |dy, _| {
            Ok([Some(ops::pointwise::sum_to_shape(&dy, &from)?)])
        }))
    }
}
