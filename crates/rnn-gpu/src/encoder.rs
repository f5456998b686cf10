//! Recording dispatches and submitting them in chunks.
//!
//! All parameters go through one uniform ring: every dispatch appends its struct to a copy in host memory,
//! which is uploaded once before the submit. A dispatch needs one storage bind group and no buffer of its
//! own.

use super::adapter::DeviceKind;
use super::counters::Counters;
use super::device::{GpuDevice, Inner};
use super::pipelines::{PARAMS_WINDOW, Pipelines, STEP_BYTES};
use super::pool::GpuBuffer;
use super::timestamps::{MOST_PASSES, Timestamps};
use rnn_base::error::{Error, Result};
use rnn_kernels::grid::Grid;
use rnn_kernels::{Kernel, StepSource};

/// Bytes of the uniform ring: 4096 windows at the usual alignment of 256.
const RING_BYTES: u64 = 1 << 20;

/// A submit ends after this many dispatches: encoding 512 takes about a millisecond, so the GPU is
/// never idle for long while the CPU encodes.
const MAX_DISPATCHES: usize = 512;
// A pass has at least one dispatch.
const _: () = assert!(MAX_DISPATCHES <= MOST_PASSES);

/// The first submit after an idle queue is short, so that the GPU starts early.
const FIRST_DISPATCHES: usize = 32;

/// Longest submit in seconds, by the estimate below; driver watchdogs end a submit at about two seconds.
const MAX_SUBMIT_SECONDS: f64 = 0.2;

/// One dispatch.
pub(crate) struct Launch<'a> {
    pub(crate) kernel: &'static Kernel,
    pub(crate) constants: &'a [(&'static str, f64)],
    /// Bytes of the kernel's parameter struct.
    pub(crate) params: &'a [u8],
    /// Storage buffers in binding order.
    pub(crate) buffers: &'a [&'a GpuBuffer],
    /// Its workgroups.
    pub(crate) grid: Grid,
    /// Rough number of arithmetic operations; it limits the size of submits.
    pub(crate) work: u64,
}

/// The same dispatch once per time step: one bind group, only the step number changes.
pub(crate) struct StepLaunch<'a> {
    pub(crate) launch: Launch<'a>,
    /// The values that the kernel reads as `step`, in order.
    pub(crate) steps: &'a mut dyn Iterator<Item = [u32; 4]>,
    /// Where the device finds the number of workgroups; `None` if it is the grid's.
    pub(crate) sizes: Option<Sizes<'a>>,
}

/// Workgroups along x, y and z that a kernel has written, at most those of the launch's grid.
#[derive(Clone, Copy)]
pub(crate) struct Sizes<'a> {
    /// Of [`GpuDevice::alloc_sizes`].
    pub(crate) buffer: &'a GpuBuffer,
    /// Which three words of the buffer.
    pub(crate) index: usize,
}

impl Sizes<'_> {
    /// Bytes of the three words.
    const BYTES: u64 = 12;
}

/// The open command list.
pub(super) struct Recorder {
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    ring: wgpu::Buffer,
    ring_group: wgpu::BindGroup,
    shadow: Vec<u8>,
    alignment: usize,
    /// Number of the open submit, from 1; buffers store the number of the submit that last used them.
    epoch: u64,
    dispatches: usize,
    seconds: f64,
    limit: usize,
    timestamps: Option<Timestamps>,
}

impl Recorder {
    pub(super) fn new(
        device: &wgpu::Device,
        limits: &wgpu::Limits,
        pipelines: &Pipelines,
        counters: &Counters,
        timestamps: Option<Timestamps>,
    ) -> Self {
        let ring = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("rnn params ring"),
            size: RING_BYTES,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        counters.count_buffer(RING_BYTES);
        let window = |size| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &ring,
                offset: 0,
                size: wgpu::BufferSize::new(size),
            })
        };
        let ring_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("rnn params ring"),
            layout: &pipelines.uniform_layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: window(PARAMS_WINDOW) },
                wgpu::BindGroupEntry { binding: 1, resource: window(u64::from(STEP_BYTES)) },
            ],
        });
        Recorder {
            encoder: None,
            pass: None,
            ring,
            ring_group,
            shadow: Vec::with_capacity(RING_BYTES as usize),
            alignment: (limits.min_uniform_buffer_offset_alignment as usize).max(16),
            epoch: 1,
            dispatches: 0,
            seconds: 0.0,
            limit: FIRST_DISPATCHES,
            timestamps,
        }
    }

    pub(super) fn timestamps(&self) -> Option<&Timestamps> {
        self.timestamps.as_ref()
    }

    /// Makes the next submit a short one again.
    pub(super) fn queue_is_idle(&mut self) {
        self.limit = FIRST_DISPATCHES;
    }

    /// Number of the submit that is being recorded.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Submits everything recorded so far. Returns the submit, unless there was nothing or the device has failed.
    pub(super) fn flush(&mut self, inner: &Inner) -> Option<wgpu::SubmissionIndex> {
        self.pass = None;
        let mut encoder = self.encoder.take()?;
        let mut submit = None;
        // After a failure nothing is submitted: the commands are dropped with their encoder.
        if inner.check().is_ok() {
            let times = self.timestamps.as_mut();
            let times = times.and_then(|times| times.copy_out(&inner.device, &inner.counters, &mut encoder));
            let is_told = inner.persistence.copy_out(&mut encoder);
            if !self.shadow.is_empty() {
                inner.queue.write_buffer(&self.ring, 0, &self.shadow);
            }
            submit = Some(inner.queue.submit([encoder.finish()]));
            Counters::count(&inner.counters.submits);
            if let (Some(timestamps), Some(times)) = (&self.timestamps, times) {
                timestamps.collect(times);
            }
            if is_told {
                inner.persistence.collect(&inner.info.name);
            }
            // Lets finished submits release their resources and deliver callbacks. The device keeps an error,
            // and every later call returns it.
            let _ = inner.poll(wgpu::PollType::Poll);
        }
        self.shadow.clear();
        self.epoch += 1;
        self.dispatches = 0;
        self.seconds = 0.0;
        self.limit = MAX_DISPATCHES;
        submit
    }

    fn encoder(&mut self, inner: &Inner) -> &mut wgpu::CommandEncoder {
        self.encoder.get_or_insert_with(|| new_encoder(inner))
    }

    fn pass(&mut self, inner: &Inner) -> &mut wgpu::ComputePass<'static> {
        if self.pass.is_none() {
            let timestamp_writes = self.timestamps.as_mut().map(Timestamps::next_pass);
            let descriptor = wgpu::ComputePassDescriptor { label: Some("rnn"), timestamp_writes };
            let encoder = self.encoder.get_or_insert_with(|| new_encoder(inner));
            let pass = encoder.begin_compute_pass(&descriptor).forget_lifetime();
            return self.pass.insert(pass);
        }
        match &mut self.pass {
            Some(pass) => pass,
            None => unreachable!("checked above"),
        }
    }

    pub(super) fn clear(&mut self, inner: &Inner, buffer: &GpuBuffer, bytes: u64) {
        self.pass = None;
        buffer.mark_used(self.epoch);
        self.encoder(inner).clear_buffer(buffer.raw(), 0, Some(bytes));
    }

    pub(super) fn copy(&mut self, inner: &Inner, from: &GpuBuffer, to: &GpuBuffer, bytes: u64) {
        to.mark_used(self.epoch);
        self.copy_raw(inner, from, (to.raw(), 0), bytes);
    }

    /// Copies the first bytes of a buffer to a place in another.
    pub(super) fn copy_raw(&mut self, inner: &Inner, from: &GpuBuffer, to: (&wgpu::Buffer, u64), bytes: u64) {
        self.pass = None;
        from.mark_used(self.epoch);
        self.encoder(inner).copy_buffer_to_buffer(from.raw(), 0, to.0, to.1, bytes);
    }

    /// Appends bytes to the ring and returns their offset; `is_full` has checked that they fit.
    fn push(&mut self, bytes: &[u8]) -> u32 {
        let offset = self.shadow.len();
        self.shadow.extend_from_slice(bytes);
        self.shadow.resize(self.shadow.len().next_multiple_of(self.alignment), 0);
        offset as u32
    }

    /// Whether the submit must end here: the ring has no room for one more parameter struct and one more step
    /// number, or there are enough dispatches, or enough estimated time.
    fn is_full(&self) -> bool {
        self.shadow.len() as u64 + 2 * PARAMS_WINDOW.max(self.alignment as u64) > RING_BYTES - PARAMS_WINDOW
            || self.dispatches >= self.limit
            || self.seconds >= MAX_SUBMIT_SECONDS
    }
}

fn new_encoder(inner: &Inner) -> wgpu::CommandEncoder {
    inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("rnn") })
}

impl GpuDevice {
    /// Enqueues one dispatch.
    ///
    /// # Errors
    /// A failure that the driver reported earlier, or a kernel that does not compile.
    pub(crate) fn dispatch(&self, launch: Launch<'_>) -> Result<()> {
        self.dispatch_steps(StepLaunch { launch, steps: &mut std::iter::once([0; 4]), sizes: None })
    }

    /// Enqueues the same dispatch once per step.
    ///
    /// # Errors
    /// As [`GpuDevice::dispatch`].
    pub(crate) fn dispatch_steps(&self, request: StepLaunch<'_>) -> Result<()> {
        let StepLaunch { launch, steps, sizes } = request;
        let inner = &*self.0;
        inner.check()?;
        let mut groups = self.check_launch(&launch)?;
        if let Some(effect) = self.fault(launch.kernel) {
            let Some(left) = self.run_faulty(&launch, effect)? else { return Ok(()) };
            groups = left;
        }
        let [x, y, z] = groups;
        let pipeline = inner.pipelines.get(inner, launch.kernel, launch.constants)?;
        let buffers = launch.buffers.iter().map(|buffer| buffer.numbered());
        let storage = inner.bind_groups.get((&inner.device, &inner.counters), &pipeline.storage, buffers);
        let seconds = launch.work as f64 / assumed_rate(inner.info.kind);
        let mut recorder = inner.recorder();
        let mut bound_in = None; // the submit in which pipeline, storage and params are bound
        let mut params_at = 0;
        for step in steps {
            if recorder.is_full() {
                recorder.flush(inner);
            }
            let first = bound_in != Some(recorder.epoch);
            if first {
                params_at = recorder.push(launch.params);
                for &buffer in launch.buffers.iter().chain(sizes.iter().map(|sizes| &sizes.buffer)) {
                    buffer.mark_used(recorder.epoch);
                }
            }
            let step_at = match launch.kernel.step {
                StepSource::Uniform => recorder.push(bytemuck::cast_slice(&step)),
                _ => params_at,
            };
            let ring_group = recorder.ring_group.clone();
            let pass = recorder.pass(inner);
            if first {
                pass.set_pipeline(&pipeline.raw);
                pass.set_bind_group(1, &storage, &[]);
            }
            if first || launch.kernel.step == StepSource::Uniform {
                pass.set_bind_group(0, &ring_group, &[params_at, step_at]);
            }
            if launch.kernel.step == StepSource::Immediate {
                pass.set_immediates(0, bytemuck::cast_slice(&step));
            }
            match sizes {
                None => pass.dispatch_workgroups(x, y, z),
                Some(Sizes { buffer, index }) => {
                    pass.dispatch_workgroups_indirect(buffer.raw(), index as u64 * Sizes::BYTES);
                }
            }
            Counters::count(&inner.counters.dispatches);
            bound_in = Some(recorder.epoch);
            recorder.dispatches += 1;
            recorder.seconds += seconds;
        }
        Ok(())
    }

    /// Checks for mistakes in the ops of this crate; wgpu would report them far from their cause. Returns the
    /// workgroups along x, y and z: the only place where a grid meets the device's limit.
    fn check_launch(&self, launch: &Launch<'_>) -> Result<[u32; 3]> {
        let kernel = launch.kernel;
        if launch.params.len() != kernel.params.size || launch.buffers.len() != kernel.bindings.len() {
            return Err(Error::Gpu {
                kind: "launch",
                message: format!(
                    "{}: {} parameter bytes and {} buffers given, {} and {} declared",
                    kernel.label,
                    launch.params.len(),
                    launch.buffers.len(),
                    kernel.params.size,
                    kernel.bindings.len()
                ),
            });
        }
        launch.grid.fit(self.max_groups()).ok_or_else(|| Error::Gpu {
            kind: "launch",
            message: format!(
                "{}: {:?} with at most {} a dimension",
                kernel.label,
                launch.grid,
                self.max_groups()
            ),
        })
    }

    /// Most workgroups of a dispatch along each dimension.
    pub(crate) fn max_groups(&self) -> u32 {
        self.0.limits.max_compute_workgroups_per_dimension
    }
}

/// Operations per second that even a slow adapter of this kind reaches. A low figure only makes submits
/// shorter. Software adapters have no watchdog, so their figure only keeps submits regular.
fn assumed_rate(kind: DeviceKind) -> f64 {
    match kind {
        DeviceKind::Discrete | DeviceKind::Virtual => 5e11,
        DeviceKind::Integrated | DeviceKind::Other => 5e10,
        DeviceKind::Software => 1e9,
    }
}
