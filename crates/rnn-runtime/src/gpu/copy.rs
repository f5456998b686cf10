//! Twin of `cpu/copy.rs`.

use super::{GpuBuffer, GpuDevice, Launch};
use crate::dims::MAX_RANK;
use crate::error::Result;
use crate::ops::copy::StridedCopy;
use rnn_kernels::catalogue::pointwise::{COPY, COPY_WIDENED};
use rnn_kernels::grid;
use rnn_kernels::params::{Axes, CopyParams, MAX_AXES};

const _: () = assert!(MAX_RANK <= MAX_AXES, "the strided kernels would drop axes");

/// Values of f16 become f32 on the way. `dst` is fresh: nobody else holds it, so it is written in place.
pub(crate) fn copy_strided(
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
