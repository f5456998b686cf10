// Mean and 1 / deviation of a row of x, by a workgroup of 256. Defines: Norm, row_norm.
// Needs: lib/sum_lanes.wgsl, and of the driver: x, params.count, params.epsilon.

struct Norm {
    mean: f32,
    scale: f32,
}

// Of the row whose first element is `start`.
fn row_norm(start: u32, lane: u32) -> Norm {
    var sum = 0.0;
    for (var i = lane; i < params.count; i += 256u) {
        sum += x[start + i];
    }
    let mean = sum_lanes(sum, lane) / f32(params.count);
    sum = 0.0;
    for (var i = lane; i < params.count; i += 256u) {
        let distance = x[start + i] - mean;
        sum += distance * distance;
    }
    return Norm(mean, inverseSqrt(sum_lanes(sum, lane) / f32(params.count) + params.epsilon));
}
