//! Rows of a state.

use crate::carried::{Carried, StateParts};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::{Device, host_memory};

/// B of the arrays `[L, B, H]` of a state: one of `possible`. Absent if it has no arrays.
fn batch<S: Carried>(op: &'static str, state: &S, possible: [usize; 2]) -> Result<Option<usize>> {
    let Some((name, array)) = state.parts().arrays.pop_first() else { return Ok(None) };
    match *array.dims() {
        [_, batch, _] if possible.contains(&batch) => Ok(Some(batch)),
        _ => {
            let [one, all] = possible;
            let or = if all == one { String::new() } else { format!(" or {all}") };
            let expected = format!("[L, B, H] with B = {one}{or}");
            Err(Error::shape(op, format!("state `{name}`"), expected, array.shape()))
        }
    }
}

/// A state of `width` rows for each of `prompts`: from one row each, or from one that has them.
pub(super) fn widened<S: Carried>(
    op: &'static str,
    device: &Device,
    state: &S,
    [prompts, width]: [usize; 2],
) -> Result<S> {
    let all = prompts * width;
    let from = batch(op, state, [prompts, all])?.unwrap_or(all);
    let mut rows = host_memory::reserve(op, || format!("{all} rows of a state"), all)?;
    rows.extend((0..all).map(|row| if from == all { row } else { row / width }));
    select(op, device, state, (from, &rows))
}

/// The state of a batch whose rows are these rows of `state`, `[L, from, H]` in every array.
pub(super) fn select<S: Carried>(
    op: &'static str,
    device: &Device,
    state: &S,
    (from, rows): (usize, &[usize]),
) -> Result<S> {
    let StateParts { arrays, numbers } = state.detached().parts();
    let mut parts = StateParts { numbers, ..StateParts::default() };
    for (name, array) in arrays {
        let [layers, batch, width] = *array.dims() else {
            return Err(Error::shape(op, format!("state `{name}`"), "[L, B, H]", array.shape()));
        };
        if batch != from {
            let expected = format!("[L, B, H] with B = {from}");
            return Err(Error::shape(op, format!("state `{name}`"), expected, array.shape()));
        }
        let what = || format!("{} rows of {layers} layers", rows.len());
        let mut places = host_memory::reserve(op, what, layers.saturating_mul(rows.len()))?;
        let of = |layer| rows.iter().map(move |row| (layer * from + row) as u32);
        places.extend((0..layers).flat_map(of));
        let table = Tensor::from_array(array).reshape(&[layers * from, width])?;
        let chosen = table.gather(&Tensor::from_indices(device, &places, &[places.len()])?)?;
        parts.arrays.insert(name, chosen.reshape(&[layers, rows.len(), width])?.into_array());
    }
    S::from_parts(&parts, device)
}
