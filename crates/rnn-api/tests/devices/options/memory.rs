//! Checkpoints along time, and looking inside.

use super::any::{Any, Case};
use super::{BOUND, SAME, combinations, combinations_with, random};
use crate::common::own_device;
use rnn_api::prelude::*;
use rnn_api::{Error, backward};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::to_f64;

/// Values and gradients in training, with noise, are those of a pass that keeps everything.
pub(crate) fn checkpoints_change_no_gradient(device: &Device) {
    let x = random(device, 1, &[8, 3, 4]).requires_grad();
    let lengths = Lengths::new([4, 7, 2]).unwrap();
    let resets = Resets::new((0..24).map(|k| k % 7 == 5).collect::<Vec<_>>());
    let mut failures = Vec::new();
    for ((name, whole), (_, parts)) in
        combinations(device).into_iter().zip(combinations_with(device, Some(3)))
    {
        if whole.spec().direction != Direction::Forward {
            continue;
        }
        for (lengths, resets) in [(None, None), (Some(&lengths), None), (Some(&lengths), Some(&resets))] {
            if lengths.is_some() && resets.is_none() && !device.is_cpu() {
                continue;
            }
            let run = |layer: &Any| {
                let (h, c) = layer.some_state(device, 3);
                let (h, c) = (h.requires_grad(), c.map(Tensor::requires_grad));
                let out = layer.forward(&x, Some((&h, c.as_ref())), lengths, resets);
                let cotangent = |seed, of: &Tensor| random(device, seed, of.dims()).into_array();
                let mut all = vec![("y".to_string(), out.y.clone()), ("h_n".into(), out.h.clone())];
                let mut cotangents = vec![(out.y.clone(), cotangent(2, &out.y))];
                cotangents.push((out.h.clone(), cotangent(3, &out.h)));
                if let Some(c_n) = out.c {
                    all.push(("c_n".into(), c_n.clone()));
                    cotangents.push((c_n.clone(), cotangent(4, &c_n)));
                }
                let grads = backward(&cotangents).unwrap();
                all.extend([("dx".into(), grads.get(&x).unwrap()), ("dh0".into(), grads.get(&h).unwrap())]);
                all.extend(c.map(|c| ("dc0".into(), grads.get(&c).unwrap())));
                for (name, param) in layer.module().named_parameters() {
                    all.push((format!("d.{name}"), grads.get(&param).unwrap()));
                }
                all
            };
            for ((what, want), (_, got)) in run(&whole).into_iter().zip(run(&parts)) {
                assert_eq!(got.dims(), want.dims(), "{name}: {what}");
                let error = max_rel_err(&got.to_vec().unwrap(), &to_f64(&want.to_vec().unwrap()));
                // The weights' gradients are sums of the segments' sums.
                if error > SAME || error.is_nan() {
                    failures.push(format!("{name}, {lengths:?}, {}: {what}: {error:.1e}", resets.is_some()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    let config = GruConfig::new(4, 8).with_checkpoint_every(3);
    for direction in [Direction::Reverse, Direction::Bidirectional] {
        let error = config.clone().with_direction(direction).init(device, 1).unwrap_err();
        assert!(matches!(error, Error::Config { field: "checkpoint_every", .. }), "{error}");
    }
    let error = config.clone().with_checkpoint_every(0).init(device, 1).unwrap_err();
    assert!(error.to_string().contains("at least 1 step"), "{error}");
    // The gradient of the last state alone.
    let plain = GruConfig::new(4, 8).init(device, 1).unwrap();
    let gradient = |gru: &Gru| {
        let last = gru.forward(&x, None).unwrap().last().unwrap();
        last.sum_all().unwrap().backward().unwrap().get(&x).unwrap()
    };
    super::close("through last()", &gradient(&config.init(device, 1).unwrap()), &gradient(&plain));
}

/// Bytes that a training step takes from the system, where T = 2000: everything kept is 18 arrays of T*B*H in
/// three layers, kept with checkpoints are x, y and two of 45 parts of that. Gates in f16 are 12 half arrays less, but
/// four whole ones more while a layer runs; where kernels store f16, nothing is more.
pub(crate) fn checkpoints_save_memory(device: &Device) {
    let bytes = |every: Option<usize>, storage: Storage| {
        let device = own_device(device);
        let mut config = LstmConfig::new(4, 32).with_num_layers(3);
        config.checkpoint_every = every;
        config.storage = storage;
        let lstm = config.init(&device, 1).unwrap();
        let x = random(&device, 1, &[2000, 4, 4]);
        let before = device.stats().bytes_created;
        let loss = lstm.forward(&x, None).unwrap().last().unwrap().sum_all().unwrap();
        assert_eq!(loss.backward().unwrap().len(), 12);
        device.stats().bytes_created - before
    };
    let (all, some) = (bytes(None, Storage::F32), bytes(Some(45), Storage::F32));
    let (gates, half) = (bytes(None, Storage::HalfGates), bytes(None, Storage::Half));
    let kib = [all, some, gates, half].map(|bytes| bytes >> 10);
    println!("{}: KiB as it is, with checkpoints, gates in f16, all in f16: {kib:?}", device.name());
    assert!(gates < all, "{gates} bytes with half gates, {all} without");
    // The CPU and adapters without f16 keep their gates so, and no more. Elsewhere c and cotangents stay f32.
    let is_less = if crate::common::stores_half(device) { 10 * half < 7 * all } else { half == gates };
    assert!(is_less, "{half} of {all} bytes in f16, {gates} with half gates");
    assert!(4 * some < all, "{some} bytes with checkpoints, {all} without");
}

/// Arrays above what the adapter takes: a training pass runs in segments of time, and where not even a row fits, it is
/// refused with the numbers.
#[cfg(feature = "gpu")]
pub(crate) fn what_does_not_fit_at_once_runs_in_segments(device: &Device) {
    use rnn_api::{CacheDir, GpuOptions, GpuSelector};
    // A step of 3 rows has gates of 3 * 4 * 16 * 4 = 768 bytes, or 6 times as much: 42 or 7 steps fit.
    let options =
        GpuOptions { max_array_bytes: Some(32 << 10), cache_dir: CacheDir::Off, ..GpuOptions::default() };
    let small = Device::gpu_with(GpuSelector::Best, options).unwrap();
    let gradients = |device: &Device, hidden: usize| {
        let config = LstmConfig::new(4, hidden).with_num_layers(2).with_dropout(0.4).with_zoneout(0.1, 0.2);
        let lstm = config.init(device, 1).unwrap();
        let x = random(device, 1, &[60, 3, 4]).requires_grad();
        let lengths = Lengths::new([60, 17, 44]).unwrap();
        let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
        let y = lstm.forward_with(&x, args).unwrap().y;
        let grads = y.mul(&random(device, 2, y.dims())).unwrap().sum_all().unwrap().backward().unwrap();
        let mut all = vec![("y".to_string(), y), ("dx".to_string(), grads.get(&x).unwrap())];
        let params = lstm.named_parameters().into_iter();
        all.extend(params.map(|(name, param)| (name, grads.get(&param).unwrap())));
        all
    };
    for ((name, got), (_, want)) in gradients(&small, 16).into_iter().zip(gradients(device, 16)) {
        super::close(&name, &got, &want);
    }

    // Not even a row: its 60 steps, or one step of one direction.
    let refused = |config: LstmConfig, dims: [usize; 3]| {
        let x = random(&small, 1, &dims);
        let error = config.init(&small, 1).unwrap().forward(&x, None).unwrap_err();
        assert!(
            matches!(error, Error::Runtime(rnn_runtime::Error::TooLarge { limit: 32768, .. })),
            "{error}"
        );
        error.to_string()
    };
    let error = refused(LstmConfig::new(4, 32).with_bidirectional(true), [60, 3, 4]);
    assert!(error.contains("T = 60, B = 1, the smallest part") && error.contains("61440 bytes"), "{error}");
}

/// Two directions, and steps that do not fit, run in groups of rows, with the masks of the whole batch.
#[cfg(feature = "gpu")]
pub(crate) fn what_cannot_be_cut_in_time_runs_in_groups_of_rows(device: &Device) {
    use rnn_api::{CacheDir, GpuOptions, GpuSelector};
    let open = |bytes: u64| {
        let options =
            GpuOptions { max_array_bytes: Some(bytes), cache_dir: CacheDir::Off, ..GpuOptions::default() };
        Device::gpu_with(GpuSelector::Best, options).unwrap()
    };
    // A row of 13 steps has gates of 13 * 2 * 4 * 12 * 4 = 4992 bytes, half of it in one
    // direction, three quarters of it in a GRU: two rows fit, four of one direction.
    let small = open(10_000);
    let lstm = || LstmConfig::new(3, 10).with_num_layers(2).with_bidirectional(true);
    let gru = || GruConfig::new(3, 10).with_num_layers(2).with_bidirectional(true);
    let layers = |device: &Device| {
        [
            ("lstm", Any::Lstm(lstm().init(device, 1).unwrap())),
            (
                "lstm, backwards",
                Any::Lstm(lstm().with_direction(Direction::Reverse).init(device, 1).unwrap()),
            ),
            ("gru", Any::Gru(gru().init(device, 1).unwrap())),
            ("gru, multiplied", Any::Gru(gru().with_merge(Merge::Mul).init(device, 1).unwrap())),
        ]
    };
    let mut failures = Vec::new();
    for (n, (name, layer)) in layers(&small).into_iter().enumerate() {
        for (lengths, interrupted) in [(None, false), (Some(vec![13, 2, 7, 1, 13]), true)] {
            let case = Case::random(&layer, [13, 5], n as u64, lengths, interrupted);
            for (what, got, want) in case.compare(&small, &layer) {
                let error = max_rel_err(&got, &want);
                if error > BOUND || error.is_nan() {
                    failures.push(format!("{name}, {interrupted}: {what}: {error:.1e}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    // A pass in groups draws the masks of an undivided pass. Inference has the same limit.
    let noisy = || {
        lstm()
            .with_dropout(0.3)
            .with_input_dropout(0.2)
            .with_output_dropout(0.2)
            .with_recurrent_dropout(0.3)
            .with_candidate_dropout(0.2)
            .with_zoneout(0.2, 0.3)
    };
    let run = |device: &Device, config: LstmConfig, dims: [usize; 3], lengths: Option<&Lengths>| {
        let lstm = config.init(device, 1).unwrap();
        let x = random(device, 1, &dims).requires_grad();
        let y = lstm.forward_with(&x, ForwardArgs { lengths, ..ForwardArgs::default() }).unwrap().y;
        let grads = y.mul(&random(device, 2, y.dims())).unwrap().sum_all().unwrap().backward().unwrap();
        let mut all = vec![("y".to_string(), y), ("dx".to_string(), grads.get(&x).unwrap())];
        let params = lstm.named_parameters().into_iter();
        all.extend(params.map(|(name, param)| (name, grads.get(&param).unwrap())));
        lstm.eval();
        let silent = no_grad(|| lstm.forward(&x, None)).unwrap().y;
        all.push(("y in inference".to_string(), silent));
        all
    };
    let same = |small: &Device, config: LstmConfig, dims: [usize; 3], lengths: Option<&Lengths>| {
        let want = run(device, config.clone(), dims, lengths);
        for ((name, got), (_, want)) in run(small, config, dims, lengths).into_iter().zip(want) {
            super::close(&name, &got, &want);
        }
    };
    same(&small, noisy(), [13, 5, 3], None);
    same(&small, noisy(), [13, 5, 3], Some(&Lengths::new([4, 13, 9, 1, 12]).unwrap()));
    // What goes from step to step in a row of one direction is 2 * 4 * 12 * 4 = 384 bytes: not 29 rows, and 15 rows of
    // 3 steps.
    same(&open(9_000), noisy().with_bidirectional(false), [7, 29, 3], None);
}

#[cfg(not(feature = "gpu"))]
pub(crate) fn what_cannot_be_cut_in_time_runs_in_groups_of_rows(_: &Device) {}

#[cfg(not(feature = "gpu"))]
pub(crate) fn what_does_not_fit_at_once_runs_in_segments(_: &Device) {}

/// Gates and states of every layer and direction.
pub(crate) fn traces_match_the_oracle(device: &Device) {
    let mut failures = Vec::new();
    for (n, (name, layer)) in combinations(device).into_iter().enumerate() {
        layer.module().eval();
        for (lengths, interrupted) in [(None, false), (Some(vec![2, 6, 1, 4]), true)] {
            let case = Case::random(&layer, [6, 4], n as u64, lengths, interrupted);
            let (out, traces) = case.traced(device, &layer);
            let (spec, want) = (layer.spec(), case.of.forward());
            let (directions, direction) = (spec.num_directions(), spec.direction);
            for state in 0..spec.num_states() {
                let trace = &traces[state / directions];
                let [gates, h] = [&trace.gates, &trace.h].map(|t| t.select(2, state % directions).unwrap());
                assert_eq!(gates.dims(), [6, 4, spec.cell.gates(), spec.hidden_size]);
                assert_eq!(h.dims(), [6, 4, spec.state_size()]);
                let mut check = |what: &str, got: &Tensor, want: Vec<f64>| {
                    let error = max_rel_err(&got.to_vec().unwrap(), &want);
                    if error > BOUND || error.is_nan() {
                        failures.push(format!("{name}, {interrupted}: {what} of {state}: {error:.1e}"));
                    }
                };
                check("gates", &gates, want.gates(&case.of.input, state, direction));
                if let Some(c) = &trace.c {
                    let c = c.select(2, state % directions).unwrap();
                    check("c", &c, want.cells(&case.of.input, state, direction));
                }
            }
            assert_eq!(traces[0].c.is_some(), matches!(layer, Any::Lstm(_)));
            if spec.merge == Merge::Concat {
                let last = traces.last().unwrap();
                super::close(name, &last.h.reshape(out.y.dims()).unwrap(), &out.y);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A traced pass is an ordinary one otherwise; layers are chosen, with or without a graph.
pub(crate) fn traced_passes_are_ordinary(device: &Device) {
    let config = LstmConfig::new(4, 6).with_num_layers(3).with_checkpoint_every(2);
    let lstm = config.init(device, 1).unwrap();
    let x = random(device, 5, &[5, 2, 4]).requires_grad();
    let (out, traces) = lstm.forward_traced(&x, ForwardArgs::default(), &[2, 0]).unwrap();
    assert_eq!(traces.len(), 2);
    assert!(!traces[0].h.is_tracked());
    let plain = lstm.forward(&x, None).unwrap();
    super::close("y", &out.y, &plain.y);
    super::close("h of layer 2", &traces[0].h.reshape(&[5, 2, 6]).unwrap(), &plain.y);
    let c = traces[1].c.as_ref().unwrap().select(0, 4).unwrap().reshape(&[2, 6]).unwrap();
    super::close("last c of layer 0", &c, &plain.state.c(0, 0).unwrap());
    let gradient = |y: &Tensor| y.sum_all().unwrap().backward().unwrap().get(&x).unwrap();
    super::close("dx", &gradient(&out.y), &gradient(&plain.y));
    let args = ForwardArgs::default();
    let (silent, same) = no_grad(|| lstm.forward_traced(&x, args, &[2])).unwrap();
    assert!(!silent.y.is_tracked());
    super::close("without a graph", &same[0].gates, &traces[0].gates);
    let error = lstm.forward_traced(&x, ForwardArgs::default(), &[3]).unwrap_err().to_string();
    assert!(error.contains("layers") && error.contains("number of layers, 3"), "{error}");
}
