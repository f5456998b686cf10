//! Twin of `embed/{gather,scatter,scatter_add}.wgsl`.

use super::{CpuBuffer, CpuDevice, simd, split};
use rnn_base::error::Result;

/// Rows that are asked for together: the table is read in any order, so the hardware does not know which row comes next.
/// Requests in bursts wait less than requests between the copies of rows.
const BURST: usize = 32;

/// Asks for rows `indices[first..first + BURST]` of a table.
fn prefetch_burst(table: &[f32], indices: &[u32], first: usize, e: usize) {
    for &index in indices.iter().skip(first).take(BURST) {
        simd::prefetch(table.as_ptr().wrapping_add((index as usize).wrapping_mul(e)), e);
    }
}

/// Asks for the rows after those that are copied next, where k is the first of them.
#[inline]
fn prefetch_ahead(table: &[f32], indices: &[u32], k: usize, e: usize) {
    if k.is_multiple_of(BURST) {
        prefetch_burst(table, indices, k + BURST, e);
    }
}

/// `out[k, :] = table[indices[k], :]` for n indices and rows of e elements; zeros where an index is none of
/// the v rows.
pub fn gather(
    dev: &CpuDevice,
    table: &CpuBuffer,
    indices: &CpuBuffer,
    n: usize,
    e: usize,
    v: usize,
) -> Result<CpuBuffer> {
    let mut out = dev.alloc(n * e)?;
    let indices = &indices.as_u32()[..n];
    prefetch_burst(table, indices, 0, e);
    split::rows(out.make_mut()?, e, |k, out| {
        prefetch_ahead(table, indices, k, e);
        match indices[k] as usize {
            row if row < v => out.copy_from_slice(&table[row * e..][..e]),
            _ => out.fill(0.0),
        }
    });
    Ok(out)
}

/// `table[indices[k], :] = rows[k, :]` for n indices, none of them twice, and rows of e elements.
pub fn scatter(
    table: &mut CpuBuffer,
    rows: &CpuBuffer,
    indices: &CpuBuffer,
    [n, e]: [usize; 2],
) -> Result<()> {
    let (table, indices) = (table.make_mut()?, &indices.as_u32()[..n]);
    prefetch_burst(table, indices, 0, e);
    for (k, (row, &index)) in rows[..n * e].chunks_exact(e).zip(indices).enumerate() {
        prefetch_ahead(table, indices, k, e);
        table[index as usize * e..][..e].copy_from_slice(row);
    }
    Ok(())
}

/// `out[indices[k], :] += dy[k, :]` over k in order, into v rows of zeros.
pub fn scatter_add(
    dev: &CpuDevice,
    dy: &CpuBuffer,
    indices: &CpuBuffer,
    n: usize,
    e: usize,
    v: usize,
) -> Result<CpuBuffer> {
    let mut out = dev.alloc_zeroed(v * e)?;
    let rows = out.make_mut()?;
    for (k, &index) in indices.as_u32()[..n].iter().enumerate() {
        let row = &mut rows[index as usize * e..][..e];
        for (sum, &dy) in row.iter_mut().zip(&dy[k * e..]) {
            *sum += dy;
        }
    }
    Ok(out)
}
