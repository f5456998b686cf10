// The sums of a recurrent product on their way from registers to the cell, through workgroup memory. There the parts of
// a sum meet, if invocations share it. The cell is not unrolled: with 32 copies of it a shader would take minutes to
// compile. So its rows need an index, and registers have none.
// Defines: SUM_ROWS, keep_sum, sums_are_kept, sum_of, sums_are_read. Needs of the driver: Sum, WORKGROUP, SPLIT, PARTIALS.

override SUM_ROWS: u32 = PARTIALS / WORKGROUP; // rows at a time

var<workgroup> partial: array<Sum, PARTIALS>; // [SUM_ROWS][SPLIT][WORKGROUP / SPLIT]

// Keeps the sum of row r, if it is one of the rows from `first` on.
fn keep_sum(r: u32, first: u32, lane: u32, sum: Sum) {
    if r >= first && r < first + SUM_ROWS {
        partial[(r - first) * WORKGROUP + lane] = sum;
    }
}

fn sums_are_kept() {
    if SPLIT > 1u {
        workgroupBarrier();
    }
}

// The sum of row r for a lane: its parts, added in order.
fn sum_of(r: u32, first: u32, lane: u32) -> Sum {
    let units = WORKGROUP / SPLIT;
    let start = (r - first) * WORKGROUP + lane % units;
    var sum = partial[start];
    for (var part = 1u; part < SPLIT; part++) {
        sum += partial[start + part * units];
    }
    return sum;
}

fn sums_are_read() {
    if SPLIT > 1u {
        workgroupBarrier();
    }
}
