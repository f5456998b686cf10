//! Rows of a table by index, rows put into a table by index, and the gradient of the table.

use super::{f32_array, widen};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::on_device;
use rnn_base::DType;
use rnn_base::Shape;
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;

/// Rows of `table` `[V, E]` by `indices` (u32, any shape): the result is `[indices.., E]`.
///
/// # Errors
/// [`Error::Index`] with the position of the first index that is not below V; [`Error::Unsupported`] when
/// `indices` has no host copy to check (only arrays from [`Array::from_u32`] and their reshapes have one); a
/// table that is not `[V, E]`; wrong element types or devices.
pub fn gather(table: &Array, indices: &Array) -> Result<Array> {
    const OP: &str = "gather";
    let [v, e] = table_sizes(OP, table)?;
    indices.expect_device(OP, "indices", table.device())?;
    check_indices(OP, "indices", indices, v)?;
    rows_by(OP, table, [v, e], indices)
}

/// V and E of a table `[V, E]`.
fn table_sizes(op: &'static str, table: &Array) -> Result<[usize; 2]> {
    match *table.dims() {
        [v, e] => Ok([v, e]),
        _ => Err(Error::Shape {
            op,
            arg: "table".into(),
            expected: "[V, E]".into(),
            got: table.dims().to_vec(),
        }),
    }
}

/// [`gather`] without checks: zeros where an index is not below v.
pub(crate) fn rows_by(op: &'static str, table: &Array, [v, e]: [usize; 2], indices: &Array) -> Result<Array> {
    let table = widen(op, "table", table)?;
    let mut dims = indices.dims().to_vec();
    dims.push(e);
    let (shape, n, device) = (Shape::new(op, &dims)?, indices.len(), table.device());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::embed::gather(dev, table.cpu(), indices.cpu(), n, e, v)?.into(),
        Gpu(dev) => gpu::embed::gather(dev, table.gpu(), indices.gpu(), n, e, v)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// Overwrites rows of `table` `[V, E]`: row `indices[k]` becomes `rows[k]`, for `rows` `[N, E]` and `indices` `[N]` (u32).
/// All other rows stay. A table whose memory is shared is copied first.
///
/// # Errors
/// An index twice ([`Error::Value`] with both positions); otherwise as [`gather`]; a table that is not f32, or rows that are
/// not `[N, E]`. The table is then unchanged.
pub fn scatter(table: &mut Array, indices: &Array, rows: &Array) -> Result<()> {
    scatter_all(&mut [(table, rows)], indices)
}

/// [`scatter`] of rows into several tables at the same indices, which are checked once.
///
/// # Errors
/// As [`scatter`]. All tables are unchanged then, unless a device fails.
pub fn scatter_all(tables: &mut [(&mut Array, &Array)], indices: &Array) -> Result<()> {
    const OP: &str = "scatter";
    let mut wide = Vec::with_capacity(tables.len());
    let mut bound = usize::MAX;
    for (table, rows) in tables.iter() {
        let [v, e] = table_sizes(OP, table)?;
        bound = bound.min(v);
        table.expect_dtype(OP, "table", DType::F32)?;
        indices.expect_device(OP, "indices", table.device())?;
        rows.expect_device(OP, "rows", table.device())?;
        check_indices(OP, "indices", indices, v)?;
        let rows = widen(OP, "rows", rows)?;
        rows.expect_dims(OP, "rows", "[N, E]", &[indices.len(), e])?;
        wide.push((rows, [v, e]));
    }
    indices.expect_dims(OP, "indices", "[N]", &[indices.len()])?;
    expect_once(OP, host_indices(OP, "indices", indices)?, bound)?;
    let n = indices.len();
    for ((table, _), (rows, sizes)) in tables.iter_mut().zip(&wide) {
        let device = table.device().clone();
        let e = sizes[1];
        on_device!(
            &device,
            Cpu(_) => cpu::embed::scatter(table.cpu_mut(), rows.cpu(), indices.cpu(), [n, e]),
            Gpu(dev) => gpu::embed::scatter(dev, table.gpu_mut(), rows.gpu(), indices.gpu(), [n, e, sizes[0]]),
        )?;
    }
    Ok(())
}

/// An index that comes twice, if there is one. All indices are below `bound`.
pub fn repeated(indices: &[u32], bound: usize) -> Option<u32> {
    // A bit for every row, unless clearing them takes longer than sorting the indices.
    let words = bound.div_ceil(64);
    if words > 8 * indices.len() {
        let mut sorted = indices.to_vec();
        sorted.sort_unstable();
        return sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    }
    let mut seen = vec![0u64; words];
    indices.iter().copied().find(|&index| {
        let (word, bit) = (&mut seen[index as usize / 64], 1 << (index % 64));
        std::mem::replace(word, *word | bit) & bit != 0
    })
}

/// Refuses an index that comes twice: which row would win is not defined.
fn expect_once(op: &'static str, indices: &[u32], bound: usize) -> Result<()> {
    let Some(twice) = repeated(indices, bound) else { return Ok(()) };
    let mut positions = (0..indices.len()).filter(|&position| indices[position] == twice);
    let [first, second] = [positions.next(), positions.next()].map(Option::unwrap_or_default);
    let got = format!("{twice} at positions {first} and {second}");
    Err(Error::value(op, "indices", "every index once", got))
}

/// The gradient of [`gather`]: sums the rows of `dy` `[indices.., E]` into a `[V, E]` array of zeros, V =
/// `rows`, in the order of the indices.
///
/// # Errors
/// As [`gather`]; `dy` must be `[indices.., E]`.
pub fn scatter_add(dy: &Array, indices: &Array, rows: usize) -> Result<Array> {
    const OP: &str = "scatter_add";
    indices.expect_device(OP, "indices", dy.device())?;
    check_indices(OP, "indices", indices, rows)?;
    let dy = widen(OP, "dy", dy)?;
    let Some((&e, _)) = dy.dims().split_last().filter(|(_, dims)| *dims == indices.dims()) else {
        return Err(Error::Shape {
            op: OP,
            arg: "dy".into(),
            expected: format!("[indices.., E] with indices {:?}", indices.shape()),
            got: dy.dims().to_vec(),
        });
    };
    let (shape, n, device) = (Shape::new(OP, &[rows, e])?, indices.len(), dy.device());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::embed::scatter_add(dev, dy.cpu(), indices.cpu(), n, e, rows)?.into(),
        Gpu(dev) => gpu::embed::scatter_add(dev, dy.gpu(), indices.gpu(), n, e, rows)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}

/// The host copy of an index array.
///
/// # Errors
/// Other element types than u32, or no host copy.
pub(crate) fn host_indices<'a>(op: &'static str, arg: &'static str, indices: &'a Array) -> Result<&'a [u32]> {
    indices.expect_dtype(op, arg, DType::U32)?;
    indices.host_indices().ok_or_else(|| Error::Unsupported {
        op,
        what: format!("{arg} without a host copy"),
        why: "the values cannot be range-checked; upload them with Array::from_u32".into(),
    })
}

/// Refuses an index that is not below `bound`.
pub(crate) fn check_indices(
    op: &'static str,
    arg: &'static str,
    indices: &Array,
    bound: usize,
) -> Result<()> {
    let host = host_indices(op, arg, indices)?;
    match host.iter().position(|&index| index as usize >= bound) {
        None => Ok(()),
        Some(position) => Err(Error::Index { op, arg, position, got: host[position], bound }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a bit for every row, and by sorting.
    #[test]
    fn an_index_that_comes_twice_is_found() {
        for bound in [1 << 7, 1 << 20] {
            assert_eq!(repeated(&[0, 64, 127, 63, 1], bound), None, "{bound}");
            assert_eq!(repeated(&[5, 127, 64, 127], bound), Some(127), "{bound}");
            assert_eq!(repeated(&[], bound), None, "{bound}");
        }
    }
}
