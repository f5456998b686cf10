//! Choice of a recurrence's plan: the plan asked for, the fastest one measured, or the best estimate, among
//! kernels that passed their self-tests.

use super::algorithm::Algorithm;
use super::plan::{Facts, Holds, OTHER_BYTES, Plan, Work};
use super::recurrence::forward_work;
use super::self_test;
use super::tuning::{Case, PassKind};
use crate::GpuDevice;
use crate::gemm::half_products;
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::{Fetch, RecurrenceFormats};
use std::fmt;

/// Wavefront lags to try. A lag's steps should still fill a tile of the products between layers.
const LAGS: [usize; 4] = [8, 16, 32, 64];

/// Batch rows per invocation that every kind of kernel allows.
const MOST_ROWS: usize = 8;

/// Kernel families, as named in their self-tests.
const SUBGROUP: &str = "rnn/subgroup";
const SEQUENCE: &str = "rnn/sequence";
const HELD: &str = "rnn/held";
const REGISTERS: &str = "rnn/registers";
const HALF: &str = "rnn/half";

/// The planner's report on one recurrence.
#[derive(Clone, Debug)]
pub struct Recurrence {
    /// How its time steps are spread over dispatches.
    pub algorithm: Algorithm,
    /// Batch rows per invocation.
    pub rows: usize,
    /// Invocations per workgroup.
    pub workgroup: usize,
    /// Workgroups per dispatch.
    pub workgroups: usize,
    /// Dispatches of the recurrence.
    pub dispatches: usize,
    /// Seconds by the planner's model of the adapter.
    pub estimated: f64,
    /// Seconds by `Device::tune`, in this run or an earlier one.
    pub measured: Option<f64>,
    /// The reason for this plan.
    pub reason: String,
}

impl fmt::Display for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} dispatches of {} workgroups of {} invocations, {} rows each; estimated {:.3} ms",
            self.algorithm,
            self.dispatches,
            self.workgroups,
            self.workgroup,
            self.rows,
            self.estimated * 1e3
        )?;
        if let Some(measured) = self.measured {
            write!(f, ", measured {:.3} ms", measured * 1e3)?;
        }
        write!(f, "; {}", self.reason)
    }
}

impl GpuDevice {
    /// The plan of a recurrence, among kernels that passed their self-test on this device: the plan asked
    /// for, the fastest one measured, or the best estimate.
    ///
    /// # Errors
    /// A lost device.
    pub(super) fn plan(&self, pass: PassKind, dims: LayerDims, work: Work) -> Result<Plan> {
        let measured = self.0.tuning.get(&Case::new(pass, dims, work)).map(|tuned| tuned.plan);
        let facts = self.facts(measured.is_some_and(|plan| plan.fetch.are_held()))?;
        let forced = self.forced_algorithm().map(Algorithm::without_waiting);
        let dims = pass.dims(dims);
        let plan = match (forced, measured) {
            (None, Some(plan)) if facts.allows(&plan, work) => plan,
            _ => {
                let memory = (facts.held_bytes, facts.keeps_weights);
                let question = (facts.subgroup_size, memory, dims, work, forced);
                self.0.tuning.estimated(question, || facts.plan(dims, work, forced))
            }
        };
        let fails =
            plan.algorithm == Algorithm::Sequence && !self.works(SEQUENCE, facts.fetch(), plan.algorithm)?;
        let plan = if fails { facts.plan(dims, work, Some(Algorithm::Step)) } else { plan };
        Ok(self.within_limit(&facts, plan, dims, work))
    }

    /// The plan with few enough workgroups along each dimension: fewer along the units, which they pass over in turns,
    /// and more batch rows in each.
    fn within_limit(&self, facts: &Facts, mut plan: Plan, dims: LayerDims, work: Work) -> Plan {
        let limit = self.max_groups() as usize;
        plan.across = plan.across.min(limit);
        if dims.batch.div_ceil(plan.rows) > limit {
            plan.rows = if dims.batch.div_ceil(4) <= limit { 4 } else { MOST_ROWS };
            if !facts.allows(&plan, work) {
                plan.fetch = facts.fetch();
            }
        }
        plan
    }

    /// Most batch rows of a pass over a layer.
    pub fn max_batch_rows(&self) -> usize {
        self.max_groups() as usize * MOST_ROWS
    }

    /// The wavefront lag of a stack, where it is asked for or estimated to be faster than one layer after the
    /// other; else `None`. `dims` are those of one layer.
    ///
    /// # Errors
    /// A lost device.
    pub(super) fn lag(
        &self,
        dims: LayerDims,
        layers: usize,
        passes: &[(PassKind, Work)],
    ) -> Result<Option<usize>> {
        // Layers side by side are one dimension of a dispatch.
        if layers > self.max_groups() as usize {
            return Ok(None);
        }
        if let Some(lag) = self.0.wavefront {
            // Layers that are further apart than the sequence is long run one after the other, as with its length.
            return Ok((lag > 0).then_some(lag.min(dims.steps)));
        }
        if self.forced_algorithm() == Some(Algorithm::Persistent) {
            return Ok(None);
        }
        let facts = self.facts(false)?;
        let mut best = (0.0, None);
        for &(pass, work) in passes {
            // Layers side by side cannot be persistent.
            let plan = match self.persistent_plan(pass, dims, work)? {
                Some(plan) => plan,
                None => self.plan(pass, dims, work)?,
            };
            best.0 += layers as f64 * facts.seconds(&plan, dims, work);
        }
        // The gain must outweigh the larger arrays.
        best.0 *= 0.85;
        for lag in LAGS.into_iter().filter(|lag| 2 * lag <= dims.steps) {
            let mut seconds = 0.0;
            for &(pass, work) in passes {
                let dims = LayerDims { directions: layers, ..dims };
                let plan = self.plan(pass, dims, work)?;
                let windows = dims.steps.div_ceil(lag) + layers - 1;
                let dispatches = lag.div_ceil(plan.count) + layers;
                let step = facts.dispatch_seconds(&plan, dims, work);
                seconds += windows as f64 * (dispatches as f64 * facts.speed.dispatch + lag as f64 * step);
            }
            if seconds < best.0 {
                best = (seconds, Some(lag));
            }
        }
        Ok(best.1)
    }

    /// The plan of a recurrence and the reason for it. The recurrence runs `ticks` ticks in windows of
    /// `window` ticks.
    ///
    /// # Errors
    /// A lost device.
    pub(super) fn explain(
        &self,
        pass: PassKind,
        dims: LayerDims,
        work: Work,
        (ticks, window): (usize, usize),
    ) -> Result<Recurrence> {
        let facts = self.facts(false)?;
        let persistent = match ticks == window {
            true => self.persistent_plan(pass, dims, work)?,
            false => None,
        };
        let plan = match persistent {
            Some(plan) => plan,
            None => self.plan(pass, dims, work)?,
        };
        // A measurement counts only for the plan that was measured.
        let tuned = self.0.tuning.get(&Case::new(pass, dims, work)).filter(|tuned| tuned.plan == plan);
        let measured = tuned.map(|tuned| tuned.seconds);
        let of_pass = pass.dims(dims);
        let [sequence, step] = [Algorithm::Sequence, Algorithm::Step]
            .map(|algorithm| facts.seconds(&facts.plan(of_pass, work, Some(algorithm)), of_pass, work));
        let mut fetch = match plan.fetch {
            Fetch::Subgroup => "rows by shuffles in subgroups of 8",
            Fetch::Workgroup => "rows through workgroup memory",
            Fetch::Held => "rows stay in workgroup memory",
            Fetch::HeldWeights => "rows and weights stay in workgroup memory",
            Fetch::KeptWeights if plan.algorithm == Algorithm::Persistent => {
                "rows through workgroup memory and weights in registers"
            }
            Fetch::KeptWeights => "rows stay in workgroup memory and weights in registers",
        }
        .to_string();
        if plan.split > 1 {
            fetch.push_str(&format!(", {} invocations to a unit", plan.split));
        }
        let reason = match (self.forced_algorithm(), measured) {
            (Some(forced), _) if forced == plan.algorithm => format!("asked for; {fetch}"),
            (Some(Algorithm::Persistent), _) => format!("{}; {fetch}", self.why_not_persistent()),
            (_, Some(_)) => format!("the fastest of those measured; {fetch}"),
            (None, None) if plan.algorithm == Algorithm::Persistent => format!(
                "workgroups that wait for each other, by estimate faster than {:.3} ms; {fetch}",
                self.usual_seconds(&facts, pass, dims, work)? * 1e3
            ),
            (forced, None)
                if forced.is_some() || (sequence <= step) != (plan.algorithm == Algorithm::Sequence) =>
            {
                format!("the other algorithm failed its self-test; {fetch}")
            }
            _ => format!(
                "by estimate a dispatch for all steps takes {:.3} ms and one per step {:.3} ms; {fetch}",
                sequence * 1e3,
                step * 1e3
            ),
        };
        Ok(Recurrence {
            algorithm: plan.algorithm,
            rows: plan.rows,
            workgroup: plan.workgroup,
            workgroups: plan.across * dims.batch.div_ceil(plan.rows) * dims.directions,
            dispatches: ticks / window * window.div_ceil(plan.count) + (ticks % window).div_ceil(plan.count),
            estimated: facts.seconds(&plan, LayerDims { steps: ticks, ..dims }, work),
            measured,
            reason,
        })
    }

    /// The planner's facts about this device. Optional kernels count only after passing their self-test.
    /// Kernels that keep rows in workgroup memory are less preferred than those with subgroups, but are
    /// tested whenever `want_held` asks for them.
    pub(super) fn facts(&self, want_held: bool) -> Result<Facts> {
        let works =
            self.subgroup_size() == Some(8) && self.works(SUBGROUP, Fetch::Subgroup, Algorithm::Step)?;
        let held = match (want_held || !works) && self.works(HELD, Fetch::HeldWeights, Algorithm::Sequence)? {
            true => self.workgroup_bytes().saturating_sub(OTHER_BYTES),
            false => 0,
        };
        Ok(Facts {
            subgroup_size: self.subgroup_size().filter(|_| works),
            held_bytes: held,
            keeps_weights: held > 0 && self.works(REGISTERS, Fetch::KeptWeights, Algorithm::Sequence)?,
            workgroup_bytes: self.0.limits.max_compute_workgroup_storage_size as usize,
            largest_workgroup: self.largest_workgroup(),
            speed: self.speed()?.speed,
        })
    }

    /// Bytes of workgroup memory of this device.
    pub(super) fn workgroup_bytes(&self) -> usize {
        self.0.limits.max_compute_workgroup_storage_size as usize
    }

    /// Whether a kernel family passes its self-test; the test runs at the first call.
    fn works(&self, family: &'static str, fetch: Fetch, algorithm: Algorithm) -> Result<bool> {
        let dims = self_test::dims();
        let count = if algorithm == Algorithm::Sequence { dims.steps } else { 1 };
        let split = if fetch == Fetch::Subgroup { 1 } else { 4 };
        let plan = Plan {
            algorithm,
            fetch,
            rows: dims.batch.next_power_of_two(),
            workgroup: 64,
            split,
            across: 1,
            count,
        };
        self.passes(family, || Ok(vec![self_test::trial(self, &plan, RecurrenceFormats::Single)?]))
    }

    /// Whether kernels can read and write f16 on this device; a self-test decides at the first call.
    pub(crate) fn half_storage(&self) -> Result<bool> {
        if !self.has_half() {
            return Ok(false);
        }
        let dims = self_test::dims();
        let work = forward_work(dims.hidden, 1, Holds::Nothing);
        let plan = self.plan(PassKind::Forward, dims, work)?;
        self.passes(HALF, || {
            let recurrence = self_test::trial(self, &plan, RecurrenceFormats::Half)?;
            Ok(half_products(self)?.into_iter().chain([recurrence]).collect())
        })
    }

    /// Asks for every family of recurrent kernels that this device could use.
    pub(crate) fn ask_for_self_tests(&self) -> Result<()> {
        let facts = self.facts(true)?;
        self.works(SEQUENCE, facts.fetch(), Algorithm::Sequence)?;
        self.half_storage()?;
        Ok(())
    }
}
