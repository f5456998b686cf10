//! Connectionist temporal classification (Graves, Fernández, Gomez, Schmidhuber 2006) of one sequence, computed
//! with plain probabilities, which suffices for a few hundred steps.

use super::rows::softmax;

/// The target with blanks between all labels and at both ends: l' in the paper, 2n + 1 states.
fn states(target: &[usize], blank: usize) -> Vec<usize> {
    let mut states = vec![blank];
    for &label in target {
        states.extend([label, blank]);
    }
    states
}

/// Whether a path may enter state s from s - 2 (eq. 6).
fn may_skip(states: &[usize], s: usize, blank: usize) -> bool {
    s >= 2 && states[s] != blank && states[s] != states[s - 2]
}

/// alpha_t(s), eq. 5 to 7: the probability of all path beginnings that are in state s after the emission at t.
fn alphas(y: &[f64], classes: usize, states: &[usize], blank: usize) -> Vec<Vec<f64>> {
    let mut alphas: Vec<Vec<f64>> = Vec::new();
    for (t, y) in y.chunks(classes).enumerate() {
        let alpha = |s: usize| {
            let arrive = match alphas.last() {
                None => f64::from(u8::from(s < 2)),
                Some(before) => {
                    let mut sum = before[s];
                    if s >= 1 {
                        sum += before[s - 1];
                    }
                    if may_skip(states, s, blank) {
                        sum += before[s - 2];
                    }
                    sum
                }
            };
            arrive * y[states[s]]
        };
        let row: Vec<f64> = (0..states.len()).map(alpha).collect();
        debug_assert_eq!(alphas.len(), t);
        alphas.push(row);
    }
    alphas
}

fn probability(alphas: &[Vec<f64>]) -> f64 {
    let last = &alphas[alphas.len() - 1];
    last.iter().rev().take(2).sum()
}

/// `-ln p(target)` for logits `[T, C]` (eq. 8); infinite if no path of T steps yields the target.
///
/// # Panics
/// The logits do not fit.
pub fn cost(logits: &[f64], classes: usize, target: &[usize], blank: usize) -> f64 {
    let y = softmax(logits, classes);
    -probability(&alphas(&y, classes, &states(target, blank), blank)).ln()
}

/// The gradient of [`cost`] with respect to the logits (eq. 16); zero for an impossible target.
///
/// # Panics
/// The logits do not fit.
pub fn cost_backward(logits: &[f64], classes: usize, target: &[usize], blank: usize) -> Vec<f64> {
    let (y, states) = (softmax(logits, classes), states(target, blank));
    let alphas = alphas(&y, classes, &states, blank);
    let (steps, p) = (alphas.len(), probability(&alphas));
    let mut dlogits = vec![0.0; logits.len()];
    if p == 0.0 {
        return dlogits;
    }
    // beta_t(s) without the emission at t, eq. 9 to 11 divided by it.
    let mut betas: Vec<f64> = (0..states.len()).map(|s| f64::from(u8::from(s + 2 >= states.len()))).collect();
    for t in (0..steps).rev() {
        if t + 1 < steps {
            let next = &y[(t + 1) * classes..][..classes];
            let leave = |s: usize| betas[s] * next[states[s]];
            betas = (0..states.len())
                .map(|s| {
                    let mut sum = leave(s);
                    if s + 1 < states.len() {
                        sum += leave(s + 1);
                    }
                    if s + 2 < states.len() && may_skip(&states, s + 2, blank) {
                        sum += leave(s + 2);
                    }
                    sum
                })
                .collect();
        }
        for c in 0..classes {
            let through = (0..states.len()).filter(|&s| states[s] == c).map(|s| alphas[t][s] * betas[s]);
            dlogits[t * classes + c] = y[t * classes + c] - through.sum::<f64>() / p;
        }
    }
    dlogits
}

/// The labelling of a path: repeats merged, then blanks removed (the map B of the paper).
pub fn spell(path: &[usize], blank: usize) -> Vec<usize> {
    let mut merged = path.to_vec();
    merged.dedup();
    merged.retain(|&class| class != blank);
    merged
}

/// [`cost`] by its definition (eq. 3), the sum over all C^T paths.
pub fn cost_by_enumeration(logits: &[f64], classes: usize, target: &[usize], blank: usize) -> f64 {
    let y = softmax(logits, classes);
    let steps = y.len() / classes;
    let mut p = 0.0;
    for code in 0..classes.pow(steps as u32) {
        let path: Vec<usize> = (0..steps).map(|t| code / classes.pow(t as u32) % classes).collect();
        if spell(&path, blank) == target {
            p += path.iter().enumerate().map(|(t, &class)| y[t * classes + class]).product::<f64>();
        }
    }
    -p.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{scaled, to_f64};
    use crate::gradcheck::check_gradient;

    /// Empty, single, repeated and impossible targets, with the first and the last class as the blank.
    const TARGETS: &[&[usize]] =
        &[&[], &[1], &[2, 1], &[1, 1], &[2, 2, 2], &[1, 2, 1], &[1, 2, 1, 2], &[2, 2, 1, 1], &[1, 1, 1, 1]];

    #[test]
    fn recursions_agree_with_the_sum_over_all_paths() {
        for steps in 1..=6 {
            for blank in [0, 3] {
                for target in TARGETS {
                    let logits = to_f64(&scaled(steps as u64, steps * 4, 2.0));
                    let got = cost(&logits, 4, target, blank);
                    let want = cost_by_enumeration(&logits, 4, target, blank);
                    let name = format!("{steps} steps, blank {blank}, {target:?}");
                    assert!(got == want || (got - want).abs() < 1e-12, "{name}: {got} is not {want}");
                }
            }
        }
    }

    #[test]
    fn gradients_match_central_differences() {
        for (seed, target) in TARGETS.iter().enumerate() {
            let logits = to_f64(&scaled(seed as u64, 7 * 4, 2.0));
            let gradient = cost_backward(&logits, 4, target, 0);
            check_gradient(&format!("{target:?}"), &logits, &gradient, |logits| cost(logits, 4, target, 0));
        }
    }

    #[test]
    fn impossible_targets_cost_infinity() {
        assert_eq!(cost(&[0.0; 6], 3, &[1, 1], 0), f64::INFINITY);
        assert_eq!(cost_backward(&[0.0; 6], 3, &[1, 1], 0), [0.0; 6]);
        assert_eq!(spell(&[0, 1, 1, 0, 1, 2, 2, 0], 0), [1, 1, 2]);
    }
}
