// Passes the left operand of the recurrent product between workgroups that run side by side, for all steps of a dispatch.
// WGSL has no barrier between workgroups, and its atomics order nothing but accesses to themselves. Therefore every
// value of every step has an atomic of its own, which is 0 until the value is there, and readers poll it. A value is
// kept as its inverted bits; the NaN of all ones, which would be 0, becomes another NaN.
// An invocation that has polled POLLS times without a value reports a failure. After that no invocation waits: all go on with
// what they have, because every invocation has to reach the barriers. The recurrence is then repeated.
// The ring of a forward pass is [1 + T, D, B, P]: h0 as it is, then h of every step. The ring of a backward pass is
// [T, D, B, G*H]: the gate gradients of every step. Both have one more element, which is 0 until a failure.
// Only for steps of one phase and rows of equal length.
// Defines and needs: as lib/ring_storage.wgsl, with lib/ring_atomics.wgsl; of the driver params.steps and RUNS_BACK.

override POLLS: u32;

const LOADS: u32 = 8u;           // one poll in so many is a read-modify-write
const FAILURE: u32 = 0x3f800000u; // 1.0, which any copy of floats preserves

var<private> step_now: u32;
var<private> gave_up: bool;

fn begin_ring(row0: u32, direction: u32, slot: u32, lane: u32) {
    step_now = step_number();
}

fn end_ring(row0: u32, direction: u32, slot: u32, lane: u32) {}

fn end_step() {
    step_now = select(step_now + 1u, step_now - 1u, RUNS_BACK);
    storageBarrier();
}

// The position of a row's first vec4. A `slot` with the parity of this step's number means what the step reads, the other slot
// what it writes for the next step to run.
fn row_start(row: u32, direction: u32, slot: u32) -> u32 {
    let written = (step_now + slot) % 2u;
    return ring_start(row, direction, select(step_now + written, step_now - written, RUNS_BACK));
}

fn failure_at() -> u32 {
    return 4u * ring_start(0u, 0u, select(params.steps + 1u, params.steps, RUNS_BACK));
}

fn load_bits(first: u32) -> vec4<u32> {
    return vec4(
        atomicLoad(&ring[first]),
        atomicLoad(&ring[first + 1u]),
        atomicLoad(&ring[first + 2u]),
        atomicLoad(&ring[first + 3u]),
    );
}

// Loads by read-modify-writes that change nothing. A compiler may take a plain load out of a loop that stores nothing, as
// Mesa's llvmpipe does; it may not take these.
fn fetch_bits(first: u32) -> vec4<u32> {
    return vec4(
        atomicOr(&ring[first], 0u),
        atomicOr(&ring[first + 1u], 0u),
        atomicOr(&ring[first + 2u], 0u),
        atomicOr(&ring[first + 3u], 0u),
    );
}

fn load_row(at: u32) -> vec4<f32> {
    if !RUNS_BACK && at < ring_start(0u, 0u, 1u) {
        return ring_quad(at);
    }
    var bits = load_bits(4u * at);
    for (var polls = 1u; any(bits == vec4<u32>()) && !gave_up; polls++) {
        if polls % LOADS > 0u {
            bits = load_bits(4u * at);
            continue;
        }
        bits = fetch_bits(4u * at);
        if polls >= POLLS {
            atomicStore(&ring[failure_at()], FAILURE);
        }
        gave_up = atomicOr(&ring[failure_at()], 0u) != 0u;
    }
    return bitcast<vec4<f32>>(~bits);
}

fn store_value(i: u32, value: f32) {
    let bits = ~bitcast<u32>(value);
    atomicStore(&ring[i], select(bits, ~0x7fc00000u, bits == 0u));
}

// Stores value number `at` of the ring, counted in what an invocation owns.
fn store_row(at: u32, value: Own) {
    let values = own_values(value);
    store_value(OWN_VALUES * at, values.x);
    if OWN_VALUES > 1u {
        store_value(OWN_VALUES * at + 1u, values.y);
        store_value(OWN_VALUES * at + 2u, values.z);
        store_value(OWN_VALUES * at + 3u, values.w);
    }
}
