//! The planner: what it says is what happens, what it measured is kept, and every plan computes the same.

mod common;
#[path = "planner/few_groups.rs"]
mod few_groups;
#[path = "planner/kept.rs"]
mod kept;
#[path = "planner/matrix_units.rs"]
mod matrix_units;
#[path = "planner/persistent.rs"]
mod persistent;
#[path = "planner/planned.rs"]
mod planned;

use common::{DeviceTest, device_test, options};
use planned::packed;
use rnn_kernels::cell::{CellSpec, Parameter, StackSpec, Storage, WeightFormat};
use rnn_runtime::ops::rnn::{
    CellWeights, Comparison, Packed, StackArgs, StackCotangents, StackDraws, Wanted, backward, forward, pack,
};
use rnn_runtime::{Algorithm, Array, Device, Error, GpuOptions, RngKey};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::{SplitMix64, to_f32};
use rnn_testing::oracle::{StackCase, random_spec, stack_spec};
use rnn_testing::shapes::RnnShape;

fn main() {
    let tests: Vec<DeviceTest> = vec![
        device_test!(shared_products_are_those_of_one_invocation),
        device_test!(kept::weights_in_registers_compute_the_same),
        device_test!(what_just_fits_workgroup_memory_runs),
        device_test!(planned::the_kernels_planned_without_a_device_are_those_that_run),
        device_test!(an_explanation_counts_what_runs),
        device_test!(layers_side_by_side_take_fewer_dispatches),
        device_test!(an_explanation_counts_the_bytes_of_every_option),
        device_test!(sizes_without_an_answer_are_refused_by_name),
        device_test!(an_explanation_names_sizes_beyond_the_adapter),
        device_test!(kept::measured_plans_are_kept_and_a_bad_table_is_replaced),
        device_test!(kept::an_explanation_says_where_its_facts_come_from),
        device_test!(kept::an_adapter_with_few_workgroups_is_not_measured),
        device_test!(kept::workgroups_beyond_256_compute_the_same),
        device_test!(a_comparison_measures_both_sides),
        device_test!(an_unknown_algorithm_is_refused_by_name),
        device_test!(few_groups::more_rows_than_a_pass_can_have_run_in_groups),
        device_test!(few_groups::a_limit_of_one_workgroup_is_refused),
        device_test!(matrix_units::matrix_units_are_used_or_reported),
        device_test!(persistent::workgroups_that_wait_for_each_other_compute_what_steps_compute),
        device_test!(persistent::a_recurrence_that_waited_in_vain_is_repeated),
        device_test!(persistent::without_memory_for_its_values_a_recurrence_runs_step_by_step),
        device_test!(persistent::a_nan_of_all_ones_is_a_value),
        device_test!(persistent::what_cannot_be_persistent_runs_step_by_step),
    ];
    common::run(tests.into_iter().map(DeviceTest::gpu_only).collect());
}

fn open(options: GpuOptions) -> Device {
    Device::gpu_with((), options).unwrap()
}

/// Few rows: kernels have a copy of their code for every row of an invocation, and a software driver compiles it. Tests of rows
/// are in `tests/rnn.rs`.
const SHAPE: RnnShape = RnnShape { t: 5, b: 3, i: 6, h: 13 };

/// A training step on the device; the worst error against the oracle over y, dx and the weights' gradients.
fn error(device: &Device, cell: CellSpec, storage: Storage) -> f64 {
    error_of(device, cell, storage, SHAPE)
}

fn error_of(device: &Device, cell: CellSpec, storage: Storage, shape: RnnShape) -> f64 {
    results_and_error_of(device, stack_spec(cell, shape, 1, true), storage, shape).1
}

/// A training step on the device: y, the gradients of x and of the initial states, and those of all weights, one after the
/// other; and the worst error as in [`error`].
fn results_and_error_of(
    device: &Device,
    spec: StackSpec,
    storage: Storage,
    shape: RnnShape,
) -> (Vec<f32>, f64) {
    let case = StackCase::random(spec, shape, true, 3);
    let spec = &case.spec;
    let array = |values: &[f64], dims: &[usize]| Array::from_f32(device, &to_f32(values), dims).unwrap();
    let h = shape.h;
    let states = [spec.num_states(), shape.b, h];
    let packed = packed(device, &case);
    let x = array(&case.input.x, &[shape.t, shape.b, shape.i]);
    let [h0, c0] = [&case.input.h0, &case.input.c0].map(|s| s.as_ref().map(|s| array(s, &states)));
    let args = StackArgs {
        spec,
        packed: &packed,
        x: &x,
        h0: h0.as_ref(),
        c0: c0.as_ref(),
        training: true,
        weights: WeightFormat::F32,
        storage,
        sequences: None,
        draws: None,
    };
    let out = forward(&args).unwrap();
    let dy = array(&case.dy, &[shape.t, shape.b, spec.output_size()]);
    let dh_n = array(&case.dh_n, &states);
    let dc_n = case.dc_n.as_ref().map(|dc_n| array(dc_n, &states));
    let cotangents = StackCotangents { dy: Some(&dy), dh_n: Some(&dh_n), dc_n: dc_n.as_ref() };
    let y = out.y.to_vec().unwrap();
    let grads =
        backward(spec, &packed, out.saved.unwrap(), &cotangents, Wanted { dx: true, states: true }).unwrap();
    let want = case.forward();
    let want_grads = case.backward(&want);
    let (mut results, mut worst) = (Vec::new(), 0f64);
    let mut compare = |got: Vec<f32>, want: &[f64]| {
        worst = worst.max(max_rel_err(&got, want));
        results.extend(got);
    };
    compare(y, &want.y);
    compare(grads.dx.unwrap().to_vec().unwrap(), &want_grads.dx);
    compare(grads.dh0.unwrap().to_vec().unwrap(), &want_grads.dh0);
    if let (Some(got), Some(want)) = (grads.dc0, &want_grads.dc0) {
        compare(got.to_vec().unwrap(), want);
    }
    for (got, want) in grads.weights.iter().zip(&want_grads.weights) {
        for (parameter, got) in got.all() {
            compare(got.to_vec().unwrap(), &want[parameter]);
        }
    }
    (results, worst)
}

/// Layers so small that several invocations share the product of a unit, by every kind of kernel that can.
fn shared_products_are_those_of_one_invocation(_: &Device) {
    // Units that fill no workgroup; rows that fill no tile; a depth that the parts do not divide.
    let shapes = [RnnShape { t: 4, b: 3, i: 5, h: 75 }, RnnShape { t: 3, b: 1, i: 5, h: 102 }];
    let kinds: [(Algorithm, &[&str], &str); 3] = [
        (Algorithm::Step, &[], "rows through workgroup memory"),
        (Algorithm::Sequence, &["rnn/held"], "rows through workgroup memory"),
        (Algorithm::Sequence, &[], "stay in workgroup memory"),
    ];
    for (algorithm, distrust, words) in kinds {
        let options = GpuOptions { subgroups: false, algorithm: Some(algorithm), distrust, ..options() };
        let device = open(options);
        for (shape, cell) in shapes.into_iter().zip([CellSpec::lstm(), CellSpec::gru()]) {
            let said = device.explain(&stack_spec(cell, shape, 1, true), shape.t, shape.b).unwrap();
            for pass in &said.recurrences[0] {
                assert!(pass.reason.contains("invocations to a unit"), "{shape:?} {pass}");
            }
            assert!(said.recurrences[0][0].reason.contains(words), "{shape:?} {said}");
            let error = error_of(&device, cell, Storage::F32, shape);
            assert!(error < 1e-4, "{algorithm} {distrust:?} {shape:?}: {error}");
        }
    }
}

/// The largest layers whose rows, and whose weights, stay in the workgroup memory of every WebGPU implementation.
fn what_just_fits_workgroup_memory_runs(_: &Device) {
    let algorithm = Some(Algorithm::Sequence);
    let distrust = &["rnn/registers"];
    let device =
        open(GpuOptions { subgroups: false, adapter_limits: false, algorithm, distrust, ..options() });
    for (cell, kinds) in [
        (CellSpec::lstm(), &["rows and weights stay", "rows stay"][..]),
        (CellSpec::gru(), &["rows stay"]),
        (CellSpec::rnn_tanh(), &["rows and weights stay"]),
    ] {
        for &words in kinds {
            for pass in [0, 1] {
                let stays = |h: usize| {
                    let shape = RnnShape { t: 2, b: 3, i: 3, h };
                    let said = device.explain(&stack_spec(cell, shape, 1, false), 2, 3).unwrap();
                    said.recurrences[0][pass].reason.contains(words)
                };
                let h = (1..60).map(|n| 4 * n).rfind(|&h| stays(h)).unwrap();
                println!("{:?}, pass {pass}: {words} up to H = {h}", cell.kind);
                let error = error_of(&device, cell, Storage::F32, RnnShape { t: 2, b: 3, i: 3, h });
                assert!(error < 1e-4, "{cell:?} {h}: {error}");
            }
        }
    }
}

fn an_explanation_counts_what_runs(_: &Device) {
    for algorithm in [Algorithm::Step, Algorithm::Sequence] {
        let device = open(GpuOptions { algorithm: Some(algorithm), wavefront: Some(0), ..options() });
        let spec = stack_spec(CellSpec::lstm(), SHAPE, 2, false);
        let said = device.explain(&spec, 3, 2).unwrap();
        assert_eq!(said.recurrences.len(), 2);
        let expected = if algorithm == Algorithm::Step { 3 } else { 1 };
        for [forward, backward] in &said.recurrences {
            assert_eq!((forward.algorithm, forward.dispatches), (algorithm, expected), "{forward}");
            assert_eq!(backward.algorithm, algorithm, "{backward}");
            assert!(forward.estimated > 0.0 && forward.measured.is_none(), "{forward}");
        }
        // H = 13 is padded to 16 and I = 6 to 8; per layer: x where it is padded, four gates, c and y.
        let cells = 3 * 2 * 16;
        let kept = (3 * 2 * 8 + 6 * cells) + (3 * 2 * 16 + 6 * cells);
        assert_eq!(said.kept_bytes, 4 * kept as u64);
        // U of the second layer outgrows its gates.
        assert_eq!(said.largest_array, 4 * 4 * 16 * 16);
        let longer = device.explain(&spec, 30, 2).unwrap();
        assert_eq!(longer.largest_array, 4 * 4 * 10 * cells as u64);
        let weights = 4 * 16 * (8 + 16 + 1) + 4 * 16 * (16 + 16 + 1);
        assert_eq!(said.weight_bytes, 4 * weights as u64);
        let text = said.to_string();
        assert!(text.contains(&format!("{algorithm}: {expected} dispatches")), "{text}");
    }
    let cpu = Device::cpu().explain(&stack_spec(CellSpec::gru(), SHAPE, 1, false), 3, 2).unwrap();
    assert!(cpu.recurrences.is_empty() && cpu.array_limit.is_none() && cpu.kept_bytes > 0);
}

/// Three layers of a training pass, one dispatch a step: T steps each, or T + 2 lag together, with a few more products.
fn layers_side_by_side_take_fewer_dispatches(_: &Device) {
    let spec = stack_spec(CellSpec::lstm(), SHAPE, 3, false);
    let dispatches = |wavefront: usize, steps: usize| {
        let algorithm = Some(Algorithm::Step);
        let device = open(GpuOptions { algorithm, wavefront: Some(wavefront), ..options() });
        let said = device.explain(&spec, steps, 2).unwrap();
        let of_recurrence = said.recurrences.iter().map(|[forward, _]| forward.dispatches).sum::<usize>();
        let zeros =
            |dims: &[usize]| Array::from_f32(&device, &vec![0.0; dims.iter().product()], dims).unwrap();
        let packed = pack(&spec, &zero_weights(&device, &spec)).unwrap();
        let x = zeros(&[steps, 2, SHAPE.i]);
        let args = training(&spec, &packed, &x);
        // The first pass arranges weights and tests kernels.
        forward(&args).unwrap();
        let before = device.stats().dispatches;
        let saved = forward(&args).unwrap().saved.unwrap();
        assert_eq!(said.kept_bytes, saved.bytes_beside(&x), "{wavefront}");
        (of_recurrence, device.stats().dispatches - before)
    };
    let ([apart, all_apart], [beside, all_beside]) = (dispatches(0, 48).into(), dispatches(8, 48).into());
    assert_eq!((apart, beside), (3 * 48, 48 + 2 * 8));
    // The first layer takes one product, the others one for every 8 steps; then a few copies.
    let (products, copies) = (1 + 2 * 48 / 8, 8);
    assert!(all_beside <= beside + products + copies, "{all_beside} with {beside} steps");
    assert!(all_apart >= apart + 3, "{all_apart}");
}

/// What is packed, and what a training pass holds, to the byte: options in random combinations, on both backends.
fn an_explanation_counts_the_bytes_of_every_option(gpu: &Device) {
    let shapes = [SHAPE, RnnShape { t: 2, b: 3, i: 8, h: 16 }, RnnShape { t: 3, b: 1, i: 5, h: 6 }];
    let mut rng = SplitMix64::new(11);
    for n in 0..60 {
        let shape = shapes[n / 6 % shapes.len()];
        let spec = random_spec(&mut rng, shape);
        // Every combination has kernels of its own to compile.
        let gpu = (n % 6 == 0).then_some(gpu);
        for device in gpu.into_iter().chain([&Device::cpu()]) {
            let said = device.explain(&spec, shape.t, shape.b).unwrap();
            let name = device.name();
            let packed = pack(&spec, &zero_weights(device, &spec)).unwrap();
            assert_eq!(said.weight_bytes, packed.bytes(), "{name}: {spec:?}");
            let dims = [shape.t, shape.b, shape.i];
            let x = Array::from_f32(device, &vec![0.0; dims.iter().product()], &dims).unwrap();
            let args = StackArgs {
                draws: Some(StackDraws { key: RngKey::new(3), first_step: 0, sequence: 0 }),
                ..training(&spec, &packed, &x)
            };
            let saved = forward(&args).unwrap().saved.unwrap();
            assert_eq!(said.kept_bytes, saved.bytes_beside(&x), "{name}: {spec:?}");
        }
    }
}

/// A training pass from zero states.
fn training<'a>(spec: &'a StackSpec, packed: &'a Packed, x: &'a Array) -> StackArgs<'a> {
    StackArgs {
        spec,
        packed,
        x,
        h0: None,
        c0: None,
        training: true,
        weights: WeightFormat::F32,
        storage: Storage::F32,
        sequences: None,
        draws: None,
    }
}

fn zero_weights(device: &Device, spec: &StackSpec) -> Vec<CellWeights> {
    let cell = |layer: usize| {
        let zeros = |parameter| {
            let dims = spec.parameter_dims(layer, parameter)?;
            Some(Array::from_f32(device, &vec![0.0; dims.iter().product()], &dims).unwrap())
        };
        let matrix = |parameter| zeros(parameter).unwrap();
        let mut cell = CellWeights::new(matrix(Parameter::WeightIh), matrix(Parameter::WeightHh));
        for parameter in Parameter::ALL {
            if let Some(values) = zeros(parameter) {
                cell.set(parameter, values);
            }
        }
        cell
    };
    (0..spec.num_states()).map(|n| cell(n / spec.num_directions())).collect()
}

fn sizes_without_an_answer_are_refused_by_name(device: &Device) {
    let spec = stack_spec(CellSpec::lstm(), SHAPE, 1, false);
    for (steps, batch, text) in [
        (0, 2, "steps must be at least 1, got 0"),
        (3, 0, "batch must be at least 1, got 0"),
        (1 << 20, 1 << 20, "batch must be at most 4095 for 1048576 steps, got 1048576"),
    ] {
        let errors = [
            device.explain(&spec, steps, batch).map(drop),
            Device::cpu().explain(&spec, steps, batch).map(drop),
            device.tune(&spec, steps, batch),
            Comparison::measure(device, &spec, steps, batch).map(drop),
        ];
        for error in errors {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}

fn an_explanation_names_sizes_beyond_the_adapter(_: &Device) {
    let device = open(options());
    let spec = stack_spec(CellSpec::lstm(), RnnShape { t: 1, b: 1, i: 1, h: 4096 }, 1, false);
    let said = device.explain(&spec, 10_000, 100).unwrap();
    assert!(said.array_limit.is_some_and(|limit| said.largest_array > limit));
    let text = said.to_string();
    assert!(text.contains("more than the adapter's limit") && text.contains("runs in segments of"), "{text}");
}

fn a_comparison_measures_both_sides(device: &Device) {
    let spec = stack_spec(CellSpec::rnn_tanh(), SHAPE, 1, false);
    let found = Comparison::measure(device, &spec, 4, 2).unwrap();
    assert!(found.cpu_seconds > 0.0 && found.gpu_seconds > 0.0);
    assert_eq!(found.gpu_is_faster(), found.gpu_wins_from == Some(2));
    let text = found.to_string();
    assert!(text.starts_with("H=13, B=2, T=4: ") && text.contains("times faster"), "{text}");
}

fn an_unknown_algorithm_is_refused_by_name(_: &Device) {
    let error = "steps".parse::<Algorithm>().unwrap_err();
    assert!(matches!(error, Error::Value { arg: "RNN_GPU_ALGO", .. }));
    assert!(error.to_string().contains("step, sequence or persistent, got steps"), "{error}");
}
