// Stores of one unit's values to the ring, for subgroups of eight lanes: the ring's elements are vectors, four
// neighbouring lanes hold the values of four neighbouring units, and the first of them stores whole vectors.
// A workgroup's first unit and its size are multiples of eight. So lanes 4i to 4i + 3 hold units 4j to 4j + 3 of one row.
// H and P are multiples of 4, and other conditions of a store depend on the row alone. So the four lanes reach a store
// together or not at all. WGSL's analysis of uniform control flow does not see that; naga has none for subgroups.
// Defines and needs: as lib/stores_scalars.wgsl, with lib/ring_quads.wgsl.

alias Own = f32;

// The values of the four lanes.
fn of_lanes(value: f32) -> vec4<f32> {
    return vec4(
        quadBroadcast(value, 0u),
        quadBroadcast(value, 1u),
        quadBroadcast(value, 2u),
        quadBroadcast(value, 3u),
    );
}

fn store_own(at: u32, value: Own) {
    let values = of_lanes(value);
    if at % 4u == 0u {
        ring[at / 4u] = values;
    }
}

fn store_2(at: u32, unit: u32, values: vec2<f32>) {
    let a = of_lanes(values.x);
    let b = of_lanes(values.y);
    if unit % 4u == 0u {
        ring[at / 4u] = vec4(a.x, b.x, a.y, b.y);
        ring[at / 4u + 1u] = vec4(a.z, b.z, a.w, b.w);
    }
}

fn store_3(at: u32, unit: u32, values: vec3<f32>) {
    let a = of_lanes(values.x);
    let b = of_lanes(values.y);
    let c = of_lanes(values.z);
    if unit % 4u == 0u {
        ring[at / 4u] = vec4(a.x, b.x, c.x, a.y);
        ring[at / 4u + 1u] = vec4(b.y, c.y, a.z, b.z);
        ring[at / 4u + 2u] = vec4(c.z, a.w, b.w, c.w);
    }
}

// Four gates are a vector, which one lane holds.
fn store_4(at: u32, unit: u32, values: vec4<f32>) {
    ring[at / 4u] = values;
}
