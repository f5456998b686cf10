//! Text as symbols: vocabulary, split, and the contiguous streams of truncated BPTT.

use anyhow::{Context, Result, bail, ensure};
use rnn_api::prelude::*;
use std::path::Path;

/// The default text: what this project says about itself. Prose comes last, because the validation
/// part is taken from near the end and tables of figures cannot be predicted.
const DOCUMENTATION: [&str; 5] = [
    include_str!("../../README.md"),
    include_str!("../../docs/performance.md"),
    include_str!("../../docs/notation.md"),
    include_str!("../../docs/architecture.md"),
    include_str!("../../CONTRIBUTING.md"),
];

/// The distinct characters of a text, sorted; a symbol is a position in the list.
#[derive(Clone)]
pub(crate) struct Vocabulary(Vec<char>);

impl Vocabulary {
    pub(crate) fn new(text: &str) -> Self {
        let mut symbols: Vec<char> = text.chars().collect();
        symbols.sort_unstable();
        symbols.dedup();
        Vocabulary(symbols)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn symbol(&self, index: usize) -> char {
        self.0[index]
    }

    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        text.chars()
            .map(|c| match self.0.binary_search(&c) {
                Ok(index) => Ok(index as u32),
                Err(_) => bail!("the character {c:?} does not occur in the model's training text"),
            })
            .collect()
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().collect()
    }
}

/// A text, split in order: 90 % training, 5 % validation, the rest untouched.
pub(crate) struct Corpus {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) train: Vec<u32>,
    pub(crate) validation: Vec<u32>,
    symbols: usize,
}

impl Corpus {
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let text = match path {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?
            }
            None => DOCUMENTATION.concat(),
        };
        let vocabulary = Vocabulary::new(&text);
        let all = vocabulary.encode(&text)?;
        ensure!(all.len() >= 1000, "the text has {} characters; at least 1000 are needed", all.len());
        let (train, validation) = (all.len() * 90 / 100, all.len() * 95 / 100);
        Ok(Corpus {
            vocabulary,
            train: all[..train].to_vec(),
            validation: all[train..validation].to_vec(),
            symbols: all.len(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.symbols
    }

    /// Nats per validation character of a bigram model with add-one smoothing: what counting pairs
    /// achieves.
    pub(crate) fn bigram_nats(&self) -> f64 {
        let n = self.vocabulary.len();
        let mut pairs = vec![1.0f64; n * n];
        for pair in self.train.windows(2) {
            pairs[pair[0] as usize * n + pair[1] as usize] += 1.0;
        }
        let totals: Vec<f64> = pairs.chunks(n).map(|row| row.iter().sum()).collect();
        let nats: f64 = self
            .validation
            .windows(2)
            .map(|pair| {
                let (a, b) = (pair[0] as usize, pair[1] as usize);
                (totals[a] / pairs[a * n + b]).ln()
            })
            .sum();
        nats / (self.validation.len() - 1) as f64
    }
}

/// A text cut into `batch` contiguous streams that are read side by side, `steps` at a time, so that
/// row b of a window continues row b of the one before.
pub(crate) struct Streams<'a> {
    text: &'a [u32],
    batch: usize,
    steps: usize,
    /// Predictions in one stream.
    length: usize,
}

/// `[T, B]` symbols, time-major, and the symbol after each.
pub(crate) struct Window {
    pub(crate) input: Vec<u32>,
    target: Vec<u32>,
}

impl Window {
    /// `[T*B]`
    pub(crate) fn target(&self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::from_indices(device, &self.target, &[self.target.len()])?)
    }
}

impl<'a> Streams<'a> {
    pub(crate) fn new(text: &'a [u32], batch: usize, steps: usize) -> Option<Self> {
        let length = text.len().checked_sub(1)? / batch;
        (length >= steps).then_some(Streams { text, batch, steps, length })
    }

    /// Whole windows per epoch.
    pub(crate) fn windows(&self) -> usize {
        self.length / self.steps
    }

    /// Whole windows, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Window> {
        (0..self.windows()).map(|n| self.window(n * self.steps, self.steps))
    }

    /// Whole windows and the shorter last one, if there is one.
    pub(crate) fn iter_with_rest(&self) -> impl Iterator<Item = Window> {
        (0..self.length)
            .step_by(self.steps)
            .map(|first| self.window(first, self.steps.min(self.length - first)))
    }

    fn window(&self, first: usize, steps: usize) -> Window {
        let at = |offset: usize| {
            (first..first + steps)
                .flat_map(|t| (0..self.batch).map(move |b| self.text[b * self.length + t + offset]))
                .collect()
        };
        Window { input: at(0), target: at(1) }
    }
}
