//! Central differences in f64: what every derivative in the oracle is measured against.

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
        // The step that was really taken: x + step is rounded.
        gradient.push((high - low) / (above - below));
    }
    gradient
}

/// Asserts that `analytic` is the gradient of `f` at `x`, to a norm-relative [`MAX_ERROR`].
///
/// # Panics
/// With `name`, the error and the worst element.
#[track_caller]
pub fn check_gradient(name: &str, x: &[f64], analytic: &[f64], f: impl FnMut(&[f64]) -> f64) {
    check_gradient_to(MAX_ERROR, name, x, analytic, f);
}

/// [`check_gradient`] to a bound of the caller's, for functions whose third derivative is large.
///
/// # Panics
/// As [`check_gradient`].
#[track_caller]
pub fn check_gradient_to(bound: f64, name: &str, x: &[f64], analytic: &[f64], f: impl FnMut(&[f64]) -> f64) {
    assert_eq!(analytic.len(), x.len(), "{name}: the gradient has another length than its input");
    let numeric = numeric_gradient(x, f);
    let error = max_rel_err(analytic, &numeric);
    if error > bound || error.is_nan() {
        let distance = |i: &usize| (analytic[*i] - numeric[*i]).abs();
        let worst = (0..x.len()).max_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
        panic!(
            "{name}: norm-relative error {error:e} of the gradient; worst at element {worst}: \
             analytic {:e}, numeric {:e}",
            analytic[worst], numeric[worst]
        );
    }
}

/// `sum_i a_i b_i`: turns a tensor and its cotangent into the scalar that is differentiated.
///
/// # Panics
/// When the lengths differ.
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
}
