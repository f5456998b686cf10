//! The recurrent stack on every device against the f64 oracle: values and all gradients, with
//! non-zero states and cotangents on every output.

mod common;
#[cfg(feature = "gpu")]
#[path = "rnn/forms.rs"]
mod forms;
#[allow(dead_code, reason = "tests/rnn_options.rs has more cases")]
mod pass;
#[cfg(feature = "gpu")]
#[path = "rnn/side_by_side.rs"]
mod side_by_side;

use common::{device_test, device_tests};
use pass::{OnDevice, Results, run, weights};
use rnn_kernels::cell::{CellKind, CellSpec, Direction, Parameter, StackSpec, Storage, WeightFormat};
use rnn_runtime::ops::rnn::{
    StackArgs, StackCotangents, StackDraws, StackOutput, Wanted, backward, forward, pack,
};
use rnn_runtime::{Array, Device, RngKey};
use rnn_testing::compare::{Tolerance, assert_close, max_rel_err};
use rnn_testing::oracle::{CELLS, StackCase, stack_spec};
use rnn_testing::shapes::{RNN_SHAPES, RNN_SHAPES_SMALL, RnnShape};

/// The bound of the project: maximal difference over the largest value of the tensor. f32 sums of a
/// few hundred terms of size 1 stay two orders below it.
const BOUND: f64 = 1e-4;

/// A training pass.
fn train(device: &Device, case: &StackCase) -> Results {
    run(device, case, None, Storage::F32, false)
}

fn infer(device: &Device, case: &StackCase) -> StackOutput {
    forward(&OnDevice::new(device, case).args(&case.spec, None, false)).unwrap()
}

/// What the device and the oracle have of this name.
fn named<'a>(results: &'a Results, name: &str) -> Option<(&'a [f32], &'a [f64])> {
    results.iter().find(|(of, ..)| of == name).map(|(_, got, want)| (&got[..], &want[..]))
}

/// Runs a case both ways; returns the worst relative error.
fn check(device: &Device, name: &str, case: &StackCase) -> f64 {
    // Inference has kernels of its own on a GPU; those for many rows or units take longest to compile.
    let inference = device.is_cpu() || case.input.b <= 3 && case.spec.hidden_size <= 65;
    let results = run(device, case, None, Storage::F32, inference);
    if inference {
        for tensor in ["y", "h_n", "c_n"] {
            let [training, inference] =
                ["", " in inference"].map(|of| named(&results, &format!("{tensor}{of}")));
            assert_eq!(training, inference, "{name}: training and inference give different bits of {tensor}");
        }
    }
    let mut worst = 0f64;
    for (tensor, got, want) in &results {
        let error = max_rel_err(got, want);
        assert!(error <= BOUND, "{name}: {tensor} has relative error {error:.2e}");
        worst = worst.max(error);
    }
    worst
}

/// The cells of a case. The two activations of an Elman net differ by a constant of its kernels: on a GPU, which compiles
/// them for either, they take turns. So do the cells of many rows there, where kernels have a copy of their code for each
/// of 16 or 32 rows.
fn cells(device: &Device, case: usize, rows: usize) -> impl Iterator<Item = (&'static str, CellSpec)> {
    let every = device.is_cpu();
    let in_turn = ["rnn_tanh", "rnn_relu"][case % 2];
    let cells =
        CELLS.into_iter().filter(move |&(name, _)| every || !name.starts_with("rnn_") || name == in_turn);
    cells.enumerate().filter(move |(n, _)| every || rows <= 16 || n % 2 == case / 2 % 2).map(|(_, cell)| cell)
}

/// One layer of every cell over the whole table of shapes.
fn one_layer_matches_the_oracle(device: &Device) {
    let mut worst = 0f64;
    for (n, &shape) in RNN_SHAPES.iter().enumerate() {
        for (cell_name, cell) in cells(device, n, shape.b) {
            for with_state in [false, true] {
                let spec = stack_spec(cell, shape, 1, false);
                let case = StackCase::random(spec, shape, with_state, n as u64);
                worst = worst.max(check(device, &format!("{cell_name} {shape:?}"), &case));
            }
        }
    }
    println!("{}: worst relative error, one layer: {worst:.2e}", device.name());
}

/// Layers, directions and missing biases on the small shapes.
fn stacks_match_the_oracle(device: &Device) {
    let mut worst = 0f64;
    for (n, &shape) in RNN_SHAPES_SMALL.iter().enumerate() {
        for (cell_name, cell) in cells(device, n, shape.b) {
            let one = [Direction::Reverse, Direction::Forward][n % 2];
            let both = Direction::Bidirectional;
            for (layers, direction, bias) in [(1, both, true), (2, one, false), (3, both, true)] {
                let spec = StackSpec { bias, direction, ..stack_spec(cell, shape, layers, false) };
                let case = StackCase::random(spec, shape, true, 100 + n as u64);
                let name = format!("{cell_name} {shape:?} L={layers} {direction:?} bias={bias}");
                worst = worst.max(check(device, &name, &case));
            }
        }
    }
    println!("{}: worst relative error, stacks: {worst:.2e}", device.name());
}

/// Identity activations and small integers: every product and sum is exact, so one misplaced index,
/// step or gate shows as a different bit.
fn linear_cells_are_bit_exact(device: &Device) {
    for kind in CellKind::ALL {
        let rows = if device.is_cpu() { 18 } else { 6 };
        let (few, many) = (RnnShape { t: 3, b: 3, i: 5, h: 7 }, RnnShape { t: 2, b: rows, i: 2, h: 33 });
        for (shape, direction) in
            [(few, Direction::Bidirectional), (many, Direction::Forward), (many, Direction::Reverse)]
        {
            let spec = StackSpec { direction, ..stack_spec(CellSpec::linear(kind), shape, 1, false) };
            let mut case = StackCase::random(spec, shape, true, 5);
            let mut seed = 0u64;
            // -1, 0 or 1, mostly 0: values stay far below 2^24, where f32 stops being exact.
            let mut sparse = |values: &mut Vec<f64>| {
                for value in values {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    *value = match seed >> 60 {
                        0 | 1 => 1.0,
                        2 => -1.0,
                        _ => 0.0,
                    };
                }
            };
            for w in &mut case.weights {
                sparse(&mut w[Parameter::WeightIh]);
                sparse(&mut w[Parameter::WeightHh]);
                w.get_mut(Parameter::BiasIh).map(&mut sparse);
                w.get_mut(Parameter::BiasHh).map(&mut sparse);
            }
            sparse(&mut case.input.x);
            case.input.h0.as_mut().map(&mut sparse);
            case.input.c0.as_mut().map(&mut sparse);
            sparse(&mut case.dy);
            sparse(&mut case.dh_n);
            case.dc_n.as_mut().map(&mut sparse);
            for (name, got, want) in train(device, &case) {
                let limit = want.iter().fold(0f64, |m, v| m.max(v.abs()));
                assert!(limit < 16_777_216.0, "{kind:?}: {name} left the exact range");
                let got: Vec<f64> = got.iter().map(|&x| f64::from(x)).collect();
                assert_eq!(got, want, "{kind:?} {direction:?}: {name}");
            }
        }
    }
}

/// Other rows of a batch do not change the bits of a row. On the CPU a row alone has the same bits, too. On a GPU the plan
/// depends on the number of rows, and with it the order of sums.
fn batch_rows_are_independent(device: &Device) {
    let shape = RnnShape { t: 6, b: 21, i: 3, h: 19 };
    let spec = stack_spec(CellSpec::gru(), shape, 2, true);
    let case = StackCase::random(spec, shape, true, 9);
    let outputs = |case: &StackCase| infer(device, case).y.to_vec().unwrap();
    let row_of = |values: &[f32], row: usize| -> Vec<f32> {
        let width = 2 * shape.h;
        values.chunks(shape.b * width).flat_map(|step| step[row * width..][..width].to_vec()).collect()
    };
    let whole = outputs(&case);
    for row in [0, 7, 20] {
        let want = row_of(&whole, row);
        let mut beside = case.clone();
        let others = |values: &mut [f64], width: usize| {
            let rows = values.chunks_mut(width).enumerate().filter(|(n, _)| n % shape.b != row);
            rows.for_each(|(_, values)| values.iter_mut().for_each(|value| *value = f64::NAN));
        };
        others(&mut beside.input.x, shape.i);
        beside.input.h0.iter_mut().for_each(|h0| others(h0, shape.h));
        assert_eq!(row_of(&outputs(&beside), row), want, "row {row} beside others");

        let mut alone = case.clone();
        alone.input.b = 1;
        let pick = |values: &[f64], width: usize| -> Vec<f64> {
            values.chunks(shape.b * width).flat_map(|step| step[row * width..][..width].to_vec()).collect()
        };
        alone.input.x = pick(&case.input.x, shape.i);
        alone.input.h0 = case.input.h0.as_ref().map(|h0| pick(h0, shape.h));
        alone.dy = pick(&case.dy, 2 * shape.h);
        alone.dh_n = pick(&case.dh_n, shape.h);
        let y = outputs(&alone);
        if device.is_cpu() {
            assert_eq!(y, want, "row {row} alone");
        }
        let want: Vec<f64> = want.into_iter().map(f64::from).collect();
        assert!(max_rel_err(&y, &want) < 1e-6, "row {row} alone");
    }
}

/// Rounded weights give the bits that the f32 pass gives with weights which are exactly representable, and
/// otherwise what the oracle gives with the rounded weights.
fn rounded_weights_round_and_nothing_else(device: &Device) {
    // Each backend has its own format and refuses the other's.
    let (own, other) = match device.is_cpu() {
        true => (WeightFormat::Bf16, WeightFormat::F16),
        false => (WeightFormat::F16, WeightFormat::Bf16),
    };
    for (n, (_, cell)) in CELLS.into_iter().enumerate() {
        let shapes = [RnnShape { t: 5, b: 3, i: 31, h: 33 }, RnnShape { t: 3, b: 1, i: 7, h: 65 }];
        // On a GPU every format and shape is a kernel to compile: a cell has one of the shapes.
        let shapes = if device.is_cpu() { &shapes[..] } else { &shapes[n % 2..][..1] };
        for &shape in shapes {
            let spec = stack_spec(cell, shape, 2, true);
            let case = StackCase::random(spec, shape, true, 40 + n as u64);
            let mut rounded = case.clone();
            for w in &mut rounded.weights {
                for matrix in
                    w.get_disjoint_mut([Parameter::WeightIh, Parameter::WeightHh]).into_iter().flatten()
                {
                    for x in matrix.iter_mut() {
                        *x = match own {
                            WeightFormat::Bf16 => half::bf16::from_f32(*x as f32).to_f64(),
                            _ => half::f16::from_f32(*x as f32).to_f64(),
                        };
                    }
                }
            }
            let y = |case: &StackCase, weights: WeightFormat| {
                let on_device = OnDevice::new(device, case);
                let out = forward(&StackArgs { weights, ..on_device.args(&spec, None, false) });
                out.map(|out| out.y.to_vec().unwrap())
            };
            let text = y(&case, other).unwrap_err().to_string();
            assert!(
                text.contains(&format!("{other:?} weights on")) && text.contains(&format!("{own:?}")),
                "{text}"
            );
            let got = y(&case, own).unwrap();
            assert_eq!(got, y(&rounded, WeightFormat::F32).unwrap());
            assert_ne!(got, y(&case, WeightFormat::F32).unwrap());
            assert!(max_rel_err(&got, &rounded.forward().y) < BOUND);
        }
    }
}

/// Dropout between layers: masks are those of the generator, in the backward pass too.
fn dropout_between_layers_matches_the_oracle_with_the_same_masks(device: &Device) {
    let shape = RnnShape { t: 5, b: 3, i: 4, h: 7 };
    let (probability, first_step) = (0.4f32, 11u32);
    let spec = StackSpec { dropout: probability, ..stack_spec(CellSpec::lstm(), shape, 3, true) };
    let case = StackCase::random(spec, shape, true, 3);
    let key = RngKey::new(42);
    let width = shape.b * spec.output_size();
    let masks: Vec<Vec<f64>> = (0..2)
        .map(|layer| {
            let key = key.derive(rnn_runtime::ops::rnn::DROPOUT_STREAM, layer);
            (0..shape.t * width)
                .map(|k| {
                    let u = key.uniform(first_step + (k / width) as u32, (k % width) as u32);
                    if f64::from(u) < f64::from(probability) {
                        0.0
                    } else {
                        1.0 / (1.0 - f64::from(probability))
                    }
                })
                .collect()
        })
        .collect();
    let zeros = masks.iter().flatten().filter(|&&m| m == 0.0).count() as f64;
    let share = zeros / (2 * shape.t * width) as f64;
    assert!((share - 0.4).abs() < 0.08, "{share} of the activations are dropped");

    let mut case = case;
    case.input.masks.between = Some(masks);
    let draws = Some(StackDraws { key, first_step, sequence: 0 });
    let results = run(device, &case, draws, Storage::F32, false);
    let tolerance = Tolerance { abs: 2e-6, rel: 2e-5 }; // f32 sums of at most 56 terms of size 1
    for (tensor, width) in [("y", spec.output_size()), ("dx", shape.i)] {
        let (got, want) = named(&results, tensor).unwrap();
        assert_close(tensor, got, want, &[shape.t, shape.b, width], tolerance);
    }
    let (got, want) = named(&results, &format!("d {} of 0", Parameter::WeightIh.name())).unwrap();
    assert!(max_rel_err(got, want) < BOUND);
}

/// The same input twice gives the same bits, forward and backward.
fn results_are_deterministic(device: &Device) {
    let shape = RnnShape { t: 9, b: 33, i: 17, h: 40 };
    let spec = stack_spec(CellSpec::lstm(), shape, 2, true);
    let case = StackCase::random(spec, shape, true, 1);
    assert_eq!(train(device, &case), train(device, &case));
}

/// Wrong arguments are refused with the argument's name, what was expected and what came.
fn bad_arguments_are_refused(device: &Device) {
    let shape = RnnShape { t: 2, b: 3, i: 4, h: 5 };
    let spec = stack_spec(CellSpec::gru(), shape, 1, false);
    let case = StackCase::random(spec, shape, true, 1);
    let ok = OnDevice::new(device, &case);
    let message = |result: Result<StackOutput, rnn_runtime::Error>| result.unwrap_err().to_string();
    let inputs = ok.args(&spec, None, false);
    let args = |x, h0, c0| StackArgs { x, h0, c0, ..ok.args(&spec, None, false) };
    let wrong = Array::from_f32(device, &[0.0; 30], &[2, 3, 5]).unwrap();
    let text = message(forward(&args(&wrong, None, None)));
    assert!(text.contains("x must be [T, B, I] = [2, 3, 4], got [2, 3, 5]"), "{text}");
    let text = message(forward(&args(inputs.x, Some(&wrong), None)));
    assert!(text.contains("h0 must be [L*D, B, P] = [1, 3, 5]"), "{text}");
    let text = message(forward(&args(inputs.x, None, inputs.h0)));
    assert!(text.contains("only an LSTM has a cell state"), "{text}");

    let right = weights(device, &case);
    let mut weights = right.clone();
    weights[0][Parameter::WeightHh] = wrong.clone();
    let text = pack(&spec, &weights).unwrap_err().to_string();
    assert!(text.contains("weight_hh_l0 must be [G*H, H] = [15, 5]"), "{text}");
    let text = pack(&StackSpec { bias: false, ..spec }, &right).unwrap_err().to_string();
    assert!(text.contains("bias_ih must be absent"), "{text}");
    let text = pack(&StackSpec { hidden_size: 0, ..spec }, &right).unwrap_err().to_string();
    assert!(text.contains("hidden_size"), "{text}");
    let text = pack(&spec, &[]).unwrap_err().to_string();
    assert!(text.contains("L*D = 1 cells"), "{text}");

    let out = forward(&ok.args(&spec, None, true)).unwrap();
    let cotangents = StackCotangents { dy: Some(inputs.x), ..Default::default() };
    let wanted = Wanted { dx: true, states: true };
    let text = backward(&spec, &ok.packed, out.saved.unwrap(), &cotangents, wanted).unwrap_err().to_string();
    assert!(text.contains("dy must be [T, B, D*P]"), "{text}");
}

/// Long enough for a GPU to project the input a piece at a time: the states go from piece to piece, and nothing
/// shows. The CPU's result is the reference, which the other tests hold against the oracle.
fn long_sequences_are_projected_in_pieces(device: &Device) {
    let elman = (CellSpec::rnn_tanh(), RnnShape { t: 131, b: 1030, i: 3, h: 64 });
    let lstm = (CellSpec::lstm(), RnnShape { t: 67, b: 1030, i: 3, h: 32 });
    for ((cell, shape), direction) in
        [(elman, Direction::Forward), (lstm, Direction::Forward), (lstm, Direction::Reverse)]
    {
        let spec = StackSpec { direction, ..stack_spec(cell, shape, 1, false) };
        let case = StackCase::random(spec, shape, true, 11);
        let run = |device: &Device| {
            let out = infer(device, &case);
            let c_n = out.c_n.map(|c_n| c_n.to_vec().unwrap()).unwrap_or_default();
            [out.y.to_vec().unwrap(), out.h_n.to_vec().unwrap(), c_n]
        };
        for (got, want) in run(device).iter().zip(run(&Device::cpu())) {
            let want: Vec<f64> = want.iter().map(|&x| f64::from(x)).collect();
            if !want.is_empty() {
                let error = max_rel_err(got, &want);
                assert!(error <= 1e-5, "{cell:?} {direction:?}: {error:.2e}");
            }
        }
    }
}

fn main() {
    let stacks = device_test!(stacks_match_the_oracle).with_webgpu_limits();
    let mut tests = device_tests![
        one_layer_matches_the_oracle,
        linear_cells_are_bit_exact,
        batch_rows_are_independent,
        rounded_weights_round_and_nothing_else,
        dropout_between_layers_matches_the_oracle_with_the_same_masks,
        results_are_deterministic,
        long_sequences_are_projected_in_pieces,
        bad_arguments_are_refused,
    ];
    tests.push(stacks);
    #[cfg(feature = "gpu")]
    tests.extend([
        device_test!(forms::kernels_that_fail_their_self_test_are_replaced).gpu_only(),
        device_test!(forms::every_form_of_the_kernels_stores_f16).gpu_only(),
        device_test!(forms::recurrences_need_no_more_workgroups_than_there_are).gpu_only(),
        device_test!(forms::kernels_around_a_recurrence_need_no_more_workgroups_than_there_are).gpu_only(),
        device_test!(side_by_side::layers_side_by_side_match_the_oracle).gpu_only(),
        device_test!(side_by_side::layers_side_by_side_match_the_oracle_without_subgroups).gpu_only(),
    ]);
    common::run_in_subgroups_of_eight(tests);
}
