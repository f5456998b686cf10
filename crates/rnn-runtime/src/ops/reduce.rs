//! Sums, means and maxima along an axis or over all elements. Sums have a fixed order: the same device
//! returns the same bits every time.

use super::{expect_same_shape, f32_array, widen};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::{Device, on_device};
use rnn_base::DType;
use rnn_base::Shape;
use rnn_base::error::Result;
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;
use std::borrow::Cow;

/// Sum along `axis`, which is removed: `[T, B, H]` along 0 becomes `[B, H]`.
///
/// # Errors
/// u32 data, or an `axis` not below the rank.
pub fn sum_axis(x: &Array, axis: usize) -> Result<Array> {
    scaled_sum("sum_axis", x, axis, false)
}

/// Mean along `axis`, which is removed.
///
/// # Errors
/// As [`sum_axis`].
pub fn mean_axis(x: &Array, axis: usize) -> Result<Array> {
    scaled_sum("mean_axis", x, axis, true)
}

/// Sum of all elements, a scalar of shape `[]`.
///
/// # Errors
/// u32 data.
pub fn sum_all(x: &Array) -> Result<Array> {
    scaled_sum("sum_all", &x.reshape(&[x.len()])?, 0, false)
}

/// Mean of all elements, a scalar of shape `[]`.
///
/// # Errors
/// u32 data.
pub fn mean_all(x: &Array) -> Result<Array> {
    scaled_sum("mean_all", &x.reshape(&[x.len()])?, 0, true)
}

fn scaled_sum(op: &'static str, x: &Array, axis: usize, mean: bool) -> Result<Array> {
    // A GPU with f16 kernels adds f16 values without widening them first.
    #[cfg(feature = "gpu")]
    let as_it_is = matches!(x.device(), Device::Gpu(gpu) if gpu.has_half()) && x.dtype() == DType::F16;
    #[cfg(not(feature = "gpu"))]
    let as_it_is = false;
    let x = if as_it_is { Cow::Borrowed(x) } else { widen(op, "x", x)? };
    let (outer, n, inner) = x.shape().split_at_axis(op, axis)?;
    let shape = without_axis(op, x.shape(), axis)?;
    let scale = if mean { 1.0 / n as f32 } else { 1.0 };
    let device = x.device();
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::reduce::sum_axis(dev, x.cpu(), outer, n, inner, scale)?.into(),
        Gpu(dev) => gpu::reduce::sum_stored(dev, (x.gpu(), as_it_is), [outer, n, inner], scale, 1)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

fn without_axis(op: &'static str, shape: &Shape, axis: usize) -> Result<Shape> {
    let mut dims = shape.dims().to_vec();
    dims.remove(axis);
    Shape::new(op, &dims)
}

/// Largest value along `axis`, which is removed, and its position as u32. Of equal values the first one
/// counts; a NaN counts as the largest. The positions have no host copy; see [`argmax_host`].
///
/// # Errors
/// u32 data, or an `axis` not below the rank.
pub fn max_axis(x: &Array, axis: usize) -> Result<(Array, Array)> {
    const OP: &str = "max_axis";
    let x = widen(OP, "x", x)?;
    let (outer, n, inner) = x.shape().split_at_axis(OP, axis)?;
    let shape = without_axis(OP, x.shape(), axis)?;
    let device = x.device();
    let wrap = |buffer: Buffer| Array::from_buffer(device, shape.clone(), DType::U32, buffer);
    Ok(on_device!(
        device,
        Cpu(dev) => {
            let (values, positions) = cpu::reduce::max_axis(dev, x.cpu(), outer, n, inner)?;
            (f32_array(device, shape.clone(), values), wrap(positions.into()))
        },
        Gpu(dev) => {
            let (values, positions) = gpu::reduce::max_axis(dev, x.gpu(), outer, n, inner)?;
            (f32_array(device, shape.clone(), values), wrap(positions.into()))
        },
    ))
}

/// The gradient of [`max_axis`]: an array of shape `dims`, with `dy` at `argmax` and zeros elsewhere.
///
/// # Errors
/// `dy` and `argmax` must have the shape `dims` without `axis`, f32 and u32, on one device.
pub fn max_axis_backward(dy: &Array, argmax: &Array, dims: &[usize], axis: usize) -> Result<Array> {
    const OP: &str = "max_axis_backward";
    let shape = Shape::new(OP, dims)?;
    let (outer, n, inner) = shape.split_at_axis(OP, axis)?;
    let dy = widen(OP, "dy", dy)?;
    let reduced = without_axis(OP, &shape, axis)?;
    dy.expect_dims(OP, "dy", "the shape of x without the axis", reduced.dims())?;
    argmax.expect_dtype(OP, "argmax", DType::U32)?;
    expect_same_shape(OP, "argmax", argmax, "dy", &dy)?;
    let device = dy.device();
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::reduce::max_axis_backward(dev, dy.cpu(), argmax.cpu(), outer, n, inner)?.into(),
        Gpu(dev) => gpu::reduce::max_axis_backward(dev, dy.gpu(), argmax.gpu(), outer, n, inner)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// Positions of the largest values along `axis`, read back to the host in row-major order.
///
/// # Errors
/// As [`max_axis`], and a failed readback.
pub fn argmax_host(x: &Array, axis: usize) -> Result<Vec<u32>> {
    let (_, positions) = max_axis(x, axis)?;
    let positions = positions.to_device(&Device::cpu())?;
    Ok(positions.cpu().as_u32()[..positions.len()].to_vec())
}
