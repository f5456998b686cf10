// Sums over LANES neighbouring lanes of a workgroup of 256, in a fixed order. Every lane must call it. LANES is
// small, so that one barrier serves many rows: where a workgroup runs on one CPU core, a barrier costs as much as
// summing a row. Defines: LANES, sum_lanes.

const LANES: u32 = 16u;

var<workgroup> parts: array<f32, 256>;

fn sum_lanes(value: f32, lane: u32) -> f32 {
    parts[lane] = value;
    workgroupBarrier();
    let first = lane - lane % LANES;
    var sum = 0.0;
    for (var i = 0u; i < LANES; i++) {
        sum += parts[first + i];
    }
    workgroupBarrier();
    return sum;
}
