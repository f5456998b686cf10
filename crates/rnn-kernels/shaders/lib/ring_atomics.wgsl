// The ring, in which the left operand of the recurrent product goes from step to step, as atomic scalars: for workgroups
// that pass values to each other inside a dispatch. The functions here keep the bits of a value as they are.
// Defines: RingValue, ring_float, ring_quad, put_float, put_quad. Needs of the driver: ring.

alias RingValue = atomic<u32>;

fn ring_float(i: u32) -> f32 {
    return bitcast<f32>(atomicLoad(&ring[i]));
}

fn ring_quad(at: u32) -> vec4<f32> {
    return vec4(ring_float(4u * at), ring_float(4u * at + 1u), ring_float(4u * at + 2u), ring_float(4u * at + 3u));
}

fn put_float(i: u32, value: f32) {
    atomicStore(&ring[i], bitcast<u32>(value));
}

fn put_quad(at: u32, values: vec4<f32>) {
    put_float(4u * at, values.x);
    put_float(4u * at + 1u, values.y);
    put_float(4u * at + 2u, values.z);
    put_float(4u * at + 3u, values.w);
}
