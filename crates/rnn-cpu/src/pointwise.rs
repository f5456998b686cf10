//! Twin of `pointwise/{unary,unary_backward,binary,affine,accumulate,fill,cast}.wgsl`.

use super::{CpuBuffer, CpuDevice, math, split};
use half::slice::HalfFloatSliceExt;
use rnn_base::args::pointwise::Strided2;
use rnn_base::error::Result;
use rnn_kernels::params::{BinaryOp, UnaryOp};

/// `out[k] = f(a[k])`
pub fn map(dev: &CpuDevice, a: &[f32], f: impl Fn(f32) -> f32 + Sync) -> Result<CpuBuffer> {
    let mut out = dev.alloc(a.len())?;
    split::elements(out.make_mut()?, |first, out| {
        for (out, &a) in out.iter_mut().zip(&a[first..]) {
            *out = f(a);
        }
    });
    Ok(out)
}

/// `out[k] = f(a[k], b[k])`
pub fn map2(dev: &CpuDevice, a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) -> Result<CpuBuffer> {
    let mut out = dev.alloc(a.len())?;
    split::elements(out.make_mut()?, |first, out| {
        for ((out, &a), &b) in out.iter_mut().zip(&a[first..]).zip(&b[first..]) {
            *out = f(a, b);
        }
    });
    Ok(out)
}

/// Runs `$run` with the scalar function of an op, known at compile time, so that loops over it vectorise.
macro_rules! with_unary {
    ($op:expr, $f:ident => $run:expr) => {
        match $op {
            UnaryOp::Neg => with_unary!(@ |x: f32| -x, $f => $run),
            UnaryOp::Exp => with_unary!(@ math::exp, $f => $run),
            UnaryOp::Log => with_unary!(@ f32::ln, $f => $run),
            UnaryOp::Sqrt => with_unary!(@ f32::sqrt, $f => $run),
            UnaryOp::Tanh => with_unary!(@ math::tanh, $f => $run),
            UnaryOp::Sigmoid => with_unary!(@ math::sigmoid, $f => $run),
            UnaryOp::Softsign => with_unary!(@ softsign, $f => $run),
            // Written so that NaN goes through.
            UnaryOp::Relu => with_unary!(@ |x: f32| if x <= 0.0 { 0.0 } else { x }, $f => $run),
            UnaryOp::Softplus => with_unary!(@ math::softplus, $f => $run),
        }
    };
    (@ $function:expr, $f:ident => $run:expr) => {{
        let $f = $function;
        $run
    }};
}

/// `op(x)` of every element.
pub fn unary(dev: &CpuDevice, op: UnaryOp, x: &CpuBuffer, n: usize) -> Result<CpuBuffer> {
    with_unary!(op, f => map(dev, &x[..n], f))
}

/// `op(x)` of every element, in place, on the calling thread.
pub fn unary_in_place(op: UnaryOp, values: &mut [f32]) {
    with_unary!(op, f => values.iter_mut().for_each(|x| *x = f(*x)));
}

/// `x / (1 + |x|)`, with its limits at the infinities.
fn softsign(x: f32) -> f32 {
    if x.is_infinite() { 1f32.copysign(x) } else { x / (1.0 + x.abs()) }
}

/// `dy op'(x)` of every element.
pub fn unary_backward(
    dev: &CpuDevice,
    op: UnaryOp,
    x: &CpuBuffer,
    y: &CpuBuffer,
    dy: &CpuBuffer,
    n: usize,
) -> Result<CpuBuffer> {
    let (x, y, dy) = (&x[..n], &y[..n], &dy[..n]);
    match op {
        UnaryOp::Neg => map(dev, dy, |dy| -dy),
        UnaryOp::Exp => map2(dev, y, dy, |y, dy| dy * y),
        UnaryOp::Log => map2(dev, x, dy, |x, dy| dy / x),
        UnaryOp::Sqrt => map2(dev, y, dy, |y, dy| dy * 0.5 / y),
        UnaryOp::Tanh => map2(dev, y, dy, |y, dy| dy * (1.0 - y * y)),
        UnaryOp::Sigmoid => map2(dev, y, dy, |y, dy| dy * y * (1.0 - y)),
        // From x: (1 - |y|)^2 would cancel where y is close to 1.
        UnaryOp::Softsign => map2(dev, x, dy, |x, dy| {
            let d = 1.0 + x.abs();
            dy / d / d
        }),
        UnaryOp::Relu => map2(dev, y, dy, |y, dy| if y <= 0.0 { 0.0 } else { dy }),
        UnaryOp::Softplus => map2(dev, x, dy, |x, dy| dy * math::sigmoid(x)),
    }
}

/// `scale x + shift` of every element.
pub fn affine(dev: &CpuDevice, x: &CpuBuffer, n: usize, scale: f32, shift: f32) -> Result<CpuBuffer> {
    map(dev, &x[..n], |x| scale * x + shift)
}

/// `op(a, b)` of every element.
pub fn binary(
    dev: &CpuDevice,
    op: BinaryOp,
    walk: &Strided2,
    a: &CpuBuffer,
    b: &CpuBuffer,
) -> Result<CpuBuffer> {
    match op {
        BinaryOp::Add => binary_with(dev, walk, a, b, |a, b| a + b),
        BinaryOp::Sub => binary_with(dev, walk, a, b, |a, b| a - b),
        BinaryOp::Mul => binary_with(dev, walk, a, b, |a, b| a * b),
        BinaryOp::Div => binary_with(dev, walk, a, b, |a, b| a / b),
    }
}

fn binary_with(
    dev: &CpuDevice,
    walk: &Strided2,
    a: &CpuBuffer,
    b: &CpuBuffer,
    f: impl Fn(f32, f32) -> f32 + Sync,
) -> Result<CpuBuffer> {
    if walk.is_contiguous() {
        let n = walk.dims[0];
        return map2(dev, &a[..n], &b[..n], f);
    }
    let last = walk.dims.len() - 1;
    let (cols, a_step, b_step) = (walk.dims[last], walk.a_strides[last], walk.b_strides[last]);
    let mut out = dev.alloc(walk.dims.iter().product())?;
    split::rows(out.make_mut()?, cols, |row, out| {
        let [a_start, b_start] = offsets(row, &walk.dims[..last], [&walk.a_strides, &walk.b_strides]);
        let (a, b) = (&a[a_start..], &b[b_start..]);
        match (a_step, b_step) {
            (1, 1) => {
                for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                    *out = f(a, b);
                }
            }
            (1, 0) => out.iter_mut().zip(a).for_each(|(out, &a)| *out = f(a, b[0])),
            (0, 1) => out.iter_mut().zip(b).for_each(|(out, &b)| *out = f(a[0], b)),
            _ => {
                for (c, out) in out.iter_mut().enumerate() {
                    *out = f(a[c * a_step], b[c * b_step]);
                }
            }
        }
    });
    Ok(out)
}

/// Where row number `row` of the axes `dims` starts under each list of strides.
pub fn offsets<const N: usize>(mut row: usize, dims: &[usize], strides: [&[usize]; N]) -> [usize; N] {
    let mut starts = [0; N];
    for axis in (0..dims.len()).rev() {
        let index = row % dims[axis];
        row /= dims[axis];
        for k in 0..N {
            starts[k] += index * strides[k][axis];
        }
    }
    starts
}

/// `dst += src`.
pub fn accumulate(_dev: &CpuDevice, dst: &mut CpuBuffer, src: &CpuBuffer, n: usize) -> Result<()> {
    split::elements(&mut dst.make_mut()?[..n], |first, dst| {
        for (dst, &src) in dst.iter_mut().zip(&src[first..]) {
            *dst += src;
        }
    });
    Ok(())
}

/// One value everywhere.
pub fn fill(dev: &CpuDevice, n: usize, value: f32) -> Result<CpuBuffer> {
    let mut out = dev.alloc(n)?;
    out.make_mut()?.fill(value);
    Ok(out)
}

/// f16 to f32; exact.
pub fn widen(dev: &CpuDevice, x: &CpuBuffer, n: usize) -> Result<CpuBuffer> {
    let mut out = dev.alloc(n)?;
    x.as_f16()[..n].convert_to_f32_slice(out.make_mut()?);
    Ok(out)
}

/// f32 to f16, two per word, to the nearest with ties to even; overflow gives infinity.
pub fn narrow(dev: &CpuDevice, x: &CpuBuffer, n: usize) -> Result<CpuBuffer> {
    let mut out = dev.alloc(n.div_ceil(2))?;
    let halves: &mut [half::f16] = bytemuck::cast_slice_mut(out.make_mut()?);
    halves[..n].convert_from_f32_slice(&x[..n]);
    halves[n..].fill(half::f16::ZERO);
    Ok(out)
}
