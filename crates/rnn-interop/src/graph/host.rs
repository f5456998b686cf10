//! Nodes on integers and booleans in host memory, and on their way to tensors and back.

use super::inputs::Inputs;
use super::shape::{broadcast, broadcast_host};
use crate::error::Why;
use crate::value::{Host, Value};
use rnn_api::{Device, Tensor};

/// A comparison of two arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

impl Compare {
    pub(super) fn run(self, a: &Value, b: &Value) -> Result<Value, Why> {
        let dims = broadcast(a.dims(), b.dims())?;
        let (a, b) = (broadcast_host(&numbers(a)?, &dims)?, broadcast_host(&numbers(b)?, &dims)?);
        let each = |(a, b): (&f64, &f64)| match self {
            Compare::Equal => a == b,
            Compare::Less => a < b,
            Compare::LessOrEqual => a <= b,
            Compare::Greater => a > b,
            Compare::GreaterOrEqual => a >= b,
            Compare::And => *a != 0.0 && *b != 0.0,
            Compare::Or => *a != 0.0 || *b != 0.0,
        };
        Ok(Value::Bool(Host { values: a.iter().zip(&b).map(each).collect(), dims }))
    }
}

/// Any value in host memory. Integers beyond 2^53 are no sizes.
fn numbers(value: &Value) -> Result<Host<f64>, Why> {
    let dims = value.dims().to_vec();
    let values = match value {
        Value::Float(tensor) => tensor.to_vec()?.into_iter().map(f64::from).collect(),
        Value::Int(host) => host.values.iter().map(|&value| value as f64).collect(),
        Value::Bool(host) => host.values.iter().map(|&value| f64::from(u8::from(value))).collect(),
    };
    Ok(Host { dims, values })
}

pub(super) fn truths(value: &Value) -> Result<&Host<bool>, Why> {
    match value {
        Value::Bool(host) => Ok(host),
        other => Err(Why::Text(format!("expected booleans, got {}", other.kind()))),
    }
}

pub(super) fn not(value: &Value) -> Result<Value, Why> {
    let host = truths(value)?;
    Ok(Value::Bool(Host {
        dims: host.dims.clone(),
        values: host.values.iter().map(|value| !value).collect(),
    }))
}

/// Elements of `a` where the condition holds, of `b` elsewhere.
pub(super) fn select(condition: &Value, a: &Value, b: &Value) -> Result<Value, Why> {
    let host = truths(condition)?;
    let dims = broadcast(&broadcast(a.dims(), b.dims())?, &host.dims)?;
    let chosen = broadcast_host(host, &dims)?;
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => {
            let (a, b) = (broadcast_host(a, &dims)?, broadcast_host(b, &dims)?);
            let values = (0..chosen.len()).map(|n| if chosen[n] { a[n] } else { b[n] }).collect();
            Ok(Value::Int(Host { dims, values }))
        }
        _ => Ok(select_floats(&chosen, a.float()?, b.float()?, &dims)?.into()),
    }
}

/// A gather, not a sum of products: an infinity that is not chosen leaves no trace.
pub(super) fn select_floats(chosen: &[bool], a: &Tensor, b: &Tensor, dims: &[usize]) -> Result<Tensor, Why> {
    let column = |tensor: &Tensor| tensor.broadcast_to(dims)?.reshape(&[chosen.len(), 1]);
    let table = Tensor::concat(&[&column(a)?, &column(b)?], 0)?;
    let rows = chosen.iter().enumerate();
    let rows: Vec<u32> = rows.map(|(n, &first)| (n + if first { 0 } else { chosen.len() }) as u32).collect();
    let rows = Tensor::from_indices(a.device(), &rows, &[rows.len()])?;
    Ok(table.gather(&rows)?.reshape(dims)?)
}

/// The type that a cast leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    Float,
    Int,
    Bool,
}

pub(super) fn cast(device: &Device, value: &Value, kind: ValueType) -> Result<Value, Why> {
    let dims = value.dims().to_vec();
    Ok(match (kind, value) {
        (ValueType::Float, Value::Float(_))
        | (ValueType::Int, Value::Int(_))
        | (ValueType::Bool, Value::Bool(_)) => value.clone(),
        (ValueType::Float, _) => {
            let values: Vec<f32> = numbers(value)?.values.into_iter().map(|value| value as f32).collect();
            Tensor::from_slice(device, &values, &dims)?.into()
        }
        // `as` truncates, and keeps what is too large at the ends.
        (ValueType::Int, Value::Bool(host)) => {
            Value::Int(Host { dims, values: host.values.iter().map(|&value| value.into()).collect() })
        }
        (ValueType::Int, _) => Value::Int(Host {
            dims,
            values: numbers(value)?.values.into_iter().map(|value| value as i64).collect(),
        }),
        (ValueType::Bool, _) => Value::Bool(Host {
            dims,
            values: numbers(value)?.values.into_iter().map(|value| value != 0.0).collect(),
        }),
    })
}

/// Integers from a start to below a limit.
pub(super) fn range(inputs: &Inputs<'_>) -> Result<Value, Why> {
    let number = |index: usize| {
        let host = inputs.need(index)?.int()?;
        host.values.first().copied().ok_or_else(|| Why::Text("an empty bound".to_string()))
    };
    let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
    let span = i128::from(limit) - i128::from(start);
    let count = match step {
        0 => return Err("step 0".into()),
        _ => (span / i128::from(step) + i128::from(span % i128::from(step) != 0)).max(0),
    };
    if (span < 0) != (step < 0) && span != 0 || count > 1 << 24 {
        return if count > 1 << 24 {
            Err("more than 2^24 numbers".into())
        } else {
            Ok(Value::Int(Host::list(Vec::new())))
        };
    }
    Ok(Value::Int(Host::list((0..count as i64).map(|n| start + n * step).collect())))
}
