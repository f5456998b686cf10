//! Ops on arrays: the only place that knows both backends.
//!
//! Every op checks element types, devices and shapes, matches the device once and calls the
//! function of the same name in `cpu/` or `gpu/`, which checks nothing. f16 inputs are widened
//! first; results are f32.

pub mod copy;
pub mod dropout;
pub mod embed;
pub mod gemm;
pub mod layer_norm;
pub mod loss;
pub mod optim;
pub mod pointwise;
pub mod reduce;
pub mod rnn;
pub mod softmax;

use crate::array::{Array, Buffer, DType};
use crate::device::Device;
use crate::dims::Shape;
use crate::error::{Error, Result};
use std::borrow::Cow;

/// The array as f32: borrowed when it is, converted from f16.
///
/// # Errors
/// u32 data.
pub(crate) fn widen<'a>(op: &'static str, arg: &'static str, x: &'a Array) -> Result<Cow<'a, Array>> {
    match x.dtype() {
        DType::F32 => Ok(Cow::Borrowed(x)),
        DType::F16 => pointwise::cast(x, DType::F32).map(Cow::Owned),
        DType::U32 => Err(Error::DType { op, arg, expected: "f32 or f16", got: DType::U32 }),
    }
}

/// An f32 result.
pub(crate) fn f32_array(device: &Device, shape: Shape, buffer: impl Into<Buffer>) -> Array {
    Array::from_buffer(device, shape, DType::F32, buffer)
}

/// Refuses an array whose shape is not that of `like`, which the message calls `name`.
pub(crate) fn expect_same_shape(
    op: &'static str,
    arg: &'static str,
    x: &Array,
    name: &str,
    like: &Array,
) -> Result<()> {
    x.expect_device(op, arg, like.device())?;
    x.expect_dims(op, arg, &format!("the shape of {name}"), like.dims())
}

/// Refuses a cotangent of a scalar that has more than one element.
pub(crate) fn expect_scalar(op: &'static str, arg: &'static str, x: &Array) -> Result<()> {
    if x.len() == 1 {
        return Ok(());
    }
    Err(Error::Shape { op, arg: arg.into(), expected: "one element".into(), got: x.shape().clone() })
}

/// Drops axes of length 1 and merges neighbouring axes that every operand walks as one, so that
/// strided loops run over as few and as long axes as possible. At least one axis stays.
pub(crate) fn collapse<const N: usize>(
    dims: &[usize],
    strides: [&[usize]; N],
) -> (Vec<usize>, [Vec<usize>; N]) {
    let mut out_dims: Vec<usize> = Vec::new();
    let mut out_strides: [Vec<usize>; N] = std::array::from_fn(|_| Vec::new());
    for axis in 0..dims.len() {
        if dims[axis] == 1 {
            continue;
        }
        let last = out_dims.len().wrapping_sub(1);
        let merges =
            !out_dims.is_empty() && (0..N).all(|k| out_strides[k][last] == strides[k][axis] * dims[axis]);
        if merges {
            out_dims[last] *= dims[axis];
        } else {
            out_dims.push(dims[axis]);
        }
        for k in 0..N {
            if merges {
                out_strides[k][last] = strides[k][axis];
            } else {
                out_strides[k].push(strides[k][axis]);
            }
        }
    }
    if out_dims.is_empty() {
        out_dims.push(1);
        out_strides.iter_mut().for_each(|strides| strides.push(1));
    }
    (out_dims, out_strides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapse_merges_what_all_operands_walk_as_one() {
        // [T, B, H] + [H]
        let (dims, [a, b]) = collapse(&[5, 3, 7], [&[21, 7, 1], &[0, 0, 1]]);
        assert_eq!((dims, a, b), (vec![15, 7], vec![7, 1], vec![0, 1]));
        // contiguous, with axes of length 1 in between
        let (dims, [a]) = collapse(&[5, 1, 3], [&[3, 99, 1]]);
        assert_eq!((dims, a), (vec![15], vec![1]));
        // a transposition
        let (dims, [a]) = collapse(&[3, 5], [&[1, 3]]);
        assert_eq!((dims, a), (vec![3, 5], vec![1, 3]));
        // a scalar
        let (dims, [a]) = collapse(&[], [&[]]);
        assert_eq!((dims, a), (vec![1], vec![1]));
    }
}
