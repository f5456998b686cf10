// Stores of one unit's values to the ring, for an invocation that owns them: the ring's elements are scalars.
// Defines: Own, OWN_VALUES, own_values, store_own, store_2, store_3, store_4. Needs: lib/ring_scalars.wgsl or lib/ring_atomics.wgsl.

// What an invocation stores at a time.
alias Own = f32;
const OWN_VALUES: u32 = 1u;

fn own_values(value: Own) -> vec4<f32> {
    return vec4(value);
}

// Stores a value at float `at` of the ring. The values of neighbouring units are neighbours.
fn store_own(at: u32, value: Own) {
    put_float(at, value);
}

// Stores the gates of a unit, which start at float `at` and are neighbours. Those of the next unit follow.
fn store_2(at: u32, unit: u32, values: vec2<f32>) {
    put_float(at, values.x);
    put_float(at + 1u, values.y);
}

fn store_3(at: u32, unit: u32, values: vec3<f32>) {
    put_float(at, values.x);
    put_float(at + 1u, values.y);
    put_float(at + 2u, values.z);
}

fn store_4(at: u32, unit: u32, values: vec4<f32>) {
    put_float(at, values.x);
    put_float(at + 1u, values.y);
    put_float(at + 2u, values.z);
    put_float(at + 3u, values.w);
}
