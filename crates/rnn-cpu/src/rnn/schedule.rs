//! How the threads divide a layer's pass, and when the input's products are made.

use super::super::barrier::Barrier;
use super::super::team;
use super::part::Layer;
use rnn_base::args::recurrence::{LayerDims, PackedSequence};

/// Floating-point operations of a pass below which a second thread does not pay.
const SPLIT_FLOOR: usize = 200_000;

/// Floating-point operations of a step from which sharing one step among threads pays for the
/// barrier after it, about a third of a microsecond.
const SHARED_STEP_FLOOR: usize = 400_000;

/// The same where rows are so few that reading the weights bounds a step: half of them is also half as far
/// away (an LSTM of 128 units runs one row 2.6 times as fast on two threads).
const SHARED_FEW_ROWS_FLOOR: usize = 30_000;

/// Bytes of weights that stay in a core's second-level cache beside everything else.
const PRIVATE_WEIGHTS: usize = 512 << 10;

/// Bytes of input products made ahead of the steps that use them, a quarter of a second-level cache.
const AHEAD: usize = 256 << 10;

/// Rows of input products that are worth passing over W once, even when they outgrow [`AHEAD`].
const AHEAD_ROWS: usize = 96;

/// What one thread does in every step.
#[derive(Clone, Copy)]
pub(super) struct Task {
    /// Direction
    pub(super) d: usize,
    /// Rows of the batch.
    pub(super) rows: (usize, usize),
    /// Share of the unit panels: this one of so many.
    pub(super) share: (usize, usize),
}

/// Splits a pass among threads. Rows of the batch and directions are independent for the whole
/// sequence and need no barrier. Units are not: every step needs all of the step before. Sharing
/// them pays when there are too few rows, or when all of U would stream through every core's cache
/// while a share of it stays there.
pub(super) fn tasks(layer: &Layer<'_>, gates: usize, threads: usize) -> Vec<Task> {
    let LayerDims { batch, hidden, directions, .. } = layer.dims;
    let row = 2 * gates * hidden * hidden;
    let step = batch * row;
    let parts = if layer.len() * row < SPLIT_FLOOR { 1 } else { threads.div_ceil(directions) };
    let few_rows = batch < 3 * parts;
    let streams = 4 * gates * hidden * hidden > PRIVATE_WEIGHTS;
    let floor = if few_rows { SHARED_FEW_ROWS_FLOOR } else { SHARED_STEP_FLOOR };
    let share_units = parts > 1 && (few_rows || streams) && step >= floor;
    let row_parts = if share_units { 1 } else { parts.min(batch.div_ceil(3)) };
    let shares = if share_units { parts } else { 1 };
    let bound = |part: usize| match layer.ragged {
        None => part * batch / row_parts,
        Some(ragged) => first_row(ragged, part, row_parts),
    };
    let mut tasks = Vec::new();
    for d in 0..directions {
        for part in 0..row_parts {
            let rows = (bound(part), bound(part + 1));
            if rows.0 == rows.1 {
                continue;
            }
            tasks.extend((0..shares).map(|share| Task { d, rows, share: (share, shares) }));
        }
    }
    tasks
}

/// The first row of one of `parts` parts whose rows have about as many steps together, the longest rows first.
pub(super) fn first_row(ragged: &PackedSequence, part: usize, parts: usize) -> usize {
    let batch = ragged.rows.len();
    if part == parts {
        return batch;
    }
    let steps = ragged.offsets.len() - 1;
    let (mut row, mut before, mut length) = (0, 0, steps);
    while row < batch && before < part * ragged.len() / parts {
        while length > 0 && ragged.count(length - 1) <= row {
            length -= 1;
        }
        before += length;
        row += 1;
    }
    row
}

/// When a task multiplies its input with W.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Projection {
    /// Together with the recurrent product, at every step: nothing is written and read again.
    InStep,
    /// For so many steps at a time.
    Ahead { steps: usize },
}

/// In the step as long as W and U together stay in the cache, or when there is one step only; else ahead.
/// The bits are the same.
pub(super) fn projection(dims: &LayerDims, gates: usize, task: &Task) -> Projection {
    let units = dims.hidden.div_ceil(task.share.1);
    let rows = task.rows.1 - task.rows.0;
    let weights = 4 * gates * units * (dims.inputs + dims.hidden);
    if dims.steps == 1 || weights <= PRIVATE_WEIGHTS {
        return Projection::InStep;
    }
    let row = 4 * gates * units;
    let steps = (AHEAD / (row * rows)).max(AHEAD_ROWS.div_ceil(rows));
    Projection::Ahead { steps: steps.min(dims.steps) }
}

/// Runs all tasks. Tasks that share the units of a direction meet at a barrier after every step, so
/// each has a thread of its own, which a pool would not promise.
pub(super) fn run_tasks(tasks: &[Task], directions: usize, work: impl Fn(Task, Option<&Barrier>) + Sync) {
    match tasks {
        [only] => work(*only, None),
        [first, ..] if first.share.1 > 1 => {
            let barriers: Vec<Barrier> = (0..directions).map(|_| Barrier::new(first.share.1)).collect();
            team::together(tasks.len(), |n| work(tasks[n], Some(&barriers[tasks[n].d])));
        }
        _ => team::each(tasks.len(), |n| work(tasks[n], None)),
    }
}
