//! The persistent recurrence: dispatches of many steps whose workgroups share the units and wait for each other's values
//! (`lib/ring_persistent.wgsl`). `run` enqueues it, with the dispatches that repeat it after a failure; `pass` has what the
//! forward and the backward pass differ in; `verdict` reports a failure to the host.

mod pass;
mod run;
mod verdict;

use super::algorithm::Algorithm;
use super::plan::{Facts, Holds, Plan, Work};
use super::recurrence::plan_groups;
use super::self_test;
use super::tuning::{Case, PassKind};
use crate::GpuDevice;
use crate::adapter::DeviceKind;
use crate::calibration::Speed;
use crate::waiting::CAN_WAIT;
pub(super) use pass::PassArrays;
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::{Fetch, RecurrenceFormats};
pub(crate) use verdict::Persistence;

/// The kernels, as named in their self-test.
const PERSISTENT: &str = "rnn/persistent";

/// Longest repetition of a failed recurrence in seconds: drivers end what takes about two.
pub(super) const MOST_REPEAT_SECONDS: f64 = 0.5;

/// Most batch rows of a workgroup.
const MOST_ROWS: usize = 8;

/// Invocations of a workgroup whose weights are in registers.
const KEPT_WORKGROUP: usize = 256;

/// Units of the smallest workgroup.
const LEAST_UNITS: usize = 8;

/// Workgroups that run at the same time. A software adapter runs one on each thread of the machine; a measurement of a
/// busy machine would find fewer. Constants were not rounded.
pub(super) fn cores(kind: DeviceKind, speed: &Speed) -> usize {
    let assumed = Speed::assumed(kind);
    match kind {
        DeviceKind::Software => assumed.cores,
        _ if *speed == assumed => assumed.cores,
        _ => speed.sure_cores(),
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
    let plan = Plan { count: facts.count(&plan, dims, work).min(dims.steps), ..plan };
    repeat_plan(&facts, &plan, dims, work).map(|_| plan)
}

/// The plan that repeats a recurrence whose workgroups gave up waiting: one workgroup passes over all units. Its sums have
/// the same order. `None` if it would take too long.
pub(super) fn repeat_plan(facts: &Facts, plan: &Plan, dims: LayerDims, work: Work) -> Option<Plan> {
    let repeat = Plan { algorithm: Algorithm::Sequence, fetch: Fetch::Workgroup, across: 1, ..*plan };
    let repeat = Plan { count: facts.count(&repeat, dims, work).min(dims.steps), ..repeat };
    let is_short = facts.seconds(&repeat, dims, work) <= MOST_REPEAT_SECONDS;
    (facts.allows(&repeat, work) && is_short).then_some(repeat)
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
    /// The persistent plan of a recurrence where it is possible, and asked for or estimated to be faster than the usual plan.
    ///
    /// # Errors
    /// A lost device.
    pub(super) fn persistent_plan(
        &self,
        pass: PassKind,
        dims: LayerDims,
        work: Work,
    ) -> Result<Option<Plan>> {
        let forced = self.forced_algorithm();
        let may_be = match forced {
            Some(forced) => forced == Algorithm::Persistent,
            None => self.0.persistent && self.info().kind == DeviceKind::Discrete,
        };
        // In a browser no adapter is measured, so an estimate says little. A single step is one dispatch anyway.
        if !may_be || !CAN_WAIT || self.has_given_up() || dims.steps == 1 {
            return Ok(None);
        }
        let limit = self.max_groups() as usize;
        let fits = |plan: &Plan| plan_groups(plan, dims).into_iter().all(|groups| groups <= limit);
        let facts = self.facts(false)?;
        let of_pass = pass.dims(dims);
        let Some(plan) = persistent_plan(&facts, self.info().kind, of_pass, work).filter(fits) else {
            return Ok(None);
        };
        // Workgroups that read their weights in every step were slower than a dispatch per step on an NVIDIA H200.
        let is_faster = || -> Result<bool> {
            let usual = self.usual_seconds(&facts, pass, dims, work)?;
            Ok(plan.fetch == Fetch::KeptWeights && facts.seconds(&plan, of_pass, work) < usual)
        };
        let wanted = forced.is_some() || is_faster()?;
        Ok((wanted && self.persistence_works()?).then_some(plan))
    }

    /// The seconds of a recurrence that is not persistent: as measured, else as estimated.
    pub(super) fn usual_seconds(
        &self,
        facts: &Facts,
        pass: PassKind,
        dims: LayerDims,
        work: Work,
    ) -> Result<f64> {
        let plan = self.plan(pass, dims, work)?;
        let tuned = self.0.tuning.get(&Case::new(pass, dims, work));
        let measured = tuned.filter(|tuned| tuned.plan == plan).map(|tuned| tuned.seconds);
        Ok(measured.unwrap_or_else(|| facts.seconds(&plan, pass.dims(dims), work)))
    }

    fn has_given_up(&self) -> bool {
        self.0.persistence.has_given_up()
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
        // An invocation of the backward pass owns four units.
        let of_quads = |plan: &Plan| Plan { workgroup: plan.workgroup / 4, ..*plan };
        let forward = |plan: &Plan| self_test::trial(self, plan, RecurrenceFormats::Single);
        let backward = |plan: &Plan| self_test::backward_trial(self, plan);
        self.passes(PERSISTENT, || {
            Ok(vec![
                forward(&plan)?,
                forward(&kept)?,
                backward(&of_quads(&plan))?,
                backward(&of_quads(&kept))?,
            ])
        })
    }

    /// Enqueues the recurrence by a persistent plan, where there is one; returns whether there is.
    ///
    /// # Errors
    /// No memory, or a lost device.
    pub(super) fn run_persistent(&self, pass: &PassArrays<'_>) -> Result<bool> {
        // The ring must fit in an array.
        if !pass.is_whole() || 4 * (pass.failure() as u64 + 1) > self.max_array_bytes() {
            return Ok(false);
        }
        let (dims, work) = (pass.dims(), pass.work());
        let Some(plan) = self.persistent_plan(pass.kind(), dims, work)? else { return Ok(false) };
        let repeat = repeat_plan(&self.facts(false)?, &plan, pass.kind().dims(dims), work);
        let Some(repeat) = repeat else { return Ok(false) };
        run::run(self, pass, &plan, &repeat)
    }
}
