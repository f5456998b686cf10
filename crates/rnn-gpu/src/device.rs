//! An opened GPU: options, resources, synchronisation and closing.

use super::adapter::{AdapterInfo, DeviceKind, GpuSelector, check_limits, describe, enumerate, rank};
use super::bind_groups::BindGroups;
use super::calibration::Calibration;
use super::counters::Counters;
use super::encoder::Recorder;
use super::failure::Failure;
use super::fault::Fault;
use super::gpu_options::GpuOptions;
use super::matrix_units;
use super::pipeline_cache::PipelineCache;
use super::pipelines::Pipelines;
use super::pool::Pool;
use super::rnn::{Algorithm, Persistence, Tuning};
use super::self_test::{BaseTests, SelfTests};
use super::timestamps::Timestamps;
use super::waiting::{CAN_WAIT, expect_blocking};
use rnn_base::error::{Error, Result};
use rnn_base::stats::DeviceStats;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use web_time::Instant;

/// How long a wait looks for the end of the work before the thread sleeps.
const WATCH: Duration = Duration::from_micros(200);

/// An opened GPU. Cloning shares it.
#[derive(Clone)]
pub struct GpuDevice(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) limits: wgpu::Limits,
    pub(super) immediates: bool,
    /// Lanes of a subgroup, where subgroup operations are available and the number is fixed.
    pub(super) subgroup_size: Option<u32>,
    /// Whether kernels may use f16 values.
    pub(super) half: bool,
    /// Whether products of f16 may use matrix units.
    pub(super) matrix_units: bool,
    pub(super) persistent: bool,
    algorithm: Option<Algorithm>,
    pub(super) persistence: Persistence,
    pub(super) wavefront: Option<usize>,
    pub(super) info: AdapterInfo,
    /// Which opened device of this process it is, from 1.
    number: usize,
    pub(super) pool: Pool,
    pub(super) pipelines: Pipelines,
    pub(super) bind_groups: BindGroups,
    pub(super) counters: Counters,
    pub(super) self_tests: SelfTests,
    pub(super) base_tests: BaseTests,
    pub(super) fault: Option<&'static Fault>,
    pub(super) tuning: Tuning,
    pub(super) calibration: Calibration,
    recorder: Mutex<Recorder>,
    pub(super) failure: Arc<Failure>,
}

impl GpuDevice {
    /// Opens an adapter, and tests the simplest kernels on it unless the process has done so before.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when none fits the selector, [`Error::Value`] for a bad environment variable,
    /// [`Error::AdapterLimit`] when it is too small for the default kernels, [`Error::Gpu`] when the driver refuses,
    /// [`Error::WrongResults`] when it computes wrongly or not at all, [`Error::Unsupported`] on the web.
    pub fn open(selector: &GpuSelector, options: GpuOptions) -> Result<Self> {
        expect_blocking("GpuDevice::open", "Device::gpu_async")?;
        let device = pollster::block_on(Self::connect(selector, options))?;
        device.test_base()?;
        Ok(device)
    }

    /// As [`GpuDevice::open`], without blocking the thread. On the web this is the only way to open a device.
    ///
    /// # Errors
    /// As [`GpuDevice::open`].
    pub async fn open_async(selector: &GpuSelector, options: GpuOptions) -> Result<Self> {
        let device = Self::connect(selector, options).await?;
        device.test_base_async().await?;
        if !CAN_WAIT {
            device.finish_self_tests().await?;
        }
        Ok(device)
    }

    /// Opens an adapter without testing it.
    async fn connect(selector: &GpuSelector, options: GpuOptions) -> Result<Self> {
        let all = enumerate().await;
        let infos: Vec<AdapterInfo> =
            all.iter().enumerate().map(|(index, adapter)| describe(index, adapter)).collect();
        let chosen = match selector {
            GpuSelector::Best => infos.iter().min_by_key(|info| rank(info.kind)),
            GpuSelector::Index(index) => infos.get(*index),
            GpuSelector::Name(name) => {
                let wanted = name.to_lowercase();
                infos.iter().find(|info| info.name.to_lowercase().contains(&wanted))
            }
        };
        let Some(info) = chosen.cloned() else {
            let names: Vec<&str> = infos.iter().map(|info| info.name.as_str()).collect();
            return Err(Error::NoAdapter {
                requested: selector.to_string(),
                seen: if names.is_empty() { "none".into() } else { names.join(", ") },
            });
        };
        Self::open_adapter(&all[info.index], info, options).await
    }

    async fn open_adapter(adapter: &wgpu::Adapter, info: AdapterInfo, options: GpuOptions) -> Result<Self> {
        let algorithm = match (options.algorithm, std::env::var("RNN_GPU_ALGO")) {
            (None, Ok(name)) => Some(name.parse()?),
            (given, _) => given,
        };
        let mut limits = if options.adapter_limits { adapter.limits() } else { wgpu::Limits::default() };
        check_limits(&info.name, &limits)?;
        if let Some(bytes) = options.max_array_bytes {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(bytes);
        }
        if let Some(groups) = options.max_groups {
            if groups < 2 {
                return Err(Error::value("GpuDevice::open", "max_groups", "at least 2", groups));
            }
            let adapter_s = limits.max_compute_workgroups_per_dimension;
            limits.max_compute_workgroups_per_dimension = groups.min(adapter_s);
        }
        let has = |feature, wanted: bool| wanted && adapter.features().contains(feature);
        let immediates = has(wgpu::Features::IMMEDIATES, options.immediates);
        let subgroups = has(wgpu::Features::SUBGROUP, options.subgroups);
        let half = has(wgpu::Features::SHADER_F16, options.half);
        let mut required_features = wgpu::Features::empty();
        required_features.set(wgpu::Features::IMMEDIATES, immediates);
        required_features.set(wgpu::Features::SUBGROUP, subgroups);
        required_features.set(wgpu::Features::SHADER_F16, half);
        let matrix_units = matrix_units::chosen(adapter, &options, subgroups && half);
        required_features.set(matrix_units::FEATURE, matrix_units);
        limits.max_immediate_size = if immediates { adapter.limits().max_immediate_size.min(128) } else { 0 };
        let timestamps = options.timestamps && info.has_timestamps;
        let calibration = Calibration::new(&info, &options)?;
        let clock = timestamps || (calibration.wants_clock() && info.has_timestamps);
        required_features.set(wgpu::Features::TIMESTAMP_QUERY, clock);
        required_features |= PipelineCache::feature(adapter, &options.cache_dir);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("rnn"),
            required_features,
            required_limits: limits.clone(),
            experimental_features: matrix_units::token(matrix_units),
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|error| Error::Gpu { kind: "device request", message: error.to_string() })?;

        let sizes = adapter.get_info();
        let fixed = sizes.subgroup_min_size == sizes.subgroup_max_size;
        let subgroup_size = (subgroups && fixed).then_some(sizes.subgroup_min_size);

        let failure = Failure::watch(&device);
        let counters = Counters::default();
        let cache = PipelineCache::open(&device, adapter, &options.cache_dir);
        let pipelines = Pipelines::new(&device, cache, &counters);
        let times = timestamps.then(|| Timestamps::new(&device, &queue, &counters));
        let recorder = Recorder::new(&device, &limits, &pipelines, &counters, times);
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        Ok(GpuDevice(Arc::new(Inner {
            number: 1 + OPENED.fetch_add(1, Ordering::Relaxed),
            pipelines,
            pool: Pool::default(),
            bind_groups: BindGroups::default(),
            self_tests: SelfTests::new(&info.name, options.distrust),
            base_tests: BaseTests::default(),
            fault: options.fault,
            tuning: Tuning::open(&info, &options.cache_dir),
            calibration,
            recorder: Mutex::new(recorder),
            device,
            queue,
            limits,
            immediates,
            subgroup_size,
            half,
            matrix_units,
            persistent: options.persistent,
            algorithm,
            persistence: Persistence::default(),
            wavefront: options.wavefront,
            info,
            counters,
            failure,
        })))
    }

    /// The adapter behind the device.
    pub fn info(&self) -> &AdapterInfo {
        &self.0.info
    }

    /// Most bytes of a single array.
    pub fn max_array_bytes(&self) -> u64 {
        self.0.limits.max_storage_buffer_binding_size.min(self.0.limits.max_buffer_size)
    }

    /// Which opened device of this process it is, from 1.
    pub fn number(&self) -> usize {
        self.0.number
    }

    /// Whether both handles refer to the same opened device.
    pub fn same(&self, other: &GpuDevice) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether per-step kernels get their step number as an immediate.
    pub fn has_immediates(&self) -> bool {
        self.0.immediates
    }

    /// The algorithm of recurrences that the options or the environment ask for.
    pub fn forced_algorithm(&self) -> Option<Algorithm> {
        self.0.algorithm
    }

    /// Lanes of a subgroup, where subgroup operations are available and the number is fixed.
    pub fn subgroup_size(&self) -> Option<u32> {
        self.0.subgroup_size
    }

    /// Whether kernels may use f16 values.
    pub fn has_half(&self) -> bool {
        self.0.half
    }

    /// Whether products of f16 may use matrix units.
    pub fn has_matrix_units(&self) -> bool {
        self.0.matrix_units
    }

    /// Counts since the device was opened.
    pub fn stats(&self) -> DeviceStats {
        let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let counters = &self.0.counters;
        DeviceStats {
            buffers_created: read(&counters.buffers),
            bytes_created: read(&counters.bytes),
            bytes_held: self.0.pool.held() as usize,
            pipelines_created: read(&counters.pipelines),
            cached_pipeline_bytes: self.0.pipelines.cache.as_ref().map_or(0, |cache| cache.loaded_bytes),
            bind_group_layouts_created: read(&counters.layouts),
            bind_groups_created: read(&counters.bind_groups),
            dispatches: read(&counters.dispatches),
            submits: read(&counters.submits),
        }
    }

    /// How often a thread waited for the device since it was opened.
    pub fn waits(&self) -> usize {
        self.0.counters.waits.load(Ordering::Relaxed)
    }

    /// Waits until everything enqueued has run.
    ///
    /// # Errors
    /// The error that the driver reported since the last check.
    pub fn synchronize(&self) -> Result<()> {
        self.0.flush()?;
        self.0.wait()
    }

    /// Seconds of compute passes since the last call; `None` without timestamps.
    ///
    /// # Errors
    /// The error that the driver reported since the last check.
    pub fn kernel_seconds(&self) -> Result<Option<f64>> {
        self.synchronize()?;
        self.0.recorder().timestamps().map(Timestamps::take_seconds).transpose()
    }

    /// Writes the pipeline cache if it has new pipelines.
    pub fn save_pipelines(&self) {
        self.0.save_pipelines();
    }

    /// Simulates the loss of the device, for tests of recovery. Work already submitted still runs.
    pub fn destroy(&self) {
        // Recorded before the device is destroyed: another thread may be using buffers that become invalid,
        // and its error then names the loss. A real loss comes in no such order: see `Inner::check`.
        self.0.failure.record(Error::DeviceLost("destroyed".into()));
        self.0.device.destroy();
        // Lets wgpu deliver its own report of the loss, which is recorded already.
        let _ = self.0.failure.poll(&self.0.device, wgpu::PollType::wait_indefinitely());
    }
}

impl Inner {
    pub(super) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        // A panic while recording leaves at worst an unfinished command list, which wgpu rejects with a
        // validation error.
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits what is recorded.
    pub(super) fn flush(&self) -> Result<()> {
        self.recorder().flush(self);
        self.check()
    }

    /// Blocks until the queue is idle.
    pub(super) fn wait(&self) -> Result<()> {
        self.wait_for(None)
    }

    /// Blocks until a submit has run, or without one until the queue is idle.
    pub(super) fn wait_for(&self, submit: Option<wgpu::SubmissionIndex>) -> Result<()> {
        expect_blocking("synchronize", "to_vec_async")?;
        Counters::count(&self.counters.waits);
        self.watch()?;
        self.poll(wgpu::PollType::Wait { submission_index: submit, timeout: None })?;
        if self.failure.look(&self.device)? {
            self.recorder().queue_is_idle();
        }
        Ok(())
    }

    /// Looks for a short time whether the queue is idle. A driver wakes a thread that waits only some 0.1 ms after the
    /// end of the work. A software adapter needs the processor itself.
    fn watch(&self) -> Result<()> {
        if self.info.kind == DeviceKind::Software {
            return Ok(());
        }
        let end = Instant::now() + WATCH;
        while !self.failure.look(&self.device)? && Instant::now() < end {
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Lets wgpu deliver callbacks.
    pub(super) fn poll(&self, poll: wgpu::PollType) -> Result<()> {
        self.failure.poll(&self.device, poll)
    }

    fn save_pipelines(&self) {
        // The data of a failed device cannot be trusted.
        if let (Some(cache), Ok(())) = (&self.pipelines.cache, self.check()) {
            cache.save(self.counters.pipelines.load(Ordering::Relaxed));
        }
    }

    /// The first failure that the driver reported, if any. It stays, because results computed after it are
    /// void. Errors of other kinds may precede a loss; the loss replaces them once wgpu reports it.
    pub(super) fn check(&self) -> Result<()> {
        match self.failure.check() {
            Err(Error::Gpu { .. }) => self.failure.poll(&self.device, wgpu::PollType::Poll),
            other => other,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.save_pipelines();
    }
}

impl fmt::Debug for GpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GpuDevice({})", self.0.info.name)
    }
}
