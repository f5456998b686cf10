//! [`Scale`]: the place of a value on an axis, and the values to write beside it.

use crate::units::round_values;

/// An axis from `from` to `to`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// An axis that is exactly as long as the values.
    pub(super) fn exact(from: f64, to: f64) -> Self {
        let (from, to) = if from < to { (from, to) } else { (from - 0.5, from + 0.5) };
        Scale { from, to, log: false }
    }

    /// An axis for these values with some room; logarithmic where they are positive and spread over more than
    /// `log_from` times. `None` without a finite value.
    pub(super) fn fitting(values: impl Iterator<Item = f64>, log_from: f64) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return None;
        }
        if low > 0.0 && high / low > log_from {
            // A few tiny values must not take most of the axis.
            let (low, high) = (low.max(high * 1e-9).log10(), high.log10());
            let room = 0.04 * (high - low);
            return Some(Scale { from: low - room, to: high + room, log: true });
        }
        // Values that hardly differ would need labels of many digits.
        let least = 0.05 * low.abs().max(high.abs());
        let room = match (high - low, least) {
            (_, 0.0) => 0.5,
            (spread, least) if spread < least => (least - spread) / 2.0,
            (spread, _) => 0.06 * spread,
        };
        // Finite values may be further apart than any number.
        let from = (low - room).max(f64::MIN / 4.0);
        Some(Scale { from, to: (high + room).min(f64::MAX / 4.0).max(from + f64::MIN_POSITIVE), log: false })
    }

    pub(super) fn is_log(&self) -> bool {
        self.log
    }

    /// The place from 0 to 1; outside for values outside.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        // A difference of values may overflow. Axes are at least a twentieth as long as their values are large.
        let length = self.to - self.from;
        value / length - self.from / length
    }

    /// Round values along the axis, at most about `most`.
    pub(super) fn ticks(&self, most: usize) -> Vec<f64> {
        if self.log { self.decades(most) } else { round_values(self.from, self.to, most) }
    }

    fn decades(&self, most: usize) -> Vec<f64> {
        let (first, last) = (self.from.floor() as i32, self.to.ceil() as i32);
        let inside = (self.to.floor() - self.from.ceil()).max(0.0) as usize;
        let every = (inside / most.max(1) + 1) as i32;
        let factors: &[f64] = if self.to - self.from < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let decades = (first..=last).filter(|decade| decade % every == 0);
        let values = decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
        values.filter(|&value| (0.0..=1.0).contains(&self.place(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale::fitting([1e-5, 0.02].into_iter(), 30.0).unwrap();
        assert!(scale.is_log());
        assert!(scale.ticks(5).iter().all(|&tick| (0.0..=1.0).contains(&scale.place(tick))));
        assert!(scale.ticks(5).len() >= 3);
    }

    #[test]
    fn values_that_hardly_differ_are_near_each_other() {
        let scale = Scale::fitting([0.002_998, 0.003].into_iter(), 30.0).unwrap();
        let labels: Vec<String> = scale.ticks(5).into_iter().map(super::super::html::number).collect();
        assert!(labels.len() >= 2 && labels.iter().all(|label| label.len() <= 7), "{labels:?}");
        assert!((scale.place(0.003) - scale.place(0.002_998)).abs() < 0.05);
    }

    #[test]
    fn any_values_have_a_scale() {
        for values in
            [&[0.0][..], &[5.0], &[-1.0, 1.0], &[f64::MAX, f64::MIN], &[1e-300, 1e300], &[f64::NAN, 2.0]]
        {
            let scale = Scale::fitting(values.iter().copied(), 30.0).unwrap();
            for &value in values.iter().filter(|value| value.is_finite()) {
                assert!(scale.place(value).is_finite(), "{values:?}");
            }
            assert!(scale.ticks(5).len() < 30, "{values:?}");
        }
        assert_eq!(Scale::fitting([f64::NAN].into_iter(), 30.0), None);
    }
}
