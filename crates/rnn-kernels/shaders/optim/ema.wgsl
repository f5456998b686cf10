// Exponential moving average: mean += weight (x - mean). Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/optim/mod.rs (ema)

struct Params {
    n: u32,
    weight: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;          // [n]
@group(1) @binding(1) var<storage, read_write> mean: array<f32>; // [n]

@compute @workgroup_size(256)
fn ema(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i < params.n {
        mean[i] += params.weight * (x[i] - mean[i]);
    }
}
