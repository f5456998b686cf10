// Sums over the invocations of a workgroup of 256 that work on the same column. Lane l has column l % WIDTH, so
// neighbours read neighbouring columns. A binary tree with a fixed order. Every invocation must call it. Defines:
// WIDTH, column_sum.

override WIDTH: u32; // a power of two up to 256

var<workgroup> scratch: array<f32, 256>;

// The sum of column `lane`, for lanes below WIDTH.
fn column_sum(lane: u32, value: f32) -> f32 {
    scratch[lane] = value;
    workgroupBarrier();
    for (var stride = 128u; stride >= WIDTH; stride /= 2u) {
        if lane < stride {
            scratch[lane] += scratch[lane + stride];
        }
        workgroupBarrier();
    }
    let result = scratch[lane % WIDTH];
    workgroupBarrier();
    return result;
}
