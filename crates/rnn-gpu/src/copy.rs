//! Copies between strided views. Twin of `rnn-cpu/src/copy.rs`.

use super::{GpuArray, GpuBuffer, GpuDevice, Launch};
use rnn_base::DType;
use rnn_base::args::copy::StridedCopy;
use rnn_base::dims::MAX_RANK;
use rnn_base::error::Result;
use rnn_kernels::catalogue::pointwise::{COPY, COPY_WIDENED};
use rnn_kernels::grid;
use rnn_kernels::params::{Axes, CopyParams, MAX_AXES};
use std::ops::Range;

const _: () = assert!(MAX_RANK <= MAX_AXES, "the strided kernels would drop axes");

/// Copies a strided view; f16 becomes f32. `dst` is fresh and not shared, so it is written in place.
pub fn copy_strided(
    dev: &GpuDevice,
    copy: &StridedCopy,
    (src, half): (&GpuBuffer, bool),
    dst: &mut GpuBuffer,
) -> Result<()> {
    let n: usize = copy.dims.iter().product();
    let params = CopyParams {
        dims: Axes::reversed(&copy.dims, 1),
        src_strides: Axes::reversed(&copy.src_strides, 0),
        dst_strides: Axes::reversed(&copy.dst_strides, 0),
        n: n as u32,
        rank: copy.dims.len() as u32,
        src_offset: copy.src_offset as u32,
        dst_offset: copy.dst_offset as u32,
    };
    dev.dispatch(Launch {
        kernel: if half { &COPY_WIDENED } else { &COPY },
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[src, dst],
        grid: grid::linear(n),
        work: n as u64,
    })
}

/// Copies between arrays; f16 becomes f32. `dst` is fresh, as in [`copy_strided`].
pub(crate) fn copy_into(copy: &StridedCopy, src: &GpuArray, dst: &mut GpuArray) -> Result<()> {
    let half = src.dtype == DType::F16;
    copy_strided(src.buffer.device(), copy, (&src.buffer, half), &mut dst.buffer)
}

/// A range of the first axis, as f32.
pub(crate) fn slice(op: &'static str, x: &GpuArray, part: Range<usize>) -> Result<GpuArray> {
    let mut dims = x.dims().to_vec();
    let row = x.len() / dims[0];
    dims[0] = part.len();
    let mut out = x.buffer.device().array(op, &dims)?;
    copy_into(&StridedCopy::flat(out.len(), part.start * row, 0), x, &mut out)?;
    Ok(out)
}

/// The elements of several f32 arrays, one array after the other.
pub(crate) fn concat(op: &'static str, parts: &[GpuArray]) -> Result<GpuArray> {
    let total = parts.iter().map(GpuArray::len).sum();
    let mut out = parts[0].buffer.device().array(op, &[total])?;
    let mut offset = 0;
    for part in parts {
        copy_into(&StridedCopy::flat(part.len(), 0, offset), part, &mut out)?;
        offset += part.len();
    }
    Ok(out)
}
