// The ring, in which the left operand of the recurrent product goes from step to step. The driver chooses its elements,
// scalars or vectors of four, so that an invocation owns what it stores.
// Defines: ring_quad. Needs of the driver: ring, RingValue, RING_VALUES, ring_vector.

// Vector of four number `at` of the ring.
fn ring_quad(at: u32) -> vec4<f32> {
    let first = at * RING_VALUES;
    let step = RING_VALUES / 4u;
    return ring_vector(ring[first], ring[first + step], ring[first + 2u * step], ring[first + 3u * step]);
}
