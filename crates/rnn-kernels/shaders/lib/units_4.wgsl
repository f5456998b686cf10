// Four gates per unit, side by side: the gates of one unit in memory, for the forward pass.
// Defines and needs: as lib/units_1.wgsl.

@group(1) @binding(3) var<storage, read_write> gates: array<Stored4>; // [T, B, D, H]

fn load_gates(unit: u32) -> Gates {
    return vec4<f32>(gates[unit]);
}

fn store_gates(unit: u32, values: Gates) {
    gates[unit] = Stored4(values);
}

// The raw product of one unit, at element `at` of the ring.
fn load_raw(at: u32) -> Gates {
    return vec4(ring[at], ring[at + 1u], ring[at + 2u], ring[at + 3u]);
}

fn store_raw(at: u32, values: Gates) {
    ring[at] = values.x;
    ring[at + 1u] = values.y;
    ring[at + 2u] = values.z;
    ring[at + 3u] = values.w;
}
