//! Twin of `pointwise/copy.wgsl`.

use super::pointwise::offsets;
use super::{CpuBuffer, CpuDevice, split};
use rnn_base::args::copy::StridedCopy;
use rnn_base::error::Result;

/// Copies elements between two strided views.
pub fn copy_strided(
    _dev: &CpuDevice,
    copy: &StridedCopy,
    src: &CpuBuffer,
    dst: &mut CpuBuffer,
) -> Result<()> {
    let last = copy.dims.len() - 1;
    let (cols, rows) = (copy.dims[last], copy.dims[..last].iter().product::<usize>());
    let (src_step, dst_step) = (copy.src_strides[last], copy.dst_strides[last]);
    let outer = &copy.dims[..last];
    let src = &src[copy.src_offset..];
    let dst = &mut dst.make_mut()?[copy.dst_offset..];
    if is_contiguous(&copy.dims, &copy.dst_strides) {
        split::rows(&mut dst[..rows * cols], cols, |row, dst| {
            let [start] = offsets(row, outer, [&copy.src_strides]);
            copy_row(&src[start..], src_step, dst, 1, cols);
        });
        return Ok(());
    }
    for row in 0..rows {
        let [from, to] = offsets(row, outer, [&copy.src_strides, &copy.dst_strides]);
        copy_row(&src[from..], src_step, &mut dst[to..], dst_step, cols);
    }
    Ok(())
}

fn is_contiguous(dims: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&dim, &stride) in dims.iter().zip(strides).rev() {
        if stride != expected {
            return false;
        }
        expected *= dim;
    }
    true
}

fn copy_row(src: &[f32], src_step: usize, dst: &mut [f32], dst_step: usize, cols: usize) {
    match (src_step, dst_step) {
        (1, 1) => dst[..cols].copy_from_slice(&src[..cols]),
        (0, 1) => dst[..cols].fill(src[0]),
        _ => {
            for c in 0..cols {
                dst[c * dst_step] = src[c * src_step];
            }
        }
    }
}
