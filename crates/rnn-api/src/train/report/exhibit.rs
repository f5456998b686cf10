//! [`Exhibit`]: results that a program shows in its report.

use super::curve::Curve;
use crate::error::{Error, Result};
use crate::metrics::ConfusionMatrix;
use crate::nn::Trace;
use serde::{Deserialize, Serialize};

/// The most that one result shows.
const MOST_CHARACTERS: usize = 20_000;
const MOST_CLASSES: usize = 40;
const MOST_UNITS: usize = 48;
const MOST_STEPS: usize = 240;
const MOST_POINTS: usize = 400;

/// A result that a program shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exhibit {
    Text(String),
    Confusion {
        names: Vec<String>,
        /// Rows are labels, columns predictions.
        counts: Vec<Vec<u64>>,
        left_out: usize,
    },
    Forecast {
        truth: Curve,
        predicted: Curve,
        /// Prediction minus truth.
        errors: Vec<u64>,
        from: f64,
        to: f64,
    },
    Activations(Activations),
}

/// The values of units over the steps of one sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Activations {
    pub(super) units: Vec<String>,
    /// For every unit its values; one that is not finite is absent.
    pub(super) values: Vec<Vec<Option<f32>>>,
    /// What was read at each step; may be empty.
    pub(super) labels: Vec<String>,
    pub(super) units_left_out: usize,
    pub(super) steps_left_out: usize,
}

impl Exhibit {
    pub(super) fn text(text: &str) -> Self {
        Exhibit::Text(super::html::shortened(text, MOST_CHARACTERS))
    }

    pub(super) fn confusion(matrix: &ConfusionMatrix) -> Self {
        let shown = matrix.classes().min(MOST_CLASSES);
        let row = |label: usize| (0..shown).map(|class| matrix.count(label, class)).collect();
        Exhibit::Confusion {
            names: matrix.names().iter().take(shown).cloned().collect(),
            counts: (0..shown).map(row).collect(),
            left_out: matrix.classes() - shown,
        }
    }

    pub(super) fn forecast(truth: &[f32], predicted: &[f32]) -> Result<Self> {
        if truth.len() != predicted.len() {
            let expected = format!("as many values as `truth`, {}", truth.len());
            return Err(Error::value("Page::forecast", "predicted", expected, predicted.len()));
        }
        let curve = |values: &[f32]| {
            let mut curve = Curve::new(MOST_POINTS);
            values.iter().enumerate().for_each(|(n, &value)| curve.push(n as u64, value.into()));
            curve
        };
        let pairs = truth.iter().zip(predicted);
        let errors: Vec<f64> =
            pairs.map(|(&truth, &predicted)| f64::from(predicted) - f64::from(truth)).collect();
        let (errors, from, to) = histogram(&errors);
        Ok(Exhibit::Forecast { truth: curve(truth), predicted: curve(predicted), errors, from, to })
    }

    /// What row `row` holds after every step: tanh(c), or h if the cell has no c.
    pub(super) fn activations(trace: &Trace, row: usize, labels: &[String]) -> Result<Self> {
        const OP: &str = "Page::activations";
        let state = trace.c.as_ref().unwrap_or(&trace.h);
        let &[steps, batch, directions, width] = state.dims() else {
            return Err(Error::value(OP, "trace", "[T, B, D, H]", format!("{:?}", state.dims())));
        };
        if row >= batch {
            return Err(Error::value(OP, "row", format!("below the number of rows, {batch}"), row));
        }
        if !labels.is_empty() && labels.len() != steps {
            let expected = format!("one for each of {steps} steps, or none");
            return Err(Error::value(OP, "labels", expected, labels.len()));
        }
        let (values, all, shown) = (state.to_vec()?, directions * width, steps.min(MOST_STEPS));
        let held = |value: f32| if trace.c.is_some() { value.tanh() } else { value };
        let of_unit = |unit: usize| -> Vec<Option<f32>> {
            let value = |step: usize| held(values[(step * batch + row) * all + unit]);
            (0..shown).map(|step| Some(value(step)).filter(|value| value.is_finite())).collect()
        };
        let mut units: Vec<(usize, Vec<Option<f32>>)> = (0..all).map(|unit| (unit, of_unit(unit))).collect();
        if all > MOST_UNITS {
            units.sort_by(|a, b| deviation(&b.1).total_cmp(&deviation(&a.1)));
            units.truncate(MOST_UNITS);
            units.sort_by_key(|(unit, _)| *unit);
        }
        let name = |unit: usize| match unit / width {
            0 => unit.to_string(),
            _ => format!("{} ←", unit % width),
        };
        Ok(Exhibit::Activations(Activations {
            units_left_out: all - units.len(),
            steps_left_out: steps - shown,
            units: units.iter().map(|(unit, _)| name(*unit)).collect(),
            values: units.into_iter().map(|(_, values)| values).collect(),
            labels: labels.iter().take(shown).cloned().collect(),
        }))
    }
}

/// The standard deviation of the finite values.
fn deviation(values: &[Option<f32>]) -> f32 {
    let count = values.iter().flatten().count().max(1) as f32;
    let mean = values.iter().flatten().sum::<f32>() / count;
    (values.iter().flatten().map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt()
}

/// Counts of the finite values in equal bins, and their range.
pub(super) fn histogram(values: &[f64]) -> (Vec<u64>, f64, f64) {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (mut from, mut to) =
        (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if from > to {
        return (Vec::new(), 0.0, 0.0);
    }
    if from == to {
        (from, to) = (from - 0.5, to + 0.5);
    }
    let bins = ((finite().count() as f64).sqrt().ceil() as usize).clamp(5, 31);
    let mut counts = vec![0; bins];
    for value in finite() {
        let bin = ((value - from) / (to - from) * bins as f64) as usize;
        counts[bin.min(bins - 1)] += 1;
    }
    (counts, from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_in_a_bin() {
        let (counts, from, to) = histogram(&[1.0, f64::NAN, 2.0, 3.0, 3.0]);
        assert_eq!((counts, from, to), (vec![1, 0, 1, 0, 2], 1.0, 3.0));
        assert_eq!(histogram(&[2.0]), (vec![0, 0, 1, 0, 0], 1.5, 2.5));
        assert_eq!(histogram(&[f64::NAN]).0, Vec::<u64>::new());
    }

    #[test]
    fn forecasts_of_another_length_are_refused() {
        let error = Exhibit::forecast(&[1.0, 2.0], &[1.0]).unwrap_err().to_string();
        assert!(error.contains("predicted") && error.contains("as many values as `truth`, 2"), "{error}");
    }
}
