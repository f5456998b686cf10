//! A pass at once, in segments of time or in groups of rows: the same results, but for the order of the weights' sums.

use super::rows::{self, Groups};
use super::{Checkpoints, Packed, Parts, Saved, StackArgs, StackCotangents, StackGrads, StackOutput, Wanted};
use rnn_base::error::Result;
use rnn_kernels::cell::StackSpec;

/// What a training pass leaves for its backward pass.
#[derive(Debug)]
pub enum Kept {
    /// Of a pass that ran at once.
    Whole(Saved),
    /// Of segments.
    Segments(Checkpoints),
    /// Of groups of rows.
    Groups(Groups),
}

/// [`forward`](super::forward) in parts. `saved` of the result is absent.
///
/// # Errors
/// As [`forward`](super::forward) and, in segments, [`forward_checkpointed`](super::forward_checkpointed).
pub fn forward_in_parts(args: &StackArgs<'_>, parts: Parts) -> Result<(StackOutput, Option<Kept>)> {
    match parts {
        Parts::Groups { rows, segment } => {
            let (out, kept) = rows::forward(args, rows, segment)?;
            Ok((out, kept.map(Kept::Groups)))
        }
        // Everything between two checkpoints is kept anyway.
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
