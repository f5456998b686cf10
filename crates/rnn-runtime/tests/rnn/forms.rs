//! Forms of the recurrent kernels that the planner does not choose by itself on the adapter at hand, with and without
//! subgroups.

use crate::BOUND;
use crate::common::options;
use crate::pass::{HALF_BOUND, run};
use rnn_kernels::cell::{CellSpec, StackSpec, Storage};
use rnn_runtime::{Algorithm, Device, GpuOptions};
use rnn_testing::compare::max_rel_err;
use rnn_testing::oracle::{StackCase, stack_spec};
use rnn_testing::shapes::RnnShape;

/// Few rows: kernels have a copy of their code for every row of an invocation, and a software driver compiles it.
const SHAPE: RnnShape = RnnShape { t: 5, b: 3, i: 6, h: 13 };

/// Normalisation amplifies rounding, as in `rnn_options`.
const NORM_BOUND: f64 = 2e-3;

/// They take turns, because each has kernels of its own to compile.
const CELLS: [CellSpec; 4] = [CellSpec::lstm(), CellSpec::gru(), CellSpec::mgu(), CellSpec::rnn_tanh()];

fn open(options: GpuOptions) -> Device {
    Device::gpu_with((), options).unwrap()
}

/// The worst error of a training step against the oracle, over all results.
fn error(device: &Device, cell: CellSpec, storage: Storage, shape: RnnShape) -> f64 {
    let case = StackCase::random(stack_spec(cell, shape, 1, true), shape, true, 3);
    let results = run(device, &case, None, storage, false);
    results.iter().map(|(_, got, want)| max_rel_err(got, want)).fold(0.0, f64::max)
}

pub(crate) fn kernels_that_fail_their_self_test_are_replaced(_: &Device) {
    const FAMILIES: [&[&str]; 7] = [
        &["rnn/subgroup"],
        &["rnn/subgroup", "rnn/registers"],
        &["rnn/subgroup", "rnn/held"],
        &["rnn/sequence"],
        &["gemm/subgroup"],
        &["gemm/subgroup", "gemm/aligned"],
        &["rnn/subgroup", "rnn/sequence", "gemm/subgroup"],
    ];
    let Device::Gpu(gpu) = open(options()) else { unreachable!("the test opens a GPU") };
    let has_subgroups = gpu.subgroup_size() == Some(8);
    for (distrust, cell) in FAMILIES.into_iter().zip(CELLS.into_iter().cycle()) {
        let device = open(GpuOptions { distrust, algorithm: Some(Algorithm::Sequence), ..options() });
        let spec = stack_spec(CellSpec::lstm(), SHAPE, 1, true);
        let said = device.explain(&spec, SHAPE.t, SHAPE.b).unwrap().recurrences[0][0].clone();
        let sequence = !distrust.contains(&"rnn/sequence");
        assert_eq!(said.algorithm == Algorithm::Sequence, sequence, "{distrust:?}: {said}");
        let subgroups = has_subgroups && !distrust.contains(&"rnn/subgroup");
        assert_eq!(said.reason.contains("subgroups"), subgroups, "{distrust:?}: {said}");
        // Subgroups of eight are preferred to rows that stay.
        let held = !subgroups && sequence && !distrust.contains(&"rnn/held");
        assert_eq!(said.reason.contains("stay in workgroup memory"), held, "{distrust:?}: {said}");
        let error = error(&device, cell, Storage::F32, SHAPE);
        assert!(error < BOUND, "{distrust:?} {cell:?}: {error}");
    }
}

/// With and without subgroups and tiles, by both algorithms; and not at all where f16 is not to be had, or not trusted.
pub(crate) fn every_form_of_the_kernels_stores_f16(_: &Device) {
    // y in f16 is off by 2^-12 of itself at least somewhere; gradients by more, see `HALF_BOUND`.
    let half = |error: f64| (1e-4..HALF_BOUND).contains(&error);
    let mut forms = 0;
    for distrust in [&["gemm/none"][..], &["gemm/aligned"]] {
        for subgroups in [true, false] {
            for algorithm in [Algorithm::Step, Algorithm::Sequence] {
                let options = GpuOptions { subgroups, distrust, algorithm: Some(algorithm), ..options() };
                // Each cell meets two of these eight forms, which differ in all three.
                let cell = CELLS[if forms < 4 { forms } else { 7 - forms }];
                forms += 1;
                let error = error(&open(options), cell, Storage::Half, SHAPE);
                assert!(half(error), "{distrust:?} {subgroups} {algorithm} {cell:?}: {error}");
            }
        }
    }
    let without =
        [GpuOptions { half: false, ..options() }, GpuOptions { distrust: &["rnn/half"], ..options() }];
    for options in without {
        let device = open(options);
        let [gates, all] =
            [Storage::HalfGates, Storage::Half].map(|of| error(&device, CellSpec::lstm(), of, SHAPE));
        assert_eq!(gates, all);
    }
}

/// Workgroups along batch rows take more rows each.
pub(crate) fn recurrences_need_no_more_workgroups_than_there_are(_: &Device) {
    for (algorithm, shape) in [
        (Algorithm::Step, RnnShape { t: 3, b: 22, i: 5, h: 20 }),
        (Algorithm::Sequence, RnnShape { t: 3, b: 22, i: 5, h: 20 }),
        (Algorithm::Step, RnnShape { t: 2, b: 9, i: 3, h: 70 }),
    ] {
        for subgroups in [true, false] {
            let algorithm = Some(algorithm);
            let device = open(GpuOptions { max_groups: Some(3), subgroups, algorithm, ..options() });
            let error = error(&device, CellSpec::rnn_tanh(), Storage::F32, shape);
            assert!(error < BOUND, "{algorithm:?} {subgroups} {shape:?}: {error}");
        }
    }
}

/// Grids that are folded into all three dimensions, of every kernel that a layer has besides its recurrence.
pub(crate) fn kernels_around_a_recurrence_need_no_more_workgroups_than_there_are(_: &Device) {
    // [T*B, 2] rows of a normalisation are ten workgroups of 16.
    let shape = RnnShape { t: 8, b: 10, i: 3, h: 5 };
    let lstm = CellSpec::lstm();
    let device = open(GpuOptions { max_groups: Some(3), ..options() });
    for (cell, proj_size, bound) in [
        (CellSpec { layer_norm: true, peephole: true, ..lstm }, 0, NORM_BOUND),
        (lstm, 3, BOUND),
        (CellSpec { layer_norm: true, ..CellSpec::gru() }, 0, NORM_BOUND),
        (CellSpec { reset_after: false, ..CellSpec::gru() }, 0, BOUND),
    ] {
        let spec = StackSpec { proj_size, ..stack_spec(cell, shape, 2, true) };
        let case = StackCase::random(spec, shape, true, 5);
        for (name, got, want) in run(&device, &case, None, Storage::F32, false) {
            let error = max_rel_err(&got, &want);
            assert!(error < bound, "{cell:?}, {name}: {error}");
        }
    }
}
