//! The network: recurrent layers over the window, each with a linear layer for all steps ahead; and its training.

use super::options::Options;
use super::parts::Split;
use super::samples::{Frame, Inputs, Plan, Samples};
use super::series::Series;
use anyhow::{Result, ensure};
use rnn_api::data::{Batch, BatchConfig, Batches, Normaliser};
use rnn_api::model;
use rnn_api::nn::AnyRnnConfig;
use rnn_api::prelude::*;
use rnn_api::train::{Score, StopReason, predict};
use rnn_examples::cell::config;
use rnn_examples::common::Common;
use rnn_examples::flag::FlagError;
use serde::{Deserialize, Serialize};

model!(
    /// A recurrent layer with its output layer, and beside it, if wanted, a linear path from the window (Lai et al. 2018, LSTNet): the
    /// recurrent layer only has to learn what is not linear.
    pub(crate) struct Member, MemberConfig { rnn: AnyRnnConfig, head: LinearConfig, linear: Option<LinearConfig> }
);
model!(
    /// Its forecast is the mean of the members' forecasts: they differ in their initial weights, and the mean has a
    /// smaller error than one of them.
    pub(crate) struct Network, NetworkConfig { pub(crate) members: Vec<MemberConfig> }
);

impl Network {
    /// The forecasts of all members, each `[B, K]`.
    fn forward_each(&self, x: &Inputs) -> rnn_api::Result<Vec<Tensor>> {
        let forecast = |member: &Member| {
            let last = member.rnn.forward(&x.steps, None)?.last()?;
            let forecast = member.head.forward(&last)?;
            match &member.linear {
                Some(linear) => forecast.add(&linear.forward(&x.flat)?),
                None => Ok(forecast),
            }
        };
        self.members.iter().map(forecast).collect()
    }

    /// The mean forecast, `[B, K]`.
    fn forward(&self, x: &Inputs) -> rnn_api::Result<Tensor> {
        mean(&self.forward_each(x)?)
    }

    /// The mean of the members' losses, so that each learns as it would alone.
    fn loss(&self, x: &Inputs, truth: &Tensor) -> rnn_api::Result<Tensor> {
        let losses: rnn_api::Result<Vec<Tensor>> =
            self.forward_each(x)?.iter().map(|y| y.mse(truth)).collect();
        mean(&losses?)
    }
}

/// The mean of tensors of one shape.
fn mean(tensors: &[Tensor]) -> rnn_api::Result<Tensor> {
    let mut sum = tensors[0].clone();
    for tensor in &tensors[1..] {
        sum = sum.add(tensor)?;
    }
    sum.scale(1.0 / tensors.len() as f32)
}

/// What the inputs and outputs of a network mean. A model file keeps it beside the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale {
    pub(crate) plan: Plan,
    /// Of the inputs, `[columns]`.
    pub(crate) inputs: Normaliser,
    /// Of the changes to predict, `[K]`.
    pub(crate) changes: Normaliser,
}

impl Scale {
    /// The values that a network forecasts, `[N, K]`.
    pub(crate) fn forecast(
        &self,
        network: &Network,
        series: &Series,
        origins: &[usize],
        device: &Device,
    ) -> Result<Vec<f64>> {
        let frame = Frame::new(series, &self.plan)?;
        let samples = frame.windows(origins.to_vec()).normalised(&self.inputs, &self.changes)?;
        let batches = Batches::new(samples.len(), &BatchConfig::new(256))?;
        let forward = |batch: &Batch| network.forward(&samples.batch(device, &batch.indices)?);
        let mut changes = predict(network, batches, forward)?.into_values();
        let (expected, got) = (origins.len().saturating_mul(self.plan.horizon), changes.len());
        ensure!(
            got == expected,
            "{got} outputs of the network for {} windows and a horizon of {}",
            origins.len(),
            self.plan.horizon
        );
        self.changes.invert(&mut changes)?;
        let changes: Vec<f64> = changes.into_iter().map(f64::from).collect();
        Ok(frame.values(origins, &changes))
    }
}

/// What is forecast, how, and where.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) series: &'a Series,
    pub(crate) options: &'a Options,
    /// Opened once, because tensors of two openings of a GPU do not meet.
    pub(crate) device: &'a Device,
}

/// A trained network, and what its inputs and outputs mean.
pub(crate) struct Trained {
    pub(crate) config: NetworkConfig,
    pub(crate) network: Network,
    pub(crate) scale: Scale,
}

impl Trained {
    /// A new network, with normalisers fitted on windows and the inputs before `end`.
    fn new(frame: &Frame<'_>, plan: &Plan, samples: &Samples, end: usize, task: Task<'_>) -> Result<Self> {
        let learning = &task.options.learning;
        let linear = LinearConfig::new(plan.window * plan.transforms.len(), plan.horizon);
        let linear = linear.with_bias(false).with_init(Init::Zeros);
        let member = MemberConfig {
            rnn: config!(learning.cell, plan.transforms.len(), learning.hidden),
            head: LinearConfig::new(learning.hidden, plan.horizon),
            linear: learning.linear.then_some(linear),
        };
        let config = NetworkConfig { members: vec![member; learning.members] };
        let network = config.init(task.device, task.options.common.seed)?;
        let (inputs, changes) = (frame.normaliser(end)?, samples.normaliser()?);
        Ok(Trained { config, network, scale: Scale { plan: plan.clone(), inputs, changes } })
    }

    /// Trains on the first part of the training part. The other part chooses the epoch. The flag says whether the user
    /// interrupted it.
    pub(crate) fn fit(task: Task<'_>, plan: &Plan, split: Split, common: &Common) -> Result<(Self, bool)> {
        let frame = Frame::new(task.series, plan)?;
        let (learnt, held_out) = (frame.samples(0..split.learnt), frame.samples(split.learnt..split.train));
        let trained = Self::new(&frame, plan, &learnt, split.learnt, task)?;
        let interrupted = trained.train(learnt, held_out, task, common)?;
        Ok((trained, interrupted))
    }

    /// The values that it forecasts, `[N, K]`.
    pub(crate) fn forecast(&self, task: Task<'_>, origins: &[usize]) -> Result<Vec<f64>> {
        self.scale.forecast(&self.network, task.series, origins, task.device)
    }

    /// Trains, and keeps the weights of the epoch that is best on held-out windows.
    fn train(&self, samples: Samples, held_out: Samples, task: Task<'_>, common: &Common) -> Result<bool> {
        let (learning, network, Scale { inputs, changes, .. }) =
            (&task.options.learning, &self.network, &self.scale);
        let device = task.device;
        let samples = samples.normalised(inputs, changes)?;
        let held_out = held_out.normalised(inputs, changes)?;
        let epochs = common.epochs(150);
        let mut batches =
            Batches::new(samples.len(), &BatchConfig::new(learning.batch).with_shuffle(common.seed))?;
        let steps = epochs.checked_mul(batches.batches_per_epoch() as u64).filter(|&steps| steps > 0);
        let steps = steps.ok_or_else(|| FlagError::new("--epochs", "from 1 to 2^64 steps in all", epochs))?;
        let decay = |name: &str| name.contains("bias");
        let adam =
            AdamWConfig::new(learning.lr).with_weight_decay(learning.weight_decay).with_no_decay(decay);
        let adam = adam.with_clip_norm(1.0).init(network)?;
        let config = common.trainer(epochs).with_schedule(Schedule::cosine(learning.lr, 0.0, steps)?);
        let all: Vec<usize> = (0..held_out.len()).collect();
        let (x, y) = (held_out.batch(device, &all)?, held_out.truth(device, &all)?);
        let mut trainer = config.init(network, adam)?;
        trainer.keep("scale", &self.scale)?;
        trainer.validate(|| Ok(Score::min("mse", network.forward(&x)?.mse(&y)?.item()?.into())));
        let results = common.equip(&mut trainer)?;
        let outcome = trainer.fit(batches, |batch| {
            network.loss(&samples.batch(device, &batch.indices)?, &samples.truth(device, &batch.indices)?)
        })?;
        results.add(|page| {
            let (truth, forecast) = (y.to_vec()?, no_grad(|| network.forward(&x))?.to_vec()?);
            let title = "Held-out windows, as the network sees them (normalised), one behind the other";
            Ok(page.forecast(title, &truth, &forecast)?)
        })?;
        Ok(outcome.reason == StopReason::Interrupted)
    }
}
