// Sums over the 256 lanes of a workgroup, in a fixed order. Defines: sum_lanes.

var<workgroup> parts: array<f32, 256>;

// The sum of all lanes' values.
fn sum_lanes(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    parts[lane] = value;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if lane < half {
            parts[lane] += parts[lane + half];
        }
        workgroupBarrier();
    }
    return parts[0];
}
