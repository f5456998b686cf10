//! [`Symbols`]: generation symbol by symbol, and [`Generated`]: all symbols of a row.

use super::feed::{Feed, check_symbols, rows_of};
use super::generation::Generation;
use super::logits;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::{Device, RngKey};
use std::collections::VecDeque;

/// Why a row is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A stop symbol was drawn.
    Stop,
    /// The maximum length is reached.
    Length,
}

/// A symbol that [`Symbols`] has drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Drawn {
    /// The number of the prompt.
    pub row: usize,
    /// The symbol, also if it is a stop symbol.
    pub symbol: u32,
    /// Its log-probability by the network, whatever the settings of the draw.
    pub log_prob: f64,
    /// Set if it is the last one of its row.
    pub end: Option<End>,
}

/// The symbols of [`Generation::symbols`], one by one: those of the rows that have reached a step, in the order of rows, then
/// those of the next step. After an error there are none. Whoever wants no more drops it.
pub struct Symbols<'a, S, F> {
    generation: &'a Generation,
    feed: Feed<S, F>,
    rows: Vec<Row>,
    /// Drawn, but not yet returned.
    ready: VecDeque<Drawn>,
}

const OP: &str = "generate";
/// Of the keys of rows.
const STREAM: u32 = 0x5341_4d50;

struct Row {
    key: RngKey,
    /// The prompt and what was drawn.
    symbols: Vec<u32>,
    drawn: usize,
    ended: bool,
}

impl<'a, S, F: FnMut(&Tensor, &S) -> Result<(Tensor, S)>> Symbols<'a, S, F> {
    fn new<P: AsRef<[u32]>>(
        generation: &'a Generation,
        device: &Device,
        prompts: &[P],
        (state, step): (S, F),
    ) -> Result<Self> {
        generation.sampling.check()?;
        let root = RngKey::new(generation.seed);
        let rows = rows_of(OP, prompts)?.into_iter().zip(0u32..).map(|(symbols, number)| Row {
            key: root.derive(STREAM, number),
            symbols,
            drawn: 0,
            ended: generation.max_length == 0,
        });
        let (rows, feed) = (rows.collect(), Feed::new(OP, device, state, step));
        Ok(Symbols { generation, feed, rows, ready: VecDeque::new() })
    }

    /// The state after all symbols that the network has seen: those that were returned but for the last of each row.
    pub fn state(&self) -> &S {
        &self.feed.state
    }

    /// Runs the network on, and draws for the rows whose prompt is behind it.
    fn advance(&mut self) -> Result<()> {
        let rows: Vec<(&[u32], bool)> = self.rows.iter().map(|row| (&row.symbols[..], !row.ended)).collect();
        let mut logits = self.feed.advance(&rows)?;
        let Generation { max_length, sampling, stop, banned, .. } = self.generation;
        check_symbols(OP, logits.classes, (stop, banned))?;
        for (number, row) in self.rows.iter_mut().enumerate() {
            if row.ended || row.symbols.len() > self.feed.seen() {
                continue;
            }
            let log_sum = logits::log_sum(logits.row(number));
            let values = logits.checked_row(OP, number, banned)?;
            let class = sampling.sample(values, &row.symbols, row.key, row.drawn as u64)?;
            let (symbol, log_prob) = (class as u32, logits::wide(values[class]) - log_sum);
            row.symbols.push(symbol);
            row.drawn += 1;
            let end = match stop.contains(&symbol) {
                true => Some(End::Stop),
                false => (row.drawn >= *max_length).then_some(End::Length),
            };
            row.ended = end.is_some();
            self.ready.push_back(Drawn { row: number, symbol, log_prob, end });
        }
        Ok(())
    }
}

impl<S, F: FnMut(&Tensor, &S) -> Result<(Tensor, S)>> Iterator for Symbols<'_, S, F> {
    type Item = Result<Drawn>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && self.rows.iter().any(|row| !row.ended) {
            if let Err(error) = self.advance() {
                self.ready.clear();
                self.rows.iter_mut().for_each(|row| row.ended = true);
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
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
