// With c = dloss scale weight:
//   dx = c z / sqrt(v)      ds = c (1 - z^2) / 2 for s = log v; the same divided by v for s = v
// 0 in rows of weight 0. Weights as in loss/elementwise.wgsl.
// Needs: lib/index.wgsl, lib/math.wgsl, loss/gaussian.wgsl.
// CPU twin: crates/rnn-cpu/src/loss.rs (gaussian_nll_backward)

struct Params {
    n: u32,
    cols: u32, // elements of a row
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;        // [n]
@group(1) @binding(1) var<storage, read> t: array<f32>;        // [n]
@group(1) @binding(2) var<storage, read> s: array<f32>;        // [n]
@group(1) @binding(3) var<storage, read> weights: array<f32>;  // [n / cols]
@group(1) @binding(4) var<storage, read> dloss: array<f32>;    // [1]
@group(1) @binding(5) var<storage, read_write> dx: array<f32>; // [n]
@group(1) @binding(6) var<storage, read_write> ds: array<f32>; // [n]

@compute @workgroup_size(256)
fn gaussian_nll_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n {
        return;
    }
    let weight = weight_of(i);
    if weight == 0.0 {
        dx[i] = 0.0;
        ds[i] = 0.0;
        return;
    }
    let c = dloss[0] * params.scale * weight;
    let z = deviation(x[i], t[i], s[i]);
    // Not z times the reciprocal of a deviation, which may be infinite where z is 0.
    dx[i] = c * deviation(z, 0.0, s[i]);
    var d = 0.5 * (1.0 - z * z);
    if !LOG {
        d /= s[i];
    }
    ds[i] = c * d;
}
