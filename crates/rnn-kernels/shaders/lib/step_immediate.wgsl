// The first tick of a dispatch and the number of ticks, from an immediate, so that nothing is rebound between steps.
// Defines: step_number, step_count.

struct Step {
    number: u32,
    count: u32,
    pad0: u32,
    pad1: u32,
}

var<immediate> step: Step;

fn step_number() -> u32 {
    return step.number;
}

fn step_count() -> u32 {
    return step.count;
}
