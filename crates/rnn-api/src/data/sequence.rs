//! [`Sequence`]: a series of feature vectors, and the treatment of missing values.

use super::error::{Place, Problem};
use super::reserve::room;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A multivariate sequence `[T, features]` in row-major order, with at least one step and one feature. Its values
/// are finite; only a reader that was told to keep missing values leaves NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    values: Vec<f32>,
    features: usize,
}

/// How a reader treats missing values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Missing {
    /// An error.
    #[default]
    Error,
    /// Kept as NaN, for [`Sequence::fill`] or [`Sequence::with_missing_mask`]. Batches refuse NaN.
    Keep,
}

/// How [`Sequence::fill`] replaces missing values, feature by feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fill {
    /// With a constant.
    Value(f32),
    /// With the previous value; at the start, with the first value that follows. Only the start uses later values.
    Previous,
    /// By linear interpolation; constant at both ends. It uses later values, so it is not suitable for forecasting.
    Linear,
}

impl Sequence {
    /// A sequence of `values.len() / features` steps.
    ///
    /// # Errors
    /// There are no values or no features, the last step is incomplete, or a value is infinite or NaN.
    pub fn new(values: Vec<f32>, features: usize) -> Result<Self> {
        Self::checked(values, features, Missing::Error)
    }

    /// As [`Sequence::new`], with NaN for missing values.
    ///
    /// # Errors
    /// As [`Sequence::new`], except for NaN.
    pub fn with_missing(values: Vec<f32>, features: usize) -> Result<Self> {
        Self::checked(values, features, Missing::Keep)
    }

    pub(crate) fn checked(values: Vec<f32>, features: usize, missing: Missing) -> Result<Self> {
        if values.is_empty() || features == 0 {
            return Err(Problem::Empty { what: "the sequence" }.at(Place::default()));
        }
        if !values.len().is_multiple_of(features) {
            let got = values.len() % features;
            let place = Place::default().step(values.len() / features);
            return Err(Problem::Ragged { what: "features", expected: features, got }.at(place));
        }
        let sequence = Sequence { values, features };
        sequence.check(missing)?;
        Ok(sequence)
    }

    /// For callers whose values come from a sequence or an image.
    pub(crate) fn from_parts(values: Vec<f32>, features: usize) -> Self {
        debug_assert!(!values.is_empty() && values.len().is_multiple_of(features));
        Sequence { values, features }
    }

    /// Combines sequences of one feature each, given as columns.
    ///
    /// # Errors
    /// There are no columns, their lengths differ, or an error of [`Sequence::with_missing`].
    pub fn from_columns(columns: &[Vec<f32>]) -> Result<Self> {
        let steps = columns.first().map_or(0, Vec::len);
        for (feature, column) in columns.iter().enumerate() {
            if column.len() != steps {
                let problem = Problem::Ragged { what: "steps", expected: steps, got: column.len() };
                return Err(problem.at(Place::default().feature(feature)));
            }
        }
        let values = (0..steps).flat_map(|t| columns.iter().map(move |column| column[t])).collect();
        Self::with_missing(values, columns.len())
    }

    /// Refuses infinite values, and NaN unless missing values are kept.
    pub(crate) fn check(&self, missing: Missing) -> Result<()> {
        let bad = |x: &f32| x.is_infinite() || (x.is_nan() && missing == Missing::Error);
        let Some(at) = self.values.iter().position(bad) else { return Ok(()) };
        let place = Place::default().step(at / self.features).feature(at % self.features);
        Err(match self.values[at] {
            x if x.is_nan() => Problem::Missing.at(place),
            x => Problem::NotFinite { got: x.to_string() }.at(place),
        })
    }

    /// The number of steps, at least 1.
    pub fn len(&self) -> usize {
        self.values.len() / self.features
    }

    /// Always false.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The values, `[T, features]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The steps in order, each as a slice of all features.
    pub fn steps(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.features)
    }

    /// One feature over all steps.
    ///
    /// # Errors
    /// The feature does not exist.
    pub fn column(&self, feature: usize) -> Result<Vec<f32>> {
        Ok(self.select(&[feature])?.values)
    }

    /// Only these features, in this order.
    ///
    /// # Errors
    /// No features are given, a feature does not exist, or the values do not fit into memory.
    pub fn select(&self, features: &[usize]) -> Result<Self> {
        check_features("Sequence::select", features, self.features)?;
        let sizes = [self.len(), features.len()];
        let mut values = room("Sequence::select", "the values [T, features] =", &sizes)?;
        self.steps().for_each(|step| values.extend(features.iter().map(|&f| step[f])));
        Ok(Sequence { values, features: features.len() })
    }

    /// The steps of a range.
    ///
    /// # Errors
    /// The range is empty or ends beyond the sequence.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        if range.start >= range.end || range.end > self.len() {
            let expected = format!("some of the {} steps", self.len());
            return Err(Error::value("Sequence::slice", "range", expected, format!("{range:?}")));
        }
        let values = self.values[range.start * self.features..range.end * self.features].to_vec();
        Ok(Sequence { values, features: self.features })
    }

    /// Input and target for predicting the next step: all steps but the last, and all steps but the first.
    ///
    /// # Errors
    /// The sequence has only one step.
    pub fn next_step_pair(&self) -> Result<(Self, Self)> {
        if self.len() < 2 {
            return Err(Problem::TooShort { length: self.len(), needed: 2 }.at(Place::default()));
        }
        Ok((self.slice(0..self.len() - 1)?, self.slice(1..self.len())?))
    }

    /// Whether a value is missing.
    pub fn has_missing(&self) -> bool {
        self.values.iter().any(|x| x.is_nan())
    }

    /// Replaces missing values.
    ///
    /// # Errors
    /// A feature has no value (except with [`Fill::Value`]), or the constant is not finite.
    pub fn fill(&self, fill: Fill) -> Result<Self> {
        let mut filled = self.clone();
        for feature in 0..self.features {
            let present = |t: &usize| !self.values[t * self.features + feature].is_nan();
            let known: Vec<usize> = (0..self.len()).filter(present).collect();
            if known.len() == self.len() {
                continue;
            }
            if known.is_empty() && !matches!(fill, Fill::Value(_)) {
                return Err(Problem::Missing.at(Place::default().feature(feature)));
            }
            let value = |t: usize| self.values[t * self.features + feature];
            for t in (0..self.len()).filter(|t| !present(t)) {
                let after = known.partition_point(|&k| k < t);
                filled.values[t * self.features + feature] = match fill {
                    Fill::Value(constant) => constant,
                    _ if after == 0 => value(known[0]),
                    Fill::Linear if after < known.len() => {
                        let (a, b) = (known[after - 1], known[after]);
                        let part = (t - a) as f32 / (b - a) as f32;
                        value(a) * (1.0 - part) + value(b) * part
                    }
                    Fill::Previous | Fill::Linear => value(known[after - 1]),
                };
            }
        }
        filled.check(Missing::Error)?;
        Ok(filled)
    }

    /// Doubles the features: first the values, with 0 where they are missing, then a mask with 1 where a value is
    /// missing (Lipton et al. 2016). Normalise before, so that 0 is the mean.
    #[must_use]
    pub fn with_missing_mask(&self) -> Self {
        let mut values = Vec::with_capacity(2 * self.values.len());
        for step in self.steps() {
            values.extend(step.iter().map(|x| if x.is_nan() { 0.0 } else { *x }));
            values.extend(step.iter().map(|x| f32::from(u8::from(x.is_nan()))));
        }
        Sequence { values, features: 2 * self.features }
    }
}

/// Refuses an empty list of features and features that do not exist.
pub(crate) fn check_features(op: &'static str, features: &[usize], of: usize) -> Result<()> {
    match features.iter().find(|&&f| f >= of) {
        Some(f) => Err(Error::value(op, "features", format!("below {of}"), f)),
        None if features.is_empty() => Err(Error::value(op, "features", "at least one", "none")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    #[test]
    fn nonsense_is_refused_where_it_stands() {
        let text =
            |values: &[f32], features| Sequence::new(values.to_vec(), features).unwrap_err().to_string();
        assert_eq!(text(&[], 2), "the sequence is empty");
        assert_eq!(text(&[1.0, 2.0, 3.0], 2), "step 1: expected 2 features, got 1");
        assert!(text(&[1.0, 2.0, 3.0, NAN], 2).starts_with("step 1, feature 1: a value is missing"));
        assert!(text(&[1.0, 2.0, f32::INFINITY, 0.0], 2).starts_with("step 1, feature 0: expected a finite"));
        assert!(Sequence::with_missing(vec![NAN], 1).unwrap().has_missing());
        assert!(Sequence::with_missing(vec![f32::INFINITY], 1).is_err());
        let error = Sequence::from_columns(&[vec![1.0, 2.0], vec![1.0]]).unwrap_err().to_string();
        assert_eq!(error, "feature 1: expected 2 steps, got 1");
        let one = Sequence::new(vec![1.0], 1).unwrap();
        assert!(one.next_step_pair().unwrap_err().to_string().contains("too short"));
        assert!(one.slice(0..2).is_err() && one.slice(1..1).is_err() && one.column(1).is_err());
    }

    #[test]
    fn columns_and_ranges() {
        let s = Sequence::from_columns(&[vec![1.0, 2.0, 3.0], vec![10.0, 20.0, 30.0]]).unwrap();
        assert_eq!(s.values(), [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
        assert_eq!(s.select(&[1, 0]).unwrap().slice(1..2).unwrap().values(), [20.0, 2.0]);
        let (x, y) = s.next_step_pair().unwrap();
        assert_eq!((x.values(), y.values()), (&s.values()[..4], &s.values()[2..]));
    }

    #[test]
    fn missing_values_are_filled_per_feature() {
        let values = vec![NAN, 1.0, 2.0, NAN, NAN, NAN, 8.0, 4.0, NAN, 5.0];
        let s = Sequence::with_missing(values, 2).unwrap();
        let column = |fill, f| s.fill(fill).unwrap().column(f).unwrap();
        assert_eq!(column(Fill::Previous, 0), [2.0, 2.0, 2.0, 8.0, 8.0]);
        assert_eq!(column(Fill::Previous, 1), [1.0, 1.0, 1.0, 4.0, 5.0]);
        assert_eq!(column(Fill::Linear, 0), [2.0, 2.0, 5.0, 8.0, 8.0]);
        assert_eq!(column(Fill::Linear, 1), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(column(Fill::Value(-1.0), 1), [1.0, -1.0, -1.0, 4.0, 5.0]);
        assert!(s.fill(Fill::Value(NAN)).is_err());
        let masked = s.with_missing_mask();
        assert_eq!(masked.values()[..8], [0.0, 1.0, 1.0, 0.0, 2.0, 0.0, 0.0, 1.0]);
        let none = Sequence::with_missing(vec![NAN, 1.0], 2).unwrap();
        assert!(none.fill(Fill::Linear).unwrap_err().to_string().starts_with("feature 0"));
    }
}
