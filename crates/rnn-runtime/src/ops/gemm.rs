//! Matrix products.

use super::widen;
use crate::array::Array;
use crate::device::on_device;
use rnn_base::args::gemm::{GemmArgs, Operand, Output};
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;

/// The product of arrays whose shapes and devices the caller has checked.
fn gemm(args: &GemmArgs<&Array>, c: &mut Array, place: Output) -> Result<()> {
    on_device!(
        &args.a.memory.device().clone(),
        Cpu(device) => {
            let out = c.cpu_mut().make_mut()?;
            for batch in 0..args.batch {
                cpu::gemm::gemm(device.threads(), cpu::gemm::Gemm {
                    m: args.m,
                    n: args.n,
                    k: args.k,
                    a: cpu_view(&args.a, batch),
                    b: cpu_view(&args.b, batch),
                    c: &mut out[place.offset + batch * place.batch_stride..],
                    ldc: place.ldc,
                    accumulate: args.accumulate,
                    bias: args.bias.map(|bias| &bias.cpu()[..]),
                });
            }
            Ok(())
        },
        Gpu(device) => gpu::gemm::gemm(device, &args.map(Array::gpu_array), c.gpu_array_mut(), place),
    )
}

/// One matrix of an operand in CPU memory.
fn cpu_view<'a>(operand: &Operand<&'a Array>, batch: usize) -> cpu::gemm::View<'a> {
    cpu::gemm::View {
        data: &operand.memory.cpu()[operand.offset + batch * operand.batch_stride..],
        row_stride: operand.row_stride,
        col_stride: operand.col_stride,
    }
}

/// Rows, columns and batch of an operand of [`matmul`].
fn matrix(op: &'static str, arg: &'static str, x: &Array) -> Result<(Option<usize>, usize, usize)> {
    match *x.dims() {
        [rows, cols] => Ok((None, rows, cols)),
        [batch, rows, cols] => Ok((Some(batch), rows, cols)),
        _ => Err(Error::Shape {
            op,
            arg: arg.into(),
            expected: "[M, K] or [N, M, K]".into(),
            got: x.dims().to_vec(),
        }),
    }
}

/// Matrix product `a b`; `trans_a` and `trans_b` transpose the last two axes of an operand first.
///
/// Shapes: `[M, K] x [K, N] -> [M, N]`; `[B, M, K] x [B, K, N] -> [B, M, N]`;
/// `[B, M, K] x [K, N] -> [B, M, N]`.
///
/// # Errors
/// Other ranks, inner lengths or batch sizes that differ, different devices, index arrays.
pub fn matmul(a: &Array, b: &Array, trans_a: bool, trans_b: bool) -> Result<Array> {
    const OP: &str = "matmul";
    b.expect_device(OP, "b", a.device())?;
    let (a, b) = (widen(OP, "a", a)?, widen(OP, "b", b)?);
    let (a_batch, a_rows, a_cols) = matrix(OP, "a", &a)?;
    let (b_batch, b_rows, b_cols) = matrix(OP, "b", &b)?;
    let (m, k) = if trans_a { (a_cols, a_rows) } else { (a_rows, a_cols) };
    let (b_k, n) = if trans_b { (b_cols, b_rows) } else { (b_rows, b_cols) };
    if b_k != k || (b_batch.is_some() && b_batch != a_batch) {
        let batch = a_batch.map_or(String::new(), |batch| format!("[{batch}, K, N] or "));
        return Err(Error::Shape {
            op: OP,
            arg: "b".into(),
            expected: format!("{batch}[K, N] with K = {k} (after transposition), as a has"),
            got: b.dims().to_vec(),
        });
    }
    let batch = a_batch.unwrap_or(1);
    let dims: Vec<usize> = a_batch.into_iter().chain([m, n]).collect();
    let mut c = Array::alloc(a.device(), OP, &dims)?;
    let a_operand = Operand { batch_stride: m * k, ..Operand::rows(&*a, a_cols) };
    let b_stride = if b_batch.is_some() { k * n } else { 0 };
    let b_operand = Operand { batch_stride: b_stride, ..Operand::rows(&*b, b_cols) };
    let args = GemmArgs {
        batch,
        m,
        n,
        k,
        a: if trans_a { a_operand.t() } else { a_operand },
        b: if trans_b { b_operand.t() } else { b_operand },
        bias: None,
        accumulate: false,
    };
    gemm(&args, &mut c, Output { batch_stride: m * n, ..Output::rows(n) })?;
    Ok(c)
}

/// `x W^T + bias` over the last axis: x `[.., I]`, weight `[O, I]`, bias `[O]` -> `[.., O]`.
///
/// # Errors
/// Lengths that do not fit, different devices, index arrays.
pub fn linear(x: &Array, weight: &Array, bias: Option<&Array>) -> Result<Array> {
    const OP: &str = "linear";
    weight.expect_device(OP, "weight", x.device())?;
    let (x, weight) = (widen(OP, "x", x)?, widen(OP, "weight", weight)?);
    let (rows, inputs) = x.shape().rows_cols();
    let [outputs, weight_inputs] = *weight.dims() else {
        return Err(Error::Shape {
            op: OP,
            arg: "weight".into(),
            expected: "[O, I]".into(),
            got: weight.dims().to_vec(),
        });
    };
    if weight_inputs != inputs || x.dims().is_empty() {
        return Err(Error::Shape {
            op: OP,
            arg: "x".into(),
            expected: format!("[.., I] with I = {weight_inputs}"),
            got: x.dims().to_vec(),
        });
    }
    let bias = match bias {
        Some(bias) => {
            bias.expect_device(OP, "bias", x.device())?;
            bias.expect_dims(OP, "bias", "[O]", &[outputs])?;
            Some(widen(OP, "bias", bias)?)
        }
        None => None,
    };
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    let mut y = Array::alloc(x.device(), OP, &dims)?;
    let args = GemmArgs {
        batch: 1,
        m: rows,
        n: outputs,
        k: inputs,
        a: Operand::rows(&*x, inputs),
        b: Operand::rows(&*weight, inputs).t(),
        bias: bias.as_deref(),
        accumulate: false,
    };
    gemm(&args, &mut y, Output::rows(outputs))?;
    Ok(y)
}
