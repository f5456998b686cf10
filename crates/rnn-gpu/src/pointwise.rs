//! Pointwise functions. Twin of `rnn-cpu/src/pointwise.rs`.

use super::{GpuBuffer, GpuDevice, Launch};
use rnn_base::args::pointwise::Strided2;
use rnn_base::error::Result;
use rnn_kernels::catalogue::pointwise::{ACCUMULATE, AFFINE, BINARY, CAST, FILL, UNARY, UNARY_BACKWARD};
use rnn_kernels::grid;
use rnn_kernels::params::{
    AccumulateParams, AffineParams, Axes, BinaryParams, CastParams, FillParams, UnaryParams,
};
use rnn_kernels::params::{BinaryOp, UnaryOp};

/// A value for an `override` of type bool.
pub(super) fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// `op(x)` of every element.
pub fn unary(dev: &GpuDevice, op: UnaryOp, x: &GpuBuffer, n: usize) -> Result<GpuBuffer> {
    let y = dev.alloc(n)?;
    dev.dispatch(Launch {
        kernel: &UNARY,
        constants: &[("OP", f64::from(op as u32))],
        params: bytemuck::bytes_of(&UnaryParams { n: n as u32 }),
        buffers: &[x, &y],
        grid: grid::linear(n),
        work: 16 * n as u64,
    })?;
    Ok(y)
}

/// `dy op'(x)` of every element.
pub fn unary_backward(
    dev: &GpuDevice,
    op: UnaryOp,
    x: &GpuBuffer,
    y: &GpuBuffer,
    dy: &GpuBuffer,
    n: usize,
) -> Result<GpuBuffer> {
    let dx = dev.alloc(n)?;
    dev.dispatch(Launch {
        kernel: &UNARY_BACKWARD,
        constants: &[("OP", f64::from(op as u32))],
        params: bytemuck::bytes_of(&UnaryParams { n: n as u32 }),
        buffers: &[x, y, dy, &dx],
        grid: grid::linear(n),
        work: 16 * n as u64,
    })?;
    Ok(dx)
}

/// `scale x + shift` of every element.
pub fn affine(dev: &GpuDevice, x: &GpuBuffer, n: usize, scale: f32, shift: f32) -> Result<GpuBuffer> {
    let y = dev.alloc(n)?;
    dev.dispatch(Launch {
        kernel: &AFFINE,
        constants: &[],
        params: bytemuck::bytes_of(&AffineParams { n: n as u32, scale, shift }),
        buffers: &[x, &y],
        grid: grid::linear(n),
        work: n as u64,
    })?;
    Ok(y)
}

/// `op(a, b)` of every element.
pub fn binary(
    dev: &GpuDevice,
    op: BinaryOp,
    walk: &Strided2,
    a: &GpuBuffer,
    b: &GpuBuffer,
) -> Result<GpuBuffer> {
    let n = walk.dims.iter().product();
    let out = dev.alloc(n)?;
    let params = BinaryParams {
        dims: Axes::reversed(&walk.dims, 1),
        a_strides: Axes::reversed(&walk.a_strides, 0),
        b_strides: Axes::reversed(&walk.b_strides, 0),
        n: n as u32,
        rank: walk.dims.len() as u32,
        pad0: 0,
        pad1: 0,
    };
    dev.dispatch(Launch {
        kernel: &BINARY,
        constants: &[("OP", f64::from(op as u32)), ("CONTIGUOUS", flag(walk.is_contiguous()))],
        params: bytemuck::bytes_of(&params),
        buffers: &[a, b, &out],
        grid: grid::linear(n),
        work: n as u64,
    })?;
    Ok(out)
}

/// `dst += src`.
pub fn accumulate(dev: &GpuDevice, dst: &mut GpuBuffer, src: &GpuBuffer, n: usize) -> Result<()> {
    dst.make_unique(n)?;
    dev.dispatch(Launch {
        kernel: &ACCUMULATE,
        constants: &[],
        params: bytemuck::bytes_of(&AccumulateParams { n: n as u32 }),
        buffers: &[src, dst],
        grid: grid::linear(n),
        work: n as u64,
    })
}

/// Fills an array with one value.
pub fn fill(dev: &GpuDevice, n: usize, value: f32) -> Result<GpuBuffer> {
    let out = dev.alloc(n)?;
    fill_words(dev, &out, n, value)?;
    Ok(out)
}

/// Overwrites all of the memory behind an array, for the imitation of faulty drivers.
pub(super) fn fill_all(dev: &GpuDevice, array: &GpuBuffer, value: f32) -> Result<()> {
    fill_words(dev, array, array.words(), value)
}

fn fill_words(dev: &GpuDevice, out: &GpuBuffer, n: usize, value: f32) -> Result<()> {
    dev.dispatch(Launch {
        kernel: &FILL,
        constants: &[],
        params: bytemuck::bytes_of(&FillParams { n: n as u32, bits: value.to_bits() }),
        buffers: &[out],
        grid: grid::linear(n),
        work: n as u64,
    })
}

/// f16 to f32; exact.
pub fn widen(dev: &GpuDevice, x: &GpuBuffer, n: usize) -> Result<GpuBuffer> {
    let out = dev.alloc(n)?;
    cast(dev, x, &out, n, false)?;
    Ok(out)
}

/// f32 to f16, two per word, rounded to nearest with ties to even; overflow gives infinity.
pub fn narrow(dev: &GpuDevice, x: &GpuBuffer, n: usize) -> Result<GpuBuffer> {
    let out = dev.alloc(n.div_ceil(2))?;
    cast(dev, x, &out, n, true)?;
    Ok(out)
}

fn cast(dev: &GpuDevice, x: &GpuBuffer, out: &GpuBuffer, n: usize, narrow: bool) -> Result<()> {
    let invocations = if narrow { n.div_ceil(2) } else { n };
    dev.dispatch(Launch {
        kernel: &CAST,
        constants: &[("NARROW", flag(narrow))],
        params: bytemuck::bytes_of(&CastParams { n: n as u32 }),
        buffers: &[x, out],
        grid: grid::linear(invocations),
        work: 8 * n as u64,
    })
}
