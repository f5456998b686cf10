//! The dispatches of a persistent recurrence. The host does not wait for its outcome: a kernel reads the outcome and writes
//! the number of workgroups of the dispatches that repeat the recurrence, which is zero unless a workgroup gave up waiting.

use super::super::plan::Plan;
use super::super::recurrence::{
    ForwardArrays, persistent_failure, persistent_ring, plan_groups, run_forward,
};
use crate::encoder::{Sizes, StepLaunch};
use crate::{GpuBuffer, GpuDevice, Launch};
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::{Error, Result};
use rnn_base::{DType, words};
use rnn_kernels::catalogue::rnn::{
    PERSISTENT_RESTORE, PERSISTENT_SETTLE, PERSISTENT_START, RecurrenceFormats,
};
use rnn_kernels::grid::{self, Grid};
use rnn_kernels::params::rnn::{PersistentRestoreParams, PersistentSettleParams, PersistentStartParams};

/// Places in the buffer of sizes, as in `rnn/persistent_settle.wgsl`.
const RESTORE: usize = 0;
const REPEAT: usize = 1;

/// Runs the recurrence by a persistent plan, and enqueues its repetition by another one.
///
/// # Errors
/// No memory, or a lost device.
pub(super) fn run(gpu: &GpuDevice, args: &ForwardArrays<'_>, plan: &Plan, repeat: &Plan) -> Result<()> {
    let ring = gpu.alloc(persistent_ring(args.dims))?;
    let sizes = gpu.alloc_sizes(2)?;
    let saved = Saved::new(gpu, args)?;
    let persistence = &gpu.0.persistence;
    let (gave_up, _recording) = persistence.begin(&gpu.0.device, &gpu.0.counters);
    let gave_up = gpu.lend(gave_up);
    start(gpu, args, &gave_up, &ring)?;
    run_forward(gpu, &ForwardArrays { ring: &ring, ..args.clone() }, plan, None)?;
    let repeated = plan_groups(repeat, args.dims);
    settle(gpu, args.dims, [&ring, &gave_up, &sizes], saved.as_ref().map(Saved::grid), repeated)?;
    persistence.recorded();
    if let Some(saved) = saved {
        saved.restore(gpu, args.gates, Sizes { buffer: &sizes, index: RESTORE })?;
    }
    run_forward(gpu, args, repeat, Some(Sizes { buffer: &sizes, index: REPEAT }))
}

/// Fills the ring; see `rnn/persistent_start.wgsl`.
fn start(gpu: &GpuDevice, args: &ForwardArrays<'_>, gave_up: &GpuBuffer, ring: &GpuBuffer) -> Result<()> {
    let LayerDims { directions, batch, state, .. } = args.dims;
    let length = persistent_ring(args.dims);
    let params = PersistentStartParams {
        initial: (directions * batch * state) as u32,
        failure: persistent_failure(args.dims) as u32,
    };
    gpu.dispatch(Launch {
        kernel: &PERSISTENT_START,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[args.ring, gave_up, ring],
        grid: grid::linear(length),
        work: length as u64,
    })
}

/// Writes the sizes of the repetition; see `rnn/persistent_settle.wgsl`. Without `restore` there are no gates to restore.
fn settle(
    gpu: &GpuDevice,
    dims: LayerDims,
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
    let failure = persistent_failure(dims) as u32;
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

/// The gates as they were before the recurrence.
struct Saved {
    gates: GpuBuffer,
    words: usize,
}

impl Saved {
    /// `None` where the recurrence only reads them.
    fn new(gpu: &GpuDevice, args: &ForwardArrays<'_>) -> Result<Option<Self>> {
        if !args.training {
            return Ok(None);
        }
        let LayerDims { steps, batch, directions, hidden, .. } = args.dims;
        let dtype = if args.formats == RecurrenceFormats::Half { DType::F16 } else { DType::F32 };
        let words = words(steps * batch * directions * hidden * args.spec.gates(), dtype);
        let gates = gpu.alloc(words)?;
        gpu.0.recorder().copy(&gpu.0, args.gates, &gates, 4 * words as u64);
        Ok(Some(Saved { gates, words }))
    }

    fn grid(&self) -> Grid {
        grid::linear(self.words)
    }

    fn restore(&self, gpu: &GpuDevice, gates: &GpuBuffer, sizes: Sizes<'_>) -> Result<()> {
        let params = PersistentRestoreParams { count: self.words as u32 };
        gpu.dispatch_steps(StepLaunch {
            launch: Launch {
                kernel: &PERSISTENT_RESTORE,
                constants: &[],
                params: bytemuck::bytes_of(&params),
                buffers: &[&self.gates, gates],
                grid: self.grid(),
                work: self.words as u64,
            },
            steps: &mut std::iter::once([0; 4]),
            sizes: Some(sizes),
        })
    }
}
