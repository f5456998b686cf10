//! Matrix products.

use crate::autograd::record;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::ops::gemm;
use rnn_runtime::{Array, ops};

/// The array as rows of its last axis.
fn as_rows(x: &Array) -> Result<Array> {
    let (rows, cols) = x.shape().rows_cols();
    Ok(x.reshape(&[rows, cols])?)
}

impl Tensor {
    /// Matrix product: `[M, K] x [K, N]`, batched `[B, M, K] x [B, K, N]`, or with one matrix for the whole
    /// batch `[B, M, K] x [K, N]`.
    ///
    /// # Errors
    /// Other ranks, inner lengths or batches that differ, different devices, index data.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        let (a, b) = (self.array().clone(), other.array().clone());
        let y = gemm::matmul(&a, &b, false, false)?;
        Ok(record("matmul", [self, other], y, move |dy, [want_a, want_b]| {
            // y = a b: da = dy b^T, db = a^T dy
            let da = if want_a { Some(gemm::matmul(&dy, &b, false, true)?) } else { None };
            let db = match want_b {
                false => None,
                // One b for the whole batch: its gradient is a sum over the batch and the rows.
                true if b.shape().rank() < a.shape().rank() => {
                    Some(gemm::matmul(&as_rows(&a)?, &as_rows(&dy)?, true, false)?)
                }
                true => Some(gemm::matmul(&a, &dy, true, false)?),
            };
            Ok([da, db])
        }))
    }

    /// `x W^T + bias` over the last axis: `[.., I]` with weight `[O, I]` and bias `[O]` becomes `[.., O]`.
    ///
    /// # Errors
    /// Lengths that do not fit, different devices, index data.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (x, w) = (self.array().clone(), weight.array().clone());
        let y = gemm::linear(&x, &w, bias.map(Tensor::array))?;
        // dx = dy W, dW = dy^T x
        let products = move |dy: &Array, want_x: bool, want_w: bool| -> Result<_> {
            let rows = as_rows(dy)?;
            let dx = match want_x {
                true => Some(gemm::matmul(&rows, &w, false, false)?.reshape(x.dims())?),
                false => None,
            };
            let dw = match want_w {
                true => Some(gemm::matmul(&rows, &as_rows(&x)?, true, false)?),
                false => None,
            };
            Ok([dx, dw])
        };
        Ok(match bias {
            None => {
                record("linear", [self, weight], y, move |dy, [want_x, want_w]| products(&dy, want_x, want_w))
            }
            Some(bias) => record("linear", [self, weight, bias], y, move |dy, wanted| {
                let [want_x, want_w, want_bias] = wanted;
                let [dx, dw] = products(&dy, want_x, want_w)?;
                let dbias = match want_bias {
                    true => Some(ops::reduce::sum_axis(&as_rows(&dy)?, 0)?),
                    false => None,
                };
                Ok([dx, dw, dbias])
            }),
        })
    }
}
