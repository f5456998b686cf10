//! Embedding (or one-hot input), a recurrent stack, and a linear layer to the symbols.

use super::corpus::Vocabulary;
use anyhow::{Context, Result};
use clap::ValueEnum;
use rnn_api::io;
use rnn_api::nn::Visitor;
use rnn_api::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

#[derive(Clone, Copy, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RnnCell {
    Lstm,
    Gru,
    Rnn,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelConfig {
    pub(crate) cell: RnnCell,
    /// Size of the vocabulary.
    pub(crate) symbols: usize,
    /// Width of the embedding; 0 is one-hot.
    pub(crate) embedding: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) dropout: f32,
}

/// The recurrent stack that `--cell` chose.
enum Recurrent {
    Lstm(Lstm),
    Gru(Gru),
    Rnn(Rnn),
}

impl Module for Recurrent {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        match self {
            Recurrent::Lstm(layer) => layer.visit(visitor),
            Recurrent::Gru(layer) => layer.visit(visitor),
            Recurrent::Rnn(layer) => layer.visit(visitor),
        }
    }
}

/// State between windows, of whichever cell it is.
pub(crate) enum State {
    Lstm(LstmState),
    Hidden(HiddenState),
}

impl State {
    /// The same values without their history: gradients stop here.
    pub(crate) fn detach(&self) -> Self {
        match self {
            State::Lstm(state) => State::Lstm(state.detach()),
            State::Hidden(state) => State::Hidden(state.detach()),
        }
    }

    fn lstm(&self) -> Option<&LstmState> {
        if let State::Lstm(state) = self { Some(state) } else { None }
    }

    fn hidden(&self) -> Option<&HiddenState> {
        if let State::Hidden(state) = self { Some(state) } else { None }
    }
}

pub(crate) struct CharLm {
    config: ModelConfig,
    device: Device,
    embedding: Option<Embedding>,
    rnn: Recurrent,
    head: Linear,
}
module!(CharLm { embedding, rnn, head });

impl CharLm {
    pub(crate) fn new(config: ModelConfig, device: &Device, seed: u64) -> Result<Self> {
        let ModelConfig { symbols, embedding, hidden, layers, dropout, .. } = config;
        let inputs = if embedding == 0 { symbols } else { embedding };
        let rnn = match config.cell {
            RnnCell::Lstm => Recurrent::Lstm(
                LstmConfig::new(inputs, hidden)
                    .with_num_layers(layers)
                    .with_dropout(dropout)
                    .init(device, seed)?,
            ),
            RnnCell::Gru => Recurrent::Gru(
                GruConfig::new(inputs, hidden)
                    .with_num_layers(layers)
                    .with_dropout(dropout)
                    .init(device, seed)?,
            ),
            RnnCell::Rnn => Recurrent::Rnn(
                RnnConfig::new(inputs, hidden)
                    .with_num_layers(layers)
                    .with_dropout(dropout)
                    .init(device, seed)?,
            ),
        };
        Ok(CharLm {
            embedding: match embedding {
                0 => None,
                width => Some(EmbeddingConfig::new(symbols, width).init(device, seed + 1)?),
            },
            head: LinearConfig::new(hidden, symbols).init(device, seed + 2)?,
            rnn,
            device: device.clone(),
            config,
        })
    }

    /// Symbols `[T, B]`, time-major, to logits `[T*B, V]` and the state after the last step.
    pub(crate) fn forward(
        &self,
        symbols: &[u32],
        batch: usize,
        state: Option<&State>,
    ) -> Result<(Tensor, State)> {
        let steps = symbols.len() / batch;
        let x = match &self.embedding {
            Some(embedding) => {
                embedding.forward(&Tensor::from_indices(&self.device, symbols, &[steps, batch])?)?
            }
            None => {
                let mut rows = vec![0f32; symbols.len() * self.config.symbols];
                for (row, &symbol) in rows.chunks_mut(self.config.symbols).zip(symbols) {
                    row[symbol as usize] = 1.0;
                }
                Tensor::from_vec(&self.device, rows, &[steps, batch, self.config.symbols])?
            }
        };
        let (y, state) = match &self.rnn {
            Recurrent::Lstm(layer) => {
                let out = layer.forward(&x, state.and_then(State::lstm))?;
                (out.y, State::Lstm(out.state))
            }
            Recurrent::Gru(layer) => {
                let out = layer.forward(&x, state.and_then(State::hidden))?;
                (out.y, State::Hidden(out.state))
            }
            Recurrent::Rnn(layer) => {
                let out = layer.forward(&x, state.and_then(State::hidden))?;
                (out.y, State::Hidden(out.state))
            }
        };
        let y = y.reshape(&[steps * batch, self.config.hidden])?;
        Ok((self.head.forward(&y)?, state))
    }

    /// Weights under PyTorch's names; configuration and vocabulary as metadata.
    pub(crate) fn save(&self, path: &Path, vocabulary: &Vocabulary) -> Result<()> {
        let metadata = HashMap::from([
            ("config".to_string(), serde_json::to_string(&self.config)?),
            ("vocabulary".to_string(), vocabulary.text()),
        ]);
        Ok(io::save_with(self, path, metadata)?)
    }

    pub(crate) fn load(path: &Path, device: &Device) -> Result<(Self, Vocabulary)> {
        let file = io::TensorFile::read(path)?;
        let entry = |name: &str| {
            file.metadata
                .get(name)
                .with_context(|| format!("{}: no `{name}` in the metadata", path.display()))
        };
        let config: ModelConfig =
            serde_json::from_str(entry("config")?).context("the model's configuration")?;
        let vocabulary = Vocabulary::new(entry("vocabulary")?);
        let model = CharLm::new(config, device, 0)?;
        io::load(&model, path)?;
        Ok((model, vocabulary))
    }
}
