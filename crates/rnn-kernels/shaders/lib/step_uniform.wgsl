// The first tick of a dispatch and the number of ticks, from a uniform with a dynamic offset, for adapters without
// immediates. Defines: step_number, step_count.

struct Step {
    number: u32,
    count: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(1) var<uniform> step_params: Step;

fn step_number() -> u32 {
    return step_params.number;
}

fn step_count() -> u32 {
    return step_params.count;
}
