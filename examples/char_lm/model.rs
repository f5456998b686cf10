//! Embedding (or one-hot input), a recurrent stack, and a linear layer to the symbols.

use anyhow::{Context, Result};
use rnn_api::data::Vocabulary;
use rnn_api::io;
use rnn_api::nn::Trace;
use rnn_api::prelude::*;
use rnn_examples::cell::{Cell, config};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelConfig {
    pub(crate) cell: Cell,
    /// Size of the vocabulary.
    pub(crate) symbols: usize,
    /// Width of the embedding; 0 stands for one-hot input.
    pub(crate) embedding: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) dropout: f32,
}

pub(crate) struct CharLm {
    config: ModelConfig,
    device: Device,
    embedding: Option<Embedding>,
    rnn: AnyRnn,
    head: Linear,
}
module!(CharLm { embedding, rnn, head });

impl CharLm {
    pub(crate) fn new(config: ModelConfig, device: &Device, seed: u64) -> Result<Self> {
        let ModelConfig { cell, symbols, embedding, hidden, layers, dropout } = config;
        let inputs = if embedding == 0 { symbols } else { embedding };
        let rnn = config!(cell, inputs, hidden, with_num_layers(layers), with_dropout(dropout));
        let table = EmbeddingConfig::new(symbols, embedding);
        Ok(CharLm {
            embedding: (embedding > 0).then(|| table.init(device, seed + 1)).transpose()?,
            head: LinearConfig::new(hidden, symbols).init(device, seed + 2)?,
            rnn: rnn.init(device, seed)?,
            device: device.clone(),
            config,
        })
    }

    /// Maps symbols `[T, B]` to logits `[T, B, V]` and returns the state after the last step.
    pub(crate) fn forward(
        &self,
        symbols: &[u32],
        batch: usize,
        state: Option<&AnyRnnState>,
    ) -> Result<(Tensor, AnyRnnState), rnn_api::Error> {
        let out = self.rnn.forward(&self.inputs(symbols, batch)?, state)?;
        Ok((self.head.forward(&out.y)?, out.state))
    }

    /// Gates and states of the first layer while it reads one row of symbols.
    pub(crate) fn trace(&self, symbols: &[u32]) -> rnn_api::Result<Trace> {
        let x = self.inputs(symbols, 1)?;
        let (_, mut traces) = no_grad(|| self.rnn.forward_traced(&x, ForwardArgs::default(), &[0]))?;
        Ok(traces.remove(0))
    }

    /// The input of the recurrent layers, `[T, B, I]`.
    fn inputs(&self, symbols: &[u32], batch: usize) -> rnn_api::Result<Tensor> {
        let (steps, width) = (symbols.len() / batch, self.config.symbols);
        match &self.embedding {
            Some(table) => table.forward(&Tensor::from_indices(&self.device, symbols, &[steps, batch])?),
            None => {
                let mut rows = vec![0f32; symbols.len() * width];
                for (row, &symbol) in rows.chunks_mut(width).zip(symbols) {
                    row[symbol as usize] = 1.0;
                }
                Tensor::from_vec(&self.device, rows, &[steps, batch, width])
            }
        }
    }

    /// Saves the weights under PyTorch's names, and configuration and vocabulary as metadata.
    pub(crate) fn save(&self, path: &Path, vocabulary: &Vocabulary) -> Result<()> {
        let metadata = HashMap::from([
            ("config".to_string(), serde_json::to_string(&self.config)?),
            ("vocabulary".to_string(), serde_json::to_string(vocabulary)?),
        ]);
        Ok(io::save_with(self, path, metadata)?)
    }

    pub(crate) fn load(path: &Path, device: &Device) -> Result<(Self, Vocabulary)> {
        let file = io::TensorFile::read(path)?;
        let entry = |name: &str| {
            let text = file.metadata.get(name);
            text.with_context(|| format!("{}: no `{name}` in the metadata", path.display()))
        };
        let config = serde_json::from_str(entry("config")?).context("the model's configuration")?;
        let vocabulary = serde_json::from_str(entry("vocabulary")?).context("the model's vocabulary")?;
        let model = CharLm::new(config, device, 0)?;
        io::load(&model, path)?;
        Ok((model, vocabulary))
    }
}
