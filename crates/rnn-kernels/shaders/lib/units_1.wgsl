// One gate per unit: the gates of one unit in memory, for the forward pass. Neighbouring invocations own neighbouring
// units, so an element of an array belongs to one unit: a store to a component of a vector may write all of it.
// Defines: gates, load_gates, store_gates, load_raw, store_raw. Needs: lib/gates_*.wgsl, lib/store_*.wgsl,
// lib/ring_*.wgsl, lib/stores_*.wgsl.

@group(1) @binding(3) var<storage, read_write> gates: array<Stored>; // [T, B, D, H]

fn load_gates(unit: u32) -> Gates {
    return f32(gates[unit]);
}

fn store_gates(unit: u32, values: Gates) {
    gates[unit] = Stored(values);
}

// The raw product of one unit, at float `at` of the ring.
fn load_raw(at: u32) -> Gates {
    return ring_float(at);
}

fn store_raw(at: u32, unit: u32, values: Gates) {
    store_own(at, values);
}
