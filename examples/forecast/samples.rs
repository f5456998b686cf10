//! Windows of transformed inputs, and the changes that they are to predict.

use super::series::Series;
use super::transform::Transform;
use rnn_api::data::{Normaliser, Scaling, Sequence};
use rnn_api::prelude::*;
use rnn_examples::flag::FlagError;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How windows are made of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// One per column; that of the target comes first.
    pub(crate) transforms: Vec<Transform>,
    /// Steps of input, T.
    pub(crate) window: usize,
    /// Steps to forecast, K.
    pub(crate) horizon: usize,
}

impl Plan {
    /// The target's transform for all columns. Those with values that have no logarithm do without it.
    pub(crate) fn new(series: &Series, target: Transform, window: usize, horizon: usize) -> Self {
        let of = |(index, column): (usize, &Vec<f64>)| {
            let log = target.log && (index == 0 || column.iter().all(|&value| value > 0.0));
            Transform { log, ..target }
        };
        Plan { transforms: series.columns.iter().enumerate().map(of).collect(), window, horizon }
    }

    /// The target's transform.
    pub(crate) fn target(&self) -> Transform {
        self.transforms[0]
    }

    /// The first step that forecasts can start from.
    pub(crate) fn first_origin(&self) -> usize {
        self.target().first_origin(self.window, self.horizon)
    }
}

/// A transformed series.
pub(crate) struct Frame<'a> {
    plan: &'a Plan,
    /// The target's values or their logarithms.
    levels: Vec<f64>,
    /// `[steps, columns]`; zero before [`Transform::reach`].
    inputs: Vec<f32>,
}

impl<'a> Frame<'a> {
    /// # Errors
    /// A logarithm of a value that is not above 0.
    pub(crate) fn new(series: &Series, plan: &'a Plan) -> Result<Self, FlagError> {
        let (steps, width) = (series.len(), plan.transforms.len());
        let mut inputs = vec![0.0; steps * width];
        let mut of_target = Vec::new();
        for (column, transform) in plan.transforms.iter().enumerate() {
            let levels = transform.levels(series, column)?;
            for t in transform.reach()..steps {
                inputs[t * width + column] = transform.input(&levels, t) as f32;
            }
            if column == 0 {
                of_target = levels;
            }
        }
        Ok(Frame { plan, levels: of_target, inputs })
    }

    /// Fits a normaliser of the inputs on the steps before `end`.
    pub(crate) fn normaliser(&self, end: usize) -> rnn_api::Result<Normaliser> {
        let width = self.plan.transforms.len();
        let part = self.inputs[self.plan.target().reach() * width..end * width].to_vec();
        Normaliser::fit(Scaling::ZScore, [&Sequence::new(part, width)?])
    }

    /// The windows whose forecasts all lie in `range`.
    pub(crate) fn samples(&self, range: Range<usize>) -> Samples {
        let first = self.plan.first_origin().max(range.start.saturating_sub(1));
        let mut samples = self.windows((first..(range.end).saturating_sub(self.plan.horizon)).collect());
        for &origin in &samples.origins {
            for ahead in 1..=self.plan.horizon {
                samples.y.push((self.levels[origin + ahead] - self.anchor(origin, ahead)) as f32);
            }
        }
        samples
    }

    /// The windows that end with these steps, without what follows.
    pub(crate) fn windows(&self, origins: Vec<usize>) -> Samples {
        let (width, window) = (self.plan.transforms.len(), self.plan.window);
        let rows = |&origin: &usize| &self.inputs[(origin + 1 - window) * width..(origin + 1) * width];
        let x = origins.iter().flat_map(rows).copied().collect();
        Samples { x, y: Vec::new(), origins, window, width, horizon: self.plan.horizon }
    }

    /// The values of predicted changes, both `[N, K]`.
    pub(crate) fn values(&self, origins: &[usize], changes: &[f64]) -> Vec<f64> {
        let horizon = self.plan.horizon;
        let value = |(index, &change): (usize, &f64)| {
            self.value(origins[index / horizon], index % horizon + 1, change)
        };
        changes.iter().enumerate().map(value).collect()
    }

    /// The value of a predicted change.
    pub(crate) fn value(&self, origin: usize, ahead: usize, change: f64) -> f64 {
        self.plan.target().value(self.anchor(origin, ahead) + change)
    }

    fn anchor(&self, origin: usize, ahead: usize) -> f64 {
        self.plan.target().anchor(&self.levels, origin, ahead)
    }
}

/// N windows and what they are to predict.
#[derive(Clone)]
pub(crate) struct Samples {
    /// `[N, T, columns]`
    pub(crate) x: Vec<f32>,
    /// `[N, K]`, the changes from the anchors; empty if they are not known.
    pub(crate) y: Vec<f32>,
    /// The last step of each window.
    pub(crate) origins: Vec<usize>,
    window: usize,
    width: usize,
    horizon: usize,
}

impl Samples {
    /// N
    pub(crate) fn len(&self) -> usize {
        self.origins.len()
    }

    /// The inputs of a window, `[T, columns]`.
    pub(crate) fn inputs(&self, sample: usize) -> &[f32] {
        let size = self.window * self.width;
        &self.x[sample * size..(sample + 1) * size]
    }

    /// What follows a window, `[K]`.
    pub(crate) fn targets(&self, sample: usize) -> &[f32] {
        &self.y[sample * self.horizon..(sample + 1) * self.horizon]
    }

    /// Fits a normaliser of the changes, for each number of steps ahead.
    pub(crate) fn normaliser(&self) -> rnn_api::Result<Normaliser> {
        Normaliser::fit(Scaling::ZScore, [&Sequence::new(self.y.clone(), self.horizon)?])
    }

    /// Normalises inputs and, where they are known, changes.
    pub(crate) fn normalised(mut self, inputs: &Normaliser, changes: &Normaliser) -> rnn_api::Result<Self> {
        inputs.apply_in_place(&mut self.x)?;
        changes.apply_in_place(&mut self.y)?;
        Ok(self)
    }

    /// The windows of a batch.
    pub(crate) fn batch(&self, device: &Device, samples: &[usize]) -> rnn_api::Result<Inputs> {
        let row = |t: usize, sample: usize| &self.inputs(sample)[t * self.width..(t + 1) * self.width];
        let steps = (0..self.window).flat_map(|t| samples.iter().flat_map(move |&sample| row(t, sample)));
        let flat = samples.iter().flat_map(|&sample| self.inputs(sample)).copied().collect();
        Ok(Inputs {
            steps: Tensor::from_vec(
                device,
                steps.copied().collect(),
                &[self.window, samples.len(), self.width],
            )?,
            flat: Tensor::from_vec(device, flat, &[samples.len(), self.window * self.width])?,
        })
    }

    /// What follows the windows of a batch, `[B, K]`.
    pub(crate) fn truth(&self, device: &Device, samples: &[usize]) -> rnn_api::Result<Tensor> {
        let values = samples.iter().flat_map(|&sample| self.targets(sample)).copied().collect();
        Tensor::from_vec(device, values, &[samples.len(), self.horizon])
    }
}

/// The windows of a batch, in both layouts that the network takes.
pub(crate) struct Inputs {
    /// `[T, B, columns]`
    pub(crate) steps: Tensor,
    /// `[B, T columns]`
    pub(crate) flat: Tensor,
}
