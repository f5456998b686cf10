//! What a training pass keeps for its backward pass: whole, in segments, or in groups of rows.

use super::checkpoint::Checkpoints;
use super::types::Saved;
use std::ops::Range;

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

/// State that groups of batch rows keep for the backward pass.
#[derive(Debug)]
pub struct Groups {
    /// T and B of the whole batch.
    pub(super) dims: [usize; 2],
    pub(super) of: Vec<(Range<usize>, Kept)>,
}
