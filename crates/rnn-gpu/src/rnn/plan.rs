//! The planner's cost model: estimated time and workgroup memory of a plan, from a few facts about the
//! adapter and the sizes.
//!
//! The planner chooses between two algorithms. One runs a dispatch per step, whose workgroups share the units among them. The
//! other runs the whole sequence in one dispatch (or a few, to bound the time of each), whose workgroups each
//! compute all units of some batch rows.

use super::algorithm::Algorithm;
use crate::calibration::Speed;
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::catalogue::rnn::{Fetch, KEPT_DEPTH, KEPT_TURNS};

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

/// Invocations per workgroup that every adapter supports.
const USUAL_WORKGROUP: usize = 256;

/// Invocations that keep a core busy at most. One workgroup that reads weights is faster with more on an NVIDIA H200, but
/// steps of a recurrence, which have eight rows and four gates to an invocation, are not.
const MOST_LANES: usize = 256;

/// Largest workgroup whose invocations have registers for KEPT_TURNS vectors of four gates and their sums, where a core has
/// 65,536 registers. Larger ones keep half of them elsewhere.
const LARGEST_KEPT: usize = 512;

/// Dispatches that a dispatch of a recurrence costs: itself, and the time of reads that wait for each other at its start,
/// 2.5 us on an NVIDIA H200, where a dispatch takes 1.9.
const STARTS: f64 = 2.0;

/// Dispatches that a value costs which a workgroup of a persistent plan waits for.
const EXCHANGE: f64 = 1.25;

/// Dispatches beside a persistent recurrence: its start, the verdict, and the repetition that has no workgroups, with the
/// kernels by which wgpu checks sizes that a kernel has written.
const AROUND_PERSISTENT: f64 = 6.0;

/// Most plans of one algorithm and fetch that are measured.
const MOST_OF_A_KIND: usize = 5;

/// The values of [`Plan::rows`] in use.
const ROW_SIZES: [usize; 5] = [1, 4, 8, 16, 32];

impl Plan {
    /// Units per workgroup.
    pub(crate) fn units(&self) -> usize {
        self.workgroup / self.split
    }

    /// The plan, and those whose workgroups pass over the units in two and in four turns.
    fn with_fewer_workgroups(self) -> Vec<Plan> {
        let mut plans = vec![self];
        if self.algorithm == Algorithm::Step {
            plans.extend([2, 4].map(|turns| Plan { across: self.across.div_ceil(turns), ..self }));
            plans.dedup();
        }
        plans
    }

    /// Whether the invocations have registers for all weights.
    pub(super) fn keeps_all_weights(&self, work: Work) -> bool {
        self.units() * self.across >= work.lanes
            && work.depth <= 4 * KEPT_DEPTH
            && work.depth.div_ceil(4 * self.split) <= KEPT_TURNS
    }

    /// Barriers of a step on an adapter with this many bytes of workgroup memory.
    fn barriers(&self, work: Work, memory: usize) -> f64 {
        let turns = work.lanes.div_ceil(self.units() * self.across);
        let staged = if self.stages() { 2 * work.depth.div_ceil(4 * self.chunk(work, memory)) } else { 0 };
        let shared = match self.split {
            1 => 0,
            _ => 2 * self.rows.div_ceil(self.rows_at_once(work, memory)),
        };
        (turns * (staged + shared) + usize::from(self.algorithm != Algorithm::Step)) as f64
    }
}

/// Workgroup memory of a kernel besides the planned arrays: `lib/row_means.wgsl` declares 1.5 KB even where
/// it is not used.
pub(super) const OTHER_BYTES: usize = 2048;

/// Smallest number of vectors of four along k per invocation where a product is shared.
const MIN_PART: usize = 4;

/// [`MIN_PART`] where weights stay in registers, so that parts of any depth are small enough.
const MIN_KEPT_PART: usize = 2;

/// Sizes of workgroups. Every size is another kernel to compile, so there are few; further invocations join where they can
/// share a product. Of plans with the same estimate the first counts: that with fewer workgroups.
const SHARED_SIZES: [usize; 8] = [1024, 512, 256, 128, 64, 32, 16, 8];
const SUBGROUP_SIZES: [usize; 5] = [1024, 512, 256, 64, 8];
const OTHER_SIZES: [usize; 3] = [256, 64, 32];

/// Largest workgroup of a step with several phases: `lib/row_means.wgsl` has arrays of this size.
const LARGEST_WITH_PHASES: usize = 256;

/// Rows whose sums stay in registers.
const ROWS_IN_REGISTERS: usize = 16;

/// The planner's facts about an adapter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Lanes of a subgroup, where subgroup operations can be used.
    pub(crate) subgroup_size: Option<u32>,
    /// Bytes of workgroup memory for arrays that stay there from step to step.
    pub(crate) held_bytes: usize,
    /// Whether invocations can keep weights in registers.
    pub(crate) keeps_weights: bool,
    /// Bytes of workgroup memory.
    pub(crate) workgroup_bytes: usize,
    /// Most invocations of a workgroup.
    pub(crate) largest_workgroup: usize,
    /// How fast the adapter is.
    pub(crate) speed: Speed,
}

impl Facts {
    pub(super) fn fetch(&self) -> Fetch {
        if self.subgroup_size == Some(8) { Fetch::Subgroup } else { Fetch::Workgroup }
    }

    /// Whether the adapter can run a plan's kernels and has workgroup memory for their arrays.
    pub(super) fn allows(&self, plan: &Plan, work: Work) -> bool {
        // Arrays that stay there from step to step, beside sums.
        let alone = plan.algorithm == Algorithm::Sequence;
        let fits = || {
            plan.array_bytes(work, self.workgroup_bytes) + plan.least_sum_bytes(work.outputs)
                <= self.held_bytes
        };
        let shares = work.holds == Holds::All && plan.fetch != Fetch::Subgroup;
        plan.workgroup <= self.largest(work.holds)
            && plan.least_bytes(work, self.workgroup_bytes) <= self.workgroup_bytes
            && (plan.split == 1 || shares)
            && match plan.fetch {
                Fetch::Workgroup => true,
                Fetch::Subgroup => self.fetch() == Fetch::Subgroup,
                Fetch::Held => work.holds != Holds::Nothing && alone && fits(),
                Fetch::HeldWeights => work.holds == Holds::All && alone && fits(),
                Fetch::KeptWeights => {
                    self.keeps_weights
                        && work.holds == Holds::All
                        && plan.algorithm != Algorithm::Step
                        && fits()
                        && plan.keeps_all_weights(work)
                }
            }
    }

    /// Most invocations of a workgroup of such steps.
    fn largest(&self, holds: Holds) -> usize {
        match holds {
            Holds::Nothing => self.largest_workgroup.min(LARGEST_WITH_PHASES),
            _ => self.largest_workgroup,
        }
    }

    /// Invocations that keep a core busy. With shuffles a subgroup is the vector of a CPU, and needs no company.
    fn lanes(&self) -> usize {
        if self.fetch() == Fetch::Subgroup { 8 } else { self.speed.lanes.min(MOST_LANES) }
    }

    /// The plan with the lowest estimate for a recurrence over `dims`. Its product computes `outputs` values per row of
    /// an invocation from `depth` inputs; `lanes` invocations cover all units.
    pub(crate) fn plan(&self, dims: LayerDims, work: Work, forced: Option<Algorithm>) -> Plan {
        // Larger workgroups than keep a core busy only wait longer for each other, except where they hold what others
        // have to read.
        let fits = |plan: &Plan| plan.workgroup <= USUAL_WORKGROUP || plan.fetch.are_held();
        let plans = self.plans(dims, work, forced);
        let seconds = |plan: &Plan| self.seconds(plan, dims, work);
        let plans = plans.filter(fits).map(|plan| (seconds(&plan), plan));
        // The first of equal ones, so that every process takes the same.
        let best = plans.reduce(|best, plan| if plan.0 < best.0 { plan } else { best });
        best.map_or_else(|| self.simplest(forced), |(_, plan)| plan)
    }

    /// Plans worth measuring: of every algorithm and fetch those with the lowest estimates, in all sizes of workgroups that
    /// the adapter allows. Those with a dispatch per step also come with a half and a quarter of their workgroups along the
    /// units. No estimate of these is lower, because estimates leave out what the start of a workgroup costs. They run the same
    /// kernel, so to measure them takes little time.
    pub(super) fn candidates(&self, dims: LayerDims, work: Work) -> Vec<Plan> {
        let mut plans: Vec<(f64, Plan)> =
            self.plans(dims, work, None).map(|plan| (self.seconds(&plan, dims, work), plan)).collect();
        plans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut kept: Vec<Plan> = Vec::new();
        for (_, plan) in plans {
            let like = |other: &&Plan| (other.algorithm, other.fetch) == (plan.algorithm, plan.fetch);
            // Of plans that differ only in the invocations to a unit, two tell enough.
            let twin =
                |other: &&Plan| like(other) && (other.rows, other.units()) == (plan.rows, plan.units());
            if kept.iter().filter(like).count() < MOST_OF_A_KIND && kept.iter().filter(twin).count() < 2 {
                kept.push(plan);
            }
        }
        kept.into_iter().flat_map(Plan::with_fewer_workgroups).collect()
    }

    /// A plan that every adapter can run.
    fn simplest(&self, forced: Option<Algorithm>) -> Plan {
        Plan {
            algorithm: forced.unwrap_or(Algorithm::Step),
            fetch: Fetch::Workgroup,
            rows: 1,
            workgroup: 64,
            split: 1,
            across: 1,
            count: 1,
        }
    }

    /// Every plan that the adapter can run.
    fn plans(
        &self,
        dims: LayerDims,
        work: Work,
        forced: Option<Algorithm>,
    ) -> impl Iterator<Item = Plan> + '_ {
        let algorithms = [Algorithm::Sequence, Algorithm::Step].into_iter();
        algorithms
            .filter(move |&algorithm| forced.is_none_or(|forced| forced == algorithm))
            .flat_map(move |algorithm| {
                let fetches: &[Fetch] = match (algorithm, self.fetch()) {
                    (Algorithm::Step, Fetch::Subgroup) => &[Fetch::Subgroup],
                    (Algorithm::Step, _) => &[Fetch::Workgroup],
                    (_, Fetch::Subgroup) => &[Fetch::Subgroup, Fetch::Held, Fetch::HeldWeights],
                    _ => &[Fetch::KeptWeights, Fetch::HeldWeights, Fetch::Held, Fetch::Workgroup],
                };
                fetches.iter().map(move |&fetch| (algorithm, fetch))
            })
            .flat_map(move |(algorithm, fetch)| {
                let most = if fetch == Fetch::Subgroup { 32 } else { 8 };
                let rows = ROW_SIZES.into_iter().filter(move |&rows| rows <= most && rows < 2 * dims.batch);
                rows.map(move |rows| (algorithm, fetch, rows))
            })
            .flat_map(move |(algorithm, fetch, rows)| {
                let of_shape = move |(workgroup, split): (usize, usize)| {
                    let lanes = work.lanes.next_multiple_of(8);
                    let across = match algorithm {
                        Algorithm::Sequence => 1,
                        Algorithm::Step | Algorithm::Persistent => lanes.div_ceil(workgroup / split),
                    };
                    let plan = Plan { algorithm, fetch, rows, workgroup, split, across, count: 1 };
                    Plan { count: self.count(&plan, dims, work), ..plan }
                };
                shapes(fetch, work).map(of_shape)
            })
            .filter(move |plan| self.allows(plan, work))
    }

    /// Steps of a dispatch.
    pub(super) fn count(&self, plan: &Plan, dims: LayerDims, work: Work) -> usize {
        match plan.algorithm {
            Algorithm::Step => 1,
            Algorithm::Sequence | Algorithm::Persistent => {
                let step = self.dispatch_seconds(plan, dims, work);
                ((MAX_DISPATCH_SECONDS / step) as usize).clamp(1, dims.steps + 1)
            }
        }
    }

    /// Estimated seconds of one step of a dispatch. Workgroups take turns on the cores. Each reads all weights of its
    /// units, multiplies them with its rows, and waits at barriers.
    pub(super) fn dispatch_seconds(&self, plan: &Plan, dims: LayerDims, work: Work) -> f64 {
        let speed = &self.speed;
        let groups = dims.batch.div_ceil(plan.rows) * dims.directions * plan.across;
        let rounds = groups.div_ceil(speed.cores) as f64;
        let turns = work.lanes.div_ceil(plan.units() * plan.across);
        // Invocations and rows beyond the last ones repeat others, so they count.
        let per_row = (turns * plan.units() * work.outputs) as f64 * work.depth as f64;
        let busy = (plan.workgroup as f64 * rounds / self.lanes() as f64).min(1.0);
        let products = per_row * plan.rows as f64 / (speed.fma * busy);
        let weights = match plan.fetch {
            Fetch::KeptWeights if plan.workgroup > LARGEST_KEPT => {
                0.5 * 4.0 * per_row * speed.cores as f64 / speed.memory
            }
            Fetch::HeldWeights | Fetch::KeptWeights => 0.0,
            // The sums of more rows do not fit in registers, which costs what reading the weights again would.
            _ => {
                let times = plan.rows.div_ceil(ROWS_IN_REGISTERS) as f64;
                4.0 * per_row * times * speed.cores as f64 / speed.memory
            }
        };
        // Nothing is multiplied while the cell is computed at the end of a turn.
        let waits = plan.barriers(work, self.workgroup_bytes) * speed.barrier_of(plan.workgroup)
            + turns as f64 * speed.barrier[0];
        rounds * (products + weights + waits)
    }

    /// Estimated seconds of the whole recurrence.
    pub(super) fn seconds(&self, plan: &Plan, dims: LayerDims, work: Work) -> f64 {
        let (steps, dispatches) = (dims.steps as f64, dims.steps.div_ceil(plan.count) as f64);
        let waits = match plan.algorithm {
            // A subgroup that is the vector of a CPU waits for no memory.
            Algorithm::Step | Algorithm::Sequence if plan.fetch == Fetch::Subgroup => {
                dispatches * self.speed.dispatch
            }
            Algorithm::Step | Algorithm::Sequence => STARTS * dispatches * self.speed.dispatch,
            Algorithm::Persistent => {
                // A training pass copies the gates: outputs of a forward pass, and what a backward pass sums over.
                let gates = (work.lanes * work.outputs).max(work.depth);
                let gates = 4 * dims.steps * dims.batch * dims.directions * gates;
                let starts = STARTS * dispatches + EXCHANGE * steps + AROUND_PERSISTENT;
                starts * self.speed.dispatch + 2.0 * gates as f64 / self.speed.memory
            }
        };
        waits + steps * self.dispatch_seconds(plan, dims, work)
    }
}

/// Sizes of workgroups with the number of invocations that share the product of a unit.
fn shapes(fetch: Fetch, work: Work) -> impl Iterator<Item = (usize, usize)> {
    let shares = fetch != Fetch::Subgroup && work.holds == Holds::All;
    let sizes: &[usize] = match fetch {
        Fetch::Subgroup => &SUBGROUP_SIZES,
        _ if shares => &SHARED_SIZES,
        _ => &OTHER_SIZES,
    };
    let least = if fetch == Fetch::KeptWeights { MIN_KEPT_PART } else { MIN_PART };
    let most = if shares { (work.depth / 4 / least).max(1) } else { 1 };
    let splits = (0..usize::BITS).map(|n| 1usize << n).take_while(move |&split| split <= most);
    splits
        .flat_map(|split| sizes.iter().map(move |&workgroup| (workgroup, split)))
        // Fewer units than a vector of a CPU have nothing to share.
        .filter(|(workgroup, split)| workgroup / split >= 8)
        // Half of the workgroup would repeat other units.
        .filter(move |(workgroup, split)| workgroup / split < 2 * work.lanes.next_multiple_of(8))
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

#[cfg(test)]
mod tests;
