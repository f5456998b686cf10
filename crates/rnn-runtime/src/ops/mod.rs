//! Ops on arrays: the only code that uses both backends.
//!
//! Every op checks element types, devices and shapes, matches the device once, and calls the function of the
//! same name in `rnn-cpu` or `rnn-gpu`, which checks nothing. f16 inputs are widened first; results are f32.

mod cast;
pub mod copy;
pub mod dropout;
pub mod embed;
pub mod gemm;
pub mod init;
pub mod layer_norm;
pub mod loss;
pub mod optim;
pub mod pointwise;
pub mod reduce;
pub mod rnn;
pub mod softmax;

pub(crate) use cast::widen;

use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::Device;
use rnn_base::DType;
use rnn_base::Shape;
use rnn_base::error::{Error, Result};

/// Wraps an f32 result.
pub(crate) fn f32_array(device: &Device, shape: Shape, buffer: impl Into<Buffer>) -> Array {
    Array::from_buffer(device, shape, DType::F32, buffer)
}

/// Refuses an array whose shape differs from that of `like`; the error calls `like` by `name`.
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

/// Refuses a scalar's cotangent that has more than one element.
pub(crate) fn expect_scalar(op: &'static str, arg: &'static str, x: &Array) -> Result<()> {
    if x.len() == 1 {
        return Ok(());
    }
    Err(Error::Shape { op, arg: arg.into(), expected: "one element".into(), got: x.dims().to_vec() })
}
