//! Plans on adapters that exist only here.

use super::super::persistent::{MOST_REPEAT_SECONDS, cores, persistent_plan, repeat_plan};
use super::super::tuning::PassKind;
use super::*;
use crate::adapter::DeviceKind;

const KINDS: [DeviceKind; 3] = [DeviceKind::Discrete, DeviceKind::Integrated, DeviceKind::Software];

fn facts(kind: DeviceKind) -> Facts {
    let speed = Speed { cores: 16, ..Speed::assumed(kind) };
    let (subgroup_size, held_bytes, workgroup_bytes) = (None, 16_384 - OTHER_BYTES, 16_384);
    let keeps_weights = true;
    Facts { subgroup_size, held_bytes, keeps_weights, workgroup_bytes, largest_workgroup: 256, speed }
}

/// An adapter of every kind, with and without shuffles, with small and large workgroups and memories of them.
fn all_facts() -> Vec<Facts> {
    let mut all = Vec::new();
    for kind in KINDS {
        for subgroup_size in [None, Some(8), Some(32)] {
            for (bytes, largest_workgroup, lanes) in [(16_384, 256, 64), (32_768, 1024, 1024)] {
                for held_bytes in [0, bytes - OTHER_BYTES] {
                    let speed = Speed { lanes, ..facts(kind).speed };
                    let workgroup_bytes = bytes;
                    for keeps_weights in [false, true] {
                        all.push(Facts {
                            subgroup_size,
                            held_bytes,
                            keeps_weights,
                            workgroup_bytes,
                            largest_workgroup,
                            speed,
                        });
                    }
                }
            }
        }
    }
    all
}

fn dims(steps: usize, batch: usize, hidden: usize) -> LayerDims {
    LayerDims { steps, batch, inputs: 8, hidden, state: hidden, directions: 1 }
}

/// Forward and backward of layers with four gates and with one.
fn works(hidden: usize) -> Vec<Work> {
    let mut works = Vec::new();
    for holds in [Holds::Nothing, Holds::Fetch, Holds::All] {
        for gates in [1, 3, 4] {
            works.push(Work { lanes: hidden, outputs: gates, depth: hidden, holds });
            works.push(Work { lanes: hidden / 4, outputs: 4, depth: gates * hidden, holds });
        }
    }
    works
}

/// What a kernel of this plan declares in workgroup memory, by `rnn/*.wgsl` and `lib/*.wgsl`.
fn declared_bytes(plan: &Plan, work: Work, memory: usize) -> usize {
    let vectors = match plan.fetch {
        Fetch::Subgroup => 0,
        Fetch::Workgroup => plan.rows * plan.chunk(work, memory),
        Fetch::KeptWeights if plan.algorithm == Algorithm::Persistent => plan.rows * plan.chunk(work, memory),
        Fetch::Held | Fetch::KeptWeights => 2 * plan.rows * work.depth / 4,
        Fetch::HeldWeights => 2 * plan.rows * work.depth / 4 + work.depth / 4 * work.lanes * work.outputs,
    };
    let sum = if work.outputs == 3 { 16 } else { 4 * work.outputs };
    16 * vectors + plan.sums(work, memory) * sum + 4 * (256 + 64 + 64)
}

#[test]
fn plans_stay_within_the_limits_of_the_adapter() {
    for facts in all_facts() {
        for (hidden, batch) in [(4, 1), (12, 3), (64, 32), (256, 1), (260, 33), (1024, 64), (2048, 300)] {
            let dims = dims(20, batch, hidden);
            for work in works(hidden) {
                let forced = [None, Some(Algorithm::Step), Some(Algorithm::Sequence)];
                let plans = forced.map(|forced| (forced, facts.plan(dims, work, forced))).into_iter();
                let candidates = facts.candidates(dims, work);
                let turns =
                    |plan: &Plan| work.lanes.next_multiple_of(8).div_ceil(plan.units()).div_ceil(plan.across);
                // Where there are many workgroups, some plans are measured with fewer.
                for plan in candidates.iter().filter(|plan| plan.across >= 4) {
                    let fewer = Plan { across: plan.across.div_ceil(2), ..*plan };
                    assert!(turns(plan) > 1 || candidates.contains(&fewer), "{plan:?}");
                }
                assert!(candidates.iter().all(|plan| plan.algorithm != Algorithm::Step || turns(plan) <= 4));
                for (forced, plan) in plans.chain(candidates.iter().map(|&plan| (None, plan))) {
                    let text = format!("{plan:?} of {work:?} on {facts:?}");
                    assert!(forced.is_none_or(|forced| forced == plan.algorithm), "{text}");
                    assert!(plan.workgroup <= facts.largest_workgroup, "{text}");
                    assert!(work.holds != Holds::Nothing || plan.workgroup <= 256, "{text}");
                    assert!(plan.workgroup.is_multiple_of(plan.split) && plan.rows < 2 * batch, "{text}");
                    assert!(plan.split == 1 || work.holds == Holds::All, "{text}");
                    assert!(
                        declared_bytes(&plan, work, facts.workgroup_bytes) <= facts.workgroup_bytes,
                        "{text}"
                    );
                    assert!(plan.across == 1 || plan.algorithm == Algorithm::Step, "{text}");
                    assert!(plan.count == 1 || plan.algorithm == Algorithm::Sequence, "{text}");
                    assert!((1..=21).contains(&plan.count), "{text}");
                    // Only a dispatch of one step may leave units to other workgroups. All are computed at once, except
                    // in plans that are measured.
                    let all = plan.across == 1 || plan.across * plan.units() >= work.lanes;
                    assert!(all || candidates.contains(&plan), "{text}");
                }
            }
        }
    }
}

/// The estimate of the best plan.
fn least(facts: &Facts, dims: LayerDims, work: Work) -> f64 {
    facts.seconds(&facts.plan(dims, work, None), dims, work)
}

#[test]
fn a_faster_adapter_is_never_estimated_to_be_slower() {
    for base in all_facts() {
        for (hidden, batch) in [(32, 1), (64, 32), (256, 7), (1024, 64)] {
            let dims = dims(50, batch, hidden);
            for work in works(hidden) {
                let slow = base.speed;
                let faster = [
                    Speed { fma: 2.0 * slow.fma, ..slow },
                    Speed { memory: 2.0 * slow.memory, ..slow },
                    Speed { dispatch: 0.5 * slow.dispatch, ..slow },
                    Speed { barrier: slow.barrier.map(|seconds| 0.5 * seconds), ..slow },
                    // Each core with the same share of memory.
                    Speed { cores: 2 * slow.cores, memory: 2.0 * slow.memory, ..slow },
                ];
                for speed in faster {
                    let (before, after) =
                        (least(&base, dims, work), least(&Facts { speed, ..base }, dims, work));
                    // The steps of a dispatch are a whole number: half a dispatch of rounding.
                    assert!(after <= before * (1.0 + 1e-9) + slow.dispatch, "{work:?}: {slow} {speed}");
                }
            }
        }
    }
}

#[test]
fn more_work_takes_longer_by_estimate() {
    for facts in all_facts() {
        let of = |steps, batch, hidden| least(&facts, dims(steps, batch, hidden), works(hidden)[16]);
        assert!(of(40, 32, 64) > of(20, 32, 64));
        assert!(of(20, 64, 1024) > of(20, 8, 1024));
        assert!(of(20, 32, 256) > of(20, 32, 64));
    }
}

/// One dispatch for all steps saves dispatches, and only that: the slower they are the better.
#[test]
fn slow_dispatches_lead_to_whole_sequences() {
    for base in all_facts() {
        let (dims, work) = (dims(50, 16, 128), works(128)[16]);
        let mut was_sequence = false;
        for dispatch in [1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2] {
            let facts = Facts { speed: Speed { dispatch, ..base.speed }, ..base };
            let is_sequence = facts.plan(dims, work, None).algorithm == Algorithm::Sequence;
            assert!(is_sequence || !was_sequence, "{dispatch} {base:?}");
            was_sequence = is_sequence;
        }
        assert!(was_sequence, "{base:?}");
    }
    // And units are shared among workgroups where dispatches cost nothing and cores are idle.
    let speed = Speed { dispatch: 1e-9, ..facts(DeviceKind::Discrete).speed };
    let plan = Facts { speed, ..facts(DeviceKind::Discrete) }.plan(dims(50, 1, 512), works(512)[16], None);
    assert!(plan.algorithm == Algorithm::Step && plan.across > 1, "{plan:?}");
}

#[test]
fn workgroups_beyond_256_are_for_what_they_hold() {
    let of = |hidden: usize, largest_workgroup: usize, forced| {
        let base = facts(DeviceKind::Discrete);
        let speed = Speed { lanes: 1024, ..base.speed };
        let facts = Facts { speed, largest_workgroup, held_bytes: 30_000, workgroup_bytes: 32_768, ..base };
        facts.plan(dims(50, 4, hidden), works(hidden)[16], Some(forced))
    };
    for hidden in [64, 128, 256, 1024] {
        for forced in [Algorithm::Step, Algorithm::Sequence] {
            let (plan, small) = (of(hidden, 1024, forced), of(hidden, 256, forced));
            assert!(plan.workgroup <= 256 || plan.fetch.are_held(), "{plan:?}");
            assert!(small.workgroup <= 256, "{small:?}");
        }
    }
    // All weights of 128 units in registers.
    let plan = of(128, 1024, Algorithm::Sequence);
    assert_eq!((plan.fetch, plan.workgroup), (Fetch::KeptWeights, 1024));
}

/// At most 64 values for each invocation, and a workgroup that passes over the units once.
#[test]
fn weights_of_few_units_stay_in_registers() {
    let facts = facts(DeviceKind::Discrete);
    let plan = |hidden, work| facts.plan(dims(50, 4, hidden), work, Some(Algorithm::Sequence));
    for hidden in [8, 20, 32, 64] {
        for work in works(hidden).split_off(12) {
            let plan = plan(hidden, work);
            let text = format!("{work:?}: {plan:?}");
            assert_eq!(plan.fetch, Fetch::KeptWeights, "{text}");
            assert!(4 * work.outputs * plan.turns(work, facts.workgroup_bytes) <= 64, "{text}");
            assert!(
                plan.turns(work, facts.workgroup_bytes) * plan.split * 4 >= work.depth
                    && plan.units() >= work.lanes,
                "{text}"
            );
        }
    }
    assert_ne!(plan(256, works(256)[16]).fetch, Fetch::KeptWeights);
    for work in works(64) {
        let without = Facts { keeps_weights: false, ..facts };
        assert_ne!(without.plan(dims(50, 4, 64), work, None).fetch, Fetch::KeptWeights);
    }
}

/// The same facts give the same plan, and so do two calibrations that round to the same.
#[test]
fn repeated_calibrations_give_the_same_plans() {
    for kind in KINDS {
        let exact = Speed::assumed(kind).rounded();
        for factor in [0.9, 1.1] {
            let noisy = Speed {
                fma: exact.fma * factor,
                memory: exact.memory * factor,
                dispatch: exact.dispatch * factor,
                ..exact
            };
            for hidden in [64, 256, 1024] {
                let plan = |speed: Speed| {
                    let facts = Facts { speed, ..facts(kind) };
                    facts.plan(dims(50, 32, hidden), works(hidden)[16], None)
                };
                assert_eq!(plan(noisy.rounded()), plan(exact), "{kind:?} {hidden}");
            }
        }
    }
}

/// A persistent plan has at most as many workgroups as the adapter has cores. It adds up in the same order as a dispatch
/// per step, and so does its repetition, which is shorter than a driver's time limit.
#[test]
fn every_workgroup_of_a_persistent_plan_has_a_core() {
    for facts in all_facts() {
        for (hidden, batch, directions) in
            [(16, 1, 1), (128, 8, 2), (132, 3, 1), (256, 32, 1), (512, 1, 2), (512, 200, 1), (2048, 4, 1)]
        {
            let dims = LayerDims { directions, ..dims(50, batch, hidden) };
            for work in works(hidden) {
                let plan = persistent_plan(&facts, DeviceKind::Discrete, dims, work);
                let middle = work.lanes == hidden
                    && (128..=512).contains(&hidden)
                    && batch * directions <= 32
                    && work.holds != Holds::Nothing;
                assert!(plan.is_some() || !middle, "{facts:?} {dims:?} {work:?}");
                let Some(plan) = plan else { continue };
                let groups = plan.across * batch.div_ceil(plan.rows) * directions;
                assert!(plan.across > 1 && groups <= cores(DeviceKind::Discrete, &facts.speed), "{plan:?}");
                assert!((1..=50).contains(&plan.count), "{plan:?}");
                assert!(plan.workgroup <= facts.largest_workgroup, "{plan:?}");
                let repeat = repeat_plan(&facts, &plan, dims, work).unwrap();
                for plan in [&plan, &repeat] {
                    let bytes = declared_bytes(plan, work, facts.workgroup_bytes);
                    assert!(bytes <= facts.workgroup_bytes, "{plan:?}");
                }
                let order = |plan: &Plan| (plan.rows, plan.workgroup, plan.split);
                assert_eq!((repeat.algorithm, repeat.across), (Algorithm::Sequence, 1));
                assert_eq!(order(&repeat), order(&plan));
                assert!(facts.seconds(&repeat, dims, work) <= MOST_REPEAT_SECONDS, "{repeat:?}");
                let step = Facts { subgroup_size: None, ..facts }.plan(dims, work, Some(Algorithm::Step));
                assert!([step.fetch, Fetch::KeptWeights].contains(&plan.fetch), "{plan:?}");
                assert_eq!(plan.split, step.split, "{plan:?}");
            }
        }
    }
}

/// The facts that were measured on an NVIDIA H200 (driver 580.159.04, Vulkan).
fn h200() -> Facts {
    let (fma, memory, barrier, dispatch) = (1.37e11, 6.2e12, [3e-8; 2], 1.9e-6);
    let speed = Speed { cores: 128, lanes: 1024, fma, memory, barrier, dispatch };
    Facts {
        subgroup_size: None,
        held_bytes: 49_152 - OTHER_BYTES,
        keeps_weights: true,
        workgroup_bytes: 49_152,
        largest_workgroup: 1024,
        speed,
    }
}

/// A layer with T, B, H and gates: its dimensions and the work of both passes.
fn layer([steps, batch, hidden, gates]: [usize; 4]) -> (LayerDims, [Work; 2]) {
    let holds = Holds::All;
    let forward = Work { lanes: hidden, outputs: gates, depth: hidden, holds };
    let backward = Work { lanes: hidden / 4, outputs: 4, depth: gates * hidden, holds };
    (dims(steps, batch, hidden), [forward, backward])
}

/// `Device::tune` found these algorithms to be the fastest there. One is missed: the forward pass of the Elman layer, where
/// a dispatch per step takes 0.70 ms and one for all steps 0.47.
#[test]
fn estimates_for_an_h200_choose_what_is_fastest_on_it() {
    let (sequence, step) = (Algorithm::Sequence, Algorithm::Step);
    for (sizes, forward, backward) in [
        ([50, 32, 64, 4], sequence, sequence),
        ([100, 32, 256, 4], step, step),
        ([100, 32, 256, 3], step, step),
        ([128, 64, 512, 4], step, step),
        ([1000, 16, 128, 4], sequence, sequence),
        ([100, 32, 256, 1], step, sequence),
    ] {
        let (dims, works) = layer(sizes);
        for (work, want) in works.into_iter().zip([forward, backward]) {
            let plan = h200().plan(dims, work, None);
            assert_eq!(plan.algorithm, want, "{sizes:?}: {plan:?}");
        }
    }
}

/// Forward as measured in whole passes: half of the time of other plans for the first four, more than it for the others. The
/// backward passes have not been measured; those of the others do not have all their weights in registers.
#[test]
fn estimates_for_an_h200_make_the_right_passes_persistent() {
    for (sizes, are_faster) in [
        ([100, 32, 256, 4], [true, false]),
        ([1000, 16, 128, 4], [true, true]),
        ([100, 32, 256, 1], [true, true]),
        ([100, 1, 512, 4], [true, false]),
        ([50, 32, 64, 4], [false, false]),
        ([128, 64, 512, 4], [false, false]),
    ] {
        let (dims, [forward, backward]) = layer(sizes);
        let shares = [kept_share(dims, forward), kept_share(PassKind::Backward.dims(dims), backward)];
        assert_eq!(shares.map(|share| share.is_some()), are_faster, "{sizes:?}: {shares:?}");
    }
}

/// The share of the usual plan's time that a persistent one with its weights in registers takes, where it is less.
fn kept_share(dims: LayerDims, work: Work) -> Option<f64> {
    let facts = h200();
    let usual = facts.seconds(&facts.plan(dims, work, None), dims, work);
    let plan = persistent_plan(&facts, DeviceKind::Discrete, dims, work)?;
    let share = facts.seconds(&plan, dims, work) / usual;
    (plan.fetch == Fetch::KeptWeights && share < 1.0).then_some(share)
}
