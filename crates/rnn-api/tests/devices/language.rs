//! A small language model on streams, with every kind of state that a checkpoint has to keep: masks between layers and
//! over sequences, carried LSTM states, a cursor.

use rnn_api::data::{Chunk, StreamConfig, Streams};
use rnn_api::prelude::*;
use rnn_api::{Result, module};

pub(crate) const SYMBOLS: usize = 7;

pub(crate) struct Language {
    pub(crate) embedding: Embedding,
    pub(crate) lstm: Lstm,
    pub(crate) head: Linear,
}
module!(Language { embedding, lstm, head });

impl Language {
    pub(crate) fn new(device: &Device, noise: f32) -> Self {
        let lstm = LstmConfig::new(5, 9).with_num_layers(2).with_dropout(noise).with_recurrent_dropout(noise);
        Language {
            embedding: EmbeddingConfig::new(SYMBOLS, 5).init(device, 1).unwrap(),
            lstm: lstm.init(device, 2).unwrap(),
            head: LinearConfig::new(9, SYMBOLS).init(device, 3).unwrap(),
        }
    }

    pub(crate) fn loss(&self, chunk: &Chunk<u32>, state: Option<&LstmState>) -> Result<(Tensor, LstmState)> {
        let device = self.parameters()[0].device();
        let x = self.embedding.forward(&chunk.x.to_tensor(&device)?)?;
        let out = self.lstm.forward(&x, state)?;
        let loss = self.head.forward(&out.y)?.cross_entropy(&chunk.y.to_tensor(&device)?)?;
        Ok((loss, out.state))
    }

    /// Bits of all parameters, by name.
    pub(crate) fn bits(&self) -> Vec<(String, Vec<u32>)> {
        let of = |(name, array): (String, rnn_api::Array)| {
            (name, array.to_vec().unwrap().into_iter().map(f32::to_bits).collect())
        };
        self.state_dict().into_iter().map(of).collect()
    }
}

/// Two documents of a language in which every symbol depends on two before it.
pub(crate) fn documents() -> Vec<Vec<u32>> {
    let document = |seed: u32, length: usize| {
        let mut text = vec![seed, seed + 1];
        while text.len() < length {
            let n = text.len();
            text.push((text[n - 1] * 3 + text[n - 2] + u32::from(n % 11 == 0)) % SYMBOLS as u32);
        }
        text
    };
    vec![document(1, 90), document(4, 47)]
}

pub(crate) fn streams(steps: usize) -> Streams<u32> {
    Streams::of_indices(documents(), &StreamConfig::new(3, steps).with_shuffle(8)).unwrap()
}
