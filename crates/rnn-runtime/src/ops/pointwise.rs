//! Pointwise ops: functions of one and two variables, accumulation, constants, conversion.

use super::{expect_same_shape, f32_array, reduce, widen};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::{Device, on_device};
use rnn_base::DType;
use rnn_base::Shape;
use rnn_base::args::copy::collapse;
use rnn_base::args::pointwise::Strided2;
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;

pub use super::cast::cast;
pub use rnn_kernels::params::{BinaryOp, UnaryOp};

/// `op(x)` of every element, in the shape of `x`.
///
/// # Errors
/// u32 data.
pub fn unary(op: UnaryOp, x: &Array) -> Result<Array> {
    let x = widen("unary", "x", x)?;
    let n = x.len();
    let buffer: Buffer = on_device!(
        x.device(),
        Cpu(dev) => cpu::pointwise::unary(dev, op, x.cpu(), n)?.into(),
        Gpu(dev) => gpu::pointwise::unary(dev, op, x.gpu(), n)?.into(),
    );
    Ok(f32_array(x.device(), x.shape().clone(), buffer))
}

/// `dx = dy op'(x)`. The derivative is computed from the input `x` or the output `y = op(x)`, whichever is
/// simpler.
///
/// # Errors
/// u32 data, or `y` or `dy` that differ from `x` in shape or device.
pub fn unary_backward(op: UnaryOp, x: &Array, y: &Array, dy: &Array) -> Result<Array> {
    const OP: &str = "unary_backward";
    let (x, y, dy) = (widen(OP, "x", x)?, widen(OP, "y", y)?, widen(OP, "dy", dy)?);
    expect_same_shape(OP, "y", &y, "x", &x)?;
    expect_same_shape(OP, "dy", &dy, "x", &x)?;
    let (device, shape, n) = (x.device(), x.shape().clone(), x.len());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::pointwise::unary_backward(dev, op, x.cpu(), y.cpu(), dy.cpu(), n)?.into(),
        Gpu(dev) => gpu::pointwise::unary_backward(dev, op, x.gpu(), y.gpu(), dy.gpu(), n)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// `scale * x + shift` of every element, in the shape of `x`.
///
/// # Errors
/// u32 data.
pub fn affine(x: &Array, scale: f32, shift: f32) -> Result<Array> {
    let x = widen("affine", "x", x)?;
    let (device, shape, n) = (x.device(), x.shape().clone(), x.len());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::pointwise::affine(dev, x.cpu(), n, scale, shift)?.into(),
        Gpu(dev) => gpu::pointwise::affine(dev, x.gpu(), n, scale, shift)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// `op(a, b)` with NumPy's broadcasting: axes aligned at the end, lengths equal or 1. The result
/// has the broadcast shape.
///
/// # Errors
/// u32 data, different devices, or shapes that do not broadcast.
pub fn binary(op: BinaryOp, a: &Array, b: &Array) -> Result<Array> {
    const OP: &str = "binary";
    b.expect_device(OP, "right operand", a.device())?;
    let (a, b) = (widen(OP, "left operand", a)?, widen(OP, "right operand", b)?);
    let shape = Shape::broadcast(OP, a.shape(), b.shape())?;
    let strides = (a.shape().broadcast_strides(&shape), b.shape().broadcast_strides(&shape));
    let (dims, [a_strides, b_strides]) = collapse(shape.dims(), [&strides.0, &strides.1]);
    let walk = Strided2 { dims, a_strides, b_strides };
    let device = a.device();
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::pointwise::binary(dev, op, &walk, a.cpu(), b.cpu())?.into(),
        Gpu(dev) => gpu::pointwise::binary(dev, op, &walk, a.gpu(), b.gpu())?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// The gradient of broadcasting: sums `x` over the axes along which `shape` was broadcast. Axes are aligned
/// at the end; the result has `shape`.
///
/// # Errors
/// u32 data, or a `shape` that does not broadcast to that of `x`.
pub fn sum_to_shape(x: &Array, shape: &Shape) -> Result<Array> {
    const OP: &str = "sum_to_shape";
    let fits = Shape::broadcast(OP, x.shape(), shape).is_ok_and(|both| both == *x.shape());
    if !fits {
        return Err(Error::Shape {
            op: OP,
            arg: "shape".into(),
            expected: format!("broadcastable to {:?}", x.shape()),
            got: shape.dims().to_vec(),
        });
    }
    let mut x = widen(OP, "x", x)?.into_owned();
    let dims = x.dims().to_vec();
    let missing = dims.len() - shape.rank();
    let is_summed = |axis: usize| dims[axis] > 1 && (axis < missing || shape.dims()[axis - missing] == 1);
    // From the last axis to the first, so that the axes before a run keep their positions. A run of
    // neighbouring summed axes is one reduction.
    let mut end = dims.len();
    let mut inner = 1;
    while end > 0 {
        let mut start = end - 1;
        if is_summed(start) {
            // An axis of length 1 does not end a run.
            while start > 0 && (is_summed(start - 1) || dims[start - 1] == 1) {
                start -= 1;
            }
            let outer: usize = dims[..start].iter().product();
            let n: usize = dims[start..end].iter().product();
            x = reduce::sum_axis(&x.reshape(&[outer, n, inner])?, 1)?;
        } else {
            inner *= dims[start];
        }
        end = start;
    }
    x.reshape(shape.dims())
}

/// `dst += src`. If another handle shares the memory of `dst`, it is copied first.
///
/// # Errors
/// Anything but two f32 arrays of the same shape on one device (`src` may be f16).
pub fn accumulate(dst: &mut Array, src: &Array) -> Result<()> {
    const OP: &str = "accumulate";
    dst.expect_dtype(OP, "dst", DType::F32)?;
    let src = widen(OP, "src", src)?;
    expect_same_shape(OP, "src", &src, "dst", dst)?;
    let (device, n) = (dst.device().clone(), dst.len());
    on_device!(
        &device,
        Cpu(dev) => cpu::pointwise::accumulate(dev, dst.cpu_mut(), src.cpu(), n),
        Gpu(dev) => gpu::pointwise::accumulate(dev, dst.gpu_mut(), src.gpu(), n),
    )
}

/// An f32 array filled with `value`.
///
/// # Errors
/// A shape that [`Shape::new`] refuses, or too little memory.
pub fn full(device: &Device, dims: &[usize], value: f32) -> Result<Array> {
    let shape = Shape::new("full", dims)?;
    let n = shape.len();
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::pointwise::fill(dev, n, value)?.into(),
        Gpu(dev) => gpu::pointwise::fill(dev, n, value)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// An f32 array of zeros.
///
/// # Errors
/// As [`full`].
pub fn zeros(device: &Device, dims: &[usize]) -> Result<Array> {
    let shape = Shape::new("zeros", dims)?;
    let buffer = device.alloc_zeroed(shape.len())?;
    Ok(f32_array(device, shape, buffer))
}
