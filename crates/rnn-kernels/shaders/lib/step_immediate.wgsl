// The number of the time step, from an immediate: nothing is rebound between steps.
// Defines: step_number.

struct Step {
    number: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

var<immediate> step: Step;

fn step_number() -> u32 {
    return step.number;
}
