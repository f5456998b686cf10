// The ring, in which the left operand of the recurrent product goes from step to step, as vectors of four: for drivers
// whose invocations own four units each, or pass four units to the one that stores them.
// Defines and needs: as lib/ring_scalars.wgsl, with put_quad in place of put_float.

alias RingValue = vec4<f32>;
const RING_VALUES: u32 = 1u;

fn ring_vector(a: RingValue, b: RingValue, c: RingValue, d: RingValue) -> vec4<f32> {
    return a;
}

fn ring_float(i: u32) -> f32 {
    return ring[i / 4u][i % 4u];
}

fn ring_quad(at: u32) -> vec4<f32> {
    return ring[at];
}

fn put_quad(at: u32, values: vec4<f32>) {
    ring[at] = values;
}
