// Sums of squares per tensor, the norm of all of them together, and the coefficient that clips it:
//   control = [norm, min(1, max_norm / (norm + 1e-6)), finite, 0], coefficient 0 when not finite
// One workgroup. Needs: lib/math.wgsl, lib/reduce.wgsl with LANES = 256.
// CPU twin: crates/rnn-runtime/src/cpu/optim.rs (grad_norm)

struct Params {
    tensors: u32, // P
    has_max_norm: u32,
    max_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> partials: array<f32>;      // [P, 256]
@group(1) @binding(1) var<storage, read_write> sums: array<f32>;    // [P]
@group(1) @binding(2) var<storage, read_write> control: array<f32>; // [4]

@compute @workgroup_size(256)
fn norm_finish(@builtin(local_invocation_index) lane: u32) {
    var total = 0.0;
    for (var tensor = 0u; tensor < params.tensors; tensor++) {
        let sum = row_sum(lane, partials[tensor * 256u + lane]);
        total += sum;
        if lane == 0u {
            sums[tensor] = sum;
        }
    }
    if lane != 0u {
        return;
    }
    let length = sqrt(total);
    let finite = is_finite_(total);
    var coefficient = 1.0;
    if params.has_max_norm != 0u {
        // 1e-6 as in PyTorch's clip_grad_norm_.
        coefficient = min(1.0, params.max_norm / (length + 1e-6));
    }
    control[0] = length;
    control[1] = select(0.0, coefficient, finite);
    control[2] = select(0.0, 1.0, finite);
    control[3] = 0.0;
}
