//! Nodes that change or read shapes.

use super::inputs::Inputs;
use crate::error::Why;
use crate::value::{Host, Value, elements, room};
use rnn_api::{Device, Tensor};

/// An axis counted from either end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Why> {
    let from_end = if axis < 0 { axis + rank as i64 } else { axis };
    let index = usize::try_from(from_end).ok().filter(|&index| index < rank.max(1));
    index.ok_or_else(|| Why::Text(format!("axis {axis} is not one of {rank} axes")))
}

/// The same values with other axis lengths.
pub(super) fn with_dims(value: &Value, dims: Vec<usize>) -> Result<Value, Why> {
    if elements(&dims) != elements(value.dims()) {
        return Err(Why::Text(format!("{:?} cannot become {dims:?}", value.dims())));
    }
    Ok(match value {
        Value::Float(tensor) => tensor.reshape(&dims)?.into(),
        Value::Int(host) => Value::Int(Host { dims, values: host.values.clone() }),
        Value::Bool(host) => Value::Bool(Host { dims, values: host.values.clone() }),
    })
}

pub(super) fn shape(value: &Value, start: i64, end: Option<i64>) -> Value {
    let dims = value.dims();
    let rank = dims.len() as i64;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (from, to) = (place(start), place(end.unwrap_or(rank)));
    let sizes = dims.get(from..to.max(from)).unwrap_or_default();
    Value::Int(Host::list(sizes.iter().map(|&size| size as i64).collect()))
}

pub(super) fn size(value: &Value) -> Value {
    Value::Int(Host::scalar(value.dims().iter().product::<usize>() as i64))
}

/// Lengths of axes from integers.
pub(super) fn lengths(values: &[i64]) -> Result<Vec<usize>, Why> {
    let length = |&size: &i64| {
        usize::try_from(size)
            .map_err(|_| Why::Text(format!("axis lengths must not be negative, got {values:?}")))
    };
    values.iter().map(length).collect()
}

/// The most elements that a file may ask for without their values.
const MOST: usize = 1 << 28;

pub(super) fn constant(device: &Device, dims: &Value, value: &Value) -> Result<Value, Why> {
    let dims = lengths(&dims.int()?.values)?;
    let count = elements(&dims).filter(|&count| count <= MOST);
    let count = count.ok_or_else(|| Why::Text(format!("{dims:?} has too many elements")))?;
    Ok(match value {
        Value::Float(tensor) => Tensor::full(device, &dims, tensor.to_vec()?[0])?.into(),
        Value::Int(host) => Value::Int(filled(dims, count, host)?),
        Value::Bool(host) => Value::Bool(filled(dims, count, host)?),
    })
}

/// The first value of `of`, everywhere.
fn filled<T: Copy>(dims: Vec<usize>, count: usize, of: &Host<T>) -> Result<Host<T>, Why> {
    let value = *of.values.first().ok_or("a constant without a value")?;
    let mut values = room(count)?;
    values.resize(count, value);
    Ok(Host { dims, values })
}

pub(super) fn reshape(inputs: &Inputs<'_>, allow_zero: bool) -> Result<Value, Why> {
    let value = inputs.need(0)?;
    let given = &inputs.need(1)?.int()?.values;
    let old = value.dims();
    let mut dims = Vec::with_capacity(given.len());
    let mut open = None;
    for (n, &size) in given.iter().enumerate() {
        dims.push(match size {
            -1 if open.replace(n).is_none() => 1,
            0 if !allow_zero => *old.get(n).ok_or("0 stands for an axis that the input lacks")?,
            _ => usize::try_from(size).map_err(|_| Why::Text(format!("cannot reshape to {given:?}")))?,
        });
    }
    if let Some(n) = open {
        let known = elements(&dims).filter(|&known| known > 0);
        let known = known.ok_or_else(|| Why::Text(format!("cannot reshape {old:?} to {given:?}")))?;
        dims[n] = elements(old).unwrap_or(0) / known;
    }
    with_dims(value, dims)
}

pub(super) fn flatten(value: &Value, at: i64) -> Result<Value, Why> {
    let dims = value.dims();
    let at = if at == dims.len() as i64 { dims.len() } else { axis(at, dims.len())? };
    with_dims(value, vec![dims[..at].iter().product(), dims[at..].iter().product()])
}

pub(super) fn transpose(value: &Value, perm: Option<&[i64]>) -> Result<Value, Why> {
    let rank = value.dims().len();
    let perm: Vec<usize> = match perm {
        Some(perm) => perm.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    if perm.len() != rank {
        return Err(Why::Text(format!("permutation {perm:?} of {rank} axes")));
    }
    Ok(match value {
        Value::Float(tensor) => tensor.permute(&perm)?.into(),
        Value::Int(host) => Value::Int(permuted(host, &perm)?),
        Value::Bool(host) => Value::Bool(permuted(host, &perm)?),
    })
}

fn permuted<T: Copy>(host: &Host<T>, perm: &[usize]) -> Result<Host<T>, Why> {
    let mut seen = vec![false; perm.len()];
    if perm.iter().any(|&at| std::mem::replace(&mut seen[at], true)) {
        return Err(Why::Text(format!("permutation {perm:?} names an axis twice")));
    }
    let dims: Vec<usize> = perm.iter().map(|&at| host.dims[at]).collect();
    let strides = strides(&host.dims);
    let strides: Vec<usize> = perm.iter().map(|&at| strides[at]).collect();
    let values = StridedPositions::new(&dims, &strides).map(|at| host.values[at]).collect();
    Ok(Host { dims, values })
}

/// Row-major strides.
pub(super) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for n in (1..dims.len()).rev() {
        strides[n - 1] = strides[n] * dims[n];
    }
    strides
}

/// The positions of a strided view in row-major order.
pub(super) struct StridedPositions<'a> {
    dims: &'a [usize],
    strides: &'a [usize],
    index: Vec<usize>,
    left: usize,
}

impl<'a> StridedPositions<'a> {
    pub(super) fn new(dims: &'a [usize], strides: &'a [usize]) -> Self {
        StridedPositions { dims, strides, index: vec![0; dims.len()], left: dims.iter().product() }
    }
}

impl Iterator for StridedPositions<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let at = self.index.iter().zip(self.strides).map(|(at, stride)| at * stride).sum();
        for (at, &size) in self.index.iter_mut().zip(self.dims).rev() {
            *at += 1;
            if *at < size {
                break;
            }
            *at = 0;
        }
        Some(at)
    }
}

/// The shape that two shapes broadcast to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Why> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], n: usize| (n + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let both = |n: usize| match (size(a, n), size(b, n)) {
        (x, y) if x == y => Ok(x),
        (1, y) => Ok(y),
        (x, 1) => Ok(x),
        _ => Err(Why::Text(format!("{a:?} and {b:?} do not broadcast"))),
    };
    let dims: Vec<usize> = (0..rank).map(both).collect::<Result<_, _>>()?;
    bounded(&dims)?;
    Ok(dims)
}

/// Small arrays may broadcast, or be gathered, to more than fits into memory.
pub(super) fn bounded(dims: &[usize]) -> Result<(), Why> {
    match elements(dims) {
        Some(count) if count <= MOST => Ok(()),
        _ => Err(Why::Text(format!("{dims:?} has too many elements"))),
    }
}

/// The values of an array that is broadcast.
///
/// # Errors
/// No memory.
pub(super) fn broadcast_host<T: Copy>(host: &Host<T>, dims: &[usize]) -> Result<Vec<T>, Why> {
    let own = strides(&host.dims);
    let skip = dims.len() - host.dims.len();
    let steps: Vec<usize> = (0..dims.len())
        .map(|n| n.checked_sub(skip).map_or(0, |at| if host.dims[at] == 1 { 0 } else { own[at] }))
        .collect();
    let mut values = room(elements(dims).unwrap_or(usize::MAX))?;
    values.extend(StridedPositions::new(dims, &steps).map(|at| host.values[at]));
    Ok(values)
}

pub(super) fn expand(inputs: &Inputs<'_>) -> Result<Value, Why> {
    let value = inputs.need(0)?;
    let dims = broadcast(value.dims(), &lengths(&inputs.need(1)?.int()?.values)?)?;
    Ok(match value {
        Value::Float(tensor) => tensor.broadcast_to(&dims)?.into(),
        Value::Int(host) => Value::Int(Host { values: broadcast_host(host, &dims)?, dims }),
        Value::Bool(host) => Value::Bool(Host { values: broadcast_host(host, &dims)?, dims }),
    })
}

pub(super) fn unsqueeze(inputs: &Inputs<'_>, axes: Option<&[i64]>) -> Result<Value, Why> {
    let value = inputs.need(0)?;
    let given = inputs.ints(1)?.or(axes).ok_or("no axes")?;
    let rank = value.dims().len() + given.len();
    let axes: Vec<usize> = given.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?;
    let mut old = value.dims().iter();
    let dims = (0..rank).map(|n| if axes.contains(&n) { Some(1) } else { old.next().copied() });
    let dims: Option<Vec<usize>> = dims.collect();
    with_dims(value, dims.ok_or_else(|| Why::Text(format!("axes {given:?} name one twice")))?)
}

pub(super) fn squeeze(inputs: &Inputs<'_>, axes: Option<&[i64]>) -> Result<Value, Why> {
    let value = inputs.need(0)?;
    let old = value.dims();
    let Some(given) = inputs.ints(1)?.or(axes) else {
        return with_dims(value, old.iter().copied().filter(|&size| size != 1).collect());
    };
    let axes: Vec<usize> = given.iter().map(|&at| axis(at, old.len())).collect::<Result<_, _>>()?;
    if let Some(&long) = axes.iter().find(|&&at| old.get(at) != Some(&1)) {
        return Err(Why::Text(format!("axis {long} of {old:?} must have length 1")));
    }
    let kept = old.iter().enumerate().filter(|(n, _)| !axes.contains(n));
    with_dims(value, kept.map(|(_, &size)| size).collect())
}
