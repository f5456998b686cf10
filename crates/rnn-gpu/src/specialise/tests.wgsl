// Options behind branches, for tests.rs: what is left of them for a set of constants.

override A: bool;
override N: u32;

@group(0) @binding(0) var<storage, read_write> out: array<u32>;

fn unused(x: u32) -> u32 {
    return x + 1u;
}

fn early(x: u32) -> u32 {
    if A {
        return x;
    }
    return unused(x);
}

@compute @workgroup_size(1)
fn known_and_unknown(@builtin(local_invocation_index) i: u32) {
    if A {
        out[0] = 1u;
    } else {
        out[0] = 2u;
        out[1] = 2u;
    }
    if i > 3u {
        out[2] = 3u;
    }
}

@compute @workgroup_size(1)
fn two_options(@builtin(local_invocation_index) i: u32) {
    if A && N == 2u && i > 1u {
        out[0] = 1u;
    }
    if !(A || N > 5u) {
        out[1] = 1u;
    }
}

@compute @workgroup_size(1)
fn calls(@builtin(local_invocation_index) i: u32) {
    out[0] = early(i);
}

@compute @workgroup_size(1)
fn switches(@builtin(local_invocation_index) i: u32) {
    switch N {
        case 1u, 2u: {
            out[0] = 1u;
            break;
        }
        case 3u: {
            if i > 1u {
                break;
            }
            out[1] = 3u;
        }
        default: {
            out[2] = 4u;
            out[3] = 4u;
        }
    }
}

@compute @workgroup_size(1)
fn switches_in_loops(@builtin(local_invocation_index) i: u32) {
    for (var k = 0u; k < i; k++) {
        switch N {
            case 1u: {
                continue;
            }
            default: {
                out[k] = 1u;
            }
        }
        if A {
            break;
        }
    }
}

// The variable is 0 before it is stored to.
@compute @workgroup_size(1)
fn variables() {
    var seen = 0u;
    for (var k = 0u; k < 2u; k++) {
        if seen == 1u {
            out[k] = 1u;
        }
        seen = 1u;
    }
}
