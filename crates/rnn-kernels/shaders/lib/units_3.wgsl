// Three gates per unit, side by side: the gates of one unit in memory, for the forward pass. They are scalars, because
// an array would align vectors of three like vectors of four.
// Defines and needs: as lib/units_1.wgsl.

@group(1) @binding(3) var<storage, read_write> gates: array<Stored>; // [T, B, D, H, 3]

fn load_gates(unit: u32) -> Gates {
    let at = 3u * unit;
    return vec3(f32(gates[at]), f32(gates[at + 1u]), f32(gates[at + 2u]));
}

fn store_gates(unit: u32, values: Gates) {
    let at = 3u * unit;
    gates[at] = Stored(values.x);
    gates[at + 1u] = Stored(values.y);
    gates[at + 2u] = Stored(values.z);
}

// The raw product of one unit, at float `at` of the ring.
fn load_raw(at: u32) -> Gates {
    return vec3(ring_float(at), ring_float(at + 1u), ring_float(at + 2u));
}

fn store_raw(at: u32, unit: u32, values: Gates) {
    store_3(at, unit, values);
}
