//! Nodes that take parts of arrays, or join them.

use super::host::truths;
use super::inputs::Inputs;
use super::shape::{axis, bounded, strides, with_dims};
use crate::error::Why;
use crate::value::{Host, Value, room};
use rnn_api::{Device, Tensor};

/// The elements `indices` along an axis, in this order.
pub(super) fn take(value: &Value, at: usize, indices: &[usize]) -> Result<Value, Why> {
    let mut dims = value.dims().to_vec();
    dims[at] = indices.len();
    bounded(&dims)?;
    Ok(match value {
        Value::Float(tensor) => take_tensor(tensor, at, indices)?.into(),
        Value::Int(host) => Value::Int(take_host(host, at, indices)?),
        Value::Bool(host) => Value::Bool(take_host(host, at, indices)?),
    })
}

fn take_host<T: Copy>(host: &Host<T>, at: usize, indices: &[usize]) -> Result<Host<T>, Why> {
    let inner = strides(&host.dims)[at];
    let outer: usize = host.dims[..at].iter().product();
    let mut values = room(outer * indices.len() * inner)?;
    for block in 0..outer {
        for &index in indices {
            let start = (block * host.dims[at] + index) * inner;
            values.extend_from_slice(&host.values[start..start + inner]);
        }
    }
    let mut dims = host.dims.clone();
    dims[at] = indices.len();
    Ok(Host { dims, values })
}

fn take_tensor(tensor: &Tensor, at: usize, indices: &[usize]) -> Result<Tensor, Why> {
    if indices.is_empty() {
        return Err("an empty array of floating-point numbers".into());
    }
    let first = indices[0];
    if indices.iter().enumerate().all(|(n, &index)| index == first + n) {
        return Ok(tensor.slice(at, first..first + indices.len())?);
    }
    // Rows of a table: the axis comes first, all others are one.
    let rank = tensor.rank();
    let order: Vec<usize> = std::iter::once(at).chain((0..rank).filter(|&n| n != at)).collect();
    let front = tensor.permute(&order)?;
    let mut dims = front.dims().to_vec();
    let rows = front.reshape(&[dims[0], dims[1..].iter().product()])?;
    let numbers: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
    let numbers = Tensor::from_indices(&tensor.device().clone(), &numbers, &[numbers.len()])?;
    dims[0] = indices.len();
    let taken = rows.gather(&numbers)?.reshape(&dims)?;
    let mut back = vec![0; rank];
    order.iter().enumerate().for_each(|(n, &axis)| back[axis] = n);
    Ok(taken.permute(&back)?)
}

/// An index counted from either end.
fn index(index: i64, length: usize) -> Result<usize, Why> {
    let from_end = if index < 0 { index + length as i64 } else { index };
    let found = usize::try_from(from_end).ok().filter(|&found| found < length);
    found.ok_or_else(|| Why::Text(format!("index {index} is not one of {length}")))
}

pub(super) fn gather(value: &Value, indices: &Value, at: i64) -> Result<Value, Why> {
    let dims = value.dims();
    let (at, indices) = (axis(at, dims.len())?, indices.int()?);
    let length = *dims.get(at).ok_or("a scalar has no elements to gather")?;
    let numbers: Vec<usize> =
        indices.values.iter().map(|&number| index(number, length)).collect::<Result<_, _>>()?;
    let taken = take(value, at, &numbers)?;
    let new = [&dims[..at], &indices.dims, &dims[at + 1..]].concat();
    with_dims(&taken, new)
}

/// Starts, ends, axes and steps of opsets before 10, which have them as attributes.
#[derive(Default)]
pub(crate) struct Slice {
    pub(crate) starts: Option<Vec<i64>>,
    pub(crate) ends: Option<Vec<i64>>,
    pub(crate) axes: Option<Vec<i64>>,
}

impl Slice {
    pub(super) fn run(&self, inputs: &Inputs<'_>) -> Result<Value, Why> {
        let starts = inputs.ints(1)?.or(self.starts.as_deref()).ok_or("no starts")?;
        let ends = inputs.ints(2)?.or(self.ends.as_deref()).ok_or("no ends")?;
        let every: Vec<i64> = (0..starts.len() as i64).collect();
        let axes = inputs.ints(3)?.or(self.axes.as_deref()).unwrap_or(&every);
        let ones = vec![1; starts.len()];
        let steps = inputs.ints(4)?.unwrap_or(&ones);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err("starts, ends, axes and steps must be equally long".into());
        }
        let mut value = inputs.need(0)?.clone();
        for n in 0..starts.len() {
            let at = axis(axes[n], value.dims().len())?;
            let length = *value.dims().get(at).ok_or("a scalar cannot be sliced")?;
            let indices = indices(starts[n], ends[n], steps[n], length)?;
            if indices.len() < length || steps[n] < 0 {
                value = take(&value, at, &indices)?;
            }
        }
        Ok(value)
    }
}

/// As Python's slices, but that indices beyond the ends are allowed.
fn indices(start: i64, end: i64, step: i64, length: usize) -> Result<Vec<usize>, Why> {
    let length = length as i64;
    let place = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    match step {
        0 => Err("step 0".into()),
        1.. => {
            let (from, to) = (place(start).clamp(0, length), place(end).clamp(0, length));
            Ok((from..to).step_by(step as usize).map(|at| at as usize).collect())
        }
        _ => {
            let (from, to) = (place(start).clamp(-1, length - 1), place(end).clamp(-1, length - 1));
            let back = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            Ok((to + 1..=from).rev().step_by(back).map(|at| at as usize).collect())
        }
    }
}

pub(super) fn split(
    inputs: &Inputs<'_>,
    at: i64,
    sizes: Option<&[i64]>,
    parts: usize,
) -> Result<Vec<Value>, Why> {
    let value = inputs.need(0)?;
    let at = axis(at, value.dims().len())?;
    let length = *value.dims().get(at).ok_or("a scalar cannot be split")?;
    let sizes: Vec<usize> = match inputs.ints(1)?.or(sizes) {
        Some(sizes) => super::shape::lengths(sizes)?,
        None => {
            let each = length.div_ceil(parts.max(1));
            (0..parts).map(|n| length.saturating_sub(n * each).min(each)).collect()
        }
    };
    if sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size)) != Some(length) {
        return Err(Why::Text(format!("parts of {sizes:?} are not an axis of {length}")));
    }
    let mut start = 0;
    let part = |&size: &usize| {
        let indices: Vec<usize> = (start..start + size).collect();
        start += size;
        take(value, at, &indices)
    };
    sizes.iter().map(part).collect()
}

pub(super) fn concat(inputs: &Inputs<'_>, at: i64) -> Result<Value, Why> {
    let values: Vec<&Value> = (0..inputs.0.len()).map(|n| inputs.need(n)).collect::<Result<_, _>>()?;
    let first = *values.first().ok_or("nothing to join")?;
    let at = axis(at, first.dims().len())?;
    match first {
        Value::Float(_) => {
            let tensors: Vec<&Tensor> = values.iter().map(|value| value.float()).collect::<Result<_, _>>()?;
            Ok(Tensor::concat(&tensors, at)?.into())
        }
        Value::Int(_) => {
            let parts: Vec<_> = values.iter().map(|value| value.int()).collect::<Result<_, _>>()?;
            Ok(Value::Int(join(&parts, at)?))
        }
        Value::Bool(_) => {
            let parts: Vec<_> = values.iter().map(|value| truths(value)).collect::<Result<_, _>>()?;
            Ok(Value::Bool(join(&parts, at)?))
        }
    }
}

fn join<T: Copy>(parts: &[&Host<T>], at: usize) -> Result<Host<T>, Why> {
    let mut dims = parts[0].dims.clone();
    let rest = |dims: &[usize]| (dims.get(..at).map(<[_]>::to_vec), dims.get(at + 1..).map(<[_]>::to_vec));
    if parts.iter().any(|part| rest(&part.dims) != rest(&dims)) || dims.is_empty() {
        return Err("arrays of different shapes cannot be joined".into());
    }
    // One array may be a part many times.
    let length = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.dims[at]));
    dims[at] = length.ok_or("the joined axis is too long")?;
    bounded(&dims)?;
    let outer: usize = dims[..at].iter().product();
    let mut values = room(outer * dims[at..].iter().product::<usize>())?;
    for block in 0..outer {
        for part in parts {
            let length = part.dims[at..].iter().product::<usize>();
            values.extend_from_slice(&part.values[block * length..(block + 1) * length]);
        }
    }
    Ok(Host { dims, values })
}

pub(super) fn pad(
    device: &Device,
    inputs: &Inputs<'_>,
    mode: &str,
    pads: Option<&[i64]>,
    value: f32,
) -> Result<Value, Why> {
    let mut tensor = inputs.need(0)?.float()?.clone();
    let pads = inputs.ints(1)?.or(pads).ok_or("no pads")?;
    let filler = match inputs.get(2) {
        Some(filler) => filler.float()?.to_vec()?[0],
        None => value,
    };
    let rank = tensor.rank();
    let axes: Vec<usize> = match inputs.ints(3)? {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() || mode != "constant" || pads.iter().any(|&pad| pad < 0) {
        return Err(Why::Text(format!("mode {mode} with pads {pads:?} is not supported")));
    }
    for (n, &at) in axes.iter().enumerate() {
        let sizes = [pads[n] as usize, pads[n + axes.len()] as usize];
        tensor = padded(device, &tensor, at, sizes, filler)?;
    }
    Ok(tensor.into())
}

/// A tensor with a constant before and after it along an axis.
pub(super) fn padded(
    device: &Device,
    tensor: &Tensor,
    at: usize,
    sizes: [usize; 2],
    filler: f32,
) -> Result<Tensor, Why> {
    let block = |size: usize| {
        let mut dims = tensor.dims().to_vec();
        dims[at] = size;
        Tensor::full(device, &dims, filler)
    };
    let before = (sizes[0] > 0).then(|| block(sizes[0])).transpose()?;
    let after = (sizes[1] > 0).then(|| block(sizes[1])).transpose()?;
    let parts: Vec<&Tensor> = before.iter().chain([tensor]).chain(&after).collect();
    Ok(if parts.len() == 1 { tensor.clone() } else { Tensor::concat(&parts, at)? })
}
