//! The largest of values in host memory.

/// The index of the largest value along the middle axis of `[outer, n, inner]`.
pub(crate) fn argmax(values: &[f32], outer: usize, n: usize, inner: usize) -> Vec<u32> {
    let mut indices = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| values[(o * n + k) * inner + i];
            let mut best = 0;
            for k in 1..n {
                if !at(best).is_nan() && (at(k) > at(best) || at(k).is_nan()) {
                    best = k;
                }
            }
            indices.push(best as u32);
        }
    }
    indices
}
