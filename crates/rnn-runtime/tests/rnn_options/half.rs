//! Storage in f16.

use crate::pass::{HALF_BOUND, OnDevice, Results, masks, run};
use rnn_kernels::cell::Storage;
use rnn_runtime::ops::rnn::{StackArgs, StackDraws, forward};
use rnn_runtime::{Device, RngKey};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::SplitMix64;
use rnn_testing::oracle::{KernelSet, StackCase, random_spec, with_options};

/// A random case without draws on the CPU; on a GPU one of a set, whose kernels the tests in f32 compile anyway.
fn cases(device: &Device, sets: Vec<KernelSet>, seed: u64) -> Vec<(StackCase, Option<StackDraws>)> {
    let draws = |n: usize| StackDraws { key: RngKey::new(n as u64), first_step: 3, sequence: 5 };
    let mut rng = SplitMix64::new(seed);
    let with_masks = |n: usize, mut case: StackCase, drawn: bool| {
        let draws = drawn.then(|| draws(n));
        if let Some(draws) = draws {
            case.input.masks = masks(&case.spec, case.input.t, case.input.b, draws);
        }
        (case, draws)
    };
    if device.is_cpu() {
        let mut random = |n: usize| {
            let shape = crate::SHAPES[n % crate::SHAPES.len()];
            let spec = random_spec(&mut rng, shape);
            let case = with_options(StackCase::random(spec, shape, true, n as u64), &mut rng);
            with_masks(n, case, n.is_multiple_of(2))
        };
        return (0..60).map(&mut random).collect();
    }
    let of_set = |(n, set): (usize, &KernelSet)| {
        let pass = set.case(&mut rng);
        with_masks(n, pass.case, pass.draws)
    };
    sets.iter().enumerate().map(of_set).collect()
}

/// Whether the storage is one that the stack refuses; then a pass says so.
fn is_refused(device: &Device, case: &StackCase, storage: Storage) -> bool {
    let Err(expected) = storage.check(&case.spec) else { return false };
    let on_device = OnDevice::new(device, case);
    let refused = forward(&StackArgs { storage, ..on_device.args(&case.spec, None, true) });
    let text = refused.unwrap_err().to_string();
    assert!(text.contains(&format!("storage must be {expected}")), "{text}");
    true
}

/// The largest relative error; none is above the bound.
fn worst_error(n: usize, case: &StackCase, results: &Results) -> f64 {
    results.iter().fold(0.0, |worst, (name, got, want)| {
        let error = max_rel_err(got, want);
        assert!(error <= HALF_BOUND, "{n}: {name} has relative error {error:.1e}: {:?}", case.spec);
        worst.max(error)
    })
}

pub(crate) fn half_gates_cost_their_rounding(device: &Device) {
    let (mut worst, mut rounded) = (0f64, 0);
    for (n, (case, draws)) in cases(device, KernelSet::array(), 514).into_iter().enumerate() {
        if case.spec.cell.layer_norm || is_refused(device, &case, Storage::HalfGates) {
            continue;
        }
        let whole = run(device, &case, draws, Storage::F32, false);
        let half = run(device, &case, draws, Storage::HalfGates, false);
        let (gradients, values): (Vec<_>, Vec<_>) =
            whole.into_iter().zip(half).partition(|((name, ..), _)| name.starts_with('d'));
        for ((name, whole, _), (_, half, _)) in values {
            assert!(whole == half, "{name} of {:?}", case.spec);
        }
        rounded += gradients.iter().filter(|((_, whole, _), (_, half, _))| whole != half).count();
        let half: Results = gradients.into_iter().map(|(_, half)| half).collect();
        worst = worst.max(worst_error(n, &case, &half));
    }
    println!("{}: worst relative error with gates in f16: {worst:.2e}", device.name());
    assert!(rounded > 0);
}

/// Outputs have the same error here, because everything that moves is rounded.
pub(crate) fn half_storage_costs_its_rounding(device: &Device) {
    let (mut worst, mut rounded, mut compared) = (0f64, 0, 0);
    for (n, (case, draws)) in cases(device, KernelSet::of_half_storage(), 515).into_iter().enumerate() {
        if is_refused(device, &case, Storage::Half) {
            continue;
        }
        // Inference is in f32, as it is without f16 storage.
        let results = run(device, &case, draws, Storage::Half, device.is_cpu());
        worst = worst.max(worst_error(n, &case, &results));
        let (_, y, want) = &results[0];
        rounded += usize::from(max_rel_err(y, want) > 2e-5);
        compared += 1;
    }
    println!(
        "{}: worst relative error with f16 storage: {worst:.2e}; in {rounded} of {compared} cases kernels stored f16",
        device.name()
    );
    // A GPU with f16 stores it; one without and the CPU store f32, and the CPU rounds its gates.
    assert_eq!(rounded, if crate::common::stores_half(device) { compared } else { 0 });
    assert!(compared >= 12);
}

/// On a GPU the sets that f16 storage takes leave these out.
pub(crate) fn half_storage_is_refused_by_name(device: &Device) {
    let mut refused = 0;
    for set in KernelSet::array() {
        let case = set.case(&mut SplitMix64::new(519)).case;
        refused += usize::from(is_refused(device, &case, Storage::Half));
    }
    assert!(refused > 10);
}
