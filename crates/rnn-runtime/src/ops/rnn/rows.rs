//! Groups of batch rows, one group after the other: rows do not interact inside a stack. A group has the draws that
//! its rows have in the whole batch. The weight gradients are the sum over the groups, in order.

use super::check::{check_cotangents, check_forward};
use super::kept::{Groups, Kept};
use super::sequences::Sequences;
use super::types::{StackArgs, StackCotangents, StackGrads, StackOutput};
use super::weights::add_weights;
use crate::array::Array;
use crate::device::Device;
use crate::ops::copy::{copy_into, slice};
use rnn_base::args::copy::StridedCopy;
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::StackSpec;
use std::ops::Range;

/// Runs groups of at most `rows` rows, each by `pass`.
pub(super) fn forward(
    args: &StackArgs<'_>,
    rows: usize,
    pass: impl Fn(&StackArgs<'_>) -> Result<(StackOutput, Option<Kept>)>,
) -> Result<(StackOutput, Option<Groups>)> {
    const OP: &str = "rnn::forward";
    if rows == 0 {
        let (expected, got) = ("at least 1 row".into(), "0".into());
        return Err(Error::Value { op: OP, arg: "rows", expected, got });
    }
    check_forward(OP, args)?;
    let [steps, batch] = [args.x.dims()[0], args.x.dims()[1]];
    // Draws count from the first row of the batch, so a group needs its rows' indices.
    let counted = match args.draws {
        Some(_) if args.sequences.is_none() => Some(Sequences::new([steps, batch], None, None)?),
        _ => None,
    };
    let sequences = args.sequences.or(counted.as_ref());
    let [mut y, mut h_n, mut c_n] = [None, None, None];
    let mut groups = Groups { dims: [steps, batch], of: Vec::new() };
    for start in (0..batch).step_by(rows) {
        let range = start..(start + rows).min(batch);
        let cut = |given: Option<&Array>| given.map(|array| of_rows(array, &range)).transpose();
        let (x, h0, c0) = (of_rows(args.x, &range)?, cut(args.h0)?, cut(args.c0)?);
        let sequences = sequences.map(|of| of.of_rows(range.clone(), args.draws.is_some()));
        let group =
            StackArgs { x: &x, h0: h0.as_ref(), c0: c0.as_ref(), sequences: sequences.as_ref(), ..*args };
        let (out, kept) = pass(&group)?;
        put(OP, &mut y, Some(&out.y), batch, start)?;
        put(OP, &mut h_n, Some(&out.h_n), batch, start)?;
        put(OP, &mut c_n, out.c_n.as_ref(), batch, start)?;
        groups.of.extend(kept.map(|kept| (range, kept)));
    }
    let (Some(y), Some(h_n)) = (y, h_n) else { unreachable!("a batch has a row, and so a group") };
    let kept = args.training.then_some(groups);
    Ok((StackOutput { y, h_n, c_n, saved: None }, kept))
}

/// The gradients of a pass of [`forward`]; `pass` has those of a group.
pub(super) fn backward(
    spec: &StackSpec,
    device: &Device,
    groups: Groups,
    cotangents: &StackCotangents<'_>,
    pass: impl Fn(Kept, &StackCotangents<'_>) -> Result<StackGrads>,
) -> Result<StackGrads> {
    const OP: &str = "rnn::backward";
    check_cotangents(OP, spec, groups.dims, device, cotangents)?;
    let batch = groups.dims[1];
    let [mut dx, mut dh0, mut dc0] = [None, None, None];
    let mut sum = None;
    for (range, kept) in groups.of {
        let cut = |given: Option<&Array>| given.map(|array| of_rows(array, &range)).transpose();
        let [dy, dh_n, dc_n] = [cut(cotangents.dy)?, cut(cotangents.dh_n)?, cut(cotangents.dc_n)?];
        let own = StackCotangents { dy: dy.as_ref(), dh_n: dh_n.as_ref(), dc_n: dc_n.as_ref() };
        let grads = pass(kept, &own)?;
        put(OP, &mut dx, grads.dx.as_ref(), batch, range.start)?;
        put(OP, &mut dh0, grads.dh0.as_ref(), batch, range.start)?;
        put(OP, &mut dc0, grads.dc0.as_ref(), batch, range.start)?;
        add_weights(&mut sum, grads.weights)?;
    }
    let Some(weights) = sum else { unreachable!("a batch has a row, and so a group") };
    Ok(StackGrads { dx, dh0, dc0, weights })
}

/// A range of batch rows of `[.., B, F]`.
fn of_rows(array: &Array, rows: &Range<usize>) -> Result<Array> {
    slice(array, 1, rows.start, rows.end)
}

/// Copies the rows of a group, `[N, rows, F]`, into `[N, B, F]`, which the first group allocates.
fn put(
    op: &'static str,
    whole: &mut Option<Array>,
    part: Option<&Array>,
    batch: usize,
    start: usize,
) -> Result<()> {
    let Some(part) = part else { return Ok(()) };
    let (outer, rows) = (part.dims()[0], part.dims()[1]);
    let width = part.len() / (outer * rows);
    let mut out = match whole.take() {
        Some(out) => out,
        None => Array::alloc(part.device(), op, &[outer, batch, width])?,
    };
    let copy = StridedCopy {
        dims: vec![outer, rows * width],
        src_strides: vec![rows * width, 1],
        src_offset: 0,
        dst_strides: vec![batch * width, 1],
        dst_offset: start * width,
    };
    copy_into(&copy, part, &mut out)?;
    *whole = Some(out);
    Ok(())
}
