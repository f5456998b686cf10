//! The dispatches of a persistent recurrence. The host does not wait for its outcome: a kernel reads the outcome and writes
//! the number of workgroups of the dispatches that repeat the recurrence, which is zero unless a workgroup gave up waiting.

use super::super::plan::Plan;
use super::super::recurrence::plan_groups;
use super::pass::PassArrays;
use crate::encoder::{Sizes, StepLaunch};
use crate::failure::OUT_OF_MEMORY;
use crate::{GpuBuffer, GpuDevice, Launch};
use rnn_base::error::{Error, Result};
use rnn_kernels::catalogue::rnn::{PERSISTENT_RESTORE, PERSISTENT_SETTLE, PERSISTENT_START};
use rnn_kernels::grid::{self, Grid};
use rnn_kernels::params::rnn::{PersistentRestoreParams, PersistentSettleParams, PersistentStartParams};

/// Places in the buffer of sizes, as in `rnn/persistent_settle.wgsl`.
const RESTORE: usize = 0;
const REPEAT: usize = 1;

/// What a persistent recurrence takes besides the arrays of other plans.
struct Memory<'a> {
    ring: GpuBuffer,
    sizes: GpuBuffer,
    saved: Vec<Saved<'a>>,
}

impl<'a> Memory<'a> {
    fn new(gpu: &GpuDevice, pass: &PassArrays<'a>) -> Result<Self> {
        let ring = gpu.alloc(pass.failure() + 1)?;
        let sizes = gpu.alloc_sizes(2)?;
        let saved = pass.overwritten().into_iter().map(|array| Saved::new(gpu, array));
        Ok(Memory { ring, sizes, saved: saved.collect::<Result<_>>()? })
    }
}

/// Runs the recurrence by a persistent plan, and enqueues its repetition by another one. Returns whether there was memory
/// for it.
///
/// # Errors
/// No memory for the kernels' small arrays, or a lost device.
pub(super) fn run(gpu: &GpuDevice, pass: &PassArrays<'_>, plan: &Plan, repeat: &Plan) -> Result<bool> {
    let Memory { ring, sizes, saved } = match Memory::new(gpu, pass) {
        Err(Error::Gpu { kind: OUT_OF_MEMORY, .. }) => return Ok(false),
        other => other?,
    };
    let persistence = &gpu.0.persistence;
    let (gave_up, _recording) =
        persistence.begin(&gpu.0.device, &gpu.0.counters, |raw| gpu.0.pool.number(raw));
    let gave_up = gpu.lend(gave_up);
    start(gpu, pass, &gave_up, &ring)?;
    pass.run(gpu, plan, &ring, None)?;
    // Of the largest array; the kernels for the others have workgroups without work.
    let restore = saved.iter().map(|saved| saved.words).max().map(grid::linear);
    let repeated = plan_groups(repeat, pass.dims());
    settle(gpu, pass.failure(), [&ring, &gave_up, &sizes], restore, repeated)?;
    persistence.recorded();
    for saved in saved {
        saved.restore(gpu, Sizes { buffer: &sizes, index: RESTORE })?;
    }
    pass.run(gpu, repeat, &ring, Some(Sizes { buffer: &sizes, index: REPEAT }))?;
    Ok(true)
}

/// Fills the ring; see `rnn/persistent_start.wgsl`.
fn start(gpu: &GpuDevice, pass: &PassArrays<'_>, gave_up: &GpuBuffer, ring: &GpuBuffer) -> Result<()> {
    let length = pass.failure() + 1;
    let (initial, count) = pass.initial();
    let params = PersistentStartParams { initial: count as u32, failure: pass.failure() as u32 };
    gpu.dispatch(Launch {
        kernel: &PERSISTENT_START,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[initial, gave_up, ring],
        grid: grid::linear(length),
        work: length as u64,
    })
}

/// Writes the sizes of the repetition; see `rnn/persistent_settle.wgsl`. Without `restore` there is nothing to restore.
fn settle(
    gpu: &GpuDevice,
    failure: usize,
    buffers: [&GpuBuffer; 3],
    restore: Option<Grid>,
    repeat: [usize; 3],
) -> Result<()> {
    let limit = gpu.max_groups();
    // A persistent plan has at least as many workgroups in each dimension, and was checked.
    let too_many = || Error::Gpu {
        kind: "launch",
        message: format!("{repeat:?} workgroups, at most {limit} a dimension"),
    };
    let groups = |grid: Grid| grid.fit(limit).ok_or_else(too_many);
    let [restore_x, restore_y, restore_z] = restore.map_or(Ok([0; 3]), groups)?;
    let [repeat_x, repeat_y, repeat_z] = groups(grid::within(limit, repeat).ok_or_else(too_many)?)?;
    let failure = failure as u32;
    let params =
        PersistentSettleParams { failure, restore_x, restore_y, restore_z, repeat_x, repeat_y, repeat_z };
    gpu.dispatch(Launch {
        kernel: &PERSISTENT_SETTLE,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &buffers,
        grid: grid::groups(1),
        work: 1,
    })
}

/// An array as it was before the recurrence.
struct Saved<'a> {
    array: &'a GpuBuffer,
    copy: GpuBuffer,
    words: usize,
}

impl<'a> Saved<'a> {
    fn new(gpu: &GpuDevice, (array, words): (&'a GpuBuffer, usize)) -> Result<Self> {
        let copy = gpu.alloc(words)?;
        gpu.0.recorder().copy(&gpu.0, array, &copy, 4 * words as u64);
        Ok(Saved { array, copy, words })
    }

    fn restore(&self, gpu: &GpuDevice, sizes: Sizes<'_>) -> Result<()> {
        let params = PersistentRestoreParams { count: self.words as u32 };
        gpu.dispatch_steps(StepLaunch {
            launch: Launch {
                kernel: &PERSISTENT_RESTORE,
                constants: &[],
                params: bytemuck::bytes_of(&params),
                buffers: &[&self.copy, self.array],
                grid: grid::linear(self.words),
                work: self.words as u64,
            },
            steps: &mut std::iter::once([0; 4]),
            sizes: Some(sizes),
        })
    }
}
