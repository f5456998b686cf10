// Stores to the ring, for an invocation that owns four units.
// Defines: Own, OWN_VALUES, own_values, store_own. Needs: lib/ring_quads.wgsl or lib/ring_atomics.wgsl.

alias Own = vec4<f32>;
const OWN_VALUES: u32 = 4u;

fn own_values(value: Own) -> vec4<f32> {
    return value;
}

// Stores the values of four units at vector `at` of the ring.
fn store_own(at: u32, value: Own) {
    put_quad(at, value);
}
