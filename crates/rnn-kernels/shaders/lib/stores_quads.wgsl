// Stores to the ring, for an invocation that owns four units: the ring's elements are vectors.
// Defines: Own, store_own. Needs: lib/ring_quads.wgsl, and of the driver: ring.

alias Own = vec4<f32>;

// Stores the values of four units at vector `at` of the ring.
fn store_own(at: u32, value: Own) {
    ring[at] = value;
}
