//! [`Generation`]: how prompts are continued by sampling.

use super::sampling::Sampling;
use serde::{Deserialize, Serialize};

/// How prompts are continued: symbols are drawn one after the other, and the network sees each before the next.
///
/// ```
/// use rnn_api::generate::Generation;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let device = Device::cpu();
/// let embedding = EmbeddingConfig::new(6, 8).init(&device, 1)?;
/// let gru = GruConfig::new(8, 16).init(&device, 2)?;
/// let head = LinearConfig::new(16, 6).init(&device, 3)?;
/// let mut step = |symbols: &Tensor, state: &GruState| {
///     let out = gru.forward(&embedding.forward(symbols)?, Some(state))?;
///     Ok((head.forward(&out.y)?, out.state))
/// };
///
/// let sampling = Sampling::new().with_temperature(0.8).with_top_p(0.9);
/// let generation = Generation::new(20).with_sampling(sampling).with_stop([0]).with_seed(7);
/// let prompts = [vec![1, 2, 3], vec![4]]; // of different lengths
/// let rows = generation.generate(&device, &prompts, gru.zero_state(2)?, &mut step)?;
/// assert!(rows.len() == 2 && rows[0].symbols.len() <= 20);
///
/// // Symbol by symbol, as they come:
/// for drawn in generation.symbols(&device, &prompts, gru.zero_state(2)?, &mut step)? {
///     let drawn = drawn?;
///     println!("row {}: {}", drawn.row, drawn.symbol);
/// }
/// # Ok(()) }
/// ```
///
/// The draws of a row depend on the seed, the number of the row and how many symbols it has drawn, and on nothing else: not
/// on the device, nor on the other rows. The same seed gives the same symbols on the CPU and a GPU, but for draws within the
/// rounding of the logits of each other ([`Sampling`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Generation {
    /// Most symbols that are drawn for a row, a stop symbol among them.
    pub max_length: usize,
    /// How a symbol is drawn; by default from the whole softmax at temperature 1.
    #[serde(default)]
    pub sampling: Sampling,
    /// A row ends with one of these.
    #[serde(default)]
    pub stop: Vec<u32>,
    /// Symbols that are never drawn.
    #[serde(default)]
    pub banned: Vec<u32>,
    /// Of the draws.
    #[serde(default)]
    pub seed: u64,
}

impl Generation {
    /// Draws at most `max_length` symbols a row from the whole softmax, with seed 0.
    pub fn new(max_length: usize) -> Self {
        Generation {
            max_length,
            sampling: Sampling::default(),
            stop: Vec::new(),
            banned: Vec::new(),
            seed: 0,
        }
    }

    /// Takes the likeliest symbol every time, at most `max_length` a row.
    pub fn greedy(max_length: usize) -> Self {
        Generation::new(max_length).with_sampling(Sampling::greedy())
    }

    /// Sets how a symbol is drawn.
    #[must_use]
    pub fn with_sampling(self, sampling: Sampling) -> Self {
        Generation { sampling, ..self }
    }

    /// Ends a row with any of these symbols.
    #[must_use]
    pub fn with_stop(self, symbols: impl IntoIterator<Item = u32>) -> Self {
        Generation { stop: symbols.into_iter().collect(), ..self }
    }

    /// Never draws these symbols.
    #[must_use]
    pub fn with_banned(self, symbols: impl IntoIterator<Item = u32>) -> Self {
        Generation { banned: symbols.into_iter().collect(), ..self }
    }

    /// Sets the seed of the draws.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Generation { seed, ..self }
    }
}
