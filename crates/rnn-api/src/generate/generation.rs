//! [`Generation`]: prompts continued by sampling.

use super::{Drawn, End, Sampling, Symbols};
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::Device;
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

/// The continuation of a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Generated {
    /// The symbols, without the prompt and the stop symbol.
    pub symbols: Vec<u32>,
    /// The stop symbol that ended it; none if the maximum length did.
    pub stop: Option<u32>,
    /// The log-probability of `symbols` and `stop` by the network, whatever the settings of the draws.
    pub log_prob: f64,
}

impl Generated {
    fn push(&mut self, drawn: Drawn) {
        self.log_prob += drawn.log_prob;
        match drawn.end {
            Some(End::Stop) => self.stop = Some(drawn.symbol),
            _ => self.symbols.push(drawn.symbol),
        }
    }
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

    /// Continues all prompts. `state` is the state of a batch of as many rows, before the prompts; `step` maps symbols
    /// `[T, B]` to logits `[T, B, V]` and the state after them.
    ///
    /// Prompts may have different lengths. The network reads as much as all have at once; then the shortest goes on with what
    /// it draws, while the others read on. So no row sees padding. A row that has ended stays in the batch, and what it sees
    /// from then on is not used.
    ///
    /// # Errors
    /// No prompt, or one without symbols; a setting of the sampling out of range; a stop or banned symbol that the network does
    /// not have; logits of another shape, with a NaN or plus infinity, or without a possible symbol; any error of `step`.
    pub fn generate<S, P: AsRef<[u32]>>(
        &self,
        device: &Device,
        prompts: &[P],
        state: S,
        step: impl FnMut(&Tensor, &S) -> Result<(Tensor, S)>,
    ) -> Result<Vec<Generated>> {
        let symbols = self.symbols(device, prompts, state, step)?;
        let mut rows = vec![Generated::default(); prompts.len()];
        for drawn in symbols {
            let drawn = drawn?;
            rows[drawn.row].push(drawn);
        }
        Ok(rows)
    }

    /// As [`generate`](Self::generate), symbol by symbol. The network runs when the iterator is asked for a symbol.
    ///
    /// # Errors
    /// No prompt, or one without symbols; a setting of the sampling out of range. All others come from the iterator.
    pub fn symbols<S, F, P>(
        &self,
        device: &Device,
        prompts: &[P],
        state: S,
        step: F,
    ) -> Result<Symbols<'_, S, F>>
    where
        F: FnMut(&Tensor, &S) -> Result<(Tensor, S)>,
        P: AsRef<[u32]>,
    {
        Symbols::new(self, device, prompts, (state, step))
    }
}
