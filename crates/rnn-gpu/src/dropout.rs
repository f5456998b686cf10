//! Dropout. Twin of `rnn-cpu/src/dropout.rs`.

use super::{GpuArray, GpuBuffer, GpuDevice, Launch};
use rnn_base::args::dropout::DropoutMask;
use rnn_base::error::Result;
use rnn_base::rng::drop_threshold;
use rnn_kernels::catalogue::pointwise::DROPOUT;
use rnn_kernels::grid;
use rnn_kernels::params::DropoutParams;

/// Zeroes the dropped elements and scales the others.
pub fn dropout(dev: &GpuDevice, x: &GpuBuffer, n: usize, mask: &DropoutMask) -> Result<GpuBuffer> {
    let y = dev.alloc(n)?;
    let [key0, key1] = mask.key.0;
    let params = DropoutParams {
        n: n as u32,
        row: mask.row as u32,
        first_step: mask.first_step,
        first: mask.first,
        key0,
        key1,
        threshold: drop_threshold(mask.probability),
        scale: mask.scale(),
        one_mask: u32::from(mask.shared),
    };
    dev.dispatch(Launch {
        kernel: &DROPOUT,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[x, &y],
        grid: grid::linear(n),
        work: 100 * n as u64,
    })?;
    Ok(y)
}

/// [`dropout`] of an f32 array.
pub(crate) fn dropout_array(x: &GpuArray, mask: &DropoutMask) -> Result<GpuArray> {
    let buffer = dropout(x.buffer.device(), &x.buffer, x.len(), mask)?;
    Ok(GpuArray { shape: x.shape.clone(), dtype: x.dtype, buffer })
}
