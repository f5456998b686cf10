// Sums of squares per tensor, the norm of all tensors together, and the clipping coefficients:
//   control = [norm, global coefficient, finite, 0, coefficient of tensor 0, of tensor 1, ...]
// The coefficient of a tensor is min(1, max_tensor_norm / (its norm + 1e-6)) times the global one. The global one is
// min(1, max_norm / (norm + 1e-6)) for the norm after clipping by tensor. All are 0 if the norm is not finite.
// One workgroup. Needs: lib/math.wgsl, lib/reduce.wgsl with LANES = 256.
// CPU twin: crates/rnn-cpu/src/optim/mod.rs (grad_norm)

struct Params {
    tensors: u32, // P
    has_max_norm: u32,
    max_norm: f32,
    has_max_tensor_norm: u32,
    max_tensor_norm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> partials: array<f32>;      // [P, 256]
@group(1) @binding(1) var<storage, read_write> sums: array<f32>;    // [P]
@group(1) @binding(2) var<storage, read_write> control: array<f32>; // [4 + P]

@compute @workgroup_size(256)
fn norm_finish(@builtin(local_invocation_index) lane: u32) {
    var total = 0.0;
    var clipped = 0.0; // the total after clipping tensors
    for (var tensor = 0u; tensor < params.tensors; tensor++) {
        let sum = row_sum(lane, partials[tensor * 256u + lane]);
        total += sum;
        var coefficient = 1.0;
        if params.has_max_tensor_norm != 0u {
            coefficient = min(1.0, params.max_tensor_norm / (sqrt(sum) + 1e-6));
        }
        clipped += coefficient * coefficient * sum;
        if lane == 0u {
            sums[tensor] = sum;
            control[4u + tensor] = coefficient;
        }
    }
    if lane != 0u {
        return;
    }
    let finite = is_finite_(total);
    var coefficient = 1.0;
    if params.has_max_norm != 0u {
        // 1e-6 as in PyTorch's clip_grad_norm_.
        coefficient = min(1.0, params.max_norm / (sqrt(clipped) + 1e-6));
    }
    coefficient = select(0.0, coefficient, finite);
    control[0] = sqrt(total);
    control[1] = coefficient;
    control[2] = select(0.0, 1.0, finite);
    control[3] = 0.0;
    for (var tensor = 0u; tensor < params.tensors; tensor++) {
        control[4u + tensor] = select(0.0, coefficient * control[4u + tensor], finite);
    }
}
