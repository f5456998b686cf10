//! Twin of `embed/{gather,scatter,scatter_add}.wgsl`.

use super::{CpuBuffer, CpuDevice, simd, split};
use rnn_base::error::Result;

/// Rows between the one that is copied and the one that is asked for: the table is read in any order, so the hardware does
/// not know which row comes next.
const AHEAD: usize = 4;

/// Asks for row `indices[k + AHEAD]` of a table.
#[inline]
fn prefetch_ahead(table: &[f32], indices: &[u32], k: usize, e: usize) {
    let row = |&index: &u32| table.get((index as usize).checked_mul(e)?..)?.get(..e);
    if let Some(row) = indices.get(k + AHEAD).and_then(row) {
        simd::prefetch(row);
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
