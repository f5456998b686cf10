// The sums of a recurrent product on their way from registers to the cell, in memory of the invocation's own. A GPU has
// no such memory but a slow one (lib/sums_shared.wgsl serves it); where a subgroup is a CPU vector, this is the fastest.
// Defines: SUM_ROWS, keep_sum, sums_are_kept, sum_of, sums_are_read. Needs of the driver: Sum.

const SUM_ROWS: u32 = $ROWSu; // rows at a time

// Longer than needed, because Mesa unrolls a loop over an array of up to 32 elements.
var<private> sums: array<Sum, 64>;

fn keep_sum(r: u32, first: u32, lane: u32, sum: Sum) {
    sums[r] = sum;
}

fn sums_are_kept() {}

fn sum_of(r: u32, first: u32, lane: u32) -> Sum {
    return sums[r];
}

fn sums_are_read() {}
