//! What a kernel learns of its plan: the arrays in workgroup memory, the sums of a product on their way to the cell
//! (`lib/sums_shared.wgsl`), and the turns of its innermost loop.

use super::algorithm::Algorithm;
use super::plan::{OTHER_BYTES, Plan, Work};
use rnn_kernels::catalogue::rnn::Fetch;

/// Bytes that the planner reserves for sums before it keeps other arrays: half of the least workgroup memory.
const LEAST_BYTES: usize = 8192;

/// Least vectors of four along k in a part.
const LEAST_CHUNK: usize = 32;

/// Most of them: more would leave no other work to a core.
const MOST_CHUNK: usize = 256;

impl Plan {
    /// Whether rows pass through workgroup memory.
    pub(super) fn stages(&self) -> bool {
        self.fetch == Fetch::Workgroup || self.algorithm == Algorithm::Persistent
    }

    /// Vectors of four along k in a part, on an adapter with `memory` bytes of workgroup memory. Where weights are in
    /// registers, a part is all of k. Rows in workgroup memory may fill a third of it: parts should be few, because all
    /// invocations wait for the reads of every part.
    pub(super) fn chunk(&self, work: Work, memory: usize) -> usize {
        let all = (work.depth / 4).next_power_of_two();
        if self.fetch == Fetch::KeptWeights {
            return all.max(LEAST_CHUNK);
        }
        let room = memory / 3 / (16 * self.rows);
        let most = if self.stages() && room > 0 { 1 << room.ilog2() } else { LEAST_CHUNK };
        all.min(most).clamp(LEAST_CHUNK, MOST_CHUNK)
    }

    /// Bytes of the rows and weights in workgroup memory, of which the adapter has `memory` bytes.
    pub(super) fn array_bytes(&self, work: Work, memory: usize) -> usize {
        let rows = 4 * 2 * self.rows * work.depth;
        if self.stages() {
            return 16 * self.rows * self.chunk(work, memory);
        }
        match self.fetch {
            Fetch::Subgroup | Fetch::Workgroup => 0,
            Fetch::Held | Fetch::KeptWeights => rows,
            Fetch::HeldWeights => rows + 4 * work.lanes * work.outputs * work.depth,
        }
    }

    /// Bytes of the sums of one row. WGSL aligns vectors of three like vectors of four.
    fn row_bytes(&self, outputs: usize) -> usize {
        4 * self.workgroup * if outputs == 3 { 4 } else { outputs }
    }

    /// Least bytes for sums, beside arrays that stay in workgroup memory.
    pub(super) fn least_sum_bytes(&self, outputs: usize) -> usize {
        let row = self.row_bytes(outputs);
        row * (LEAST_BYTES / row).clamp(1, self.rows)
    }

    /// Least workgroup memory of the kernel: its arrays, and the sums of one row.
    pub(super) fn least_bytes(&self, work: Work, memory: usize) -> usize {
        let sums = if self.fetch == Fetch::Subgroup { 0 } else { self.row_bytes(work.outputs) };
        OTHER_BYTES + self.array_bytes(work, memory) + sums
    }

    /// Rows whose sums are in workgroup memory at the same time.
    pub(super) fn rows_at_once(&self, work: Work, memory: usize) -> usize {
        (self.sums(work, memory) / self.workgroup).max(1)
    }

    /// Sums in workgroup memory at the same time, of an adapter with `memory` bytes of it: those of as many rows as fit
    /// into half of it, in equal parts. A part costs two barriers.
    pub(super) fn sums(&self, work: Work, memory: usize) -> usize {
        if self.fetch == Fetch::Subgroup {
            // lib/sums_own.wgsl has none there.
            return 1;
        }
        let free = memory.saturating_sub(OTHER_BYTES + self.array_bytes(work, memory));
        let most = (free.min(memory / 2) / self.row_bytes(work.outputs)).clamp(1, self.rows);
        self.workgroup * self.rows.div_ceil(self.rows.div_ceil(most))
    }
}

/// Most turns that are unrolled.
const MOST_TURNS: usize = 2;

impl Plan {
    /// Turns of the loop over a part of k, if they are constant; else 0. Where weights are in registers, a part is all of
    /// k. Elsewhere there are one or two turns in each part; more, unrolled, would need more registers than a GPU has.
    pub(super) fn turns(&self, work: Work, memory: usize) -> usize {
        if self.fetch == Fetch::KeptWeights {
            return work.depth.div_ceil(4 * self.split);
        }
        let chunk = self.chunk(work, memory);
        let few = self.split <= chunk && MOST_TURNS * self.split >= chunk;
        if few && work.depth.is_multiple_of(4 * chunk) { chunk / self.split } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Holds;
    use super::*;

    /// Invocations of a workgroup of 256 share the products of four rows.
    fn shared(split: usize) -> Plan {
        let (algorithm, fetch) = (Algorithm::Step, Fetch::Workgroup);
        Plan { algorithm, fetch, rows: 4, workgroup: 256, split, across: 1, count: 1 }
    }

    #[test]
    fn a_loop_has_constant_turns_only_if_each_part_of_k_has_as_many() {
        let turns = |depth, split| {
            shared(split).turns(Work { lanes: 64, outputs: 4, depth, holds: Holds::All }, 16_384)
        };
        assert_eq!([16, 32, 64, 128].map(|split| turns(256, split)), [0, 2, 1, 0]);
        assert_eq!([4, 124, 132, 128].map(|depth| turns(depth, 16)), [0, 0, 0, 2]);
    }

    #[test]
    fn sums_are_in_as_few_equal_parts_as_half_of_the_memory_allows() {
        let plan = Plan { rows: 8, ..shared(16) };
        let work = Work { lanes: 256, outputs: 4, depth: 256, holds: Holds::All };
        let rows = |memory| plan.rows_at_once(work, memory);
        // Half of 48 KB has room for six rows, which makes two parts of four.
        assert_eq!([16_384, 32_768, 49_152, 65_536].map(rows), [2, 4, 4, 8]);
    }
}
