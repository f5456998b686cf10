// f16 to f32 (exact) and f32 to f16 (nearest, ties to even; infinity beyond 65504), computed on the bits, because the
// result of pack2x16float is undefined on overflow and hardware may flush subnormals. An f16 word holds elements 2k
// (low half) and 2k + 1. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/pointwise.rs (widen, narrow)

struct Params {
    n: u32,
}

override NARROW: bool; // f32 to f16

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<u32>;       // [n] f32 or [ceil(n/2)] pairs of f16
@group(1) @binding(1) var<storage, read_write> y: array<u32>; // the other of the two

fn widen(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let exponent = (half >> 10u) & 31u;
    let mantissa = half & 0x3ffu;
    if exponent == 31u {
        return sign | 0x7f800000u | (mantissa << 13u);
    }
    if exponent > 0u {
        return sign | ((exponent + 112u) << 23u) | (mantissa << 13u);
    }
    if mantissa == 0u {
        return sign;
    }
    // Subnormal: mantissa 2^-24, a normal f32.
    let top = firstLeadingBit(mantissa);
    return sign | ((top + 103u) << 23u) | ((mantissa << (23u - top)) & 0x7fffffu);
}

fn narrow(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let a = bits & 0x7fffffffu;
    if a > 0x7f800000u {
        return sign | 0x7e00u | ((a >> 13u) & 0x3ffu); // NaN, made quiet
    }
    if a >= 0x477ff000u {
        return sign | 0x7c00u; // 65520 and above round to infinity
    }
    if a >= 0x38800000u {
        return sign | ((a - 0x38000000u + 0xfffu + ((a >> 13u) & 1u)) >> 13u);
    }
    if a <= 0x33000000u {
        return sign; // 2^-25 is half the smallest subnormal and ties to zero
    }
    let shift = 126u - (a >> 23u);
    let mantissa = (a & 0x7fffffu) | 0x800000u;
    let whole = mantissa >> shift;
    let rest = mantissa & ((1u << shift) - 1u);
    let half = 1u << (shift - 1u);
    let up = rest > half || (rest == half && (whole & 1u) == 1u);
    return sign | (whole + select(0u, 1u, up));
}

@compute @workgroup_size(256)
fn convert(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if NARROW {
        let at = 2u * i;
        if at < params.n {
            var word = narrow(x[at]);
            if at + 1u < params.n {
                word |= narrow(x[at + 1u]) << 16u;
            }
            y[i] = word;
        }
    } else if i < params.n {
        y[i] = widen((x[i / 2u] >> (16u * (i % 2u))) & 0xffffu);
    }
}
