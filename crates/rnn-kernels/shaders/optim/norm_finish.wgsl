// The norm of every tensor, the norm of all tensors together, and the clipping factors:
//   control = [norm, coefficient, finite, before, then coefficient and before of tensor 0, of tensor 1, ...]
// A factor is coefficient * before, see Clip in lib/squares.wgsl. That of a tensor is
// min(1, max_tensor_norm / (its norm + 1e-6)) times the global one. The global one is min(1, max_norm / (norm + 1e-6))
// for the norm after clipping by tensor. All are 0 if a gradient is not finite. Then the gate closes, if there is one, and
// all factors of later steps are 0, too, so that steps already enqueued change nothing.
// One workgroup. Needs: lib/math.wgsl, lib/squares.wgsl.
// CPU twin: crates/rnn-cpu/src/optim/norm.rs (grad_norm)

struct Params {
    tensors: u32, // M
    has_max_norm: u32,
    max_norm: f32,
    has_max_tensor_norm: u32,
    max_tensor_norm: f32,
    has_gate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> partials: array<vec4<f32>>; // [M, 256]: three ranges, count
@group(1) @binding(1) var<storage, read_write> norms: array<f32>;    // [M]
@group(1) @binding(2) var<storage, read_write> control: array<f32>;  // [4 + 2M]
@group(1) @binding(3) var<storage, read_write> gate: array<f32>;     // [1]: 0, or 1 after gradients that are not finite

// The norm of a gradient of which `bad` elements are not finite.
fn shown(norm: f32, bad: f32) -> f32 {
    if bad > 0.0 && is_finite_(norm) {
        return from_bits(0x7fc00000u);
    }
    return norm;
}

@compute @workgroup_size(256)
fn norm_finish(@builtin(local_invocation_index) lane: u32) {
    var total = vec4<f32>();
    var clipped = vec3<f32>(); // the total after clipping tensors
    for (var tensor = 0u; tensor < params.tensors; tensor++) {
        let sums = sum_squares(lane, partials[tensor * 256u + lane]);
        total += sums;
        let norm = norm_of(sums.xyz);
        var clip = Clip(1.0, 1.0);
        var left = sums.xyz;
        if params.has_max_tensor_norm != 0u {
            clip = clip_of(norm, params.max_tensor_norm);
            if clip.before < 1.0 {
                left = squares(params.max_tensor_norm);
            } else if clip.coefficient < 1.0 {
                left = squares(clip.coefficient * norm.root);
            }
        }
        clipped += left;
        if lane == 0u {
            norms[tensor] = shown(value_of(norm), sums.w);
            control[4u + 2u * tensor] = clip.coefficient;
            control[5u + 2u * tensor] = clip.before;
        }
    }
    if lane != 0u {
        return;
    }
    let norm = norm_of(total.xyz);
    let finite = total.w == 0.0 && is_finite_(total.x) && is_finite_(total.y) && is_finite_(total.z);
    var open = finite;
    if params.has_gate != 0u {
        open = finite && gate[0] == 0.0;
        if !finite {
            gate[0] = 1.0;
        }
    }
    var clip = Clip(1.0, 1.0);
    if params.has_max_norm != 0u {
        clip = clip_of(norm_of(clipped), params.max_norm);
    }
    if !open {
        clip = Clip();
    }
    control[0] = shown(value_of(norm), total.w);
    control[1] = clip.coefficient;
    control[2] = select(0.0, 1.0, open);
    control[3] = clip.before;
    for (var tensor = 0u; tensor < params.tensors; tensor++) {
        var own = Clip(control[4u + 2u * tensor], control[5u + 2u * tensor]);
        own = both(own, clip);
        if !open {
            own = Clip();
        }
        control[4u + 2u * tensor] = own.coefficient;
        control[5u + 2u * tensor] = own.before;
    }
}
