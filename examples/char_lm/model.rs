//! Embedding (or one-hot input), a recurrent stack, and a linear layer to the symbols.

use anyhow::{Context, Result};
use rnn_api::data::Vocabulary;
use rnn_api::io;
use rnn_api::nn::{Trace, Visitor};
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
    embedding: Input,
    rnn: AnyRnn,
    head: Linear,
}
module!(CharLm { embedding, rnn, head });

/// Vectors of symbols.
enum Input {
    Embedding(Embedding),
    /// The rows of the unit matrix `[V, V]`.
    OneHot(Tensor),
}

impl Module for Input {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        match self {
            Input::Embedding(table) => table.visit(visitor),
            Input::OneHot(_) => {}
        }
    }
}

impl Input {
    fn new(symbols: usize, width: usize, device: &Device, seed: u64) -> rnn_api::Result<Self> {
        if width > 0 {
            return Ok(Input::Embedding(EmbeddingConfig::new(symbols, width).init(device, seed)?));
        }
        let unit = (0..symbols * symbols).map(|n| f32::from(u8::from(n / symbols == n % symbols)));
        Ok(Input::OneHot(Tensor::from_vec(device, unit.collect(), &[symbols, symbols])?))
    }

    fn forward(&self, symbols: &Tensor) -> rnn_api::Result<Tensor> {
        match self {
            Input::Embedding(table) => table.forward(symbols),
            Input::OneHot(rows) => rows.gather(symbols),
        }
    }
}

impl CharLm {
    pub(crate) fn new(config: ModelConfig, device: &Device, seed: u64) -> Result<Self> {
        let ModelConfig { cell, symbols, embedding, hidden, layers, dropout } = config;
        let inputs = if embedding == 0 { symbols } else { embedding };
        let rnn = config!(cell, inputs, hidden, with_num_layers(layers), with_dropout(dropout));
        Ok(CharLm {
            embedding: Input::new(symbols, embedding, device, seed + 1)?,
            head: LinearConfig::new(hidden, symbols).init(device, seed + 2)?,
            rnn: rnn.init(device, seed)?,
            config,
        })
    }

    /// Maps symbols `[T, B]` to logits `[T, B, V]` and returns the state after the last step.
    pub(crate) fn forward(
        &self,
        symbols: &Tensor,
        state: Option<&AnyRnnState>,
    ) -> rnn_api::Result<(Tensor, AnyRnnState)> {
        let out = self.rnn.forward(&self.embedding.forward(symbols)?, state)?;
        Ok((self.head.forward(&out.y)?, out.state))
    }

    /// Gates and states of the first layer while it reads one row of symbols, `[T, 1]`.
    pub(crate) fn trace(&self, symbols: &Tensor) -> rnn_api::Result<Trace> {
        let x = self.embedding.forward(symbols)?;
        let (_, mut traces) = no_grad(|| self.rnn.forward_traced(&x, ForwardArgs::default(), &[0]))?;
        Ok(traces.remove(0))
    }

    /// The state before the first symbol of as many rows.
    pub(crate) fn start(&self, rows: usize) -> rnn_api::Result<AnyRnnState> {
        self.rnn.zero_state(rows)
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
