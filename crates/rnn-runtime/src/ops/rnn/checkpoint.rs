//! Gradient checkpointing (Chen et al., "Training deep nets with sublinear memory cost", 2016): the forward
//! pass keeps the states at every kth step. The backward pass runs each segment forward again before it runs
//! it backward. With k near the square root of T, both the kept states and a segment's arrays grow with that
//! root. Every draw is a function of its step's index, so a repeated segment has the masks of the first run.

use super::check::{check_cotangents, check_forward};
use super::packed::Packed;
use super::sequences::Sequences;
use super::types::{Saved, StackArgs, StackCotangents, StackDraws, StackGrads, StackOutput, Wanted};
use super::weights::add_weights;
use crate::array::Array;
use crate::ops::copy::{copy_flat, slice};
use crate::ops::widen;
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::{Direction, StackSpec, Storage, WeightFormat};
use std::ops::Range;

const OP: &str = "rnn::forward_checkpointed";

/// Input of the backward pass of [`forward_checkpointed`](super::forward_checkpointed): x and a state per segment.
#[derive(Debug)]
pub struct Checkpoints {
    /// `[T, B, I]`
    x: Array,
    every: usize,
    /// The state before each segment; segments past the end of every row have none.
    starts: Vec<Start>,
    sequences: Option<Sequences>,
    draws: Option<StackDraws>,
    storage: Storage,
}

/// A state `[L*D, B, P]` and `[L*D, B, H]`; absent: zeros.
#[derive(Debug)]
struct Start {
    h: Option<Array>,
    c: Option<Array>,
}

/// Runs the segments of a pass, each by `pass`.
pub(super) fn forward(
    args: &StackArgs<'_>,
    every: usize,
    pass: impl Fn(&StackArgs<'_>) -> Result<StackOutput>,
) -> Result<(StackOutput, Checkpoints)> {
    let spec = args.spec;
    let error =
        |arg, expected: &str, got: String| Err(Error::Value { op: OP, arg, expected: expected.into(), got });
    if every == 0 {
        return error("every", "at least 1 step", "0".into());
    }
    if spec.direction != Direction::Forward {
        let expected = "absent for a stack that runs backwards in time or in both directions";
        return error("every", expected, every.to_string());
    }
    check_forward(OP, args)?;
    let x = widen(OP, "x", args.x)?.into_owned();
    let (steps, batch) = (x.dims()[0], x.dims()[1]);
    let mut kept = Checkpoints {
        x,
        every,
        starts: Vec::new(),
        sequences: args.sequences.filter(|sequences| !sequences.is_plain()).cloned(),
        draws: args.draws,
        storage: args.storage,
    };
    let mut y = Array::alloc_zeroed(kept.x.device(), OP, &[steps, batch, spec.output_size()])?;
    let (mut h, mut c) = (args.h0.cloned(), args.c0.cloned());
    for range in kept.segments() {
        let start = Start { h, c };
        let out = kept.run((spec, args.packed), &start, range.clone(), &pass)?;
        copy_flat(&out.y, 0, &mut y, range.start * batch * spec.output_size(), out.y.len())?;
        kept.starts.push(start);
        (h, c) = (Some(out.h_n), out.c_n);
    }
    let Some(h_n) = h else { unreachable!("there is a step, and so a segment") };
    Ok((StackOutput { y, h_n, c_n: c, saved: None }, kept))
}

/// The gradients of a pass of [`forward`]. `again` runs a segment's forward pass once more, `back` its backward pass.
pub(super) fn backward(
    (spec, packed): (&StackSpec, &Packed),
    mut kept: Checkpoints,
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
    again: impl Fn(&StackArgs<'_>) -> Result<StackOutput>,
    back: impl Fn(Saved, &StackCotangents<'_>, Wanted) -> Result<StackGrads>,
) -> Result<StackGrads> {
    const OP: &str = "rnn::backward_checkpointed";
    let device = kept.x.device().clone();
    let (steps, batch) = (kept.x.dims()[0], kept.x.dims()[1]);
    check_cotangents(OP, spec, [steps, batch], &device, cotangents)?;
    let dy = cotangents.dy.map(|dy| widen(OP, "dy", dy)).transpose()?;
    let mut dx = match wanted.dx {
        true => Some(Array::alloc_zeroed(&device, OP, kept.x.dims())?),
        false => None,
    };
    let mut sum = None;
    let (mut dh, mut dc) = (cotangents.dh_n.cloned(), cotangents.dc_n.cloned());
    for (number, range) in kept.segments().into_iter().enumerate().rev() {
        let Some(start) = kept.starts.pop() else { unreachable!("a start per segment") };
        let out = kept.run((spec, packed), &start, range.clone(), &again)?;
        let Some(saved) = out.saved else { unreachable!("a training pass saves") };
        // The rest of the loop needs only the saved values.
        drop((start, out.y, out.h_n, out.c_n));
        let dy = dy.as_ref().map(|dy| slice(dy, 0, range.start, range.end)).transpose()?;
        let part = StackCotangents { dy: dy.as_ref(), dh_n: dh.as_ref(), dc_n: dc.as_ref() };
        let needed = Wanted { dx: wanted.dx, states: wanted.states || number > 0 };
        let grads = back(saved, &part, needed)?;
        if let (Some(dx), Some(own)) = (&mut dx, &grads.dx) {
            copy_flat(own, 0, dx, range.start * batch * spec.input_size, own.len())?;
        }
        (dh, dc) = (grads.dh0, grads.dc0);
        add_weights(&mut sum, grads.weights)?;
    }
    let Some(weights) = sum else { unreachable!("there is a step, and so a segment") };
    Ok(StackGrads { dx, dh0: dh, dc0: dc, weights })
}

impl Checkpoints {
    /// The steps of every segment that has a valid step.
    fn segments(&self) -> Vec<Range<usize>> {
        let steps = self.x.dims()[0];
        let end = match &self.sequences {
            Some(of) => of.lengths().iter().copied().max().unwrap_or(steps),
            None => steps,
        };
        (0..end).step_by(self.every).map(|start| start..(start + self.every).min(end)).collect()
    }

    /// Runs a segment's training pass by `pass`.
    fn run(
        &self,
        (spec, packed): (&StackSpec, &Packed),
        start: &Start,
        steps: Range<usize>,
        pass: impl Fn(&StackArgs<'_>) -> Result<StackOutput>,
    ) -> Result<StackOutput> {
        let x = slice(&self.x, 0, steps.start, steps.end)?;
        let sequences = self.sequences.as_ref().map(|of| of.part(steps.start, steps.end));
        let draws = self.draws.map(|draws| StackDraws {
            first_step: draws.first_step.wrapping_add(steps.start as u32),
            ..draws
        });
        pass(&StackArgs {
            spec,
            packed,
            x: &x,
            h0: start.h.as_ref(),
            c0: start.c.as_ref(),
            sequences: sequences.as_ref(),
            training: true,
            weights: WeightFormat::F32,
            storage: self.storage,
            draws,
        })
    }
}
