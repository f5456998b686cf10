// Mean and 1 / deviation of a row of x, computed by several lanes of a workgroup of 256. Defines: Norm, row_norm.
// Needs: lib/sum_lanes.wgsl, and of the driver: x, params.count, params.epsilon.

struct Norm {
    mean: f32,
    scale: f32,
}

// For the row whose first element is `start`; for no row if `live` is false.
fn row_norm(start: u32, live: bool, lane: u32) -> Norm {
    let end = select(0u, params.count, live);
    var sum = 0.0;
    for (var i = lane % LANES; i < end; i += LANES) {
        sum += x[start + i];
    }
    let mean = sum_lanes(sum, lane) / f32(params.count);
    sum = 0.0;
    for (var i = lane % LANES; i < end; i += LANES) {
        let distance = x[start + i] - mean;
        sum += distance * distance;
    }
    return Norm(mean, inverseSqrt(sum_lanes(sum, lane) / f32(params.count) + params.epsilon));
}
