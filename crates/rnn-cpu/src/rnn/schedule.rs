//! How threads divide a layer's pass, and when the products of the input are computed.

use super::super::barrier::Barrier;
use super::super::team;
use super::pass::Layer;
use rnn_base::args::recurrence::{LayerDims, PackedSequence};

/// Floating-point operations of a pass below which a second thread does not pay.
const SPLIT_FLOOR: usize = 200_000;

/// Floating-point operations of a step above which dividing the step among threads pays for the barrier after it, about
/// a third of a microsecond.
const SHARED_STEP_FLOOR: usize = 400_000;

/// [`SHARED_STEP_FLOOR`] for few rows, where reading the weights takes most of a step. Half of the weights stays in a
/// nearer cache: an LSTM of 128 units runs one row 2.6 times as fast on two threads.
const SHARED_FEW_ROWS_FLOOR: usize = 30_000;

/// Bytes of weights that stay in a core's second-level cache beside everything else.
const PRIVATE_WEIGHTS: usize = 512 << 10;

/// Bytes of input products made ahead of the steps that use them, a quarter of a second-level cache.
const AHEAD: usize = 256 << 10;

/// Rows that make one pass over W worthwhile, even if their products exceed [`AHEAD`].
const AHEAD_ROWS: usize = 96;

/// The share of one thread in every step.
#[derive(Clone, Copy)]
pub struct Task {
    /// Direction
    pub d: usize,
    /// Rows of the batch.
    pub rows: (usize, usize),
    /// Share of the unit panels: its number, and the number of shares.
    pub share: (usize, usize),
}

/// Divides a pass among threads. Rows of the batch, and directions, are independent for the whole sequence and need no
/// barrier. Units are not: every step needs all units of the step before. Dividing the units pays if there are too few
/// rows, or if all of U exceeds a core's cache and a share of it does not.
pub fn tasks(layer: &Layer<'_>, gates: usize, threads: usize) -> Vec<Task> {
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

/// The first row of one of `parts` parts that have about the same number of steps. The longest rows come first.
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

/// When a task multiplies its input by W.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Together with the recurrent product of the same step.
    InStep,
    /// For several steps at a time.
    Ahead {
        /// How many
        steps: usize,
    },
}

/// In the step if W and U together fit the cache, or if there is one step only; otherwise ahead. The bits are the same.
pub fn projection(dims: &LayerDims, gates: usize, task: &Task) -> Projection {
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

/// Divides a pass among up to `threads` threads and runs it. Tasks that share the units of a direction wait for each other
/// after every step, so each needs a thread of its own. If the system does not start that many, this thread does all of
/// the work. The bits are the same.
///
/// # Panics
/// With the panic of a task; the tasks that wait for it end too.
pub(super) fn run_tasks(
    layer: &Layer<'_>,
    gates: usize,
    threads: usize,
    work: impl Fn(Task, Option<&Barrier>) + Sync,
) {
    let shares = tasks(layer, gates, threads);
    let apart = |tasks: &[Task]| team::each(tasks.len(), |n| work(tasks[n], None));
    let Some(members) = shares.first().map(|first| first.share.1).filter(|&members| members > 1) else {
        return apart(&shares);
    };
    let barriers: Vec<Barrier> = (0..layer.dims.directions).map(|_| Barrier::new(members)).collect();
    let run = |task: Task| {
        let barrier = &barriers[task.d];
        barrier.member(|| work(task, Some(barrier)));
    };
    if !team::together(shares.len(), |n| run(shares[n])) {
        apart(&tasks(layer, gates, 1));
    }
}
