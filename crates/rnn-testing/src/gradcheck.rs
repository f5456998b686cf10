//! Central differences in f64, the reference for every derivative in the oracle.

use crate::compare::max_rel_err;

/// Step of the central difference, times `max(1, |x|)`. About the cube root of the f64 epsilon:
/// the truncation error (h^2) and the rounding error (epsilon / h) are then both near 1e-11.
const STEP: f64 = 6e-6;

/// The largest norm-relative error (see [`max_rel_err`]) that [`check_gradient`] accepts.
pub const MAX_ERROR: f64 = 1e-6;

/// The gradient of the scalar function `f` at `x`, by central differences.
pub fn numeric_gradient(x: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut point = x.to_vec();
    let mut gradient = Vec::with_capacity(x.len());
    for i in 0..x.len() {
        let step = STEP * x[i].abs().max(1.0);
        point[i] = x[i] + step;
        let (above, high) = (point[i], f(&point));
        point[i] = x[i] - step;
        let (below, low) = (point[i], f(&point));
        point[i] = x[i];
        // The step actually taken, because x + step is rounded.
        gradient.push((high - low) / (above - below));
    }
    gradient
}

/// Asserts that `analytic` is the gradient of `f` at `x` within a norm-relative [`MAX_ERROR`].
///
/// # Panics
/// The gradient differs; the message has `name`, the error and the worst element.
#[track_caller]
pub fn check_gradient(name: &str, x: &[f64], analytic: &[f64], f: impl FnMut(&[f64]) -> f64) {
    assert_eq!(analytic.len(), x.len(), "{name}: the gradient has another length than its input");
    let numeric = numeric_gradient(x, f);
    let error = max_rel_err(analytic, &numeric);
    if error > MAX_ERROR || error.is_nan() {
        let distance = |i: &usize| (analytic[*i] - numeric[*i]).abs();
        let worst = (0..x.len()).max_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
        panic!(
            "{name}: norm-relative error {error:e} of the gradient; worst at element {worst}: \
             analytic {:e}, numeric {:e}",
            analytic[worst], numeric[worst]
        );
    }
}

/// The effect of rounding alone on a difference of values near 1 at the smallest step.
const NOISE: f64 = 1e-8;

/// [`check_gradient`] for functions with kinks and sharp bends. If the plain central difference does not confirm an
/// element, smaller steps are tried, which leave a nearby kink outside. If these do not confirm it either, the
/// element is skipped if it lies on a kink: the one-sided differences then do not approach each other as the step
/// shrinks. Returns the number of skipped elements.
///
/// # Panics
/// An element is wrong; the message has `name` and the first such element.
#[track_caller]
pub fn check_gradient_between_kinks(
    name: &str,
    x: &[f64],
    analytic: &[f64],
    mut f: impl FnMut(&[f64]) -> f64,
) -> usize {
    assert_eq!(analytic.len(), x.len(), "{name}: the gradient has another length than its input");
    let scale = analytic.iter().fold(0f64, |max, a| max.max(a.abs()));
    assert!(scale.is_finite(), "{name}: the gradient is not finite");
    let numeric = numeric_gradient(x, &mut f);
    let confirms = |i: usize, numeric: f64| (analytic[i] - numeric).abs() <= MAX_ERROR * scale + NOISE;
    let mut skipped = 0;
    for i in (0..x.len()).filter(|&i| !confirms(i, numeric[i])) {
        let mut at = |offset: f64| {
            let mut point = x.to_vec();
            point[i] += offset;
            let moved = point[i] - x[i];
            (f(&point), moved)
        };
        let mut slope = |from: f64, to: f64| {
            let ((low, below), (high, above)) = (at(from), at(to));
            (high - low) / (above - below)
        };
        let steps = [8.0, 64.0].map(|part| STEP / part);
        if steps.iter().any(|&step| confirms(i, slope(-step, step))) {
            continue;
        }
        // With a second derivative, twice the step gives twice the gap.
        let mut gap = |step: f64| (slope(0.0, step) - slope(-step, 0.0)).abs();
        let (wide, narrow) = (gap(steps[1]), gap(steps[1] / 2.0));
        let is_kink = narrow > 10.0 * (MAX_ERROR * scale + NOISE) && narrow > 0.75 * wide;
        assert!(
            is_kink,
            "{name}: element {i} of the gradient: analytic {:e}, numeric {:e}, norm {scale:e}",
            analytic[i], numeric[i]
        );
        skipped += 1;
    }
    skipped
}

/// `sum_i a_i b_i`: reduces a tensor and its cotangent to the scalar that is differentiated.
///
/// # Panics
/// The lengths differ.
#[track_caller]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "dot: lengths differ");
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cubic(x: &[f64]) -> f64 {
        x[0].powi(3) + 2.0 * x[0] * x[1]
    }

    #[test]
    fn the_gradient_of_a_polynomial_is_found() {
        let x = [1.5, -40.0];
        check_gradient("cubic", &x, &[3.0 * 1.5 * 1.5 - 80.0, 3.0], cubic);
    }

    #[test]
    #[should_panic(expected = "cubic")]
    fn a_gradient_wrong_in_the_sixth_digit_is_refused() {
        check_gradient("cubic", &[1.5, -2.0], &[2.75, 3.00001], cubic);
    }

    #[test]
    #[should_panic(expected = "cubic")]
    fn nan_is_refused() {
        check_gradient("cubic", &[1.5, -2.0], &[f64::NAN, 3.0], cubic);
    }

    /// `|x|` at 0, near 0 and far from 0: on the kink, with the kink inside the first step, and without it.
    #[test]
    fn kinks_are_stepped_around_or_skipped() {
        let f = |x: &[f64]| x.iter().map(|x| x.abs()).sum();
        assert_eq!(check_gradient_between_kinks("near", &[1e-6, -3.0], &[1.0, -1.0], f), 0);
        assert_eq!(check_gradient_between_kinks("on", &[0.0, -3.0], &[1.0, -1.0], f), 1);
        assert_eq!(check_gradient_between_kinks("sharp", &[1.5, -2.0], &[2.75, 3.0], cubic), 0);
    }

    #[test]
    #[should_panic(expected = "element 1")]
    fn a_wrong_gradient_is_not_taken_for_a_kink() {
        check_gradient_between_kinks("cubic", &[1.5, -2.0], &[2.75, 3.0001], cubic);
    }

    #[test]
    #[should_panic(expected = "element 0")]
    fn zero_for_a_gradient_that_is_not_is_refused() {
        check_gradient_between_kinks("cubic", &[1.5, -2.0], &[0.0, 0.0], cubic);
    }
}
