// Multiply-adds as in a step of a recurrence, to measure an adapter: a vector of weights times eight rows in registers.
// A loop of no iterations measures the dispatch alone.
// No CPU twin: nothing but its time is used.

struct Params {
    iterations: u32, // K
    mask: u32,       // 0: all read one vector; W - 1, W a power of two: neighbours read neighbouring vectors
}

override WORKGROUP: u32;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> weights: array<vec4<f32>>;      // [W]
@group(1) @binding(1) var<storage, read_write> sums: array<vec4<f32>>;   // [workgroups, WORKGROUP]

@compute @workgroup_size(WORKGROUP)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * WORKGROUP + lane;
    // Read and written, so that dispatches depend on each other.
    let x = sums[at];
    // Different values, so that no two sums are the same.
    var sum$R = x + vec4($R.0);
    for (var k = 0u; k < params.iterations; k++) {
        let w = weights[(k * WORKGROUP + lane) & params.mask];
        sum$R = fma(w, vec4(x[$R % 4]), sum$R);
    }
    var total = vec4<f32>();
    total += sum$R;
    // Bounded: the values of many dispatches must not overflow.
    sums[at] = min(total, vec4(1.0));
}
