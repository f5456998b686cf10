//! Every option of the recurrent stack, in random combinations, on every device against the f64 oracle: values
//! and all gradients, with ragged rows, resets and noise.
//!
//! `RNN_COMBINATIONS` sets their number; 500 a device at first.

mod common;

use common::device_test;
use rnn_kernels::cell::{Parameter, StackSpec, Storage, WeightFormat};
use rnn_runtime::ops::rnn::{
    CellWeights, DROPOUT_STREAM, INPUT_STREAM, NOISE_STREAM, OUTPUT_STREAM, Packed, Sequences, StackArgs,
    StackCotangents, StackDraws, Wanted, backward, forward, pack,
};
use rnn_runtime::{Array, Device, RngKey};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::{SplitMix64, to_f32};
use rnn_testing::oracle::{Masks, StackCase, random_spec, with_options};
use rnn_testing::shapes::RnnShape;

fn main() {
    #[allow(unused_mut, reason = "CPU-only builds add none")]
    let mut tests = vec![
        device_test!(first_quarter_of_random_combinations),
        device_test!(second_quarter_of_random_combinations),
        device_test!(third_quarter_of_random_combinations),
        device_test!(last_quarter_of_random_combinations),
        device_test!(half_gates_cost_their_rounding),
        device_test!(half_storage_costs_its_rounding),
        device_test!(a_split_sequence_is_the_whole),
        device_test!(padding_is_invisible),
    ];
    #[cfg(feature = "gpu")]
    tests.push(device_test!(layers_side_by_side_match_the_oracle).gpu_only());
    common::run(tests);
}

/// As in `tests/rnn.rs`. A normalisation of a few units that are nearly alike magnifies rounding by the inverse of
/// their deviation, up to 300 here.
const BOUND: f64 = 1e-4;
const NORM_BOUND: f64 = 2e-3;

const SHAPES: [RnnShape; 4] = [
    RnnShape { t: 5, b: 3, i: 4, h: 6 },
    RnnShape { t: 4, b: 9, i: 3, h: 12 },
    RnnShape { t: 7, b: 1, i: 5, h: 17 },
    RnnShape { t: 3, b: 20, i: 8, h: 5 },
];

fn array(device: &Device, values: &[f64], dims: &[usize]) -> Array {
    Array::from_f32(device, &to_f32(values), dims).unwrap()
}

fn weights(device: &Device, case: &StackCase) -> Vec<CellWeights> {
    let spec = &case.spec;
    let each = case.weights.iter().enumerate().map(|(n, w)| {
        let of = |parameter| {
            let dims = spec.parameter_dims(n / spec.num_directions(), parameter)?;
            Some(array(device, w.get(parameter).unwrap(), &dims))
        };
        let mut cell = CellWeights::new(of(Parameter::WeightIh).unwrap(), of(Parameter::WeightHh).unwrap());
        for parameter in Parameter::ALL {
            if let Some(values) = of(parameter) {
                cell.set(parameter, values);
            }
        }
        cell
    });
    each.collect()
}

/// The masks that `draws` stands for, as ops::rnn documents them.
fn masks(spec: &StackSpec, t: usize, b: usize, draws: StackDraws) -> Masks {
    let StackDraws { key, first_step, sequence } = draws;
    let noise = &spec.regularization;
    let below = |bits: u32, rate: f32| f64::from(bits >> 8) < (f64::from(rate) * 16_777_216.0).round();
    let scaled = move |bits: u32, rate: f32| {
        if below(bits, rate) { 0.0 } else { 1.0 / (1.0 - f64::from(rate)) }
    };
    let (h, p, out, states) = (spec.hidden_size, spec.state_size(), spec.output_size(), spec.num_states());
    let of_state = |state: usize| key.derive(NOISE_STREAM, state as u32);
    let draw = |key: RngKey, step: u32, element: usize| key.pair(step, element as u32);
    // [T, B, width] of every state.
    let per_step = |rate: f32, width: usize, value: &dyn Fn(RngKey, u32, usize) -> f64| {
        (rate > 0.0).then(|| {
            let of = |state| {
                let element = move |k: usize| (first_step + (k / (b * width)) as u32, k % (b * width));
                (0..t * b * width).map(element).map(|(s, e)| value(of_state(state), s, e)).collect()
            };
            (0..states).map(of).collect()
        })
    };
    let shared = |stream: u32, layer: usize, rate: f32, width: usize| -> Vec<f64> {
        let key = key.derive(stream, layer as u32);
        (0..b * width).map(|k| scaled(draw(key, sequence, k)[0], rate)).collect()
    };
    let zoned = |bits: u32, rate: f32| f64::from(u8::from(below(bits, rate)));
    Masks {
        between: (spec.dropout > 0.0).then(|| {
            let of = |layer: usize| {
                let key = key.derive(DROPOUT_STREAM, layer as u32);
                let row = b * out;
                let value =
                    |k: usize| scaled(draw(key, first_step + (k / row) as u32, k % row)[0], spec.dropout);
                (0..t * row).map(value).collect()
            };
            (0..spec.num_layers - 1).map(of).collect()
        }),
        input: (noise.input_dropout > 0.0).then(|| {
            let of = |layer| shared(INPUT_STREAM, layer, noise.input_dropout, spec.layer_input_size(layer));
            (0..spec.num_layers).map(of).collect()
        }),
        output: (noise.output_dropout > 0.0).then(|| shared(OUTPUT_STREAM, 0, noise.output_dropout, out)),
        recurrent: (noise.recurrent_dropout > 0.0).then(|| {
            let of = |state| {
                let value =
                    |k| scaled(draw(of_state(state), sequence, k | 1 << 30)[0], noise.recurrent_dropout);
                (0..b * p).map(value).collect()
            };
            (0..states).map(of).collect()
        }),
        candidate: per_step(noise.candidate_dropout, h, &|key, s, e| {
            scaled(draw(key, s, e | 1 << 31)[0], noise.candidate_dropout)
        }),
        zoneout_h: per_step(noise.zoneout_h, p, &|key, s, e| zoned(draw(key, s, e)[0], noise.zoneout_h)),
        zoneout_c: per_step(noise.zoneout_c, h, &|key, s, e| zoned(draw(key, s, e)[1], noise.zoneout_c)),
    }
}

/// A case on a device.
struct OnDevice {
    packed: Packed,
    x: Array,
    h0: Option<Array>,
    c0: Option<Array>,
    sequences: Option<Sequences>,
}

impl OnDevice {
    fn new(device: &Device, case: &StackCase) -> Self {
        let (spec, input) = (&case.spec, &case.input);
        let state = |values: &Option<Vec<f64>>, width| {
            values.as_ref().map(|values| array(device, values, &[spec.num_states(), input.b, width]))
        };
        let ragged = input.lengths.is_some() || input.resets.is_some();
        OnDevice {
            packed: pack(spec, &weights(device, case)).unwrap(),
            x: array(device, &input.x, &[input.t, input.b, spec.input_size]),
            h0: state(&input.h0, spec.state_size()),
            c0: state(&input.c0, spec.hidden_size),
            sequences: ragged.then(|| {
                Sequences::new([input.t, input.b], input.lengths.as_deref(), input.resets.as_deref()).unwrap()
            }),
        }
    }

    fn args<'a>(&'a self, spec: &'a StackSpec, draws: Option<StackDraws>, training: bool) -> StackArgs<'a> {
        StackArgs {
            spec,
            packed: &self.packed,
            x: &self.x,
            h0: self.h0.as_ref(),
            c0: self.c0.as_ref(),
            sequences: self.sequences.as_ref(),
            training,
            weights: WeightFormat::F32,
            storage: Storage::F32,
            draws,
        }
    }
}

/// Values and gradients of a pass by name, and those of the oracle.
type Results = Vec<(String, Vec<f32>, Vec<f64>)>;

fn run(device: &Device, case: &StackCase, draws: Option<StackDraws>, storage: Storage) -> Results {
    let (spec, input) = (&case.spec, &case.input);
    let on_device = OnDevice::new(device, case);
    let out = forward(&StackArgs { storage, ..on_device.args(spec, draws, true) }).unwrap();
    let inference = forward(&on_device.args(spec, draws, false)).unwrap();
    let want = case.forward();
    let want_grads = case.backward(&want);
    let host = |array: &Array| array.to_vec().unwrap();
    let mut all = vec![
        ("y".to_string(), host(&out.y), want.y.clone()),
        ("h_n".into(), host(&out.h_n), want.h_n.clone()),
        ("y in inference".into(), host(&inference.y), want.y.clone()),
        ("h_n in inference".into(), host(&inference.h_n), want.h_n.clone()),
    ];
    if let (Some(c_n), Some(same), Some(want)) = (&out.c_n, &inference.c_n, &want.c_n) {
        all.push(("c_n".into(), host(c_n), want.clone()));
        all.push(("c_n in inference".into(), host(same), want.clone()));
    }
    let states = |values: &Vec<f64>, width| array(device, values, &[spec.num_states(), input.b, width]);
    let dy = array(device, &case.dy, &[input.t, input.b, spec.output_size()]);
    let dh_n = states(&case.dh_n, spec.state_size());
    let dc_n = case.dc_n.as_ref().map(|dc_n| states(dc_n, spec.hidden_size));
    let cotangents = StackCotangents { dy: Some(&dy), dh_n: Some(&dh_n), dc_n: dc_n.as_ref() };
    let wanted = Wanted { dx: true, states: true };
    let grads = backward(spec, &on_device.packed, out.saved.unwrap(), &cotangents, wanted).unwrap();
    all.push(("dx".into(), host(grads.dx.as_ref().unwrap()), want_grads.dx));
    all.push(("dh0".into(), host(grads.dh0.as_ref().unwrap()), want_grads.dh0));
    if let (Some(dc0), Some(want)) = (&grads.dc0, want_grads.dc0) {
        all.push(("dc0".into(), host(dc0), want));
    }
    for (n, (got, want)) in grads.weights.iter().zip(&want_grads.weights).enumerate() {
        assert!(got.all().map(|(p, _)| p).eq(want.all().map(|(p, _)| p)), "{spec:?}");
        for ((parameter, got), (_, want)) in got.all().zip(want.all()) {
            all.push((format!("d {} of {n}", parameter.name()), host(got), want.clone()));
        }
    }
    all
}

fn combinations() -> u64 {
    std::env::var("RNN_COMBINATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

// Four trials, because what takes the time on a GPU is compiling kernels, which threads can share.
fn first_quarter_of_random_combinations(device: &Device) {
    random_combinations_match_the_oracle(device, 0);
}

fn second_quarter_of_random_combinations(device: &Device) {
    random_combinations_match_the_oracle(device, 1);
}

fn third_quarter_of_random_combinations(device: &Device) {
    random_combinations_match_the_oracle(device, 2);
}

fn last_quarter_of_random_combinations(device: &Device) {
    random_combinations_match_the_oracle(device, 3);
}

fn random_combinations_match_the_oracle(device: &Device, quarter: u64) {
    let mut rng = SplitMix64::new(510 + quarter);
    let (mut worst, mut failures) = (0f64, Vec::new());
    for n in (0..combinations()).filter(|n| n % 4 == quarter) {
        let shape = SHAPES[n as usize / 4 % SHAPES.len()];
        let spec = random_spec(&mut rng, shape);
        let mut case = with_options(StackCase::random(spec, shape, n % 3 > 0, n), &mut rng);
        let draws = StackDraws { key: RngKey::new(n), first_step: 3, sequence: 5 + n as u32 };
        let draws = (n / 4 % 2 == 0).then_some(draws);
        if let Some(draws) = draws {
            case.input.masks = masks(&spec, shape.t, shape.b, draws);
        }
        let bound = if spec.cell.layer_norm { NORM_BOUND } else { BOUND };
        for (name, got, want) in run(device, &case, draws, Storage::F32) {
            let error = max_rel_err(&got, &want);
            if error > bound || error.is_nan() {
                let (lengths, resets) = (&case.input.lengths, &case.input.resets);
                failures.push(format!(
                    "{n}: {name} has relative error {error:.1e}: {shape:?} {spec:?} {draws:?} {lengths:?} {resets:?}"
                ));
                break;
            }
            worst = if spec.cell.layer_norm { worst } else { worst.max(error) };
        }
    }
    println!("{}: worst relative error without normalisation: {worst:.2e}", device.name());
    let shown = failures.iter().take(12).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} combinations fail\n{shown}", failures.len());
}

/// Stacks whose layers run side by side, some steps apart: with a lag that divides T and one that does not, of one step
/// and beyond T; with the options that allow it, and dropout between the layers.
#[cfg(feature = "gpu")]
fn layers_side_by_side_match_the_oracle(_: &Device) {
    use rnn_kernels::cell::Merge;
    use rnn_runtime::{Algorithm, CacheDir, GpuOptions};
    let mut rng = SplitMix64::new(516);
    let (mut worst, mut together) = (0f64, 0);
    for (n, lag) in [1, 2, 3, 7].into_iter().enumerate() {
        let algorithm = [Algorithm::Step, Algorithm::Sequence][n % 2];
        let options = GpuOptions {
            wavefront: Some(lag),
            algorithm: Some(algorithm),
            subgroups: n < 2,
            cache_dir: CacheDir::Off,
            ..GpuOptions::default()
        };
        let device = &Device::gpu_with((), options).unwrap();
        for k in [0, 2, 3, 4, 5, 7] {
            let shape = SHAPES[(k + 2 * n) % SHAPES.len()];
            let mut spec = random_spec(&mut rng, shape);
            (spec.num_layers, spec.bidirectional, spec.merge) = (2 + k % 2, false, Merge::Concat);
            (spec.dropout, spec.proj_size) = ([0.0, 0.4][k / 4], 0);
            (spec.cell.layer_norm, spec.cell.reset_after) = (false, true);
            if spec.check().is_err() {
                continue;
            }
            let mut case = StackCase::random(spec, shape, k % 3 > 0, k as u64);
            let draws =
                (k >= 4).then_some(StackDraws { key: RngKey::new(n as u64), first_step: 3, sequence: 5 });
            if let Some(draws) = draws {
                case.input.masks = masks(&spec, shape.t, shape.b, draws);
            }
            let said = device.explain(&spec, shape.t, shape.b).unwrap();
            together += usize::from(said.lag.is_some());
            if k == 0 {
                same_traces(&case, [device, &Device::cpu()]);
            }
            for storage in [Storage::F32, Storage::Half] {
                let bound = if storage == Storage::F32 { BOUND } else { HALF_BOUND };
                if storage.check(&spec).is_err() {
                    continue;
                }
                for (name, got, want) in run(device, &case, draws, storage) {
                    let error = max_rel_err(&got, &want);
                    assert!(
                        error <= bound,
                        "{lag}, {k}: {name} has relative error {error:.1e}: {shape:?} {spec:?}"
                    );
                    worst = if storage == Storage::F32 { worst.max(error) } else { worst };
                }
            }
        }
    }
    println!("worst relative error of layers side by side: {worst:.2e}; of {together} stacks");
    assert!(together > 10);
}

/// Every gate and state that both devices say they keep.
#[cfg(feature = "gpu")]
fn same_traces(case: &StackCase, devices: [&Device; 2]) {
    let spec = &case.spec;
    for layer in 0..spec.num_layers {
        let [own, other] = devices.map(|device| {
            let saved = forward(&OnDevice::new(device, case).args(spec, None, true)).unwrap().saved.unwrap();
            let trace = saved.trace(spec, layer).unwrap();
            let arrays = [Some(trace.gates), Some(trace.h), trace.c].into_iter().flatten();
            arrays.map(|array| array.to_vec().unwrap()).collect::<Vec<_>>()
        });
        for (own, other) in own.iter().zip(&other) {
            let other: Vec<f64> = other.iter().map(|&value| f64::from(value)).collect();
            assert!(max_rel_err(own, &other) < BOUND, "layer {layer} of {spec:?}");
        }
        assert_eq!(own.len(), other.len());
    }
}

/// Gates that are kept in f16 have an error of 2^-12 of their size; derivatives that are made from them, over a few steps
/// and layers, one of some times that. Outputs and states have none of it.
const HALF_BOUND: f64 = 4e-3;

fn half_gates_cost_their_rounding(device: &Device) {
    let mut rng = SplitMix64::new(514);
    let (mut worst, mut rounded) = (0f64, 0);
    for n in 0..if device.is_cpu() { 60 } else { 12 } {
        let shape = SHAPES[n as usize % SHAPES.len()];
        let spec = random_spec(&mut rng, shape);
        let case = with_options(StackCase::random(spec, shape, true, n), &mut rng);
        if spec.cell.layer_norm {
            continue;
        }
        if spec.cell.clip.is_some() {
            let on_device = OnDevice::new(device, &case);
            let refused =
                forward(&StackArgs { storage: Storage::HalfGates, ..on_device.args(&spec, None, true) });
            assert!(refused.unwrap_err().to_string().contains("storage must be F32 with a clip"));
            continue;
        }
        let (whole, half) =
            (run(device, &case, None, Storage::F32), run(device, &case, None, Storage::HalfGates));
        for ((name, whole, _), (_, half, want)) in whole.into_iter().zip(half) {
            if !name.starts_with('d') {
                assert!(whole == half, "{name} of {spec:?}");
                continue;
            }
            let error = max_rel_err(&half, &want);
            assert!(error <= HALF_BOUND, "{n}: {name} has relative error {error:.1e}: {shape:?} {spec:?}");
            worst = worst.max(error);
            rounded += usize::from(whole != half);
        }
    }
    println!("{}: worst relative error with gates in f16: {worst:.2e}", device.name());
    assert!(rounded > 0);
}

/// Outputs have the same error here, because everything that moves is rounded.
fn half_storage_costs_its_rounding(device: &Device) {
    let mut rng = SplitMix64::new(515);
    let (mut worst, mut rounded, mut cases) = (0f64, 0, 0);
    // On a GPU every one has kernels of its own to compile.
    for n in 0..if device.is_cpu() { 60 } else { (combinations() / 16).clamp(6, 30) } {
        let shape = SHAPES[n as usize % SHAPES.len()];
        let spec = random_spec(&mut rng, shape);
        let mut case = with_options(StackCase::random(spec, shape, true, n), &mut rng);
        if Storage::Half.check(&spec).is_err() {
            let on_device = OnDevice::new(device, &case);
            let refused = forward(&StackArgs { storage: Storage::Half, ..on_device.args(&spec, None, true) });
            assert!(refused.unwrap_err().to_string().contains("storage must be F32"));
            continue;
        }
        let draws = StackDraws { key: RngKey::new(n), first_step: 3, sequence: 5 };
        let draws = (n % 2 == 0).then_some(draws);
        if let Some(draws) = draws {
            case.input.masks = masks(&spec, shape.t, shape.b, draws);
        }
        let mut moved = false;
        for (name, got, want) in run(device, &case, draws, Storage::Half) {
            let error = max_rel_err(&got, &want);
            assert!(error <= HALF_BOUND, "{n}: {name} has relative error {error:.1e}: {shape:?} {spec:?}");
            moved |= name == "y" && error > 2e-5;
            worst = worst.max(error);
        }
        rounded += usize::from(moved);
        cases += 1;
    }
    println!(
        "{}: worst relative error with f16 storage: {worst:.2e}; in {rounded} of {cases} cases kernels stored f16",
        device.name()
    );
    // On a GPU the kernels store it; the CPU keeps its gates so.
    assert_eq!(rounded, if device.is_cpu() { 0 } else { cases });
}

/// Two parts with carried state, in training with noise that is numbered on, give the bits of the whole.
fn a_split_sequence_is_the_whole(device: &Device) {
    let mut rng = SplitMix64::new(511);
    for n in 0..40 {
        let shape = RnnShape { t: 6, b: 3, i: 4, h: 8 };
        let spec =
            StackSpec { bidirectional: false, merge: Default::default(), ..random_spec(&mut rng, shape) };
        let case = StackCase::random(spec, shape, true, n);
        let on_device = OnDevice::new(device, &case);
        let draws = StackDraws { key: RngKey::new(n), first_step: 9, sequence: 2 };
        let whole = forward(&on_device.args(&spec, Some(draws), false)).unwrap();
        let cut = 2;
        let part = |start: usize, end: usize| {
            let width = shape.b * shape.i;
            array(device, &case.input.x[start * width..end * width], &[end - start, shape.b, shape.i])
        };
        let (a, b) = (part(0, cut), part(cut, shape.t));
        let first = forward(&StackArgs { x: &a, ..on_device.args(&spec, Some(draws), false) }).unwrap();
        let later = StackDraws { first_step: draws.first_step + cut as u32, ..draws };
        let second = forward(&StackArgs {
            x: &b,
            h0: Some(&first.h_n),
            c0: first.c_n.as_ref(),
            ..on_device.args(&spec, Some(later), false)
        })
        .unwrap();
        let host = |array: &Array| array.to_vec().unwrap();
        let parts = [host(&first.y), host(&second.y)].concat();
        let error = max_rel_err(&parts, &host(&whole.y).iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        assert!(error <= 1e-6, "{n}: {error:.1e}: {spec:?}");
        assert_eq!(host(&second.h_n).len(), host(&whole.h_n).len());
    }
}

/// NaN in the padding changes no bit.
fn padding_is_invisible(device: &Device) {
    let mut rng = SplitMix64::new(512);
    for n in 0..40 {
        let shape = RnnShape { t: 5, b: 4, i: 3, h: 8 };
        let spec = random_spec(&mut rng, shape);
        let mut case = StackCase::random(spec, shape, true, n);
        let lengths = vec![2, 5, 1, 4];
        case.input.lengths = Some(lengths.clone());
        let results = |x: &[f64], dy: &[f64]| {
            let mut case = case.clone();
            case.input.x = x.to_vec();
            let on_device = OnDevice::new(device, &case);
            let out = forward(&on_device.args(&spec, None, true)).unwrap();
            let dy = array(device, dy, &[shape.t, shape.b, spec.output_size()]);
            let y = out.y.to_vec().unwrap();
            let cotangents = StackCotangents { dy: Some(&dy), ..Default::default() };
            let wanted = Wanted { dx: true, states: true };
            let grads = backward(&spec, &on_device.packed, out.saved.unwrap(), &cotangents, wanted).unwrap();
            let mut all = vec![y, grads.dx.unwrap().to_vec().unwrap()];
            all.extend(
                grads
                    .weights
                    .iter()
                    .flat_map(|w| w.all().map(|(_, a)| a.to_vec().unwrap()).collect::<Vec<_>>()),
            );
            all
        };
        let spoil = |values: &[f64], width: usize| -> Vec<f64> {
            let padding = |k: usize| (k / width) / shape.b >= lengths[(k / width) % shape.b];
            values.iter().enumerate().map(|(k, &v)| if padding(k) { f64::NAN } else { v }).collect()
        };
        let clean = results(&case.input.x, &case.dy);
        let spoilt = results(&spoil(&case.input.x, shape.i), &spoil(&case.dy, spec.output_size()));
        assert_eq!(clean, spoilt, "{n}: {spec:?}");
        assert!(clean.iter().flatten().all(|v| v.is_finite()), "{n}: {spec:?}");
    }
}
