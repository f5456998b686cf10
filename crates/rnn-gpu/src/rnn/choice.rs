//! The choice of a plan for a recurrence: the one asked for, measured or estimated, of kernels that have passed their
//! self-tests.

use super::algorithm::Algorithm;
use super::plan::{Facts, Holds, OTHER_BYTES, Plan, Work};
use super::recurrence::forward_work;
use super::self_test;
use super::tuning::{Case, PassKind};
use crate::GpuDevice;
use crate::gemm::half_product_error;
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::{Fetch, Formats};
use std::fmt;

/// Steps from one layer to the next that are tried: a layer's products over as many steps should still fill a tile.
const LAGS: [usize; 4] = [8, 16, 32, 64];

/// Families of the self-test.
const SUBGROUP: &str = "rnn/subgroup";
const SEQUENCE: &str = "rnn/sequence";
const HELD: &str = "rnn/held";
const HALF: &str = "rnn/half";

/// What the planner says of one recurrence.
#[derive(Clone, Debug)]
pub struct Recurrence {
    /// How its steps are spread over dispatches.
    pub algorithm: Algorithm,
    /// Batch rows of an invocation.
    pub rows: usize,
    /// Invocations of a workgroup.
    pub workgroup: usize,
    /// Workgroups of a dispatch.
    pub workgroups: usize,
    /// Dispatches of the recurrence.
    pub dispatches: usize,
    /// Seconds by the planner's model of the adapter.
    pub estimated: f64,
    /// Seconds by `Device::tune`, now or in an earlier run.
    pub measured: Option<f64>,
    /// Why this plan.
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
    /// The plan of a recurrence, of kernels that have proved themselves on this device: the one asked for, the
    /// one measured best, or the one estimated best.
    ///
    /// # Errors
    /// A device that is lost.
    pub(super) fn plan(&self, pass: PassKind, dims: LayerDims, work: Work) -> Result<Plan> {
        let measured = self.0.tuning.get(&Case::new(pass, dims, work)).map(|tuned| tuned.plan);
        let facts = self.facts(measured.is_some_and(|plan| plan.fetch.are_held()))?;
        let forced = self.forced_algorithm();
        let plan = match (forced, measured) {
            (None, Some(plan)) if facts.allows(&plan, work) => plan,
            _ => facts.plan(dims, work, forced),
        };
        let fails =
            plan.algorithm == Algorithm::Sequence && !self.works(SEQUENCE, facts.fetch(), plan.algorithm)?;
        Ok(if fails { facts.plan(dims, work, Some(Algorithm::Step)) } else { plan })
    }

    /// The steps from one layer to the next of a stack whose layers run side by side, where that is asked for or
    /// estimated to be faster than one layer after the other. `dims` are those of one layer.
    ///
    /// # Errors
    /// A device that is lost.
    pub(super) fn lag(
        &self,
        dims: LayerDims,
        layers: usize,
        passes: &[(PassKind, Work)],
    ) -> Result<Option<usize>> {
        if let Some(lag) = self.0.wavefront {
            return Ok((lag > 0).then_some(lag));
        }
        let facts = self.facts(false)?;
        let mut best = (0.0, None);
        for &(pass, work) in passes {
            best.0 += layers as f64 * facts.seconds(&self.plan(pass, dims, work)?, dims, work);
        }
        // A gain that is worth the larger arrays.
        best.0 *= 0.85;
        for lag in LAGS.into_iter().filter(|lag| 2 * lag <= dims.steps) {
            let mut seconds = 0.0;
            for &(pass, work) in passes {
                let dims = LayerDims { directions: layers, ..dims };
                let plan = self.plan(pass, dims, work)?;
                let windows = dims.steps.div_ceil(lag) + layers - 1;
                let dispatches = lag.div_ceil(plan.count) + layers;
                let step = facts.dispatch_seconds(&plan, dims, work);
                seconds += windows as f64 * (dispatches as f64 * facts.dispatch + lag as f64 * step);
            }
            if seconds < best.0 {
                best = (seconds, Some(lag));
            }
        }
        Ok(best.1)
    }

    /// The plan of a recurrence that runs for some ticks, in windows of others, and the reasons for it.
    ///
    /// # Errors
    /// A device that is lost.
    pub(super) fn explain(
        &self,
        pass: PassKind,
        dims: LayerDims,
        work: Work,
        (ticks, window): (usize, usize),
    ) -> Result<Recurrence> {
        let facts = self.facts(false)?;
        let plan = self.plan(pass, dims, work)?;
        // What was measured counts for the plan it was measured of.
        let tuned = self.0.tuning.get(&Case::new(pass, dims, work)).filter(|tuned| tuned.plan == plan);
        let measured = tuned.map(|tuned| tuned.seconds);
        let [sequence, step] = [Algorithm::Sequence, Algorithm::Step]
            .map(|algorithm| facts.seconds(&facts.plan(dims, work, Some(algorithm)), dims, work));
        let mut fetch = match plan.fetch {
            Fetch::Subgroup => "rows by shuffles in subgroups of 8",
            Fetch::Workgroup => "rows through workgroup memory",
            Fetch::Held => "rows stay in workgroup memory",
            Fetch::HeldWeights => "rows and weights stay in workgroup memory",
        }
        .to_string();
        if plan.split > 1 {
            fetch.push_str(&format!(", {} invocations to a unit", plan.split));
        }
        let reason = match (self.forced_algorithm(), measured) {
            (Some(forced), _) if forced == plan.algorithm => format!("asked for; {fetch}"),
            (_, Some(_)) => format!("the fastest of those measured; {fetch}"),
            (forced, None)
                if forced.is_some() || (sequence < step) != (plan.algorithm == Algorithm::Sequence) =>
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

    /// What the planner knows of this device; optional kernels count once they have proved themselves. Those that keep
    /// rows in workgroup memory come after those with subgroups, and prove themselves where they are wanted all the same.
    pub(super) fn facts(&self, want_held: bool) -> Result<Facts> {
        let works =
            self.subgroup_size() == Some(8) && self.works(SUBGROUP, Fetch::Subgroup, Algorithm::Step)?;
        let held = match (want_held || !works) && self.works(HELD, Fetch::HeldWeights, Algorithm::Sequence)? {
            true => (self.0.limits.max_compute_workgroup_storage_size as usize).saturating_sub(OTHER_BYTES),
            false => 0,
        };
        Ok(Facts::new(self.info().kind, self.subgroup_size().filter(|_| works), held))
    }

    /// Whether kernels of a family pass their self-test; it runs at the first call.
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
        // Small integers: the result is exact.
        self.0.self_tests.passes(family, 0.0, || self_test::error(self, &plan, Formats::Single))
    }

    /// Whether kernels can read and write f16 here, which they prove at the first call.
    pub(crate) fn half_storage(&self) -> Result<bool> {
        if !self.has_half() {
            return Ok(false);
        }
        let dims = self_test::dims();
        let work = forward_work(dims.hidden, 1, Holds::Nothing);
        let plan = self.plan(PassKind::Forward, dims, work)?;
        self.0.self_tests.passes(HALF, 0.0, || {
            let product = half_product_error(self)?;
            let recurrence = self_test::error(self, &plan, Formats::Half)?;
            // max() of f32 drops NaN.
            Ok(if product <= recurrence { recurrence } else { product })
        })
    }
}
