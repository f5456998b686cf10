// The states of CTC, and sums of their probabilities as logarithms. Target `row` with n labels has the states s =
// 0..2n: the blank for even s, label (s - 1) / 2 for odd s. Every logarithm is at least IMPOSSIBLE, which stands for
// -infinity, because drivers may assume that there are no infinities. Logarithms below FLOOR count as impossible.
// Defines: IMPOSSIBLE, FLOOR, class_of, may_skip, log_add, hold. Needs: lib/math.wgsl, and the kernel's labels and
// params.
// CPU twin: crates/rnn-cpu/src/ctc.rs (Target, log_add)

const IMPOSSIBLE: f32 = -1e37;
const FLOOR: f32 = -1e36;

fn class_of(row: u32, s: u32) -> u32 {
    if s % 2u == 0u {
        return params.blank;
    }
    return labels[row * 2u * params.labels + s / 2u];
}

// Whether a path may go from state s - 2 to s: over a blank between different labels.
fn may_skip(row: u32, s: u32) -> bool {
    return s > 2u && s % 2u == 1u && class_of(row, s) != class_of(row, s - 2u);
}

// log(e^a + e^b)
fn log_add(a: f32, b: f32) -> f32 {
    return larger(a, b) + softplus(-abs(a - b));
}

// Passes NaN on.
fn hold(x: f32) -> f32 {
    return or_nan(max(x, IMPOSSIBLE), x);
}
