// Means over rows of the ring, computed by the whole workgroup, for layer normalisation: several lanes sum a row
// together, then one lane adds their sums in a fixed order.
// Defines: row_mean, row_other, mean_rows, normalise_rows. Needs: lib/ring_*.wgsl, and of the driver:
// params.batch, params.options.epsilon, WORKGROUP.

var<workgroup> row_parts: array<f32, 256>;
var<workgroup> row_mean: array<f32, 64>;
var<workgroup> row_other: array<f32, 64>;

fn sum_rows(start: u32, width: u32, first: vec2<u32>, count: u32, squared: bool, lane: u32) -> u32 {
    let per_row = max(WORKGROUP / $ROWSu, 1u);
    for (var r = lane / per_row; r < $ROWSu; r += max(WORKGROUP / per_row, 1u)) {
        let line = first.y * params.batch + min(first.x + r, params.batch - 1u);
        let shift = select(0.0, row_mean[r], squared);
        var sum = 0.0;
        for (var i = lane % per_row; i < count; i += per_row) {
            let value = ring_float(4u * (start + line * width) + i) - shift;
            sum += select(value, value * value, squared);
        }
        row_parts[r * per_row + lane % per_row] = sum;
    }
    workgroupBarrier();
    return per_row;
}

fn total(r: u32, per_row: u32) -> f32 {
    var sum = 0.0;
    for (var part = 0u; part < per_row; part++) {
        sum += row_parts[r * per_row + part];
    }
    return sum;
}

// row_mean[r] = mean of `count` values of row first.x + r of direction first.y. Rows have `width` vec4 and begin at
// `start`.
fn mean_rows(start: u32, width: u32, first: vec2<u32>, count: u32, lane: u32) {
    let per_row = sum_rows(start, width, first, count, false, lane);
    for (var r = lane; r < $ROWSu; r += WORKGROUP) {
        row_mean[r] = total(r, per_row) / f32(count);
    }
    workgroupBarrier();
}

// Means as in mean_rows, stored in row_other.
fn mean_rows_other(start: u32, width: u32, first: vec2<u32>, count: u32, lane: u32) {
    let per_row = sum_rows(start, width, first, count, false, lane);
    for (var r = lane; r < $ROWSu; r += WORKGROUP) {
        row_other[r] = total(r, per_row) / f32(count);
    }
    workgroupBarrier();
}

// row_mean, and row_other[r] = 1 / sqrt(variance + epsilon).
fn normalise_rows(start: u32, width: u32, first: vec2<u32>, count: u32, lane: u32) {
    mean_rows(start, width, first, count, lane);
    let per_row = sum_rows(start, width, first, count, true, lane);
    for (var r = lane; r < $ROWSu; r += WORKGROUP) {
        row_other[r] = inverseSqrt(total(r, per_row) / f32(count) + params.options.epsilon);
    }
    workgroupBarrier();
}
