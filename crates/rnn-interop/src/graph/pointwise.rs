//! Functions of arrays, element by element.

use super::inputs::Inputs;
use super::shape::{broadcast, broadcast_host};
use crate::error::Why;
use crate::value::{Host, Value};
use rnn_api::{Device, Tensor, UnaryOp};

/// A function of one array.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unary {
    Engine(UnaryOp),
    Abs,
    Reciprocal,
    /// `max(0, min(1, alpha x + beta))`
    HardSigmoid(f32, f32),
    LeakyRelu(f32),
    Elu(f32),
    /// The error function, to 1.5e-7 (Abramowitz and Stegun 7.1.26).
    Erf,
    /// `x (1 + erf(x / sqrt 2)) / 2`, or with `tanh`.
    Gelu {
        tanh: bool,
    },
}

impl Unary {
    pub(super) fn run(self, value: &Value) -> Result<Value, Why> {
        if let Value::Int(host) = value {
            return self.run_host(host);
        }
        let x = value.float()?;
        Ok(match self {
            Unary::Engine(op) => x.unary(op)?,
            Unary::Abs => abs(x)?,
            Unary::Reciprocal => Tensor::full(x.device(), &[], 1.0)?.div(x)?,
            Unary::HardSigmoid(alpha, beta) => clamp(&x.scale(alpha)?.shift(beta)?, Some(0.0), Some(1.0))?,
            Unary::LeakyRelu(alpha) => x.relu()?.sub(&x.neg()?.relu()?.scale(alpha)?)?,
            Unary::Elu(alpha) => {
                // exp of what is negative only, so that nothing overflows.
                let below = x.neg()?.relu()?.neg()?.exp()?.shift(-1.0)?.scale(alpha)?;
                x.relu()?.add(&below)?
            }
            Unary::Erf => erf(x)?,
            Unary::Gelu { tanh: false } => {
                x.scale(0.5)?.mul(&erf(&x.scale(std::f32::consts::FRAC_1_SQRT_2)?)?.shift(1.0)?)?
            }
            Unary::Gelu { tanh: true } => {
                let cubic = x.mul(x)?.mul(x)?.scale(0.044_715)?.add(x)?;
                let inner = cubic.scale((2.0 / std::f32::consts::PI).sqrt())?;
                x.scale(0.5)?.mul(&inner.tanh()?.shift(1.0)?)?
            }
        }
        .into())
    }

    fn run_host(self, host: &Host<i64>) -> Result<Value, Why> {
        let each = |f: fn(i64) -> i64| {
            let values = host.values.iter().map(|&value| f(value)).collect();
            Ok(Value::Int(Host { dims: host.dims.clone(), values }))
        };
        match self {
            Unary::Engine(UnaryOp::Neg) => each(i64::wrapping_neg),
            Unary::Engine(UnaryOp::Relu) => each(|value| value.max(0)),
            Unary::Abs => each(i64::wrapping_abs),
            _ => Err(Why::Text(format!("{self:?} of integers"))),
        }
    }
}

fn abs(x: &Tensor) -> rnn_api::Result<Tensor> {
    x.relu()?.add(&x.neg()?.relu()?)
}

/// erf is odd: the polynomial is for arguments that are not negative.
fn erf(x: &Tensor) -> rnn_api::Result<Tensor> {
    half_erf(&x.relu()?)?.sub(&half_erf(&x.neg()?.relu()?)?)
}

fn half_erf(x: &Tensor) -> rnn_api::Result<Tensor> {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6];
    let t = Tensor::full(x.device(), &[], 1.0)?.div(&x.scale(P)?.shift(1.0)?)?;
    let mut sum = t.scale(A[0])?;
    for a in &A[1..] {
        sum = sum.shift(*a)?.mul(&t)?;
    }
    sum.mul(&x.mul(x)?.neg()?.exp()?)?.neg()?.shift(1.0)
}

/// A function of two arrays, or of any number for `Max`, `Min` and `Sum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
    Mod,
}

impl Binary {
    pub(super) fn run_all(self, device: &Device, inputs: &Inputs<'_>) -> Result<Value, Why> {
        let mut result = inputs.need(0)?.clone();
        for n in 1..inputs.0.len() {
            result = self.run(device, &result, inputs.need(n)?)?;
        }
        Ok(result)
    }

    fn run(self, device: &Device, a: &Value, b: &Value) -> Result<Value, Why> {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => self.of_integers(a, b),
            _ => Ok(self.of_floats(device, a.float()?, b.float()?)?.into()),
        }
    }

    fn of_floats(self, device: &Device, a: &Tensor, b: &Tensor) -> Result<Tensor, Why> {
        Ok(match self {
            Binary::Add => a.add(b)?,
            Binary::Sub => a.sub(b)?,
            Binary::Mul => a.mul(b)?,
            Binary::Div => a.div(b)?,
            Binary::Pow => power(device, a, b)?,
            Binary::Max => larger(a, b)?,
            Binary::Min => larger(&a.neg()?, &b.neg()?)?.neg()?,
            Binary::Mod => return Err("a remainder of floating-point numbers".into()),
        })
    }

    fn of_integers(self, a: &Host<i64>, b: &Host<i64>) -> Result<Value, Why> {
        let dims = broadcast(&a.dims, &b.dims)?;
        let (a, b) = (broadcast_host(a, &dims)?, broadcast_host(b, &dims)?);
        let each = |(&a, &b): (&i64, &i64)| {
            match self {
                Binary::Add => a.checked_add(b),
                Binary::Sub => a.checked_sub(b),
                Binary::Mul => a.checked_mul(b),
                // As C++, towards zero.
                Binary::Div => a.checked_div(b),
                Binary::Pow => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
                Binary::Max => Some(a.max(b)),
                Binary::Min => Some(a.min(b)),
                // The sign is the divisor's.
                Binary::Mod => a
                    .checked_rem(b)
                    .map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }),
            }
            .ok_or_else(|| Why::Text(format!("{self:?} of {a} and {b}")))
        };
        let values = a.iter().zip(&b).map(each).collect::<Result<_, _>>()?;
        Ok(Value::Int(Host { dims, values }))
    }
}

/// The larger of each two elements, exactly.
fn larger(a: &Tensor, b: &Tensor) -> Result<Tensor, Why> {
    let dims = broadcast(a.dims(), b.dims())?;
    let both = [a.broadcast_to(&dims)?, b.broadcast_to(&dims)?];
    Ok(Tensor::stack(&[&both[0], &both[1]], 0)?.max_axis(0)?)
}

/// Powers with one exponent: whole numbers up to 16, 1/2, or any of what is positive.
fn power(device: &Device, a: &Tensor, b: &Tensor) -> Result<Tensor, Why> {
    if b.len() != 1 {
        return Err(Why::Text(format!("exponents must be one number, got {:?}", b.dims())));
    }
    let exponent = b.to_vec()?[0];
    if exponent == 0.5 {
        return Ok(a.sqrt()?);
    }
    if exponent.fract() != 0.0 || exponent.abs() > 16.0 {
        return Ok(a.log()?.scale(exponent)?.exp()?);
    }
    let one = Tensor::full(device, &[], 1.0)?;
    let mut product = one.broadcast_to(a.dims())?;
    for _ in 0..exponent.abs() as usize {
        product = product.mul(a)?;
    }
    Ok(if exponent < 0.0 { one.div(&product)? } else { product })
}

fn clamp(x: &Tensor, min: Option<f32>, max: Option<f32>) -> Result<Tensor, Why> {
    let bound = |value: f32| Tensor::full(x.device(), &[], value);
    let mut x = x.clone();
    if let Some(min) = min {
        x = larger(&x, &bound(min)?)?;
    }
    if let Some(max) = max {
        x = larger(&x.neg()?, &bound(-max)?)?.neg()?;
    }
    Ok(x)
}

/// Bounds are attributes before opset 11 and inputs since.
pub(super) fn clip(inputs: &Inputs<'_>, min: Option<f32>, max: Option<f32>) -> Result<Value, Why> {
    let bound = |index: usize, own: Option<f32>| match inputs.get(index) {
        Some(value) => Ok::<_, Why>(value.float()?.to_vec()?.first().copied()),
        None => Ok(own),
    };
    let (min, max) = (bound(1, min)?, bound(2, max)?);
    Ok(clamp(inputs.need(0)?.float()?, min, max)?.into())
}
