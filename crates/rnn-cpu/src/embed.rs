//! Twin of `embed/{gather,scatter,scatter_add}.wgsl`.

use super::{CpuBuffer, CpuDevice, split};
use rnn_base::error::Result;

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
    split::rows(out.make_mut()?, e, |k, out| match indices[k] as usize {
        row if row < v => out.copy_from_slice(&table[row * e..][..e]),
        _ => out.fill(0.0),
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
    let table = table.make_mut()?;
    for (row, &index) in rows[..n * e].chunks_exact(e).zip(indices.as_u32()) {
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
