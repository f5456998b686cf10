//! Nodes along axes: sums, softmax, normalisation.

use super::inputs::Inputs;
use super::shape::{axis, with_dims};
use crate::error::Why;
use crate::value::{Host, Value, elements};
use rnn_api::{Device, Tensor};

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReduceKind {
    Mean,
    Sum,
    Max,
    Min,
    Prod,
    /// The root of the sum of squares.
    L2,
}

/// A reduction over axes.
pub(crate) struct Reduce {
    pub(crate) kind: ReduceKind,
    /// Before opset 13 or 18 an attribute, since then an input.
    pub(crate) axes: Option<Vec<i64>>,
    pub(crate) keep: bool,
    /// Whether no axes mean no reduction, in place of one over all.
    pub(crate) none_is_identity: bool,
}

impl Reduce {
    pub(super) fn run(&self, inputs: &Inputs<'_>) -> Result<Value, Why> {
        let value = inputs.need(0)?;
        let rank = value.dims().len();
        let given = inputs.ints(1)?.or(self.axes.as_deref()).unwrap_or_default();
        if given.is_empty() && self.none_is_identity {
            return Ok(value.clone());
        }
        let mut axes: Vec<usize> = match given {
            [] => (0..rank).collect(),
            _ => given.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?,
        };
        axes.sort_unstable();
        axes.dedup();
        let result = match value {
            Value::Float(tensor) => self.of_floats(tensor, &axes)?.into(),
            other => Value::Int(self.of_integers(other.int()?, &axes)?),
        };
        let kept = value.dims().iter().enumerate();
        let dims = kept.filter_map(|(n, &size)| match axes.contains(&n) {
            true => self.keep.then_some(1),
            false => Some(size),
        });
        with_dims(&result, dims.collect())
    }

    fn of_floats(&self, tensor: &Tensor, axes: &[usize]) -> Result<Tensor, Why> {
        let mut x = match self.kind {
            ReduceKind::Min => tensor.neg()?,
            ReduceKind::L2 => tensor.mul(tensor)?,
            _ => tensor.clone(),
        };
        for &at in axes.iter().rev() {
            x = match self.kind {
                ReduceKind::Mean => x.mean_axis(at)?,
                ReduceKind::Sum | ReduceKind::L2 => x.sum_axis(at)?,
                ReduceKind::Max | ReduceKind::Min => x.max_axis(at)?,
                ReduceKind::Prod => return Err("a product of floating-point numbers".into()),
            };
        }
        Ok(match self.kind {
            ReduceKind::Min => x.neg()?,
            ReduceKind::L2 => x.sqrt()?,
            _ => x,
        })
    }

    /// Over all elements, or over none.
    fn of_integers(&self, host: &Host<i64>, axes: &[usize]) -> Result<Host<i64>, Why> {
        if axes.len() != host.dims.len() {
            return Err("a reduction of integers must be over all axes".into());
        }
        let values = host.values.iter().copied();
        let result = match self.kind {
            ReduceKind::Sum => values.map(Some).try_fold(0i64, |sum, value| sum.checked_add(value?)),
            ReduceKind::Prod => values.map(Some).try_fold(1i64, |product, value| product.checked_mul(value?)),
            ReduceKind::Max => values.max(),
            ReduceKind::Min => values.min(),
            ReduceKind::Mean | ReduceKind::L2 => None,
        };
        Ok(Host::scalar(result.ok_or_else(|| Why::Text(format!("{:?} of these integers", self.kind)))?))
    }
}

/// Over one axis, which becomes the last; before opset 13 over all from `axis` on.
pub(super) fn softmax(value: &Value, at: i64, log: bool, flatten: bool) -> Result<Value, Why> {
    let x = value.float()?;
    let rank = x.rank();
    let at = axis(at, rank)?;
    let run = |x: &Tensor| if log { x.log_softmax() } else { x.softmax() };
    if flatten {
        let dims = x.dims();
        let (rows, columns) = (elements(&dims[..at]), elements(&dims[at..]));
        let flat = x.reshape(&[rows.unwrap_or(0), columns.unwrap_or(0)])?;
        return Ok(run(&flat)?.reshape(dims)?.into());
    }
    if at + 1 == rank {
        return Ok(run(x)?.into());
    }
    Ok(run(&x.transpose(at, rank - 1)?)?.transpose(at, rank - 1)?.into())
}

/// Over all axes from one on.
pub(super) fn layer_norm(device: &Device, inputs: &Inputs<'_>, at: i64, eps: f32) -> Result<Value, Why> {
    let x = inputs.need(0)?.float()?;
    let at = axis(at, x.rank())?;
    let count = elements(&x.dims()[at..]).unwrap_or(0);
    let scale = inputs.need(1)?.float()?.broadcast_to(&x.dims()[at..])?.reshape(&[count])?;
    let shift = match inputs.get(2) {
        Some(shift) => shift.float()?.broadcast_to(&x.dims()[at..])?.reshape(&[count])?,
        None => Tensor::zeros(device, &[count])?,
    };
    let rows = x.reshape(&[x.len() / count.max(1), count])?;
    Ok(rows.layer_norm(&scale, &shift, eps)?.reshape(x.dims())?.into())
}

pub(super) fn argmax(value: &Value, at: i64, keep: bool) -> Result<Value, Why> {
    let x = value.float()?;
    let at = axis(at, x.rank())?;
    let values = x.argmax(at)?.into_iter().map(i64::from).collect();
    let mut dims = x.dims().to_vec();
    if keep {
        dims[at] = 1;
    } else {
        dims.remove(at);
    }
    Ok(Value::Int(Host { dims, values }))
}
