//! Runs every test on every device: `name::cpu`, `name::gpu`, and where asked for
//! `name::gpu_webgpu_limits`, the same adapter without anything beyond WebGPU's defaults.
//!
//! Without an adapter the GPU trials show as ignored, never as passed; with `RNN_REQUIRE_GPU=1`
//! they fail. Needs `harness = false`:
//!
//! ```ignore
//! mod common;
//! use common::device_test;
//!
//! fn main() {
//!     common::run(vec![
//!         device_test!(softmax_matches_the_oracle),
//!         device_test!(one_step_is_one_dispatch).with_webgpu_limits(),
//!     ]);
//! }
//! ```

#![allow(dead_code, reason = "every test binary uses its own part of this module")]

use libtest_mimic::{Arguments, Failed, Trial};
use rnn_runtime::Device;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A test body and the devices it runs on.
#[derive(Clone, Copy)]
pub(crate) struct DeviceTest {
    path: &'static str,
    body: fn(&Device),
    cpu: bool,
    webgpu_limits: bool,
}

impl DeviceTest {
    /// Runs on the CPU and on the GPU.
    pub(crate) fn new(path: &'static str, body: fn(&Device)) -> Self {
        DeviceTest { path, body, cpu: true, webgpu_limits: false }
    }

    /// Also runs on a GPU without immediates and with WebGPU's default limits.
    pub(crate) fn with_webgpu_limits(self) -> Self {
        DeviceTest { webgpu_limits: true, ..self }
    }

    /// Name and body, for `tools/gpu-report`, which has devices of its own.
    pub(crate) fn parts(self) -> (String, fn(&Device)) {
        (short(self.path), self.body)
    }

    /// Does not run on the CPU.
    pub(crate) fn gpu_only(self) -> Self {
        DeviceTest { cpu: false, ..self }
    }
}

/// A [`DeviceTest`] from the name of a function: its name is the path from the crate's root. The module must be `common` in
/// the crate's root.
macro_rules! device_test {
    ($($part:ident)::+) => {
        $crate::common::DeviceTest::new(concat!(module_path!(), "::", stringify!($($part)::+)), $($part)::+)
    };
}
pub(crate) use device_test;

/// A `Vec<DeviceTest>` from the names of functions.
#[allow(unused_macros, reason = "for binaries with many tests")]
macro_rules! device_tests {
    ($($($part:ident)::+),* $(,)?) => {
        vec![$($crate::common::device_test!($($part)::+)),*]
    };
}
#[allow(unused_imports, reason = "for binaries with many tests")]
pub(crate) use device_tests;

/// Whether kernels of the device keep values in f16.
#[cfg(feature = "gpu")]
pub(crate) fn stores_half(device: &Device) -> bool {
    matches!(device, Device::Gpu(gpu) if gpu.has_half())
}

/// Whether kernels of the device keep values in f16.
#[cfg(not(feature = "gpu"))]
pub(crate) fn stores_half(_: &Device) -> bool {
    false
}

/// Runs all tests on all their devices and exits.
pub(crate) fn run(tests: Vec<DeviceTest>) -> ! {
    run_where(|| true, tests)
}

/// As [`run`]; where `possible` says no, the tests show as ignored.
pub(crate) fn run_where(possible: fn() -> bool, tests: Vec<DeviceTest>) -> ! {
    set_up_software_driver();
    let ignored = has_adapter() && !possible();
    let trials = tests.into_iter().flat_map(trials);
    run_trials(trials.map(|trial| if ignored { trial.with_ignored_flag(true) } else { trial }).collect())
}

/// As [`run`], where Mesa's software driver has subgroups of eight. Kernels for these are of its own kind: few GPUs have them.
pub(crate) fn run_in_subgroups_of_eight(tests: Vec<DeviceTest>) -> ! {
    compile_kernels_quickly();
    run_trials(tests.into_iter().flat_map(trials).collect())
}

/// Says what becomes of the GPU tests, runs the trials and exits.
pub(crate) fn run_trials(trials: Vec<Trial>) -> ! {
    let arguments = Arguments::from_args();
    if !arguments.list {
        eprintln!("{}", said_of_gpu_tests());
    }
    libtest_mimic::run(&arguments, trials).exit()
}

/// Makes Mesa's software driver fast at what tests do. Its vectors have four lanes, as its subgroups do then: it compiles
/// kernels in half of the time, and the planner chooses those that discrete GPUs have. Crates above `rnn-runtime` train
/// over thousands of tiny dispatches, so workgroups run on the queue's thread: to wake two others takes longer. Other drivers do
/// not read these variables.
pub(crate) fn set_up_software_driver() {
    compile_kernels_quickly();
    set_where_unset("LP_NATIVE_VECTOR_WIDTH", "128");
    if env!("CARGO_PKG_NAME") != "rnn-runtime" {
        set_where_unset("LP_NUM_THREADS", "0");
    }
}

/// Tells Mesa's software driver to leave out LLVM's optimisations: tests run each kernel for moments, and it then compiles a
/// third faster.
fn compile_kernels_quickly() {
    set_where_unset("GALLIVM_PERF", "nopt");
}

fn set_where_unset(variable: &str, value: &str) {
    if std::env::var_os(variable).is_none() {
        // SAFETY: `main` calls this before it starts a thread or loads a driver, so nothing reads the environment
        // meanwhile.
        unsafe { std::env::set_var(variable, value) };
    }
}

/// What becomes of the GPU tests, in one line.
fn said_of_gpu_tests() -> String {
    if cfg!(not(feature = "gpu")) {
        return "GPU tests: none, this build has no `gpu` feature".into();
    }
    match has_adapter() {
        true => match first_gpu() {
            Ok(device) => format!("GPU tests: on {}", device.name()),
            Err(message) => format!("GPU tests: fail, {message}"),
        },
        false if gpu_required() => "GPU tests: fail, there is no adapter and RNN_REQUIRE_GPU is 1".into(),
        false => "GPU tests: ignored, there is no adapter. Mesa's software Vulkan driver will do (Debian: \
                  mesa-vulkan-drivers and libvulkan1; .ci/run installs both)"
            .into(),
    }
}

/// The trials of one case that is known only when the tests run: on the CPU and on the GPU.
pub(crate) fn trials_of(name: &str, body: impl Fn(&Device) + Clone + Send + 'static) -> Vec<Trial> {
    let ignored = !has_adapter() && !gpu_required();
    let cpu = body.clone();
    vec![
        Trial::test(format!("{name}::cpu"), move || on(cpu_device(), cpu)),
        Trial::test(format!("{name}::gpu"), move || on(gpu_device(), body)).with_ignored_flag(ignored),
    ]
}

/// A path without the name of the crate. `stringify!` of a path has spaces around `::` on some compilers.
fn short(path: &str) -> String {
    let path = path.replace(' ', "");
    path.split_once("::").map(|(_, name)| name.into()).unwrap_or(path)
}

/// The trials of one test.
pub(crate) fn trials(test: DeviceTest) -> Vec<Trial> {
    let DeviceTest { path, body, cpu, webgpu_limits } = test;
    let name = short(path);
    let mut trials = Vec::new();
    if cpu {
        trials.push(Trial::test(format!("{name}::cpu"), move || on(cpu_device(), body)));
    }
    let ignored = !has_adapter() && !gpu_required();
    trials
        .push(Trial::test(format!("{name}::gpu"), move || on(gpu_device(), body)).with_ignored_flag(ignored));
    if webgpu_limits {
        trials.push(
            Trial::test(format!("{name}::gpu_webgpu_limits"), move || on(limited_device(), body))
                .with_ignored_flag(ignored),
        );
    }
    trials
}

fn on(device: &Result<Device, String>, body: impl Fn(&Device)) -> Result<(), Failed> {
    match device {
        Ok(device) => {
            body(device);
            // An error that the driver reports late belongs to this test, not to the next.
            device.synchronize().map_err(Failed::from)
        }
        Err(message) => Err(message.clone().into()),
    }
}

fn gpu_required() -> bool {
    std::env::var("RNN_REQUIRE_GPU").is_ok_and(|value| value == "1")
}

/// A device of the same kind that no other test uses: its counts are its test's alone, and it can be
/// destroyed.
pub(crate) fn own_device(device: &Device) -> Device {
    if device.is_cpu() { Device::cpu() } else { own_gpu() }
}

/// A device that runs recurrences by `algorithm`, unless `RNN_GPU_ALGO` names another; the CPU has no choice.
pub(crate) fn with_algorithm(device: &Device, algorithm: &str) -> Device {
    if device.is_cpu() { device.clone() } else { gpu_with_algorithm(algorithm) }
}

/// Every other device is opened once, by the first test that needs it.
type Slot = OnceLock<Result<Device, String>>;

/// Devices of a kind. A device compiles one kernel at a time, so a few threads have devices of their own.
const DEVICES: usize = 4;

/// The device of this thread.
fn of_thread(slots: &'static [Slot; DEVICES]) -> &'static Slot {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    &slots[NUMBER.with(|number| number % DEVICES)]
}

fn cpu_device() -> &'static Result<Device, String> {
    static CPU: Slot = OnceLock::new();
    CPU.get_or_init(|| Ok(Device::cpu()))
}

/// Of devices that tests open: these leave nothing in the user's directories.
#[cfg(feature = "gpu")]
pub(crate) fn options() -> rnn_runtime::GpuOptions {
    rnn_runtime::GpuOptions { cache_dir: rnn_runtime::CacheDir::Off, ..rnn_runtime::GpuOptions::default() }
}

#[cfg(feature = "gpu")]
mod gpu {
    use super::{DEVICES, Slot, of_thread, options};
    use rnn_runtime::{Device, GpuOptions, GpuSelector};
    use std::sync::OnceLock;

    static GPUS: [Slot; DEVICES] = [const { OnceLock::new() }; DEVICES];
    static LIMITED: [Slot; DEVICES] = [const { OnceLock::new() }; DEVICES];

    pub(crate) fn has_adapter() -> bool {
        static ANY: OnceLock<bool> = OnceLock::new();
        *ANY.get_or_init(|| !Device::adapters().is_empty())
    }

    fn open(options: GpuOptions) -> Result<Device, String> {
        Device::gpu_with(GpuSelector::Best, options).map_err(|error| error.to_string())
    }

    /// A device that no other test uses.
    pub(crate) fn own_gpu() -> Device {
        open(options()).unwrap()
    }

    pub(crate) fn gpu_with_algorithm(algorithm: &str) -> Device {
        let is_forced = std::env::var_os("RNN_GPU_ALGO").is_some();
        let algorithm = (!is_forced).then(|| algorithm.parse().unwrap());
        open(GpuOptions { algorithm, ..options() }).unwrap()
    }

    /// One of those that tests use.
    pub(crate) fn first_gpu() -> &'static Result<Device, String> {
        GPUS[0].get_or_init(|| open(options()))
    }

    pub(crate) fn gpu_device() -> &'static Result<Device, String> {
        of_thread(&GPUS).get_or_init(|| open(options()))
    }

    pub(crate) fn limited_device() -> &'static Result<Device, String> {
        of_thread(&LIMITED).get_or_init(|| {
            open(GpuOptions {
                immediates: false,
                subgroups: false,
                half: false,
                adapter_limits: false,
                ..options()
            })
        })
    }
}

#[cfg(not(feature = "gpu"))]
mod gpu {
    use super::Slot;
    use rnn_runtime::Device;
    use std::sync::OnceLock;

    pub(crate) fn has_adapter() -> bool {
        false
    }

    pub(crate) fn gpu_device() -> &'static Result<Device, String> {
        static NONE: Slot = OnceLock::new();
        NONE.get_or_init(|| Err("this build has no `gpu` feature".into()))
    }

    pub(crate) fn first_gpu() -> &'static Result<Device, String> {
        gpu_device()
    }

    pub(crate) fn own_gpu() -> Device {
        unreachable!("this build has no `gpu` feature")
    }

    pub(crate) fn gpu_with_algorithm(_: &str) -> Device {
        own_gpu()
    }

    pub(crate) fn limited_device() -> &'static Result<Device, String> {
        gpu_device()
    }
}

use gpu::{first_gpu, gpu_device, gpu_with_algorithm, limited_device};
pub(crate) use gpu::{has_adapter, own_gpu};
