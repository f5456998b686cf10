// Sums and maxima over LANES neighbouring invocations of a workgroup of 256, which works on 256 / LANES rows. A
// binary tree with a fixed order. Every invocation must call it. Defines: LANES, LOWEST, row_sum, row_max.

override LANES: u32; // a power of two up to 256

const LOWEST: f32 = -0x1.fffffep+127; // hexadecimal, because nine decimal digits round to a value beyond f32, which Tint rejects

var<workgroup> scratch: array<f32, 256>;

fn row_sum(lane: u32, value: f32) -> f32 {
    scratch[lane] = value;
    workgroupBarrier();
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        if lane % LANES < stride {
            scratch[lane] += scratch[lane + stride];
        }
        workgroupBarrier();
    }
    let result = scratch[lane - lane % LANES];
    workgroupBarrier();
    return result;
}

// Of numbers: NaN may be lost or may win.
fn row_max(lane: u32, value: f32) -> f32 {
    scratch[lane] = value;
    workgroupBarrier();
    for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
        if lane % LANES < stride {
            let other = scratch[lane + stride];
            scratch[lane] = max(scratch[lane], other);
        }
        workgroupBarrier();
    }
    let result = scratch[lane - lane % LANES];
    workgroupBarrier();
    return result;
}
