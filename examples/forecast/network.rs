//! The network: a recurrent layer over the window, and a linear layer for all steps ahead.

use super::interval::{Forecasts, Interval};
use super::options::Learning;
use super::samples::{Frame, Plan, Samples};
use super::series::Series;
use anyhow::Result;
use rnn_api::data::{BatchConfig, Batches, Normaliser};
use rnn_api::model;
use rnn_api::nn::AnyRnnConfig;
use rnn_api::prelude::*;
use rnn_api::train::{Score, StopReason, predict};
use rnn_examples::cell::config;
use rnn_examples::common::Common;
use serde::{Deserialize, Serialize};

model!(pub(crate) struct Network, NetworkConfig { rnn: AnyRnnConfig, head: LinearConfig });

impl Network {
    /// `[T, B, columns]` to `[B, K]`.
    fn forward(&self, x: &Tensor) -> rnn_api::Result<Tensor> {
        self.head.forward(&self.rnn.forward(x, None)?.last()?)
    }
}

/// The ends of the parts of a series, of which each starts where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// The network learns from these steps.
    pub(crate) learnt: usize,
    /// Up to here is the training part. What is behind `learnt` is for validation.
    pub(crate) train: usize,
    /// Up to here is the test part.
    pub(crate) end: usize,
}

/// What a model file keeps beside the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale {
    pub(crate) plan: Plan,
    /// Of the inputs, `[columns]`.
    pub(crate) inputs: Normaliser,
    /// Of the changes to predict, `[K]`.
    pub(crate) changes: Normaliser,
    pub(crate) interval: Interval,
}

/// A trained network, and what its inputs and outputs mean.
pub(crate) struct Forecaster {
    pub(crate) config: NetworkConfig,
    pub(crate) network: Network,
    pub(crate) scale: Scale,
}

impl Forecaster {
    /// Trains a network. The flag says whether the user interrupted it.
    pub(crate) fn fit(
        series: &Series,
        plan: &Plan,
        split: Split,
        learning: &Learning,
        common: &Common,
    ) -> Result<(Self, bool)> {
        let device = common.device()?;
        let frame = Frame::new(series, plan)?;
        let (learnt, held_out) = (frame.samples(0..split.learnt), frame.samples(split.learnt..split.train));
        let (inputs, changes) = (frame.normaliser(split.learnt)?, learnt.normaliser()?);
        let config = NetworkConfig {
            rnn: config!(learning.cell, plan.transforms.len(), learning.hidden),
            head: LinearConfig::new(learning.hidden, plan.horizon),
        };
        let network = config.init(&device, common.seed)?;
        let parts = [learnt.normalised(&inputs, &changes)?, held_out.clone().normalised(&inputs, &changes)?];
        let interrupted = train(&network, &parts, learning, common, &changes)?;
        let interval = Interval { level: learning.interval, lower: Vec::new(), upper: Vec::new() };
        let scale = Scale { plan: plan.clone(), inputs, changes, interval };
        let mut forecaster = Forecaster { config, network, scale };
        let truth: Vec<f64> = held_out.y.iter().map(|&y| f64::from(y)).collect();
        let predicted = forecaster.changes(held_out, &device)?;
        forecaster.scale.interval = Interval::fit(learning.interval, plan.horizon, &predicted, &truth);
        Ok((forecaster, interrupted))
    }

    /// Forecasts from the last steps of windows.
    pub(crate) fn forecast(&self, frame: &Frame<'_>, samples: Samples, device: &Device) -> Result<Forecasts> {
        let (origins, horizon) = (samples.origins.clone(), self.scale.plan.horizon);
        let changes = self.changes(samples, device)?;
        let with = |offset: &[f64]| -> Vec<f64> {
            let value = |(index, change): (usize, &f64)| {
                let (origin, ahead) = (origins[index / horizon], index % horizon);
                frame.value(origin, ahead + 1, change + offset[ahead])
            };
            changes.iter().enumerate().map(value).collect()
        };
        let Interval { lower, upper, .. } = &self.scale.interval;
        let (values, lower, upper) = (with(&vec![0.0; horizon]), with(lower), with(upper));
        Ok(Forecasts { origins, horizon, values, lower, upper })
    }

    /// The predicted changes, `[N, K]`.
    fn changes(&self, samples: Samples, device: &Device) -> Result<Vec<f64>> {
        let samples = samples.normalised(&self.scale.inputs, &self.scale.changes)?;
        let batches = Batches::new(samples.len(), &BatchConfig::new(256))?;
        let forward =
            |batch: &rnn_api::data::Batch| self.network.forward(&samples.batch(device, &batch.indices)?);
        let mut changes = predict(&self.network, batches, forward)?.into_values();
        self.scale.changes.invert(&mut changes)?;
        Ok(changes.into_iter().map(f64::from).collect())
    }
}

/// Trains on the first part and keeps the weights of the epoch that is best on the second. Whether the user interrupted it.
fn train(
    network: &Network,
    [learnt, held_out]: &[Samples; 2],
    learning: &Learning,
    common: &Common,
    changes: &Normaliser,
) -> Result<bool> {
    let device = common.device()?;
    let loss = |samples: &Samples, indices: &[usize]| {
        network.forward(&samples.batch(&device, indices)?)?.mse(&samples.truth(&device, indices)?)
    };
    let epochs = common.epochs(150);
    let mut batches =
        Batches::new(learnt.len(), &BatchConfig::new(learning.batch).with_shuffle(common.seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let decay = |name: &str| name.contains("bias");
    let adam = AdamWConfig::new(learning.lr).with_weight_decay(learning.weight_decay).with_no_decay(decay);
    let adam = adam.with_clip_norm(1.0).init(network)?;
    let all: Vec<usize> = (0..held_out.len()).collect();
    let config = common.trainer(epochs).with_schedule(Schedule::cosine(learning.lr, 0.0, steps)?);
    let mut trainer = config.init(network, adam)?;
    trainer.keep("changes", changes)?;
    trainer.validate(|| Ok(Score::min("mse", loss(held_out, &all)?.item()?.into())));
    common.equip(&mut trainer)?;
    let outcome = trainer.fit(batches, |batch| loss(learnt, &batch.indices))?;
    Ok(outcome.reason == StopReason::Interrupted)
}
