//! Stacks whose layers run side by side, some steps apart: with a lag that divides T and one that does not, of one step
//! and beyond T; with the options that allow it, and dropout between the layers.

use crate::BOUND;
use crate::common::options;
use crate::pass::{HALF_BOUND, OnDevice, Results, masks, run};
use rnn_kernels::cell::{Direction, Merge, StackSpec, Storage};
use rnn_runtime::ops::rnn::{StackDraws, forward};
use rnn_runtime::{Algorithm, Device, GpuOptions, RngKey};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::SplitMix64;
use rnn_testing::oracle::{KernelSet, StackCase};

// Two trials, because what takes the time is compiling kernels, which two devices can do at once.
pub(crate) fn layers_side_by_side_match_the_oracle(_: &Device) {
    matches_the_oracle([1, 2], true);
}

pub(crate) fn layers_side_by_side_match_the_oracle_without_subgroups(_: &Device) {
    // Any lag beyond T is that of T steps.
    matches_the_oracle([3, usize::MAX], false);
}

fn matches_the_oracle(lags: [usize; 2], subgroups: bool) {
    let mut rng = SplitMix64::new(516);
    let (mut worst, mut together) = (0f64, 0);
    for (n, (lag, algorithm)) in lags.into_iter().zip([Algorithm::Step, Algorithm::Sequence]).enumerate() {
        let options = GpuOptions { wavefront: Some(lag), algorithm: Some(algorithm), subgroups, ..options() };
        let device = &Device::gpu_with((), options).unwrap();
        for (k, set) in KernelSet::of_layers_side_by_side().iter().enumerate() {
            // Both algorithms have the same kernels with subgroups, and others without: half of the stacks must do.
            if !subgroups && k % 2 != n {
                continue;
            }
            let (case, draws) = stack(set, k, &mut rng);
            assert!(runs_side_by_side(device, &case, draws), "{:?}", case.spec);
            together += 1;
            if k == 0 {
                same_traces(&case, [device, &Device::cpu()]);
            }
            worst = worst.max(worst_error(device, &case, draws, (Storage::F32, BOUND), k == 0));
            // f16 has kernels of its own: every stack has them with one of the lags.
            if k % 2 == n && Storage::Half.check(&case.spec).is_ok() {
                worst_error(device, &case, draws, (Storage::Half, HALF_BOUND), false);
            }
        }
    }
    println!("worst relative error of layers side by side: {worst:.2e}; of {together} stacks");
}

/// Whether the layers do, by the device's explanation, which takes it that a pass has draws.
fn runs_side_by_side(device: &Device, case: &StackCase, draws: Option<StackDraws>) -> bool {
    let regularization = draws.map(|_| case.spec.regularization).unwrap_or_default();
    let spec = StackSpec { regularization, ..case.spec };
    device.explain(&spec, case.input.t, case.input.b).unwrap().lag.is_some()
}

/// A stack of two or three layers, every third one without initial states.
fn stack(set: &KernelSet, k: usize, rng: &mut SplitMix64) -> (StackCase, Option<StackDraws>) {
    let pass = set.case(rng);
    let dropout = if pass.draws { 0.4 } else { 0.0 };
    let (direction, merge) = (Direction::Forward, Merge::Concat);
    let spec = StackSpec { num_layers: 2 + k % 2, direction, merge, dropout, ..pass.case.spec };
    let mut case = StackCase::random(spec, pass.shape, !k.is_multiple_of(3), k as u64);
    let draws = StackDraws { key: RngKey::new(k as u64), first_step: 3, sequence: 5 };
    let draws = pass.draws.then_some(draws);
    if let Some(draws) = draws {
        case.input.masks = masks(&spec, pass.shape.t, pass.shape.b, draws);
    }
    (case, draws)
}

/// The largest relative error; none is above the bound.
fn worst_error(
    device: &Device,
    case: &StackCase,
    draws: Option<StackDraws>,
    (storage, bound): (Storage, f64),
    inference: bool,
) -> f64 {
    let results: Results = run(device, case, draws, storage, inference);
    results.iter().fold(0f64, |worst, (name, got, want)| {
        let error = max_rel_err(got, want);
        assert!(error <= bound, "{name} has relative error {error:.1e}: {storage:?} {:?}", case.spec);
        worst.max(error)
    })
}

/// Every gate and state that both devices say they keep.
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
