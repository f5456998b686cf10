//! Comparisons that report the place and size of a failure.

/// The allowed difference of one element: `abs + rel * |want|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Absolute part.
    pub abs: f64,
    /// Part relative to the expected value.
    pub rel: f64,
}

/// In [`max_rel_err`] a tensor below this counts as zero. The bound is smaller than any f32 result that is not an
/// underflow, and keeps the quotient finite.
const TINY: f64 = 1e-30;

/// Asserts that every element of `got` is within `tolerance` of `want`.
///
/// `dims` is the row-major shape of both; failures report one index per axis. NaN is close only to NaN, an infinity
/// only to itself.
///
/// # Panics
/// An element is outside the tolerance; the message has the tensor's name and, for the element with the worst ratio
/// of difference to tolerance, its index by axis, both values and the ratio. Or a length does not fit `dims`.
#[track_caller]
pub fn assert_close<G: Copy + Into<f64>>(
    name: &str,
    got: &[G],
    want: &[f64],
    dims: &[usize],
    tolerance: Tolerance,
) {
    let len: usize = dims.iter().product();
    assert_eq!(got.len(), len, "{name}: got has the wrong length for shape {dims:?}");
    assert_eq!(want.len(), len, "{name}: want has the wrong length for shape {dims:?}");

    let (mut worst_ratio, mut worst, mut failures) = (1.0, None, 0);
    for (position, (&g, &w)) in got.iter().zip(want).enumerate() {
        let ratio = difference_ratio(g.into(), w, tolerance);
        if ratio > 1.0 {
            failures += 1;
        }
        if ratio > worst_ratio {
            (worst_ratio, worst) = (ratio, Some(position));
        }
    }
    if let Some(position) = worst {
        let (g, w): (f64, f64) = (got[position].into(), want[position]);
        panic!(
            "{name}: {failures} of {len} elements differ; worst at index {index:?} of shape {dims:?}: \
             got {g:e}, want {w:e}, difference {difference:e} is {worst_ratio:.3} times the tolerance \
             (abs {abs:e}, rel {rel:e})",
            index = index_by_axis(position, dims),
            difference = (g - w).abs(),
            abs = tolerance.abs,
            rel = tolerance.rel,
        );
    }
}

/// The norm-relative error of a whole tensor:
/// `max_i |got_i - want_i| / max(max_i |want_i|, 1e-30)`.
///
/// Unlike an element-wise quotient, it is not dominated by one small element that results from cancellation. NaN or
/// an infinity on one side only gives infinity.
///
/// # Panics
/// The lengths differ.
#[track_caller]
pub fn max_rel_err<G: Copy + Into<f64>>(got: &[G], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len(), "max_rel_err: lengths differ");
    let mut difference = 0.0f64;
    let mut scale = TINY;
    for (&g, &w) in got.iter().zip(want) {
        difference = difference.max(distance(g.into(), w));
        if w.is_finite() {
            scale = scale.max(w.abs());
        }
    }
    difference / scale
}

/// The first element that is NaN, an infinity of one sign or a number where the other is not.
pub fn first_of_another_kind<G: Copy + Into<f64>>(got: &[G], want: &[f64]) -> Option<usize> {
    got.iter().zip(want).position(|(&got, &want)| distance(got.into(), want) == f64::INFINITY)
}

/// |got - want|; 0 for equal infinities and two NaN, infinity when only one side is not finite.
fn distance(got: f64, want: f64) -> f64 {
    if got == want || (got.is_nan() && want.is_nan()) {
        0.0
    } else if got.is_finite() && want.is_finite() {
        (got - want).abs()
    } else {
        f64::INFINITY
    }
}

fn difference_ratio(got: f64, want: f64, tolerance: Tolerance) -> f64 {
    let distance = distance(got, want);
    if distance == 0.0 || distance.is_infinite() {
        return distance; // this also avoids 0/0 for a zero tolerance, and inf/inf
    }
    distance / (tolerance.abs + tolerance.rel * want.abs())
}

fn index_by_axis(mut position: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for axis in (0..dims.len()).rev() {
        index[axis] = position % dims[axis];
        position /= dims[axis];
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Tolerance = Tolerance { abs: 0.0, rel: 0.0 };

    fn message(got: &[f32], want: &[f64], dims: &[usize], tolerance: Tolerance) -> Option<String> {
        let caught = std::panic::catch_unwind(|| assert_close("dy", got, want, dims, tolerance));
        caught.err().map(|payload| *payload.downcast::<String>().unwrap())
    }

    #[test]
    fn the_message_names_the_worst_element() {
        let got = [0.0, 1.0, 2.0, 3.5, 4.0, 9.0];
        let want = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let text = message(&got, &want, &[3, 2], Tolerance { abs: 0.5, rel: 0.1 }).unwrap();
        for part in ["dy", "1 of 6", "[2, 1] of shape [3, 2]", "9e0", "5e0", "4.000 times"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert!(message(&got, &want, &[6], Tolerance { abs: 4.0, rel: 0.0 }).is_none());
        let text = message(&got, &want, &[6], EXACT).unwrap();
        assert!(text.contains("2 of 6"), "{text}");
    }

    #[test]
    fn nan_and_infinity_are_close_only_to_themselves() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let wide = Tolerance { abs: 1e30, rel: 1e30 };
        assert!(
            message(&[nan, inf, -inf], &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY], &[3], EXACT).is_none()
        );
        for (got, want) in
            [(nan, 1.0), (1.0, f64::NAN), (inf, 1.0), (1.0, f64::INFINITY), (inf, f64::NEG_INFINITY)]
        {
            assert!(message(&[got], &[want], &[1], wide).is_some(), "{got} against {want}");
            assert_eq!(max_rel_err(&[got], &[want]), f64::INFINITY);
        }
    }

    #[test]
    fn wrong_lengths_fail() {
        assert!(message(&[1.0], &[1.0, 2.0], &[2], EXACT).is_some());
        assert!(message(&[1.0], &[1.0], &[2], EXACT).is_some());
    }

    #[test]
    fn the_norm_relative_error_divides_by_the_largest_value() {
        assert_eq!(max_rel_err(&[1.5f32, -4.0], &[1.0, -4.0]), 0.125);
        assert_eq!(max_rel_err(&[0.0f32], &[0.0]), 0.0);
        assert_eq!(max_rel_err::<f32>(&[], &[]), 0.0);
        assert!(max_rel_err(&[1e-3f32], &[0.0]) > 1e20);
    }
}
