//! Passes over a stack as a whole, in segments of time, or in groups of batch rows. The results are the same,
//! except that weight gradients are summed in another order.

use super::rows::{self, Groups};
use super::{Checkpoints, Packed, Parts, Saved, StackArgs, StackCotangents, StackGrads, StackOutput, Wanted};
use rnn_base::error::Result;
use rnn_kernels::cell::StackSpec;

/// State that a training pass keeps for its backward pass.
#[derive(Debug)]
pub enum Kept {
    /// State of an undivided pass.
    Whole(Saved),
    /// State of a pass in segments.
    Segments(Checkpoints),
    /// State of a pass in groups of batch rows.
    Groups(Groups),
}

/// [`forward`](super::forward) in parts. In the result, `saved` is `None`.
///
/// # Errors
/// As [`forward`](super::forward) and, in segments, [`forward_checkpointed`](super::forward_checkpointed).
pub fn forward_in_parts(args: &StackArgs<'_>, parts: Parts) -> Result<(StackOutput, Option<Kept>)> {
    match parts {
        Parts::Groups { rows, segment } => {
            let (out, kept) = rows::forward(args, rows, segment)?;
            Ok((out, kept.map(Kept::Groups)))
        }
        // The arrays between two checkpoints are kept anyway, so a single segment is an undivided pass.
        Parts::Segments(every) if args.training && every < args.x.dims().first().copied().unwrap_or(0) => {
            let (out, kept) = super::forward_checkpointed(args, every)?;
            Ok((out, Some(Kept::Segments(kept))))
        }
        Parts::Whole | Parts::Segments(_) => {
            let StackOutput { y, h_n, c_n, saved } = super::forward(args)?;
            Ok((StackOutput { y, h_n, c_n, saved: None }, saved.map(Kept::Whole)))
        }
    }
}

/// The gradients of a pass of [`forward_in_parts`].
///
/// # Errors
/// As [`backward`](super::backward).
pub fn backward_in_parts(
    spec: &StackSpec,
    packed: &Packed,
    kept: Kept,
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
) -> Result<StackGrads> {
    match kept {
        Kept::Whole(saved) => super::backward(spec, packed, saved, cotangents, wanted),
        Kept::Segments(kept) => super::backward_checkpointed(spec, packed, kept, cotangents, wanted),
        Kept::Groups(groups) => rows::backward(spec, packed, groups, cotangents, wanted),
    }
}
