//! Elementwise ops.

use crate::autograd::record;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::ops::pointwise::{self, BinaryOp, UnaryOp};
use rnn_runtime::{Array, DType, Device, Shape};

/// Sums a gradient over the axes along which an operand of `shape` was broadcast.
fn reduce_to(grad: &Array, shape: &Shape) -> Result<Array> {
    if grad.shape() == shape {
        return Ok(grad.clone());
    }
    Ok(pointwise::sum_to_shape(grad, shape)?)
}

impl Tensor {
    /// Applies a function to every element.
    ///
    /// # Errors
    /// Index data, or a failing device.
    pub fn unary(&self, op: UnaryOp) -> Result<Tensor> {
        let y = pointwise::unary(op, self.array())?;
        let (x, y_saved) = (self.array().clone(), y.clone());
        Ok(record("unary", [self], y, move |dy, _| {
            Ok([Some(pointwise::unary_backward(op, &x, &y_saved, &dy)?)])
        }))
    }

    fn binary(&self, op: BinaryOp, other: &Tensor) -> Result<Tensor> {
        let y = pointwise::binary(op, self.array(), other.array())?;
        let (a, b) = (self.array().clone(), other.array().clone());
        // Addition needs only the shapes; keeping the values would waste memory.
        if matches!(op, BinaryOp::Add | BinaryOp::Sub) {
            let (a, b) = (a.shape().clone(), b.shape().clone());
            let name = if matches!(op, BinaryOp::Add) { "add" } else { "sub" };
            return Ok(record(name, [self, other], y, move |dy, [want_a, want_b]| {
                let da = if want_a { Some(reduce_to(&dy, &a)?) } else { None };
                let db = match (want_b, op) {
                    (false, _) => None,
                    (true, BinaryOp::Sub) => Some(pointwise::affine(&reduce_to(&dy, &b)?, -1.0, 0.0)?),
                    (true, _) => Some(reduce_to(&dy, &b)?),
                };
                Ok([da, db])
            }));
        }
        let is_div = matches!(op, BinaryOp::Div);
        let quotient = is_div.then(|| y.clone());
        let name = if is_div { "div" } else { "mul" };
        Ok(record(name, [self, other], y, move |dy, [want_a, want_b]| {
            // y = a b: da = dy b, db = dy a.   y = a / b: da = dy / b, db = -dy y / b.
            let da = match want_a {
                true => Some(reduce_to(&pointwise::binary(op, &dy, &b)?, a.shape())?),
                false => None,
            };
            let db = match (want_b, quotient) {
                (false, _) => None,
                (true, Some(y)) => {
                    let ratio = pointwise::binary(BinaryOp::Div, &y, &b)?;
                    let db = pointwise::binary(BinaryOp::Mul, &dy, &ratio)?;
                    Some(pointwise::affine(&reduce_to(&db, b.shape())?, -1.0, 0.0)?)
                }
                (true, None) => Some(reduce_to(&pointwise::binary(BinaryOp::Mul, &dy, &a)?, b.shape())?),
            };
            Ok([da, db])
        }))
    }

    /// `self + other`. Shapes broadcast as in NumPy: aligned at the last axis, lengths equal or 1.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices, index data.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        self.binary(BinaryOp::Add, other)
    }

    /// `self - other`, broadcasting as [`Tensor::add`].
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        self.binary(BinaryOp::Sub, other)
    }

    /// `self * other`, element by element, broadcasting as [`Tensor::add`].
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        self.binary(BinaryOp::Mul, other)
    }

    /// `self / other`, broadcasting as [`Tensor::add`].
    ///
    /// # Errors
    /// As [`Tensor::add`].
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        self.binary(BinaryOp::Div, other)
    }

    fn affine(&self, scale: f32, shift: f32) -> Result<Tensor> {
        let y = pointwise::affine(self.array(), scale, shift)?;
        Ok(record("affine", [self], y, move |dy, _| {
            Ok([Some(if scale == 1.0 { dy } else { pointwise::affine(&dy, scale, 0.0)? })])
        }))
    }

    /// `factor * self`.
    ///
    /// # Errors
    /// As [`Tensor::unary`].
    pub fn scale(&self, factor: f32) -> Result<Tensor> {
        self.affine(factor, 0.0)
    }

    /// `self + offset`.
    ///
    /// # Errors
    /// As [`Tensor::unary`].
    pub fn shift(&self, offset: f32) -> Result<Tensor> {
        self.affine(1.0, offset)
    }

    /// The values as another type: f32 or f16. Gradients stay f32.
    ///
    /// # Errors
    /// Index data, or a failing device.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        let y = pointwise::cast(self.array(), dtype)?;
        Ok(record("to_dtype", [self], y, |dy, _| Ok([Some(dy)])))
    }

    /// The values on another device; a cheap clone if they are there already. The gradient is copied back.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        let y = self.array().to_device(device)?;
        let home = self.device().clone();
        Ok(record("to_device", [self], y, move |dy, _| Ok([Some(dy.to_device(&home)?)])))
    }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident => $op:ident,)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// As [`Tensor::unary`].
                pub fn $name(&self) -> Result<Tensor> {
                    self.unary(UnaryOp::$op)
                }
            )*
        }
    };
}

unary_methods! {
    /// `-x`
    neg => Neg,
    /// `e^x`
    exp => Exp,
    /// The natural logarithm.
    log => Log,
    /// The square root.
    sqrt => Sqrt,
    /// The hyperbolic tangent.
    tanh => Tanh,
    /// `1 / (1 + exp(-x))`
    sigmoid => Sigmoid,
    /// `x / (1 + |x|)`
    softsign => Softsign,
    /// `max(x, 0)`
    relu => Relu,
    /// `log(1 + exp(x))`
    softplus => Softplus,
}
