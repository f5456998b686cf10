// Two gates per unit, side by side: the gates of one unit in memory, for the forward pass.
// Defines and needs: as lib/units_1.wgsl.

@group(1) @binding(3) var<storage, read_write> gates: array<vec2<Stored>>; // [T, B, D, H]

fn load_gates(unit: u32) -> Gates {
    return vec2<f32>(gates[unit]);
}

fn store_gates(unit: u32, values: Gates) {
    gates[unit] = vec2<Stored>(values);
}

// The raw product of one unit, at float `at` of the ring.
fn load_raw(at: u32) -> Gates {
    return vec2(ring_float(at), ring_float(at + 1u));
}

fn store_raw(at: u32, unit: u32, values: Gates) {
    store_2(at, unit, values);
}
