//! The model and its batches.

use crate::model::{CharLm, ModelConfig};
use crate::options::Options;
use anyhow::{Context, Result};
use rnn_api::data::{Vocabulary, VocabularyConfig};
use rnn_api::nn::AnyRnnState;
use rnn_api::prelude::*;
use rnn_api::{Batcher, BatcherConfig};
use std::path::Path;
use std::sync::Arc;

/// A symbol that a session reads, and how the next one is drawn; none while it reads a prompt.
pub(crate) struct Input {
    pub(crate) symbol: u32,
    pub(crate) draw: Option<Draw>,
}

/// A draw depends on these alone, so a session that goes on elsewhere draws the same.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    pub(crate) sampling: Sampling,
    pub(crate) seed: u64,
    /// Draws of the session before this one.
    pub(crate) step: u64,
}

/// Makes the steps of all sessions.
pub(crate) struct Engine {
    pub(crate) batcher: Batcher<Input, Option<u32>>,
    pub(crate) vocabulary: Vocabulary,
    /// A checksum of the model's file: states fit no other model.
    pub(crate) model: u32,
}

impl Engine {
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let path = &options.model;
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let (model, vocabulary) = CharLm::load(path, &Device::cpu())?;
        model.eval();
        let mut config = BatcherConfig::new()
            .with_max_streams(options.max_sessions)
            .with_max_batch(options.max_batch)
            // A session that generates has one step on its way.
            .with_queue(options.max_generations);
        if let Some(workers) = options.workers {
            config = config.with_workers(workers);
        }
        let model = Arc::new(model);
        let batcher = config.start(|device| {
            let (model, device) = (model.clone(), device.clone());
            let initial = model.start(1)?;
            Ok((initial, move |rows: &[Input], state: &AnyRnnState| step(&model, &device, rows, state)))
        })?;
        Ok(Engine { batcher, vocabulary, model: crc32fast::hash(&bytes) })
    }
}

/// One step of a batch.
fn step(
    model: &CharLm,
    device: &Device,
    rows: &[Input],
    state: &AnyRnnState,
) -> rnn_api::Result<(Vec<Option<u32>>, AnyRnnState)> {
    let symbols: Vec<u32> = rows.iter().map(|row| row.symbol).collect();
    let symbols = Tensor::from_indices(device, &symbols, &[1, rows.len()])?;
    let (logits, state) = model.forward(&symbols, Some(state))?;
    let logits = logits.to_vec()?;
    let draw = |(row, logits): (&Input, &[f32])| {
        let Some(Draw { sampling, seed, step }) = row.draw else { return Ok(None) };
        Ok(Some(sampling.sample(logits, &[], RngKey::new(seed), step)? as u32))
    };
    let drawn = rows.iter().zip(logits.chunks_exact(logits.len() / rows.len())).map(draw);
    Ok((drawn.collect::<rnn_api::Result<_>>()?, state))
}

/// Writes a model with random weights for the characters of `text`, for tests.
///
/// # Errors
/// The file cannot be written.
pub fn write_untrained(path: &Path, text: &str, hidden: usize) -> Result<()> {
    let vocabulary = VocabularyConfig::characters().fit([text])?;
    let config = ModelConfig {
        cell: rnn_examples::cell::Cell::Lstm,
        symbols: vocabulary.len(),
        embedding: 8,
        hidden,
        layers: 1,
        dropout: 0.0,
    };
    CharLm::new(config, &Device::cpu(), 5)?.save(path, &vocabulary)
}
