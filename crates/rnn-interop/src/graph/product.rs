//! Products of matrices.

use super::host::{ValueType, cast};
use super::inputs::Inputs;
use super::shape::{axis, broadcast};
use crate::error::Why;
use crate::value::{Host, Value, elements};
use rnn_api::{Device, Tensor};

/// `A B` as NumPy has it: vectors, matrices, and batches that broadcast.
pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor, Why> {
    match (a.dims(), b.dims()) {
        ([], _) | (_, []) => Err("a scalar is no factor of a matrix product".into()),
        ([_], _) => {
            let product = matmul(&a.reshape(&[1, a.len()])?, b)?;
            let at = product.rank() - if b.rank() == 1 { 1 } else { 2 };
            Ok(without(&product, at)?)
        }
        (_, [k]) => {
            let product = matmul(a, &b.reshape(&[*k, 1])?)?;
            Ok(without(&product, product.rank() - 1)?)
        }
        // One matrix for all rows.
        ([rows @ .., k], [_, n]) => {
            let count = elements(rows).unwrap_or(0);
            Ok(a.reshape(&[count, *k])?.matmul(b)?.reshape(&[rows, &[*n]].concat())?)
        }
        ([front_a @ .., m, k], [front_b @ .., k_b, n]) => {
            let front = broadcast(front_a, front_b)?;
            let count = elements(&front).unwrap_or(0);
            let whole = |tensor: &Tensor, rows: usize, columns: usize| {
                let dims = [&front[..], &[rows, columns]].concat();
                tensor.broadcast_to(&dims)?.reshape(&[count, rows, columns])
            };
            let product = whole(a, *m, *k)?.matmul(&whole(b, *k_b, *n)?)?;
            Ok(product.reshape(&[&front[..], &[*m, *n]].concat())?)
        }
    }
}

/// The tensor without an axis of length 1.
fn without(tensor: &Tensor, at: usize) -> rnn_api::Result<Tensor> {
    let mut dims = tensor.dims().to_vec();
    dims.remove(at);
    tensor.reshape(&dims)
}

/// `alpha A B + beta C`, where A and B may be transposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gemm {
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) transpose_a: bool,
    pub(crate) transpose_b: bool,
}

impl Gemm {
    pub(super) fn run(self, inputs: &Inputs<'_>) -> Result<Value, Why> {
        let (a, b) = (inputs.need(0)?.float()?, inputs.need(1)?.float()?);
        let c = inputs.get(2).map(Value::float).transpose()?;
        if a.rank() != 2 || b.rank() != 2 {
            return Err(Why::Text(format!(
                "factors must be matrices, got {:?} and {:?}",
                a.dims(),
                b.dims()
            )));
        }
        let a = if self.transpose_a { a.transpose(0, 1)? } else { a.clone() };
        let plain = self.alpha == 1.0 && (self.beta == 1.0 || c.is_none());
        if plain && self.transpose_b && c.is_none_or(|c| c.dims() == [b.dims()[0]]) {
            return Ok(a.linear(b, c)?.into());
        }
        let b = if self.transpose_b { b.transpose(0, 1)? } else { b.clone() };
        let mut product = a.matmul(&b)?;
        if self.alpha != 1.0 {
            product = product.scale(self.alpha)?;
        }
        match c {
            Some(c) if self.beta == 1.0 => Ok(product.add(c)?.into()),
            Some(c) => Ok(product.add(&c.scale(self.beta)?)?.into()),
            None => Ok(product.into()),
        }
    }
}

/// Integers as floating-point numbers without their zero point.
fn centred(device: &Device, value: &Value, zero: Option<&Value>) -> Result<Tensor, Why> {
    let tensor = match value {
        Value::Float(tensor) => tensor.clone(),
        other => cast(device, other, ValueType::Float)?.float()?.clone(),
    };
    let Some(zero) = zero else { return Ok(tensor) };
    let zero = cast(device, zero, ValueType::Float)?;
    Ok(tensor.sub(zero.float()?)?)
}

/// A has been left as it was by `DynamicQuantizeLinear`; B are integers.
pub(super) fn matmul_integer(device: &Device, inputs: &Inputs<'_>) -> Result<Value, Why> {
    let a = centred(device, inputs.need(0)?, inputs.get(2))?;
    let b = centred(device, inputs.need(1)?, inputs.get(3))?;
    Ok(matmul(&a, &b)?.into())
}

/// `(x - zero point) scale`, with one scale or one for each element of an axis.
pub(super) fn dequantize(device: &Device, inputs: &Inputs<'_>, at: i64) -> Result<Value, Why> {
    let x = inputs.need(0)?;
    let rank = x.dims().len();
    let along = |value: &Value| match value.dims() {
        [length] if *length > 1 => {
            let mut dims = vec![1; rank];
            dims[axis(at, rank)?] = *length;
            super::shape::with_dims(value, dims)
        }
        _ => super::shape::with_dims(value, Vec::new()),
    };
    let zero = inputs.get(2).map(along).transpose()?;
    let zero = zero.unwrap_or(Value::Int(Host::scalar(0)));
    let scale = along(inputs.need(1)?)?;
    Ok(centred(device, x, Some(&zero))?.mul(scale.float()?)?.into())
}
