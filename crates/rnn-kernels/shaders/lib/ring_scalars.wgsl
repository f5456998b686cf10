// The ring, in which the left operand of the recurrent product goes from step to step, as scalars: for drivers whose
// invocations own one unit each.
// Defines: RingValue, RING_VALUES, ring_vector, ring_float, ring_quad, put_float. Needs of the driver: ring.

alias RingValue = f32;
const RING_VALUES: u32 = 4u; // elements in a vector of four

fn ring_vector(a: RingValue, b: RingValue, c: RingValue, d: RingValue) -> vec4<f32> {
    return vec4(a, b, c, d);
}

// Float number i of the ring.
fn ring_float(i: u32) -> f32 {
    return ring[i];
}

fn put_float(i: u32, value: f32) {
    ring[i] = value;
}

// Vector of four number `at` of the ring.
fn ring_quad(at: u32) -> vec4<f32> {
    return ring_vector(ring[4u * at], ring[4u * at + 1u], ring[4u * at + 2u], ring[4u * at + 3u]);
}
