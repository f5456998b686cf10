// The number of the time step, from a uniform with a dynamic offset: for adapters without
// immediates. Defines: step_number.

struct Step {
    number: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(1) var<uniform> step_params: Step;

fn step_number() -> u32 {
    return step_params.number;
}
