//! Softmax and log-softmax along the last axis.

use super::{expect_same_shape, f32_array, widen};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::on_device;
use rnn_base::error::Result;
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;

/// `exp(x - max) / sum exp(x - max)` along the last axis; the result has the shape of `x`.
///
/// # Errors
/// u32 data.
pub fn softmax(x: &Array) -> Result<Array> {
    forward("softmax", x, false)
}

/// `dx = y (dy - sum y dy)` along the last axis, from the output `y` of [`softmax`].
///
/// # Errors
/// u32 data, or a `dy` that differs from `y` in shape or device.
pub fn softmax_backward(y: &Array, dy: &Array) -> Result<Array> {
    backward("softmax_backward", y, dy, false)
}

/// `x - max - log sum exp(x - max)` along the last axis; the result has the shape of `x`.
///
/// # Errors
/// u32 data.
pub fn log_softmax(x: &Array) -> Result<Array> {
    forward("log_softmax", x, true)
}

/// `dx = dy - exp(y) sum dy` along the last axis, from the output `y` of [`log_softmax`].
///
/// # Errors
/// As [`softmax_backward`].
pub fn log_softmax_backward(y: &Array, dy: &Array) -> Result<Array> {
    backward("log_softmax_backward", y, dy, true)
}

fn forward(op: &'static str, x: &Array, log: bool) -> Result<Array> {
    let x = widen(op, "x", x)?;
    let (rows, cols) = x.shape().rows_cols();
    let (device, shape) = (x.device(), x.shape().clone());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::softmax::softmax(dev, x.cpu(), rows, cols, log)?.into(),
        Gpu(dev) => gpu::softmax::softmax(dev, x.gpu(), rows, cols, log)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

fn backward(op: &'static str, y: &Array, dy: &Array, log: bool) -> Result<Array> {
    let (y, dy) = (widen(op, "y", y)?, widen(op, "dy", dy)?);
    expect_same_shape(op, "dy", &dy, "y", &y)?;
    let (rows, cols) = y.shape().rows_cols();
    let (device, shape) = (y.device(), y.shape().clone());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::softmax::softmax_backward(dev, y.cpu(), dy.cpu(), rows, cols, log)?.into(),
        Gpu(dev) => gpu::softmax::softmax_backward(dev, y.gpu(), dy.gpu(), rows, cols, log)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}
