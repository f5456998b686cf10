//! Merges the outputs of both directions.

use crate::array::Array;
use crate::ops::copy::{concat, slice};
use crate::ops::pointwise::{BinaryOp, affine, binary};
use rnn_base::error::Result;
use rnn_kernels::cell::Merge;

/// Merges two arrays `[T, B, P]`: concatenated, added, averaged or multiplied.
pub(super) fn merge(how: Merge, [forward, backward]: [&Array; 2]) -> Result<Array> {
    match how {
        Merge::Concat => concat(&[forward, backward], 2),
        Merge::Sum => binary(BinaryOp::Add, forward, backward),
        Merge::Mean => affine(&binary(BinaryOp::Add, forward, backward)?, 0.5, 0.0),
        Merge::Mul => binary(BinaryOp::Mul, forward, backward),
    }
}

/// The gradients of both directions' outputs. `halves` are these outputs; only [`Merge::Mul`] needs them.
pub(super) fn merge_backward(how: Merge, dy: &Array, halves: Option<&[Array; 2]>) -> Result<[Array; 2]> {
    match (how, halves) {
        (Merge::Concat, _) => split(dy),
        (Merge::Mul, Some([forward, backward])) => {
            Ok([binary(BinaryOp::Mul, dy, backward)?, binary(BinaryOp::Mul, dy, forward)?])
        }
        (Merge::Mean, _) => {
            let half = affine(dy, 0.5, 0.0)?;
            Ok([half.clone(), half])
        }
        _ => Ok([dy.clone(), dy.clone()]),
    }
}

/// Splits `[T, B, 2*P]` into two arrays `[T, B, P]`.
pub(super) fn split(y: &Array) -> Result<[Array; 2]> {
    let width = y.dims()[2];
    Ok([slice(y, 2, 0, width / 2)?, slice(y, 2, width / 2, width)?])
}
