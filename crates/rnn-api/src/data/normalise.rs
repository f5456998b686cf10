//! [`Normaliser`]: scales features, and scales predictions back.

use super::error::{Place, Problem};
use super::sequence::{Sequence, check_features};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a feature is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Scaling {
    /// Mean 0 and population standard deviation 1 (divided by n).
    ZScore,
    /// The smallest value becomes `low` and the largest `high`.
    MinMax {
        /// Lower end.
        low: f32,
        /// Upper end.
        high: f32,
    },
}

/// `normalised = (x - shift) / scale` for each feature. Fit it on the training part, apply it to all parts, save it
/// with the model, and invert it on the predictions.
///
/// A feature that is constant in training is shifted but not scaled. Missing values (NaN) are not counted and stay
/// NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Normaliser {
    shift: Vec<f64>,
    scale: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    shift: Vec<f64>,
    scale: Vec<f64>,
}

/// Statistics of a feature.
#[derive(Clone, Copy)]
struct Summary {
    count: u64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
    min: f64,
    max: f64,
}

impl Summary {
    const EMPTY: Summary =
        Summary { count: 0, mean: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    /// Welford 1962: no cancellation, even for a large mean.
    fn add(&mut self, x: f64) {
        self.count += 1;
        let before = x - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (x - self.mean);
        self.min = self.min.min(x);
        self.max = self.max.max(x);
    }

    fn shift_and_scale(&self, scaling: Scaling) -> (f64, f64) {
        // Values that differ by less than this are one value with f32 rounding errors.
        let constant =
            self.max - self.min <= 4.0 * f64::from(f32::EPSILON) * self.min.abs().max(self.max.abs());
        match scaling {
            Scaling::ZScore if constant => (self.mean, 1.0),
            Scaling::ZScore => (self.mean, (self.squares / self.count as f64).sqrt()),
            Scaling::MinMax { low, .. } if constant => (self.min - f64::from(low), 1.0),
            Scaling::MinMax { low, high } => {
                let scale = (self.max - self.min) / (f64::from(high) - f64::from(low));
                (self.min - f64::from(low) * scale, scale)
            }
        }
    }
}

impl Normaliser {
    /// Fits the statistics on all steps of all sequences of the training part.
    ///
    /// # Errors
    /// There are no sequences, their numbers of features differ, a feature has no value, or the target range is
    /// empty.
    pub fn fit<'a>(scaling: Scaling, sequences: impl IntoIterator<Item = &'a Sequence>) -> Result<Self> {
        if let Scaling::MinMax { low, high } = scaling
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            let got = format!("{low}, {high}");
            return Err(Error::config(
                "Scaling::MinMax",
                "low, high",
                "finite, the first below the second",
                got,
            ));
        }
        let mut summaries: Vec<Summary> = Vec::new();
        for (index, sequence) in sequences.into_iter().enumerate() {
            if index == 0 {
                summaries = vec![Summary::EMPTY; sequence.features()];
            }
            if summaries.len() != sequence.features() {
                let (expected, got) = (summaries.len(), sequence.features());
                return Err(Problem::Ragged { what: "features", expected, got }.at(Place::sequence(index)));
            }
            for step in sequence.steps() {
                for (summary, &x) in summaries.iter_mut().zip(step).filter(|(_, x)| !x.is_nan()) {
                    summary.add(f64::from(x));
                }
            }
        }
        if summaries.is_empty() {
            return Err(Problem::Empty { what: "the training part" }.at(Place::default()));
        }
        if let Some(feature) = summaries.iter().position(|summary| summary.count == 0) {
            return Err(Problem::Missing.at(Place::default().feature(feature)));
        }
        let (shift, scale) = summaries.iter().map(|summary| summary.shift_and_scale(scaling)).unzip();
        Ok(Normaliser { shift, scale })
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.shift.len()
    }

    /// The shift of each feature, which is subtracted.
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }

    /// The scale of each feature, by which values are divided.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// The normaliser of a subset of the features, for targets that are columns of the input.
    ///
    /// # Errors
    /// No features are given, or a feature does not exist.
    pub fn select(&self, features: &[usize]) -> Result<Self> {
        check_features("Normaliser::select", features, self.features())?;
        let pick = |values: &[f64]| features.iter().map(|&f| values[f]).collect();
        Ok(Normaliser { shift: pick(&self.shift), scale: pick(&self.scale) })
    }

    /// Normalises a sequence.
    ///
    /// # Errors
    /// The number of features differs, or a normalised value is out of range for f32.
    pub fn apply(&self, sequence: &Sequence) -> Result<Sequence> {
        if sequence.features() != self.features() {
            let (expected, got) = (self.features(), sequence.features());
            return Err(Problem::Ragged { what: "features", expected, got }.at(Place::default()));
        }
        let mut normalised = sequence.clone();
        self.apply_in_place(normalised.values_mut())?;
        Ok(normalised)
    }

    /// Normalises values in place, such as one step of a stream. The last axis of `values` is the features; the shape may
    /// have any other axes.
    ///
    /// ```
    /// use rnn_api::data::{Normaliser, Scaling, Sequence};
    /// # fn main() -> rnn_api::Result<()> {
    /// let training = Sequence::from_columns(&[vec![0.0, 2.0], vec![10.0, 30.0]])?;
    /// let normaliser = Normaliser::fit(Scaling::MinMax { low: -1.0, high: 1.0 }, [&training])?;
    /// let mut step = [1.0, 30.0];
    /// normaliser.apply_in_place(&mut step)?;
    /// assert_eq!(step, [0.0, 1.0]);
    /// normaliser.invert(&mut step)?;
    /// assert_eq!(step, [1.0, 30.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The number of values is not a multiple of the number of features, or a normalised value is out of range for f32.
    /// Nothing is changed then.
    pub fn apply_in_place(&self, values: &mut [f32]) -> Result<()> {
        self.each("Normaliser::apply_in_place", values, |x, shift, scale| (x - shift) / scale)
    }

    /// Normalises the sequences of a part.
    ///
    /// # Errors
    /// As [`Normaliser::apply`]; the error names the sequence.
    pub fn apply_all(&self, sequences: &[Sequence]) -> Result<Vec<Sequence>> {
        let apply = |(index, sequence): (usize, &Sequence)| {
            let named = |place| Place { sequence: Some(index), ..place };
            self.apply(sequence).map_err(|error| error.located(named))
        };
        sequences.iter().enumerate().map(apply).collect()
    }

    /// Undoes the scaling in place. The last axis of `values` is the features; the shape may have any other axes.
    ///
    /// # Errors
    /// The number of values is not a multiple of the number of features, or a result is out of range for f32. Nothing is
    /// changed then.
    pub fn invert(&self, values: &mut [f32]) -> Result<()> {
        self.each("Normaliser::invert", values, |x, shift, scale| x * scale + shift)
    }

    fn each(&self, op: &'static str, values: &mut [f32], f: impl Fn(f64, f64, f64) -> f64) -> Result<()> {
        if !values.len().is_multiple_of(self.features()) {
            let expected = format!("a multiple of the {} features", self.features());
            return Err(Error::value(op, "values", expected, values.len()));
        }
        let features = self.features();
        let scaled = |(at, x): (usize, &f32)| {
            let feature = at % features;
            f(f64::from(*x), self.shift[feature], self.scale[feature]) as f32
        };
        if let Some(at) = values.iter().enumerate().position(|item| scaled(item).is_infinite()) {
            let place = Place::default().step(at / features).feature(at % features);
            return Err(Problem::NotFinite { got: values[at].to_string() }.at(place));
        }
        for at in 0..values.len() {
            values[at] = scaled((at, &values[at]));
        }
        Ok(())
    }
}

impl TryFrom<Saved> for Normaliser {
    type Error = Error;

    fn try_from(Saved { shift, scale }: Saved) -> Result<Self> {
        if shift.len() != scale.len() || shift.is_empty() {
            let got = format!("{} shifts and {} scales", shift.len(), scale.len());
            return Err(Error::config("Normaliser", "shift, scale", "one of each per feature", got));
        }
        if let Some(bad) = shift.iter().find(|x| !x.is_finite()) {
            return Err(Error::config("Normaliser", "shift", "finite", bad));
        }
        if let Some(bad) = scale.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            return Err(Error::config("Normaliser", "scale", "finite and positive", bad));
        }
        Ok(Normaliser { shift, scale })
    }
}

impl From<Normaliser> for Saved {
    fn from(Normaliser { shift, scale }: Normaliser) -> Self {
        Saved { shift, scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(columns: &[&[f32]]) -> Sequence {
        Sequence::from_columns(&columns.iter().map(|c| c.to_vec()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn z_scores() {
        // Mean 5 and deviation 2 are computed by hand; the mean of the other feature would cancel in f32.
        let a = columns(&[&[2.0, 4.0, 4.0, 4.0], &[1e6, 1e6 + 1.0, 1e6, 1e6 + 1.0]]);
        let b = columns(&[&[5.0, 5.0, 7.0, 9.0], &[1e6, 1e6 + 1.0, 1e6, 1e6 + 1.0]]);
        let n = Normaliser::fit(Scaling::ZScore, [&a, &b]).unwrap();
        assert_eq!((n.shift(), n.scale()), (&[5.0, 1e6 + 0.5][..], &[2.0, 0.5][..]));
        let normalised = n.apply_all(&[a.clone(), b]).unwrap();
        assert_eq!(normalised[0].column(0).unwrap(), [-1.5, -0.5, -0.5, -0.5]);
        assert_eq!(normalised[1].column(1).unwrap(), [-1.0, 1.0, -1.0, 1.0]);
        let mut back = normalised[0].values().to_vec();
        n.invert(&mut back).unwrap();
        assert_eq!(back, a.values());
        let mut prediction = [1.0, -2.0];
        n.select(&[1]).unwrap().invert(&mut prediction).unwrap();
        assert_eq!(prediction, [1_000_001.0, 999_999.5]);
    }

    #[test]
    fn ranges_constants_and_missing_values() {
        let x = columns(&[&[3.0, 7.0, f32::NAN], &[0.1, 0.1 + 1e-8, 0.1], &[0.0, 0.0, 0.0]]);
        let n = Normaliser::fit(Scaling::MinMax { low: -1.0, high: 1.0 }, [&x]).unwrap();
        let y = n.apply(&x).unwrap();
        assert_eq!(y.column(0).unwrap()[..2], [-1.0, 1.0]);
        assert!(y.column(0).unwrap()[2].is_nan());
        assert_eq!((y.column(1).unwrap(), y.column(2).unwrap()), (vec![-1.0; 3], vec![-1.0; 3]));
        let z = Normaliser::fit(Scaling::ZScore, [&x]).unwrap();
        assert_eq!(z.scale()[1..], [1.0, 1.0]);
        let new = z.apply(&columns(&[&[5.0], &[0.6], &[-2.0]])).unwrap();
        assert_eq!(new.values()[2], -2.0);
        let mut back = new.values().to_vec();
        z.invert(&mut back).unwrap();
        assert!((back[1] - 0.6).abs() < 1e-7 && back[0] == 5.0);
    }

    #[test]
    fn nonsense_is_refused() {
        let x = columns(&[&[1.0, 2.0], &[3.0, 3.0]]);
        let fit = |scaling, sequences: &[&Sequence]| Normaliser::fit(scaling, sequences.iter().copied());
        assert!(fit(Scaling::ZScore, &[]).unwrap_err().to_string().contains("training part is empty"));
        assert!(fit(Scaling::MinMax { low: 1.0, high: 1.0 }, &[&x]).is_err());
        let one = columns(&[&[1.0]]);
        assert_eq!(
            fit(Scaling::ZScore, &[&x, &one]).unwrap_err().to_string(),
            "sequence 1: expected 2 features, got 1"
        );
        let missing = columns(&[&[1.0], &[f32::NAN]]);
        assert!(fit(Scaling::ZScore, &[&missing]).unwrap_err().to_string().starts_with("feature 1"));
        let n = fit(Scaling::ZScore, &[&x]).unwrap();
        // Four features are not two steps of two features.
        let four = n.apply(&columns(&[&[1.0], &[2.0], &[3.0], &[4.0]])).unwrap_err().to_string();
        assert_eq!(four, "expected 2 features, got 4");
        assert!(n.invert(&mut [0.0; 3]).is_err() && n.select(&[2]).is_err());
        let tiny = fit(Scaling::ZScore, &[&columns(&[&[0.0, 1e-30]])]).unwrap();
        let error = tiny.apply(&columns(&[&[1e20]])).unwrap_err().to_string();
        assert!(error.starts_with("step 0, feature 0: expected a finite number"), "{error}");
        // The values before the first bad one stay as they are, too.
        let mut values = [0.0, 1.0, 1e20];
        let error = tiny.apply_in_place(&mut values).unwrap_err().to_string();
        assert!(error.starts_with("step 2, feature 0: expected a finite number"), "{error}");
        assert_eq!(values, [0.0, 1.0, 1e20]);
        let error = n.apply_in_place(&mut [0.0; 3]).unwrap_err().to_string();
        assert!(error.contains("values must be a multiple of the 2 features, got 3"), "{error}");
        let huge = fit(Scaling::ZScore, &[&columns(&[&[0.0, 3e38]])]).unwrap();
        let error = huge.invert(&mut [0.0, 9.0]).unwrap_err().to_string();
        assert!(error.starts_with("step 1, feature 0: expected a finite number"), "{error}");
    }

    #[test]
    fn saved_normalisers_are_exact_and_checked() {
        let x = columns(&[&[0.1, 0.7, 0.3], &[1.0, 1.0, 1.0]]);
        let n = Normaliser::fit(Scaling::ZScore, [&x]).unwrap();
        let json = serde_json::to_string(&n).unwrap();
        assert_eq!(serde_json::from_str::<Normaliser>(&json).unwrap(), n);
        for bad in
            [r#"{"shift":[0],"scale":[0]}"#, r#"{"shift":[0],"scale":[]}"#, r#"{"shift":[],"scale":[]}"#]
        {
            assert!(serde_json::from_str::<Normaliser>(bad).is_err());
        }
    }
}
