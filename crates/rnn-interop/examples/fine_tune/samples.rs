//! Sequences with classes, in groups of equal length: not every model takes lengths, so no batch is padded.

use anyhow::{Result, ensure};
use rnn_api::data::{BatchConfig, Batches, Classes, Missing, Sequence, Shares, TsFile, stratified};
use rnn_api::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Most sequences of a group.
const MOST: usize = 16;

pub(crate) struct Samples {
    sequences: Vec<Sequence>,
    numbers: Vec<u32>,
    pub(crate) classes: Classes,
    groups: Vec<Vec<usize>>,
    device: Device,
}

impl Samples {
    /// Reads a `.ts` file. The classes are its own, or given ones.
    pub(crate) fn read(path: &Path, classes: Option<&Classes>, device: &Device) -> Result<Self> {
        let file = TsFile::read(path, Missing::Error)?;
        ensure!(!file.labels.is_empty(), "{}: the sequences have no classes", path.display());
        let classes = classes.map_or_else(|| Classes::fit(&file.labels), |classes| Ok(classes.clone()))?;
        let numbers = classes.encode(&file.labels)?;
        Ok(Samples::new(file.sequences, numbers, classes, device))
    }

    fn new(sequences: Vec<Sequence>, numbers: Vec<u32>, classes: Classes, device: &Device) -> Self {
        let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (n, sequence) in sequences.iter().enumerate() {
            by_length.entry(sequence.len()).or_default().push(n);
        }
        let groups = by_length.values().flat_map(|same| same.chunks(MOST)).map(<[usize]>::to_vec).collect();
        Samples { sequences, numbers, classes, groups, device: device.clone() }
    }

    pub(crate) fn features(&self) -> usize {
        self.sequences[0].features()
    }

    /// A part to learn from, and a part with the given share of every class.
    pub(crate) fn split(&self, share: f64, seed: u64) -> Result<(Self, Self)> {
        let parts = stratified(&self.numbers, Shares::new(share, 0.0)?, seed)?;
        let part = |indices: &[usize]| {
            let sequences = indices.iter().map(|&n| self.sequences[n].clone()).collect();
            let numbers = indices.iter().map(|&n| self.numbers[n]).collect();
            Samples::new(sequences, numbers, self.classes.clone(), &self.device)
        };
        let (learnt, held_out) = (part(&parts.train), part(&parts.validation));
        ensure!(
            !held_out.groups.is_empty(),
            "a share of {share} of {} sequences is none",
            self.sequences.len()
        );
        Ok((learnt, held_out))
    }

    /// The groups in random order, one at a time.
    pub(crate) fn batches(&self, seed: u64) -> rnn_api::Result<Batches> {
        Batches::new(self.groups.len(), &BatchConfig::new(1).with_shuffle(seed))
    }

    /// The values `[T, B, features]` and classes `[B]` of a group.
    pub(crate) fn group(&self, n: usize) -> rnn_api::Result<(Tensor, Tensor)> {
        let group = &self.groups[n];
        let (steps, features) = (self.sequences[group[0]].len(), self.features());
        let values = group.iter().flat_map(|&n| self.sequences[n].values()).copied().collect();
        let x = Tensor::from_vec(&self.device, values, &[group.len(), steps, features])?.transpose(0, 1)?;
        let classes: Vec<u32> = group.iter().map(|&n| self.numbers[n]).collect();
        Ok((x, Tensor::from_indices(&self.device, &classes, &[group.len()])?))
    }

    /// Mean cross entropy over all sequences, in nats.
    pub(crate) fn loss(&self, logits: &dyn Fn(&Tensor) -> rnn_api::Result<Tensor>) -> rnn_api::Result<f64> {
        let mut sum = 0.0;
        for n in 0..self.groups.len() {
            let (x, classes) = self.group(n)?;
            let loss = logits(&x)?.cross_entropy(&classes)?.item()?;
            sum += f64::from(loss) * self.groups[n].len() as f64;
        }
        Ok(sum / self.sequences.len() as f64)
    }

    /// The share of sequences whose class has the largest logit.
    pub(crate) fn accuracy(&self, logits: &dyn Fn(&Tensor) -> rnn_api::Result<Tensor>) -> Result<f64> {
        let mut right = 0;
        for (n, group) in self.groups.iter().enumerate() {
            let found = no_grad(|| logits(&self.group(n)?.0))?.argmax(1)?;
            right += group
                .iter()
                .zip(found)
                .filter(|&(&n, found)| self.numbers[n] as usize == found as usize)
                .count();
        }
        Ok(right as f64 / self.sequences.len() as f64)
    }
}
