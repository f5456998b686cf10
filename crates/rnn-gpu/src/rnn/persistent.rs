//! The persistent recurrence: dispatches of many steps whose workgroups share the units and wait for each other's values
//! (`lib/ring_persistent.wgsl`). Only forward: the backward pass overwrites the gates that it needs, so it could not start
//! again after a failure.

use super::algorithm::Algorithm;
use super::plan::{Facts, Holds, Plan, Work};
use super::recurrence::{ForwardArrays, forward_work, persistent_ring, plan_groups, run_forward};
use super::self_test;
use super::tuning::{Case, PassKind};
use crate::adapter::DeviceKind;
use crate::array::to_vec;
use crate::calibration::Speed;
use crate::copy::{copy_strided, slice};
use crate::device::CAN_WAIT;
use crate::{GpuArray, GpuDevice};
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::{Fetch, Formats};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The kernels, as named in their self-test.
const PERSISTENT: &str = "rnn/persistent";

/// What a device knows of its persistent recurrences.
#[derive(Default)]
pub(crate) struct Persistence {
    /// Whether workgroups have waited in vain.
    gave_up: AtomicBool,
    /// Held while one runs: two at a time could have more workgroups than there are cores.
    running: Mutex<()>,
}

/// What becomes of a recurrence that may be persistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has run.
    Done,
    /// Workgroups waited in vain: the arrays that it writes, gates among them, hold anything.
    GaveUp,
    /// Nothing was written.
    NotTried,
}

/// Most batch rows of a workgroup.
const MOST_ROWS: usize = 8;

/// Invocations of a workgroup whose weights are in registers.
const KEPT_WORKGROUP: usize = 256;

/// Units of the smallest workgroup.
const LEAST_UNITS: usize = 8;

/// Workgroups that run at the same time. A software adapter runs one on each thread of the machine; a measurement of a
/// busy machine would find fewer.
fn cores(kind: DeviceKind, speed: &Speed) -> usize {
    match kind {
        DeviceKind::Software => Speed::assumed(kind).cores,
        _ => speed.cores,
    }
}

/// A plan whose workgroups all run at the same time, if there is one with several of them along the units. Its sums have
/// the order of the plan of one dispatch per step. It has more rows in a workgroup, because only workgroups with the same
/// rows wait for each other. Workgroups are smaller where that gives each core one, and take turns at the units where
/// there are fewer cores.
pub(super) fn persistent_plan(facts: &Facts, kind: DeviceKind, dims: LayerDims, work: Work) -> Option<Plan> {
    // Values of other workgroups come through workgroup memory.
    let facts = Facts { subgroup_size: None, ..*facts };
    // A single step is one dispatch anyway.
    if work.holds == Holds::Nothing || dims.steps == 1 {
        return None;
    }
    let mut plan = facts.plan(dims, work, Some(Algorithm::Step));
    plan.rows = match dims.batch {
        1 => plan.rows,
        2..=4 => plan.rows.max(4),
        _ => plan.rows.max(MOST_ROWS),
    };
    let most = cores(kind, &facts.speed) / (dims.batch.div_ceil(plan.rows) * dims.directions);
    let across = |plan: &Plan| work.lanes.div_ceil(plan.units());
    while across(&plan) < most && plan.units() > LEAST_UNITS {
        plan.workgroup /= 2;
    }
    plan = Plan { algorithm: Algorithm::Persistent, across: across(&plan).min(most), ..plan };
    if let Some(kept) = kept_plan(&facts, &plan, dims, work, cores(kind, &facts.speed)) {
        plan = kept;
    }
    if plan.across < 2 || !facts.allows(&plan, work) {
        return None;
    }
    Some(Plan { count: facts.count(&plan, dims, work).min(dims.steps), ..plan })
}

/// The plan with all weights in registers and the fewest rows in a workgroup for which all workgroups run at the same
/// time, if there is one. On an NVIDIA H200 such plans were the fastest of those tried.
fn kept_plan(facts: &Facts, plan: &Plan, dims: LayerDims, work: Work, cores: usize) -> Option<Plan> {
    let workgroup = KEPT_WORKGROUP.max(LEAST_UNITS * plan.split);
    [1, 4, MOST_ROWS].into_iter().filter(|&rows| rows < 2 * dims.batch).find_map(|rows| {
        let kept = Plan { fetch: Fetch::KeptWeights, rows, workgroup, ..*plan };
        let kept = Plan { across: work.lanes.div_ceil(kept.units()), ..kept };
        let groups = kept.across * dims.batch.div_ceil(rows) * dims.directions;
        (kept.across >= 2 && groups <= cores && facts.allows(&kept, work)).then_some(kept)
    })
}

impl GpuDevice {
    /// The persistent plan of a forward recurrence where it is possible, and asked for or estimated to be faster than the
    /// usual plan.
    ///
    /// # Errors
    /// A lost device.
    pub(super) fn persistent_plan(&self, dims: LayerDims, work: Work) -> Result<Option<Plan>> {
        let forced = self.forced_algorithm();
        let may_be = match forced {
            Some(forced) => forced == Algorithm::Persistent,
            None => self.0.may_wait,
        };
        // A browser's thread cannot wait for the outcome.
        if !may_be || !CAN_WAIT || self.has_given_up() {
            return Ok(None);
        }
        let limit = self.max_groups() as usize;
        let fits = |plan: &Plan| plan_groups(plan, dims).into_iter().all(|groups| groups <= limit);
        let facts = self.facts(false)?;
        let Some(plan) = persistent_plan(&facts, self.info().kind, dims, work).filter(fits) else {
            return Ok(None);
        };
        // Workgroups that read their weights in every step were slower than a dispatch per step on an NVIDIA H200.
        let is_faster = || -> Result<bool> {
            let usual = self.usual_seconds(&facts, dims, work)?;
            Ok(plan.fetch == Fetch::KeptWeights && facts.seconds(&plan, dims, work) < usual)
        };
        let wanted = forced.is_some() || is_faster()?;
        Ok((wanted && self.persistence_works()?).then_some(plan))
    }

    /// The seconds of a forward recurrence that is not persistent: as measured, else as estimated.
    pub(super) fn usual_seconds(&self, facts: &Facts, dims: LayerDims, work: Work) -> Result<f64> {
        let plan = self.plan(PassKind::Forward, dims, work)?;
        let tuned = self.0.tuning.get(&Case::new(PassKind::Forward, dims, work));
        let measured = tuned.filter(|tuned| tuned.plan == plan).map(|tuned| tuned.seconds);
        Ok(measured.unwrap_or_else(|| facts.seconds(&plan, dims, work)))
    }

    fn has_given_up(&self) -> bool {
        self.0.persistence.gave_up.load(Ordering::Relaxed)
    }

    /// Why a recurrence is not persistent although it was asked for.
    pub(super) fn why_not_persistent(&self) -> &'static str {
        match self.has_given_up() {
            true => "persistent was asked for, but its workgroups have waited for each other in vain",
            false => "persistent was asked for and is not possible",
        }
    }

    /// Whether the kernels pass their self-test: two workgroups that wait for each other, one of which has two turns.
    fn persistence_works(&self) -> Result<bool> {
        let dims = self_test::dims();
        let plan = Plan {
            algorithm: Algorithm::Persistent,
            fetch: Fetch::Workgroup,
            rows: dims.batch.next_power_of_two(),
            workgroup: 16,
            split: 4,
            across: 2,
            count: dims.steps,
        };
        // It passes over its units once.
        let kept = Plan { fetch: Fetch::KeptWeights, workgroup: 32, ..plan };
        let trial = |plan| self_test::trial(self, plan, Formats::Single);
        self.passes(PERSISTENT, || Ok(vec![trial(&plan)?, trial(&kept)?]))
    }

    /// Runs the forward recurrence by a persistent plan, where there is one. Waits for the outcome.
    ///
    /// # Errors
    /// No memory, or a lost device.
    pub(super) fn run_persistent(&self, args: &ForwardArrays<'_>) -> Result<Outcome> {
        let dims = args.dims;
        let work = forward_work(dims.hidden, args.spec.gates(), args.setup.holds);
        let Some(plan) = self.persistent_plan(dims, work)? else { return Ok(Outcome::NotTried) };
        if args.setup.constants.ragged || args.ticks.is_some() || !self.has_room(dims) {
            return Ok(Outcome::NotTried);
        }
        let mut ring = self.zeroed_array("rnn", &[persistent_ring(dims)])?;
        let h0 = StridedCopy::flat(dims.directions * dims.batch * dims.state, 0, 0);
        copy_strided(self, &h0, (args.ring, false), &mut ring.buffer)?;
        let running = self.0.persistence.running.lock().unwrap_or_else(PoisonError::into_inner);
        run_forward(self, &ForwardArrays { ring: &ring.buffer, ..args.clone() }, &plan)?;
        let failed = has_failed(&ring)?;
        drop(running);
        if !failed {
            return Ok(Outcome::Done);
        }
        if !self.0.persistence.gave_up.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                adapter = self.info().name,
                workgroups = plan_groups(&plan, dims).into_iter().product::<usize>(),
                "workgroups of a persistent recurrence waited for each other in vain; from now on this device runs one \
                 dispatch per step"
            );
        }
        Ok(Outcome::GaveUp)
    }

    /// Whether the ring fits in an array.
    fn has_room(&self, dims: LayerDims) -> bool {
        let row = (dims.directions * dims.batch * dims.state) as u64;
        4 * ((dims.steps as u64 + 1) * row + 1) <= self.max_array_bytes()
    }
}

/// Whether an invocation has given up. Waits for the device.
fn has_failed(ring: &GpuArray) -> Result<bool> {
    let end = ring.len();
    Ok(to_vec(&slice("rnn", ring, end - 1..end)?)? != [0.0])
}
