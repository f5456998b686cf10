// Recurrent weights in registers, read once per dispatch. An invocation keeps those of its unit at its TURNS values of k,
// so a workgroup must pass over its units once, and a part of k is all of it.
// Defines: KEPT, hold_weights, held_weight, turn_weights. Needs: lib/weights_*.wgsl, and of the
// driver: Kept, weights_place, weights_at, WORKGROUP, SPLIT, TURNS.

const KEPT: bool = true;

// Registers cannot be indexed: the loop over turns is short, and compilers unroll it.
var<private> kept_0: Kept;
var<private> kept_1: Kept;
var<private> kept_2: Kept;
var<private> kept_3: Kept;

// Reads what an invocation needs of the weights of a direction, `depth` by `width` places. `group` is the number of the
// workgroup along the units.
fn hold_weights(direction: u32, group: u32, width: u32, depth: u32, lane: u32) {
    let units = WORKGROUP / SPLIT;
    let unit = min(group * units + lane % units, width - 1u);
    for (var turn = 0u; turn < TURNS; turn++) {
        let k = part_of(lane, units) + turn * SPLIT;
        if k < depth {
            keep_weights(turn, weights_at(weights_place(direction, unit, k)));
        }
    }
}

fn held_weight(at: u32) -> vec4<f32> {
    return weight(at);
}

fn keep_weights(turn: u32, values: Kept) {
    switch turn {
        case 0u: { kept_0 = values; }
        case 1u: { kept_1 = values; }
        case 2u: { kept_2 = values; }
        default: { kept_3 = values; }
    }
}

// The weights of a turn of the loop over k, which are at `place` in memory.
fn turn_weights(turn: u32, place: u32) -> Kept {
    switch turn {
        case 0u: { return kept_0; }
        case 1u: { return kept_1; }
        case 2u: { return kept_2; }
        default: { return kept_3; }
    }
}
