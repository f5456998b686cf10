//! A series to learn, and forecasts without a network.

use super::samples::{Frame, Plan, Samples};
use super::series::Series;
use anyhow::{Context, Result};
use rnn_api::RngKey;
use rnn_api::data::Normaliser;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// A slow and a fast season with varying amplitudes, and noise.
pub(crate) fn generated(steps: u32, seed: u64) -> Vec<f32> {
    let key = RngKey::new(seed).derive(0x7365_7269, 0);
    let value = |t: u32| {
        let x = t as f32;
        let slow = (x * 0.05).sin();
        slow + (1.0 + 0.5 * slow) * (x * 0.6).sin() + 0.2 * (key.uniform(t, 0) + key.uniform(t, 1) - 1.0)
    };
    (0..steps).map(value).collect()
}

/// A forecast without a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Simple {
    /// The last known value.
    Persistence,
    /// The last known value of the same season, of this length.
    Season(usize),
    /// A linear forecast of transformed values. The window of the plan is its order.
    Linear { plan: Plan, model: Autoregression },
}

impl Simple {
    /// A linear forecast, fitted on the forecasts of the steps in `range`.
    pub(crate) fn linear(series: &Series, plan: &Plan, range: Range<usize>) -> Result<Self> {
        let frame = Frame::new(series, plan)?;
        let inputs = frame.normaliser(range.end)?;
        let model = Autoregression::fit(&frame.samples(range), inputs)?;
        Ok(Simple::Linear { plan: plan.clone(), model })
    }

    /// The first step that it can forecast from.
    pub(crate) fn first_origin(&self) -> usize {
        match self {
            Simple::Persistence => 0,
            Simple::Season(period) => period - 1,
            Simple::Linear { plan, .. } => plan.first_origin(),
        }
    }

    /// The values, `[N, K]`.
    pub(crate) fn forecast(&self, series: &Series, origins: &[usize], horizon: usize) -> Result<Vec<f64>> {
        match self {
            Simple::Persistence => Ok(persistence(series.target(), origins, horizon)),
            Simple::Season(period) => seasonal(series.target(), origins, horizon, *period)
                .with_context(|| format!("the series is shorter than a season of {period}")),
            Simple::Linear { plan, model } => {
                let frame = Frame::new(series, plan)?;
                let changes = model.predict(&frame.windows(origins.to_vec()))?;
                Ok(frame.values(origins, &changes))
            }
        }
    }
}

impl fmt::Display for Simple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Simple::Persistence => f.write_str("persistence"),
            Simple::Season(period) => write!(f, "season of {period}"),
            Simple::Linear { plan, .. } => {
                let (window, transform) = (plan.window, plan.target());
                write!(f, "linear autoregression over {window} steps, transform {transform}")
            }
        }
    }
}

/// A linear forecast: least squares on the values of the window and a constant, for each number of steps ahead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Autoregression {
    inputs: Normaliser,
    /// `[T columns + 1, K]`; the constant comes last.
    weights: Vec<Vec<f64>>,
}

impl Autoregression {
    /// Fits it on windows and what follows them.
    pub(crate) fn fit(samples: &Samples, inputs: Normaliser) -> rnn_api::Result<Self> {
        let x = |sample: usize| features(&inputs, samples.inputs(sample));
        let n = samples.inputs(0).len() + 1;
        let k = samples.targets(0).len();
        // Normal equations [n, n + K], with a small ridge in case the inputs are linearly dependent.
        let mut rows = vec![vec![0.0; n + k]; n];
        for (i, row) in rows.iter_mut().enumerate().take(n - 1) {
            row[i] = 1e-9 * samples.len() as f64;
        }
        for sample in 0..samples.len() {
            let x = x(sample)?;
            for (row, xi) in rows.iter_mut().zip(&x) {
                let targets = samples.targets(sample).iter().map(|&y| f64::from(y));
                let terms = x.iter().copied().chain(targets);
                row.iter_mut().zip(terms).for_each(|(sum, term)| *sum += xi * term);
            }
        }
        eliminate(&mut rows);
        let weights = rows.into_iter().map(|row| row[n..].to_vec()).collect();
        Ok(Autoregression { inputs, weights })
    }

    /// Whether the sizes are those of a plan.
    pub(crate) fn fits(&self, plan: &Plan) -> bool {
        self.inputs.features() == plan.transforms.len()
            && self.weights.len() == plan.window.saturating_mul(plan.transforms.len()).saturating_add(1)
            && self.weights.iter().all(|of_input| of_input.len() == plan.horizon)
    }

    /// The predicted changes, `[N, K]`.
    pub(crate) fn predict(&self, samples: &Samples) -> rnn_api::Result<Vec<f64>> {
        let mut changes = Vec::new();
        for sample in 0..samples.len() {
            let x = features(&self.inputs, samples.inputs(sample))?;
            for ahead in 0..self.weights[0].len() {
                changes.push(x.iter().zip(&self.weights).map(|(x, weights)| x * weights[ahead]).sum());
            }
        }
        Ok(changes)
    }
}

/// Normalised inputs and a 1.
fn features(normaliser: &Normaliser, inputs: &[f32]) -> rnn_api::Result<Vec<f64>> {
    let mut inputs = inputs.to_vec();
    normaliser.apply_in_place(&mut inputs)?;
    Ok(inputs.into_iter().map(f64::from).chain([1.0]).collect())
}

/// Gauss-Jordan elimination `[n, n + K]`; the matrix is positive definite.
fn eliminate(rows: &mut [Vec<f64>]) {
    for pivot in 0..rows.len() {
        let of = rows[pivot].clone();
        for (i, row) in rows.iter_mut().enumerate() {
            let factor = row[pivot] / of[pivot];
            for (value, other) in row.iter_mut().zip(&of) {
                *value = if i == pivot { *value / of[pivot] } else { *value - factor * other };
            }
        }
    }
}

/// The last known value, for all steps ahead, `[N, K]`.
pub(crate) fn persistence(target: &[f64], origins: &[usize], horizon: usize) -> Vec<f64> {
    origins.iter().flat_map(|&origin| vec![target[origin]; horizon]).collect()
}

/// The last known value of the same season, `[N, K]`; `None` where the series is too short.
pub(crate) fn seasonal(target: &[f64], origins: &[usize], horizon: usize, period: usize) -> Option<Vec<f64>> {
    let known = |origin: usize, ahead: usize| {
        let back = ahead.div_ceil(period).checked_mul(period)?;
        Some(target[(origin + ahead).checked_sub(back)?])
    };
    origins.iter().flat_map(|&origin| (1..=horizon).map(move |ahead| known(origin, ahead))).collect()
}
