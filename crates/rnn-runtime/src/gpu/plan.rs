//! Which algorithm runs the recurrence, and with which tiles.
//!
//! Two ways: one dispatch per step, whose workgroups share the units among them, or the whole sequence in one
//! dispatch (in few, so that none is too long), whose workgroups each hold all units of some batch rows.

use super::adapter::DeviceKind;
use super::algorithm::Algorithm;
use super::gemm::half_product_error;
use super::rnn::forward_work;
use super::tuning::{Case, Pass};
use super::{GpuDevice, rnn_test};
use crate::error::Result;
use crate::recurrence::LayerDims;
use rnn_kernels::catalogue::rnn::{Formats, Rows};
use std::fmt;

/// A recurrence's algorithm and tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) algorithm: Algorithm,
    pub(crate) fetch: Rows,
    /// Batch rows of an invocation.
    pub(crate) rows: usize,
    /// Invocations of a workgroup.
    pub(crate) workgroup: usize,
    /// Invocations that share the product of a unit.
    pub(crate) split: usize,
    /// Workgroups along the units; 1 with [`Algorithm::Sequence`].
    pub(crate) across: usize,
    /// Steps of a dispatch.
    pub(crate) count: usize,
}

/// Longest dispatch in seconds: a display that shares the GPU stays responsive.
const MAX_DISPATCH_SECONDS: f64 = 0.02;

/// Most invocations of a workgroup on every adapter.
const MAX_WORKGROUP: usize = 256;

/// Rows of an invocation that are used.
const ROW_SIZES: [usize; 5] = [1, 4, 8, 16, 32];

/// Steps from one layer to the next that are tried: a layer's products over as many steps should still fill a tile.
const LAGS: [usize; 4] = [8, 16, 32, 64];

/// Families of the self-test.
const SUBGROUP: &str = "rnn/subgroup";
const SEQUENCE: &str = "rnn/sequence";
const HELD: &str = "rnn/held";
const HALF: &str = "rnn/half";

impl Plan {
    /// Units of a workgroup.
    pub(crate) fn units(&self) -> usize {
        self.workgroup / self.split
    }

    /// Rows whose parts of a product are in workgroup memory at the same time, where products are shared.
    pub(crate) fn rows_at_once(&self, outputs: usize) -> usize {
        (PARTIAL_BYTES / (self.workgroup * partial_size(outputs))).clamp(1, self.rows)
    }

    /// Bytes that these take.
    fn partial_bytes(&self, outputs: usize) -> usize {
        match self.split {
            1 => 0,
            _ => self.rows_at_once(outputs) * self.workgroup * partial_size(outputs),
        }
    }
}

/// Bytes of `outputs` sums in workgroup memory: WGSL aligns vectors of three as those of four.
fn partial_size(outputs: usize) -> usize {
    4 * if outputs == 3 { 4 } else { outputs }
}

/// Workgroup memory for parts of products: half of what every adapter has.
const PARTIAL_BYTES: usize = 8192;

/// Workgroup memory of a kernel beside what is planned: `lib/row_means.wgsl` has 1.5 KB, used or not.
const OTHER_BYTES: usize = 2048;

/// Vectors of four along k that an invocation should have at least where a product is shared.
const MIN_PART: usize = 4;

/// What the planner knows of an adapter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Lanes of a subgroup where it can be used.
    pub(crate) subgroup_size: Option<u32>,
    /// Bytes of workgroup memory for what stays there from step to step.
    held_bytes: usize,
    /// Workgroups that run at the same time, roughly.
    pub(crate) cores: usize,
    /// Invocations that keep one of these busy.
    lanes: usize,
    /// Multiply-adds per second and core, and seconds between dependent dispatches; both rough.
    rate: f64,
    dispatch: f64,
}

impl Facts {
    pub(crate) fn new(kind: DeviceKind, subgroup_size: Option<u32>, held_bytes: usize) -> Self {
        let (cores, lanes, rate, dispatch) = match kind {
            DeviceKind::Discrete | DeviceKind::Virtual => (64, 512, 5e10, 4e-6),
            DeviceKind::Integrated | DeviceKind::Other => (16, 256, 1e10, 10e-6),
            // A vector is all it takes at a time; without shuffles it gets workgroups as any other.
            DeviceKind::Software => {
                (std::thread::available_parallelism().map_or(1, usize::from), 256, 1e10, 40e-6)
            }
        };
        Facts { subgroup_size, held_bytes, cores, lanes, rate, dispatch }
    }

    fn fetch(&self) -> Rows {
        if self.subgroup_size == Some(8) { Rows::Subgroup } else { Rows::Workgroup }
    }

    /// Whether a plan's kernels can be used, and have room for what they keep.
    fn allows(&self, plan: &Plan, work: Work) -> bool {
        let rows = 2 * plan.rows * work.depth;
        let bytes = |values: usize| {
            4 * values + plan.partial_bytes(work.outputs) <= self.held_bytes
                && plan.algorithm == Algorithm::Sequence
        };
        let shares = work.holds == Holds::All && plan.fetch != Rows::Subgroup;
        (plan.split == 1 || shares)
            && match plan.fetch {
                Rows::Workgroup => true,
                Rows::Subgroup => self.fetch() == Rows::Subgroup,
                Rows::Held => work.holds != Holds::Nothing && bytes(rows),
                Rows::HeldWeights => {
                    work.holds == Holds::All && bytes(rows + work.lanes * work.outputs * work.depth)
                }
            }
    }

    /// The same plan with more invocations to a unit, until they keep the cores busy.
    fn shared(&self, mut plan: Plan, dims: LayerDims, work: Work) -> Plan {
        if plan.fetch == Rows::Subgroup || work.holds != Holds::All {
            return plan;
        }
        let groups = dims.batch.div_ceil(plan.rows) * dims.directions * plan.across;
        let busy = |plan: &Plan| groups * plan.workgroup >= self.cores * self.lanes;
        while 2 * plan.workgroup <= MAX_WORKGROUP
            && work.depth / 4 >= 2 * plan.split * MIN_PART
            && !busy(&plan)
        {
            plan.split *= 2;
            plan.workgroup *= 2;
        }
        plan
    }

    /// The same plan with as much as there is room for in workgroup memory.
    fn held(&self, plan: Plan, work: Work) -> Plan {
        let kinds = [Rows::HeldWeights, Rows::Held].map(|fetch| Plan { fetch, ..plan });
        kinds.into_iter().find(|plan| self.allows(plan, work)).unwrap_or(plan)
    }

    /// The plan for a recurrence over `dims` whose product makes `outputs` values per row of an invocation
    /// out of `depth` inputs, `lanes` invocations covering all units.
    pub(crate) fn plan(&self, dims: LayerDims, work: Work, forced: Option<Algorithm>) -> Plan {
        let fetch = self.fetch();
        let most = if fetch == Rows::Subgroup { 32 } else { 8 };
        let sequence = self.sequence(dims, work, fetch, most);
        let step = self.step(dims, work, fetch, most);
        match forced {
            Some(Algorithm::Step) => step,
            Some(Algorithm::Sequence) => sequence,
            None if self.seconds(&sequence, dims, work) <= self.seconds(&step, dims, work) => sequence,
            None => step,
        }
    }

    /// Plans worth measuring: both algorithms with every number of rows that makes a difference, and all that may stay
    /// in workgroup memory.
    pub(super) fn candidates(&self, dims: LayerDims, work: Work) -> Vec<Plan> {
        let mut plans = Vec::new();
        for algorithm in [Algorithm::Sequence, Algorithm::Step] {
            let base = self.plan(dims, work, Some(algorithm));
            let most = if base.fetch == Rows::Subgroup { 32 } else { 8 };
            for rows in ROW_SIZES.into_iter().filter(|&rows| rows <= most && rows < 2 * dims.batch) {
                let fetches = match algorithm {
                    Algorithm::Step => &[base.fetch][..],
                    Algorithm::Sequence => &[self.fetch(), Rows::Held, Rows::HeldWeights],
                };
                let each = fetches.iter().map(|&fetch| Plan { rows, fetch, ..base });
                // Also every unit's product by one invocation.
                let alone = |plan: Plan| Plan { split: 1, workgroup: plan.units(), ..plan };
                let both = each.flat_map(|plan| [Some(plan), (plan.split > 1).then(|| alone(plan))]);
                plans.extend(both.flatten().filter(|plan| self.allows(plan, work)));
            }
        }
        plans
    }

    /// Batch rows of an invocation: enough workgroups for all cores, then as many rows as possible.
    fn rows(&self, dims: LayerDims, across: usize, most: usize) -> usize {
        let others = dims.directions * across;
        let wanted = self.cores.div_ceil(others);
        let groups = dims.batch.div_ceil(most).max(wanted.min(dims.batch));
        // A whole number of rounds over the cores.
        let groups = (groups * others).next_multiple_of(self.cores.min(groups * others)) / others;
        let rows = dims.batch.div_ceil(groups.clamp(1, dims.batch)).max(1);
        // Every number of rows is a kernel to compile: a few sizes must do.
        ROW_SIZES.into_iter().find(|&size| size >= rows).unwrap_or(most).min(most)
    }

    /// A workgroup of one of a few sizes, because every size is a kernel to compile.
    fn workgroup(&self, lanes: usize, fetch: Rows, holds: Holds) -> usize {
        let sizes: &[usize] = match fetch {
            Rows::Subgroup => &[8, 64, MAX_WORKGROUP],
            // Others join where a product can be shared.
            _ if holds == Holds::All => &[8, 16, 32, 64, 128, MAX_WORKGROUP],
            _ => &[32, 64, MAX_WORKGROUP],
        };
        sizes.iter().copied().find(|&size| size >= lanes).unwrap_or(MAX_WORKGROUP)
    }

    fn sequence(&self, dims: LayerDims, work: Work, fetch: Rows, most: usize) -> Plan {
        let rows = self.rows(dims, 1, most);
        let workgroup = self.workgroup(work.lanes, fetch, work.holds);
        let algorithm = Algorithm::Sequence;
        let plan = Plan { algorithm, fetch, rows, workgroup, split: 1, across: 1, count: 1 };
        let mut plan = self.shared(plan, dims, work);
        let step = self.dispatch_seconds(&plan, dims, work);
        plan.count = ((MAX_DISPATCH_SECONDS / step) as usize).clamp(1, dims.steps + 1);
        // Where a subgroup is a vector of a CPU, workgroup memory is no nearer than any other.
        if fetch == Rows::Subgroup { plan } else { self.held(plan, work) }
    }

    fn step(&self, dims: LayerDims, work: Work, fetch: Rows, most: usize) -> Plan {
        let lanes = work.lanes.next_multiple_of(8);
        // Small workgroups where the batch alone does not fill the cores.
        let tiles = dims.batch.div_ceil(most) * dims.directions;
        let across = self.cores.div_ceil(tiles).max(lanes.div_ceil(MAX_WORKGROUP));
        let workgroup = self.workgroup(lanes.div_ceil(across), fetch, work.holds);
        let across = lanes.div_ceil(workgroup);
        let rows = self.rows(dims, across, most);
        let plan = Plan { algorithm: Algorithm::Step, fetch, rows, workgroup, split: 1, across, count: 1 };
        self.shared(plan, dims, work)
    }

    /// Estimated seconds of one step of a dispatch.
    fn dispatch_seconds(&self, plan: &Plan, dims: LayerDims, work: Work) -> f64 {
        let groups = dims.batch.div_ceil(plan.rows) * dims.directions * plan.across;
        let turns = work.lanes.div_ceil(plan.units() * plan.across);
        // Weights are read once per tile: a row costs what its products cost, a tile four rows more.
        let group = turns * plan.units().min(work.lanes.next_multiple_of(8)) * (plan.rows + 4);
        let products = (group * work.depth * work.outputs) as f64;
        groups.div_ceil(self.cores) as f64 * products / self.rate
    }

    /// Estimated seconds of the whole recurrence.
    pub(super) fn seconds(&self, plan: &Plan, dims: LayerDims, work: Work) -> f64 {
        let dispatches = dims.steps.div_ceil(plan.count) as f64;
        dispatches * self.dispatch + dims.steps as f64 * self.dispatch_seconds(plan, dims, work)
    }
}

/// The product of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Work {
    /// Invocations that cover all units.
    pub(crate) lanes: usize,
    /// Values a row of an invocation computes.
    pub(crate) outputs: usize,
    /// Values each of them is a sum over.
    pub(crate) depth: usize,
    pub(crate) holds: Holds,
}

/// What a dispatch of whole sequences may keep in workgroup memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holds {
    Nothing,
    /// What goes from step to step.
    Rows,
    /// The weights, too.
    All,
}

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
    /// Seconds by [`Device::tune`](crate::Device::tune), now or in an earlier run.
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
    pub(crate) fn plan(&self, pass: Pass, dims: LayerDims, work: Work) -> Result<Plan> {
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
    pub(crate) fn lag(
        &self,
        dims: LayerDims,
        layers: usize,
        passes: &[(Pass, Work)],
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
    pub(crate) fn explain(
        &self,
        pass: Pass,
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
            Rows::Subgroup => "rows by shuffles in subgroups of 8",
            Rows::Workgroup => "rows through workgroup memory",
            Rows::Held => "rows stay in workgroup memory",
            Rows::HeldWeights => "rows and weights stay in workgroup memory",
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
            self.subgroup_size() == Some(8) && self.works(SUBGROUP, Rows::Subgroup, Algorithm::Step)?;
        let held = match (want_held || !works) && self.works(HELD, Rows::HeldWeights, Algorithm::Sequence)? {
            true => (self.0.limits.max_compute_workgroup_storage_size as usize).saturating_sub(OTHER_BYTES),
            false => 0,
        };
        Ok(Facts::new(self.info().kind, self.subgroup_size().filter(|_| works), held))
    }

    /// Whether kernels of a family pass their self-test; it runs at the first call.
    fn works(&self, family: &'static str, fetch: Rows, algorithm: Algorithm) -> Result<bool> {
        let dims = rnn_test::dims();
        let count = if algorithm == Algorithm::Sequence { dims.steps } else { 1 };
        let split = if fetch == Rows::Subgroup { 1 } else { 4 };
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
        self.0.self_tests.passes(family, 0.0, || rnn_test::error(self, &plan, Formats::Single))
    }

    /// Whether kernels can read and write f16 here, which they prove at the first call.
    pub(crate) fn half_storage(&self) -> Result<bool> {
        if !self.has_half() {
            return Ok(false);
        }
        let dims = rnn_test::dims();
        let work = forward_work(dims.hidden, 1, Holds::Nothing);
        let plan = self.plan(Pass::Forward, dims, work)?;
        self.0.self_tests.passes(HALF, 0.0, || {
            let product = half_product_error(self)?;
            let recurrence = rnn_test::error(self, &plan, Formats::Half)?;
            // max() of f32 drops NaN.
            Ok(if product <= recurrence { recurrence } else { product })
        })
    }
}
