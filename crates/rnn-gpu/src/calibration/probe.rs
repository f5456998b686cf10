//! Runs of a calibration on an opened device.

use super::measure::{BARRIERS, MOST_LANES, READ_GROUPS, USUAL, WORKGROUPS};
use super::meter::{Probe, Run, Task, Timing};
use crate::counters::Counters;
use crate::pipelines::{PARAMS_WINDOW, Pipeline};
use crate::{GpuBuffer, GpuDevice};
use rnn_base::error::{Error, Result};
use rnn_kernels::Kernel;
use rnn_kernels::catalogue::calibration::{BARRIER, PRODUCT, READ, READ_BLOCK, constants};
use rnn_kernels::params::CalibrationParams;
use std::sync::Arc;
use web_time::Instant;

/// Vectors of four of the weights.
const WEIGHTS: usize = READ_GROUPS * READ_BLOCK;
/// Vectors of four of the sums.
const SUMS: usize = MOST_LANES;

/// Bytes of the largest array.
pub(super) const LARGEST: u64 = 16 * SUMS as u64;

/// An opened device, with compiled kernels and their arrays.
pub(super) struct GpuProbe<'a> {
    gpu: &'a GpuDevice,
    weights: GpuBuffer,
    sums: GpuBuffer,
    params: wgpu::Buffer,
    params_group: wgpu::BindGroup,
    clock: Option<Clock>,
}

/// The begin and the end of a pass by the adapter's clock.
struct Clock {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    host: wgpu::Buffer,
    /// Seconds of a tick.
    period: f64,
}

const CLOCK_BYTES: u64 = 2 * wgpu::QUERY_SIZE as u64;

fn kernel(task: Task) -> &'static Kernel {
    match task {
        Task::Multiply | Task::Stream => &PRODUCT,
        Task::Barrier => &BARRIER,
        Task::Read => &READ,
    }
}

impl<'a> GpuProbe<'a> {
    /// Waits until the device is idle, and compiles the kernels for workgroups of at most `largest` invocations.
    ///
    /// # Errors
    /// No memory, a kernel that the driver refuses, or a lost device.
    pub(super) fn new(gpu: &'a GpuDevice, largest: usize) -> Result<Self> {
        let inner = &*gpu.0;
        let (weights, sums) = (gpu.alloc_zeroed(4 * WEIGHTS)?, gpu.alloc_zeroed(4 * SUMS)?);
        let params = buffer(gpu, PARAMS_WINDOW, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
        let entry = |binding| wgpu::BindGroupEntry { binding, resource: params.as_entire_binding() };
        let params_group = inner.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("rnn calibration"),
            layout: &inner.pipelines.uniform_layout,
            entries: &[entry(0), entry(1)],
        });
        let has_clock = inner.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let clock = has_clock.then(|| Clock::new(gpu));
        gpu.synchronize()?;
        let mut probe = GpuProbe { gpu, weights, sums, params, params_group, clock };
        let sizes = WORKGROUPS.into_iter().filter(|&size| size <= largest.max(USUAL));
        let products = sizes.map(|size| (Task::Multiply, size));
        let others = [(Task::Barrier, BARRIERS[0]), (Task::Barrier, BARRIERS[1]), (Task::Read, USUAL)];
        for (task, workgroup) in products.chain(others) {
            // Some drivers compile a kernel when it runs for the first time.
            probe.time(Run { task, workgroup, groups: 1, iterations: 1, dispatches: 1 })?;
        }
        Ok(probe)
    }

    /// The commands of a run.
    fn encode(&self, run: Run, pipeline: &Pipeline) -> wgpu::CommandBuffer {
        let device = &self.gpu.0.device;
        let buffers: &[&GpuBuffer] = match run.task {
            Task::Barrier => &[&self.sums],
            _ => &[&self.weights, &self.sums],
        };
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.raw().as_entire_binding(),
            })
            .collect();
        let storage = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("rnn calibration"),
            layout: &pipeline.storage,
            entries: &entries,
        });
        let mut encoder =
            device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("rnn calibration") });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("rnn calibration"),
            timestamp_writes: self.clock.as_ref().map(|clock| wgpu::ComputePassTimestampWrites {
                query_set: &clock.queries,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            }),
        });
        pass.set_pipeline(&pipeline.raw);
        pass.set_bind_group(0, &self.params_group, &[0, 0]);
        pass.set_bind_group(1, &storage, &[]);
        for _ in 0..run.dispatches {
            pass.dispatch_workgroups(run.groups as u32, 1, 1);
            Counters::count(&self.gpu.0.counters.dispatches);
        }
        drop(pass);
        if let Some(clock) = &self.clock {
            encoder.resolve_query_set(&clock.queries, 0..2, &clock.resolved, 0);
            encoder.copy_buffer_to_buffer(&clock.resolved, 0, &clock.host, 0, CLOCK_BYTES);
        }
        encoder.finish()
    }
}

impl Probe for GpuProbe<'_> {
    fn time(&mut self, run: Run) -> Result<Timing> {
        let inner = &*self.gpu.0;
        let pipeline: Arc<Pipeline> =
            inner.pipelines.get(inner, kernel(run.task), &constants(run.workgroup))?;
        let mask = if run.task == Task::Multiply { 0 } else { WEIGHTS as u32 - 1 };
        let params = CalibrationParams { iterations: run.iterations, mask };
        inner.queue.write_buffer(&self.params, 0, bytemuck::bytes_of(&params));
        let commands = self.encode(run, &pipeline);
        let start = Instant::now();
        inner.queue.submit([commands]);
        Counters::count(&inner.counters.submits);
        inner.wait()?;
        let wall = start.elapsed().as_secs_f64();
        let device = self.clock.as_ref().map(|clock| clock.seconds(self.gpu)).transpose()?;
        Ok(Timing { wall, device })
    }
}

impl Clock {
    fn new(gpu: &GpuDevice) -> Self {
        let device = &gpu.0.device;
        Clock {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("rnn calibration"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer(
                gpu,
                CLOCK_BYTES,
                wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            ),
            host: buffer(gpu, CLOCK_BYTES, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            period: f64::from(gpu.0.queue.get_timestamp_period()) * 1e-9,
        }
    }

    /// Seconds of the pass that has run; negative if the clock ran backwards.
    fn seconds(&self, gpu: &GpuDevice) -> Result<f64> {
        let lost = |message: String| Error::Gpu { kind: "timestamps", message };
        let (sender, receiver) = std::sync::mpsc::channel();
        self.host.map_async(wgpu::MapMode::Read, .., move |mapped| {
            // The receiver waits below.
            let _ = sender.send(mapped);
        });
        gpu.0.wait()?;
        let mapped = receiver.try_recv().map_err(|error| lost(error.to_string()))?;
        mapped.map_err(|error| lost(error.to_string()))?;
        let view = self.host.get_mapped_range(..).map_err(|error| lost(error.to_string()))?;
        let ticks: &[u64] = bytemuck::cast_slice(&view);
        let seconds = (i128::from(ticks[1]) - i128::from(ticks[0])) as f64 * self.period;
        drop(view);
        self.host.unmap();
        Ok(seconds)
    }
}

fn buffer(gpu: &GpuDevice, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    gpu.0.counters.count_buffer(size);
    gpu.0.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("rnn calibration"),
        size,
        usage,
        mapped_at_creation: false,
    })
}
