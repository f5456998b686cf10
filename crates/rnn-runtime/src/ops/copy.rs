//! Ops that only move elements: transpose, slice, concat, stack, broadcast. They work on f32 and, as bit
//! copies, on u32; f16 is widened. The result has no host copy of indices, so [`super::embed::gather`] cannot
//! check their range and refuses it.

use super::widen;
use crate::array::Array;
use crate::device::{Device, on_device};
use rnn_base::DType;
use rnn_base::Shape;
use rnn_base::args::copy::{StridedCopy, View};
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;
use std::borrow::Cow;

/// f32 and u32 unchanged, f16 widened.
fn words<'a>(op: &'static str, arg: &'static str, x: &'a Array) -> Result<Cow<'a, Array>> {
    if x.dtype() == DType::U32 { Ok(Cow::Borrowed(x)) } else { widen(op, arg, x) }
}

/// An array with unspecified contents, to be filled by [`copy_into`].
fn output(device: &Device, shape: Shape, dtype: DType) -> Result<Array> {
    let buffer = device.alloc(shape.len())?;
    Ok(Array::from_buffer(device, shape, dtype, buffer))
}

/// Copies into `dst`, whose memory is not shared yet. On a GPU with f16 kernels, f16 may become f32.
pub(crate) fn copy_into(copy: &StridedCopy, src: &Array, dst: &mut Array) -> Result<()> {
    on_device!(
        src.device(),
        Cpu(dev) => cpu::copy::copy_strided(dev, copy, src.cpu(), dst.cpu_mut()),
        Gpu(dev) => gpu::copy::copy_strided(dev, copy, (src.gpu(), src.dtype() == DType::F16), dst.gpu_mut()),
    )
}

/// Copies `count` elements from offset `from` of `src` to offset `to` of `dst`.
pub(crate) fn copy_flat(src: &Array, from: usize, dst: &mut Array, to: usize, count: usize) -> Result<()> {
    copy_into(&StridedCopy::flat(count, from, to), src, dst)
}

/// A new contiguous array of `shape` that reads `src` with `strides` from `offset` on.
fn gather_view(src: &Array, shape: Shape, strides: &[usize], offset: usize) -> Result<Array> {
    let own = shape.strides();
    let copy = StridedCopy::new(shape.dims(), View { strides, offset }, View { strides: &own, offset: 0 });
    let mut out = output(src.device(), shape, src.dtype())?;
    copy_into(&copy, src, &mut out)?;
    Ok(out)
}

/// Reorders axes: axis `k` of the result is axis `perm[k]` of `x`. Where only axes of length 1 move, nothing is copied.
///
/// # Errors
/// `perm` must name every axis of `x` once.
pub fn transpose(x: &Array, perm: &[usize]) -> Result<Array> {
    const OP: &str = "transpose";
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.shape().rank()) {
        return Err(Error::Value {
            op: OP,
            arg: "perm",
            expected: format!("every axis 0..{} of x {:?} once", x.shape().rank(), x.shape()),
            got: format!("{perm:?}"),
        });
    }
    let x = words(OP, "x", x)?;
    let strides = x.shape().strides();
    let dims: Vec<usize> = perm.iter().map(|&axis| x.dims()[axis]).collect();
    if perm.iter().filter(|&&axis| x.dims()[axis] != 1).is_sorted() {
        return x.reshape(&dims);
    }
    let permuted: Vec<usize> = perm.iter().map(|&axis| strides[axis]).collect();
    gather_view(&x, Shape::new(OP, &dims)?, &permuted, 0)
}

/// The range `start..end` of one axis.
///
/// # Errors
/// `axis` below the rank, and `start < end <=` its length.
pub fn slice(x: &Array, axis: usize, start: usize, end: usize) -> Result<Array> {
    const OP: &str = "slice";
    let (_, length, inner) = x.shape().split_at_axis(OP, axis)?;
    check_range(OP, axis, length, start, end)?;
    let x = words(OP, "x", x)?;
    let mut dims = x.dims().to_vec();
    dims[axis] = end - start;
    gather_view(&x, Shape::new(OP, &dims)?, &x.shape().strides(), start * inner)
}

/// The gradient of [`slice()`]: an array of shape `dims`, with `dy` from `start` on along `axis` and zeros
/// elsewhere.
///
/// # Errors
/// `dy` must have the shape `dims` except along `axis`, where it must fit after `start`.
pub fn slice_backward(dy: &Array, dims: &[usize], axis: usize, start: usize) -> Result<Array> {
    const OP: &str = "slice_backward";
    let shape = Shape::new(OP, dims)?;
    let (_, length, inner) = shape.split_at_axis(OP, axis)?;
    let dy = widen(OP, "dy", dy)?;
    let mut expected = dims.to_vec();
    if dy.shape().rank() == dims.len() {
        expected[axis] = dy.dims()[axis];
    }
    dy.expect_dims(OP, "dy", "the shape of x but for the sliced axis", &expected)?;
    check_range(OP, axis, length, start, start.saturating_add(dy.dims()[axis]))?;
    let device = dy.device();
    let strides = shape.strides();
    let mut dx = Array::from_buffer(device, shape.clone(), DType::F32, device.alloc_zeroed(shape.len())?);
    let copy = StridedCopy::new(
        dy.dims(),
        View { strides: &dy.shape().strides(), offset: 0 },
        View { strides: &strides, offset: start * inner },
    );
    copy_into(&copy, &dy, &mut dx)?;
    Ok(dx)
}

fn check_range(op: &'static str, axis: usize, length: usize, start: usize, end: usize) -> Result<()> {
    if start < end && end <= length {
        return Ok(());
    }
    Err(Error::Value {
        op,
        arg: "range",
        expected: format!("non-empty and within 0..{length} of axis {axis}"),
        got: format!("{start}..{end}"),
    })
}

/// Joins arrays along an existing axis.
///
/// # Errors
/// At least one array; one element type (f16 counts as f32) and one device; equal lengths except along
/// `axis`.
pub fn concat(arrays: &[&Array], axis: usize) -> Result<Array> {
    const OP: &str = "concat";
    let Some(first) = arrays.first() else {
        return Err(Error::Value {
            op: OP,
            arg: "arrays",
            expected: "at least one array".into(),
            got: "none".into(),
        });
    };
    first.shape().split_at_axis(OP, axis)?;
    let device = first.device();
    let mut parts = Vec::with_capacity(arrays.len());
    let mut dims = first.dims().to_vec();
    dims[axis] = 0;
    for (index, array) in arrays.iter().enumerate() {
        array.expect_device(OP, "arrays", device)?;
        let mut expected = first.dims().to_vec();
        if array.shape().rank() == expected.len() {
            expected[axis] = array.dims()[axis];
        }
        let names = "the shape of arrays[0] but for the joined axis";
        array.expect_dims(OP, format!("arrays[{index}]"), names, &expected)?;
        // Clones of one large array can be joined to more than any array can hold; `Shape::new` refuses that.
        dims[axis] = dims[axis].saturating_add(array.dims()[axis]);
        let part = words(OP, "arrays", array)?;
        if let Some(earlier) = parts.first() {
            let earlier: &Cow<'_, Array> = earlier;
            part.expect_dtype(OP, "arrays", earlier.dtype())?;
        }
        parts.push(part);
    }
    let shape = Shape::new(OP, &dims)?;
    let (_, _, inner) = shape.split_at_axis(OP, axis)?;
    let strides = shape.strides();
    let mut out = output(device, shape, parts[0].dtype())?;
    let mut offset = 0;
    for part in &parts {
        let copy = StridedCopy::new(
            part.dims(),
            View { strides: &part.shape().strides(), offset: 0 },
            View { strides: &strides, offset },
        );
        copy_into(&copy, part, &mut out)?;
        offset += part.dims()[axis] * inner;
    }
    Ok(out)
}

/// Joins arrays of the same shape along a new axis: `[B, H]` times T along axis 0 is `[T, B, H]`.
///
/// # Errors
/// As [`concat()`]; `axis` may be at most the rank of the arrays.
pub fn stack(arrays: &[&Array], axis: usize) -> Result<Array> {
    const OP: &str = "stack";
    let mut parts = Vec::with_capacity(arrays.len());
    for (index, array) in arrays.iter().enumerate() {
        if axis > array.shape().rank() {
            return Err(Error::Value {
                op: OP,
                arg: "axis",
                expected: format!("at most the rank {} of arrays[{index}]", array.shape().rank()),
                got: axis.to_string(),
            });
        }
        array.expect_dims(OP, format!("arrays[{index}]"), "the shape of arrays[0]", arrays[0].dims())?;
        let mut dims = array.dims().to_vec();
        dims.insert(axis, 1);
        parts.push(array.reshape(&dims)?);
    }
    concat(&parts.iter().collect::<Vec<_>>(), axis)
}

/// Repeats axes of length 1, and missing leading axes, up to `dims` (NumPy's rules).
///
/// # Errors
/// `x` must broadcast to exactly `dims`.
pub fn broadcast_to(x: &Array, dims: &[usize]) -> Result<Array> {
    const OP: &str = "broadcast_to";
    let shape = Shape::new(OP, dims)?;
    let fits = Shape::broadcast(OP, &shape, x.shape()).is_ok_and(|both| both == shape);
    if !fits {
        return Err(Error::Shape {
            op: OP,
            arg: "x".into(),
            expected: format!("broadcastable to {shape:?}"),
            got: x.dims().to_vec(),
        });
    }
    let x = words(OP, "x", x)?;
    let strides = x.shape().broadcast_strides(&shape);
    gather_view(&x, shape, &strides, 0)
}
