//! Recurrences whose workgroups wait for each other.

use super::planned::{adapter_of, line};
use super::{open, options, packed, results_and_error_of, training, zero_weights};
use rnn_gpu::rnn::persistent_kernels;
use rnn_kernels::cell::{CellKind, CellSpec, Direction, StackSpec, Storage};
use rnn_runtime::ops::rnn::{StackArgs, forward, pack};
use rnn_runtime::{Algorithm, Array, Device, Error, Fault, FaultEffect, GpuOptions, Recurrence};
use rnn_testing::data::to_f32;
use rnn_testing::oracle::{StackCase, stack_spec};
use rnn_testing::shapes::RnnShape;
use rnn_testing::warnings::{events, warnings};
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::Level;

/// Without subgroups, which change the order of sums on some adapters.
fn device(algorithm: Algorithm, fault: Option<&'static Fault>) -> Device {
    open(GpuOptions { subgroups: false, algorithm: Some(algorithm), fault, ..options() })
}

/// A layer, how it is stored, and its sizes.
#[derive(Clone, Copy, Debug)]
struct Layer {
    spec: StackSpec,
    storage: Storage,
    shape: RnnShape,
}

impl Layer {
    /// Units for several workgroups, the last of which has none for some of its invocations; rows for one.
    fn new(cell: CellSpec) -> Self {
        Self::with(cell, RnnShape { t: 9, b: 3, i: 5, h: 133 }, false)
    }

    fn with(cell: CellSpec, shape: RnnShape, bidirectional: bool) -> Self {
        Layer { spec: stack_spec(cell, shape, 1, bidirectional), storage: Storage::F32, shape }
    }

    fn backwards(self) -> Self {
        Layer { spec: StackSpec { direction: Direction::Reverse, ..self.spec }, ..self }
    }

    /// The bits of all results of a training step, which are compared with the oracle.
    fn run(&self, device: &Device) -> Vec<u32> {
        let (results, error) = results_and_error_of(device, self.spec, self.storage, self.shape);
        // The bounds of the tests of other algorithms.
        let bound = if self.storage == Storage::F32 { 1e-4 } else { 4e-3 };
        assert!(error < bound, "{self:?}: {error}");
        results.into_iter().map(f32::to_bits).collect()
    }

    /// The bits of y in inference from zero states. The pass only enqueues its work.
    fn infer(&self, device: &Device) -> Vec<u32> {
        let RnnShape { t, b, i, .. } = self.shape;
        let case = StackCase::random(self.spec, self.shape, false, 5);
        let packed = packed(device, &case);
        let x = Array::from_f32(device, &to_f32(&case.input.x), &[t, b, i]).unwrap();
        let args = StackArgs { training: false, ..training(&self.spec, &packed, &x) };
        // The first pass compiles and tests its kernels.
        forward(&args).unwrap();
        let waits = device.waits();
        let y = forward(&args).unwrap().y;
        assert_eq!(device.waits(), waits);
        y.to_vec().unwrap().into_iter().map(f32::to_bits).collect()
    }

    /// Dispatches of another training step.
    fn dispatches(&self, device: &Device) -> usize {
        let before = device.stats().dispatches;
        self.run(device);
        device.stats().dispatches - before
    }

    /// The planner's report on the forward and the backward pass.
    fn plans(&self, device: &Device) -> [Recurrence; 2] {
        device.explain(&self.spec, self.shape.t, self.shape.b).unwrap().recurrences[0].clone()
    }

    /// Whether both passes are persistent.
    fn is_persistent(&self, device: &Device) -> bool {
        self.plans(device).iter().all(|plan| plan.algorithm == Algorithm::Persistent)
    }

    /// Whether a software adapter has a thread for each of at least two workgroups to a direction. Only llvmpipe is known
    /// to give them.
    fn has_threads(&self, device: &Device) -> bool {
        if !device.name().contains("llvmpipe") {
            return false;
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        threads >= 2 * self.spec.num_directions()
    }
}

/// Whether two threads of this machine pass a value to each other 20 times before either loses its patience. It is shorter
/// than that of a kernel: 2^26 looks at one value, of which each takes about a nanosecond, in place of 2^22 looks at 32.
fn threads_run_side_by_side() -> bool {
    let turn = AtomicUsize::new(0);
    let play = |first: usize| {
        (first..20).step_by(2).all(|mine| {
            let comes = (0..1 << 26).any(|_| turn.load(Ordering::Acquire) == mine);
            comes && turn.compare_exchange(mine, mine + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| play(1));
        play(0) && other.join().unwrap()
    })
}

fn is_busy() -> bool {
    (0..3).all(|_| !threads_run_side_by_side())
}

/// A persistent recurrence computes the bits of one dispatch per step, in fewer dispatches, by the kernel that `tools/isa`
/// lists. A processor may be too busy to run the workgroups of a software adapter side by side; then only the bits are
/// compared. It counts as too busy if its threads cannot pass values to each other either. Both have three attempts.
pub(crate) fn workgroups_that_wait_for_each_other_compute_what_steps_compute(_: &Device) {
    let one_row = RnnShape { t: 7, b: 1, i: 5, h: 42 };
    let layers = [
        Layer::new(CellSpec::lstm()),
        Layer::with(CellSpec::gru(), one_row, false).backwards(),
        Layer { storage: Storage::Half, ..Layer::new(CellSpec::gru()) },
        Layer::with(CellSpec::rnn_tanh(), one_row, true),
    ];
    let (steps, mut persistent) = (device(Algorithm::Step, None), device(Algorithm::Persistent, None));
    for layer in layers {
        let want = layer.run(&steps);
        let mut attempts = 0;
        let (kernels, of_all) = loop {
            let kernels = events(Level::DEBUG, || assert_eq!(layer.run(&persistent), want, "{layer:?}"));
            let of_all = layer.dispatches(&persistent);
            attempts += 1;
            if layer.is_persistent(&persistent) || !layer.has_threads(&persistent) || attempts == 3 {
                break (kernels, of_all);
            }
            persistent = device(Algorithm::Persistent, None);
        };
        let [plan, back] = layer.plans(&persistent);
        println!("{:?} after {attempts} attempts: {plan}\n  {back}", layer.spec.cell.kind);
        if !layer.is_persistent(&persistent) {
            assert!(!layer.has_threads(&persistent) || is_busy(), "{layer:?}: {plan}, {back}");
            continue;
        }
        for plan in [&plan, &back] {
            assert!(plan.workgroups > 1 && plan.reason.starts_with("asked for"), "{plan}");
            assert!(plan.dispatches < layer.shape.t, "{plan}");
        }
        let of_steps = layer.dispatches(&steps);
        // Besides the recurrence, its ring is filled, its outcome read, and the recurrence repeated by no workgroup. What it
        // overwrites is restored by none: the gates; and in the backward pass the flow, and aux of some cells.
        let restored = 3 + usize::from(layer.spec.cell.linear_before_reset());
        let recurrences = plan.dispatches + back.dispatches + 2 * 3 + restored;
        let of_both_steps = 2 * layer.shape.t + 1;
        assert_eq!(of_all - recurrences, of_steps - of_both_steps, "{layer:?}: {of_all}, {of_steps}");
        let Device::Gpu(gpu) = &persistent else { unreachable!("the test opens a GPU") };
        let sizes = [layer.shape.t, layer.shape.b];
        let half = layer.storage == Storage::Half && gpu.has_half();
        let planned = persistent_kernels(&adapter_of(gpu), &layer.spec, sizes, half).unwrap();
        assert_eq!(planned.len(), 2);
        for planned in planned {
            assert!(kernels.iter().any(|event| event.contains(&line(&planned))), "{planned:?}: {kernels:#?}");
        }
        let bind_groups = persistent.stats().bind_groups_created;
        layer.run(&persistent);
        let created = persistent.stats().bind_groups_created - bind_groups;
        assert!(created == 0 || !layer.is_persistent(&persistent), "{layer:?}: {created} bind groups");
    }
}

/// Workgroups that wait for one that never runs, and a driver that writes a failure and nothing else, in either pass. In
/// inference two passes are under way before the host knows of the first one's failure.
pub(crate) fn a_recurrence_that_waited_in_vain_is_repeated(_: &Device) {
    static FAULTS: [Fault; 6] = [const { Fault::none() }; 6];
    let [lstm, gru] = [CellSpec::lstm(), CellSpec::gru()].map(Layer::new);
    let steps = device(Algorithm::Step, None);
    type Pass = fn(&Layer, &Device) -> Vec<u32>;
    let (forward, backward) = ("forward_f32_f32_Persistent", "backward_f32_f32_Persistent");
    let cases: [(Layer, Pass, _, _); 6] = [
        (lstm, Layer::run, forward, FaultEffect::FirstWorkgroup),
        (lstm, Layer::infer, forward, FaultEffect::FirstWorkgroup),
        (lstm, Layer::run, forward, FaultEffect::Fills(1.0)),
        (lstm, Layer::run, backward, FaultEffect::FirstWorkgroup),
        (gru, Layer::run, backward, FaultEffect::FirstWorkgroup),
        (gru, Layer::run, backward, FaultEffect::Fills(1.0)),
    ];
    for (fault, (layer, run, kernels, effect)) in FAULTS.iter().zip(cases) {
        let want = run(&layer, &steps);
        let device = device(Algorithm::Persistent, Some(fault));
        assert!(run(&layer, &device) == want);
        let was_persistent = layer.is_persistent(&device);
        fault.set(kernels, effect);
        let said = warnings(|| assert!(run(&layer, &device) == want, "{kernels} {effect:?}"));
        assert_eq!(said.iter().filter(|text| text.contains("in vain")).count(), usize::from(was_persistent));
        for plan in layer.plans(&device) {
            assert_eq!(plan.algorithm, Algorithm::Step);
            assert!(!was_persistent || plan.reason.contains("in vain"), "{plan}");
        }
        assert_eq!(warnings(|| assert!(run(&layer, &device) == want)), [""; 0]);
    }
}

/// Values of all steps, and copies of what a pass overwrites, take memory that one dispatch per step does not need.
pub(crate) fn without_memory_for_its_values_a_recurrence_runs_step_by_step(_: &Device) {
    static FAULT: Fault = Fault::none();
    let shape = RnnShape { t: 40, b: 3, i: 5, h: 133 };
    let layer = Layer::with(CellSpec::lstm(), shape, false);
    let device = device(Algorithm::Persistent, Some(&FAULT));
    let case = StackCase::random(layer.spec, shape, false, 5);
    let packed = packed(&device, &case);
    let x = Array::from_f32(&device, &to_f32(&case.input.x), &[shape.t, shape.b, shape.i]).unwrap();
    let args = StackArgs { training: false, ..training(&layer.spec, &packed, &x) };
    let pass = || {
        let before = device.stats().dispatches;
        let y = forward(&args)?.y.to_vec()?;
        Ok::<_, Error>((y, device.stats().dispatches - before))
    };
    let held = device.stats().bytes_held as u64;
    let mut seen = Vec::new();
    for more in (0..1 << 20).step_by(4096) {
        if !layer.is_persistent(&device) {
            assert!(!layer.has_threads(&device) || is_busy(), "{}", layer.plans(&device)[0]);
            return;
        }
        FAULT.set_memory(held + more);
        match pass() {
            Ok((y, dispatches)) => seen.push((y, dispatches)),
            Err(error) => assert!(error.to_string().contains("out of memory"), "{error}"),
        }
        if seen.last().is_some_and(|&(_, dispatches)| dispatches < shape.t) {
            break;
        }
    }
    let (first, last) = (&seen[0], &seen[seen.len() - 1]);
    assert!(first.1 > shape.t && last.1 < shape.t, "{} and {} dispatches", first.1, last.1);
    assert!(seen.iter().all(|(y, _)| *y == first.0));
}

/// A driver that never runs the second workgroup fails the self-test; a GRU that resets before the product has two phases,
/// which would need barriers between them.
pub(crate) fn what_cannot_be_persistent_runs_step_by_step(_: &Device) {
    static FAULT: Fault = Fault::none();
    FAULT.set("Persistent", FaultEffect::FirstWorkgroup);
    let device = device(Algorithm::Persistent, Some(&FAULT));
    let before = CellSpec { reset_after: false, ..CellSpec::gru() };
    let [lstm, gru] = [CellSpec::lstm(), before].map(Layer::new);
    let said = warnings(|| assert!(!gru.is_persistent(&device)));
    assert_eq!(said, [""; 0]);
    let said = warnings(|| assert!(!lstm.is_persistent(&device)));
    let failed = said.iter().filter(|text| text.contains("rnn/persistent")).count();
    assert!(failed == 1 || !lstm.has_threads(&device), "{said:?}");
    for plan in lstm.plans(&device) {
        assert!(plan.reason.starts_with("persistent was asked for and is not possible"), "{plan}");
    }
    lstm.run(&device);
}

/// Values travel as their inverted bits, and no bits are no value. The NaN of all ones must not look like that.
pub(crate) fn a_nan_of_all_ones_is_a_value(_: &Device) {
    let shape = RnnShape { t: 4, b: 1, i: 4, h: 42 };
    let layer = Layer::with(CellSpec::linear(CellKind::Rnn), shape, false);
    // Other programs may keep a core from a workgroup for so long that a wait ends. They do not do so every time.
    let lasts = (0..3).any(|_| {
        let device = device(Algorithm::Persistent, None);
        let was_persistent = layer.is_persistent(&device);
        let packed = pack(&layer.spec, &zero_weights(&device, &layer.spec)).unwrap();
        let x =
            Array::from_f32(&device, &[f32::from_bits(u32::MAX); 16], &[shape.t, shape.b, shape.i]).unwrap();
        let y = forward(&training(&layer.spec, &packed, &x)).unwrap().y.to_vec().unwrap();
        assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
        layer.is_persistent(&device) == was_persistent || !layer.has_threads(&device)
    });
    assert!(lasts || is_busy(), "the workgroups waited in vain three times");
}
