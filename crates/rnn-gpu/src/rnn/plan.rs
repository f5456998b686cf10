//! The planner's cost model: estimated time and workgroup memory of a plan, from a few facts about the
//! adapter and the sizes.
//!
//! There are two algorithms. One runs a dispatch per step, whose workgroups share the units among them. The
//! other runs the whole sequence in one dispatch (or a few, to bound the time of each), whose workgroups each
//! compute all units of some batch rows.

use super::algorithm::Algorithm;
use crate::adapter::DeviceKind;
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::catalogue::rnn::Fetch;

/// A recurrence's algorithm and tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) algorithm: Algorithm,
    pub(crate) fetch: Fetch,
    /// Batch rows per invocation.
    pub(crate) rows: usize,
    /// Invocations per workgroup.
    pub(crate) workgroup: usize,
    /// Invocations that share the product of a unit.
    pub(crate) split: usize,
    /// Workgroups along the units; 1 with [`Algorithm::Sequence`].
    pub(crate) across: usize,
    /// Steps per dispatch.
    pub(crate) count: usize,
}

/// Longest dispatch in seconds; short dispatches keep a display on the same GPU responsive.
const MAX_DISPATCH_SECONDS: f64 = 0.02;

/// Most invocations per workgroup that every adapter supports.
const MAX_WORKGROUP: usize = 256;

/// The values of [`Plan::rows`] in use.
const ROW_SIZES: [usize; 5] = [1, 4, 8, 16, 32];

impl Plan {
    /// Units per workgroup.
    pub(crate) fn units(&self) -> usize {
        self.workgroup / self.split
    }
}

/// Workgroup memory of a kernel besides the planned arrays: `lib/row_means.wgsl` declares 1.5 KB even where
/// it is not used.
pub(super) const OTHER_BYTES: usize = 2048;

/// Smallest number of vectors of four along k per invocation where a product is shared.
const MIN_PART: usize = 4;

/// The planner's facts about an adapter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Lanes of a subgroup, where subgroup operations can be used.
    pub(crate) subgroup_size: Option<u32>,
    /// Bytes of workgroup memory for arrays that stay there from step to step.
    held_bytes: usize,
    /// Workgroups that run at the same time, roughly.
    pub(crate) cores: usize,
    /// Invocations that keep a core busy.
    lanes: usize,
    /// Multiply-adds per second and core, and seconds between dependent dispatches; both rough.
    rate: f64,
    pub(super) dispatch: f64,
}

impl Facts {
    pub(crate) fn new(kind: DeviceKind, subgroup_size: Option<u32>, held_bytes: usize) -> Self {
        let (cores, lanes, rate, dispatch) = match kind {
            DeviceKind::Discrete | DeviceKind::Virtual => (64, 512, 5e10, 4e-6),
            DeviceKind::Integrated | DeviceKind::Other => (16, 256, 1e10, 10e-6),
            // One invocation per vector lane is enough for a CPU; without shuffles it gets workgroups like
            // any other adapter.
            DeviceKind::Software => {
                (std::thread::available_parallelism().map_or(1, usize::from), 256, 1e10, 40e-6)
            }
        };
        Facts { subgroup_size, held_bytes, cores, lanes, rate, dispatch }
    }

    pub(super) fn fetch(&self) -> Fetch {
        if self.subgroup_size == Some(8) { Fetch::Subgroup } else { Fetch::Workgroup }
    }

    /// Whether the adapter can run a plan's kernels and has workgroup memory for their arrays.
    pub(super) fn allows(&self, plan: &Plan, work: Work) -> bool {
        // Arrays that stay there from step to step, beside sums.
        let fits = || {
            plan.array_bytes(work) + plan.least_sum_bytes(work.outputs) <= self.held_bytes
                && plan.algorithm == Algorithm::Sequence
        };
        let shares = work.holds == Holds::All && plan.fetch != Fetch::Subgroup;
        (plan.split == 1 || shares)
            && match plan.fetch {
                Fetch::Workgroup => true,
                Fetch::Subgroup => self.fetch() == Fetch::Subgroup,
                Fetch::Held => work.holds != Holds::Nothing && fits(),
                Fetch::HeldWeights => work.holds == Holds::All && fits(),
            }
    }

    /// The same plan with more invocations per unit, until they keep the cores busy.
    fn shared(&self, mut plan: Plan, dims: LayerDims, work: Work) -> Plan {
        if plan.fetch == Fetch::Subgroup || work.holds != Holds::All {
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

    /// The same plan with as many arrays in workgroup memory as fit.
    fn held(&self, plan: Plan, work: Work) -> Plan {
        let kinds = [Fetch::HeldWeights, Fetch::Held].map(|fetch| Plan { fetch, ..plan });
        kinds.into_iter().find(|plan| self.allows(plan, work)).unwrap_or(plan)
    }

    /// The plan for a recurrence over `dims`. Its product computes `outputs` values per row of an invocation
    /// from `depth` inputs; `lanes` invocations cover all units.
    pub(crate) fn plan(&self, dims: LayerDims, work: Work, forced: Option<Algorithm>) -> Plan {
        let fetch = self.fetch();
        let most = if fetch == Fetch::Subgroup { 32 } else { 8 };
        let sequence = self.sequence(dims, work, fetch, most);
        let step = self.step(dims, work, fetch, most);
        match forced {
            Some(Algorithm::Step) => step,
            Some(Algorithm::Sequence) => sequence,
            None if self.seconds(&sequence, dims, work) <= self.seconds(&step, dims, work) => sequence,
            None => step,
        }
    }

    /// Plans worth measuring: both algorithms with every useful number of rows, and every choice of arrays in
    /// workgroup memory.
    pub(super) fn candidates(&self, dims: LayerDims, work: Work) -> Vec<Plan> {
        let mut plans = Vec::new();
        for algorithm in [Algorithm::Sequence, Algorithm::Step] {
            let base = self.plan(dims, work, Some(algorithm));
            let most = if base.fetch == Fetch::Subgroup { 32 } else { 8 };
            for rows in ROW_SIZES.into_iter().filter(|&rows| rows <= most && rows < 2 * dims.batch) {
                let fetches = match algorithm {
                    Algorithm::Step => &[base.fetch][..],
                    Algorithm::Sequence => &[self.fetch(), Fetch::Held, Fetch::HeldWeights],
                };
                let each = fetches.iter().map(|&fetch| Plan { rows, fetch, ..base });
                // Also without sharing: one invocation per unit.
                let alone = |plan: Plan| Plan { split: 1, workgroup: plan.units(), ..plan };
                let both = each.flat_map(|plan| [Some(plan), (plan.split > 1).then(|| alone(plan))]);
                plans.extend(both.flatten().filter(|plan| self.allows(plan, work)));
            }
        }
        plans
    }

    /// Batch rows per invocation: enough workgroups for all cores, then as many rows as possible.
    fn rows(&self, dims: LayerDims, across: usize, most: usize) -> usize {
        let others = dims.directions * across;
        let wanted = self.cores.div_ceil(others);
        let groups = dims.batch.div_ceil(most).max(wanted.min(dims.batch));
        // Round up to whole rounds over the cores.
        let groups = (groups * others).next_multiple_of(self.cores.min(groups * others)) / others;
        let rows = dims.batch.div_ceil(groups.clamp(1, dims.batch)).max(1);
        // Every number of rows is another kernel to compile, so there are only a few sizes.
        ROW_SIZES.into_iter().find(|&size| size >= rows).unwrap_or(most).min(most)
    }

    /// A workgroup size from a short list, because every size is another kernel to compile.
    fn workgroup(&self, lanes: usize, fetch: Fetch, holds: Holds) -> usize {
        let sizes: &[usize] = match fetch {
            Fetch::Subgroup => &[8, 64, MAX_WORKGROUP],
            // Further invocations join where they can share a product.
            _ if holds == Holds::All => &[8, 16, 32, 64, 128, MAX_WORKGROUP],
            _ => &[32, 64, MAX_WORKGROUP],
        };
        sizes.iter().copied().find(|&size| size >= lanes).unwrap_or(MAX_WORKGROUP)
    }

    fn sequence(&self, dims: LayerDims, work: Work, fetch: Fetch, most: usize) -> Plan {
        let rows = self.rows(dims, 1, most);
        let workgroup = self.workgroup(work.lanes, fetch, work.holds);
        let algorithm = Algorithm::Sequence;
        let plan = Plan { algorithm, fetch, rows, workgroup, split: 1, across: 1, count: 1 };
        let mut plan = self.shared(plan, dims, work);
        let step = self.dispatch_seconds(&plan, dims, work);
        plan.count = ((MAX_DISPATCH_SECONDS / step) as usize).clamp(1, dims.steps + 1);
        // Where a subgroup is a CPU vector, workgroup memory is no faster than other memory.
        if fetch == Fetch::Subgroup { plan } else { self.held(plan, work) }
    }

    fn step(&self, dims: LayerDims, work: Work, fetch: Fetch, most: usize) -> Plan {
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
    pub(super) fn dispatch_seconds(&self, plan: &Plan, dims: LayerDims, work: Work) -> f64 {
        let groups = dims.batch.div_ceil(plan.rows) * dims.directions * plan.across;
        let turns = work.lanes.div_ceil(plan.units() * plan.across);
        // Weights are read once per tile of rows: a row costs as much as its products, a tile as much as four
        // more rows.
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
    /// Values that an invocation computes per row.
    pub(crate) outputs: usize,
    /// Length of the sum behind each value.
    pub(crate) depth: usize,
    pub(crate) holds: Holds,
}

/// Arrays that a dispatch of whole sequences may keep in workgroup memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holds {
    Nothing,
    /// The operand that goes from step to step.
    Fetch,
    /// The operand and the weights.
    All,
}
