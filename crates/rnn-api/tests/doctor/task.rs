//! A small task: one number from a sequence of numbers.

use rnn_api::data::{BatchConfig, Batches};
use rnn_api::doctor::{Finding, Rule};
use rnn_api::optim::Optimizer;
use rnn_api::prelude::*;
use rnn_api::train::{Outcome, Score, TrainerConfig};
use rnn_api::{Device, Result};
use std::cell::Cell;

/// Numbers in [-1, 1).
pub(crate) struct Draw(Cell<u64>);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Draw(Cell::new(seed))
    }

    pub(crate) fn next(&self) -> f32 {
        // SplitMix64
        self.0.set(self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Sequences `[n][T]` and a target for each.
pub(crate) struct Data {
    pub(crate) x: Vec<Vec<f32>>,
    pub(crate) y: Vec<f32>,
}

impl Data {
    /// Random sequences whose target is computed from them.
    pub(crate) fn new(n: usize, steps: usize, seed: u64, target: impl Fn(&[f32]) -> f32) -> Self {
        let draw = Draw::new(seed);
        let x: Vec<Vec<f32>> = (0..n).map(|_| (0..steps).map(|_| draw.next()).collect()).collect();
        let y = x.iter().map(|x| target(x)).collect();
        Data { x, y }
    }

    /// `[T, B, 1]` and `[B, 1]`
    pub(crate) fn batch(&self, rows: &[usize]) -> Result<(Tensor, Tensor)> {
        let steps = self.x[0].len();
        let values = (0..steps).flat_map(|t| rows.iter().map(move |&row| self.x[row][t])).collect();
        let y = rows.iter().map(|&row| self.y[row]).collect();
        let device = Device::cpu();
        let x = Tensor::from_vec(&device, values, &[steps, rows.len(), 1])?;
        Ok((x, Tensor::from_vec(&device, y, &[rows.len(), 1])?))
    }

    pub(crate) fn all(&self) -> Result<(Tensor, Tensor)> {
        self.batch(&(0..self.y.len()).collect::<Vec<_>>())
    }

    /// The error of the mean of all targets.
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.y.iter().sum::<f32>() / self.y.len() as f32;
        self.y.iter().map(|y| f64::from(y - mean).powi(2)).sum::<f64>() / self.y.len() as f64
    }
}

/// Trains on batches of 16 with a validation on other data.
pub(crate) fn train(
    model: &(impl Module + 'static),
    optimizer: impl Optimizer,
    config: &TrainerConfig,
    (data, held_out): (&Data, &Data),
    forward: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Outcome> {
    let loss = |(x, y): (Tensor, Tensor)| forward(&x)?.mse(&y);
    let mut trainer = config.init(model, optimizer)?;
    let score = || {
        let value = loss(held_out.all()?)?.item()?.into();
        Ok(Score::min("mse", value).with_baseline(held_out.variance()))
    };
    let batches = Batches::new(data.y.len(), &BatchConfig::new(16).with_shuffle(1))?;
    trainer.run().validate(score).fit(batches, |batch| loss(data.batch(&batch.indices)?))
}

pub(crate) fn rules(findings: &[Finding]) -> Vec<Rule> {
    findings.iter().map(|finding| finding.rule).collect()
}

/// The finding of a rule, which must be there and be readable.
pub(crate) fn found(findings: &[Finding], rule: Rule) -> &Finding {
    let finding = findings.iter().find(|finding| finding.rule == rule);
    let finding = finding.unwrap_or_else(|| panic!("{rule:?} is not among {findings:#?}"));
    for text in [&finding.sentence, &finding.evidence, &finding.remedy, &finding.code] {
        assert!(!text.is_empty() && !text.contains("NaN"), "{finding:#?}");
    }
    finding
}
