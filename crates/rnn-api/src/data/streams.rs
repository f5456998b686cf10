//! Contiguous streams for stateful truncated BPTT. Row b of every chunk continues row b of the previous chunk, so
//! the state can be carried over.

use super::error::{Place, Problem};
use super::host::HostArray;
use super::sequence::{Missing, Sequence};
use super::shuffle::{Cursor, Draw, draw_below, shuffle};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How documents are laid out as streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StreamConfig {
    /// B, the number of streams (batch rows).
    pub batch_size: usize,
    /// T, the time steps of a chunk. The last chunk of an epoch may be shorter.
    pub steps: usize,
    /// Seed of a new document order and starting point for every epoch. Without a seed, the default, every epoch is
    /// the same.
    pub seed: Option<u64>,
}

impl StreamConfig {
    /// `batch_size` streams in chunks of `steps` time steps.
    pub fn new(batch_size: usize, steps: usize) -> Self {
        StreamConfig { batch_size, steps, seed: None }
    }

    /// Uses a new order and starting point in every epoch.
    #[must_use]
    pub fn with_shuffle(self, seed: u64) -> Self {
        StreamConfig { seed: Some(seed), ..self }
    }
}

/// A chunk of all streams.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Chunk<T> {
    /// Inputs, `[T, B]` of indices or `[T, B, features]` of values.
    pub x: HostArray<T>,
    /// Targets of the same shape: the step that follows each input.
    pub y: HostArray<T>,
    /// `[T, B]`: whether the state has to be cleared before a step, because a document or the epoch starts there.
    pub resets: Vec<bool>,
    /// Whether this is the first chunk of an epoch, where all states start from zero.
    pub first: bool,
    /// The position after this chunk.
    pub next: Cursor,
}

/// Documents, one after the other, divided into B streams of equal length. Every step of a document but the last is
/// an input, and its target is the next step. Up to B - 1 of these pairs are left out of an epoch. The iterator
/// ends with each epoch, and the next call starts the next epoch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Streams<T> {
    documents: Arc<[Vec<T>]>,
    /// Values per step; `None` for indices, whose chunks have no feature axis.
    features: Option<usize>,
    config: StreamConfig,
    /// The number of (input, target) pairs of all documents.
    pairs: usize,
    cursor: Cursor,
    layout: Option<Arc<Layout>>,
}

/// The document order of an epoch.
#[derive(Debug)]
struct Layout {
    /// Documents in order, each with the number of pairs before it.
    order: Vec<(usize, usize)>,
    /// The pair at which the first stream starts.
    rotation: usize,
}

impl Streams<u32> {
    /// Streams of indices, such as the characters of texts.
    ///
    /// # Errors
    /// A size is 0; there are no documents; a document has fewer than two steps; or there are fewer pairs than
    /// streams.
    pub fn of_indices(documents: Vec<Vec<u32>>, config: &StreamConfig) -> Result<Self> {
        Self::checked(documents, None, config)
    }
}

impl Streams<f32> {
    /// Streams of values.
    ///
    /// # Errors
    /// As [`Streams::of_indices`]; the numbers of features differ; or a value is missing.
    pub fn of_sequences(sequences: &[Sequence], config: &StreamConfig) -> Result<Self> {
        let features = sequences.first().map_or(1, Sequence::features);
        for (index, sequence) in sequences.iter().enumerate() {
            let named = |place| Place { sequence: Some(index), ..place };
            sequence.check(Missing::Error).map_err(|error| error.located(named))?;
            if sequence.features() != features {
                let problem =
                    Problem::Ragged { what: "features", expected: features, got: sequence.features() };
                return Err(problem.at(Place::sequence(index)));
            }
        }
        Self::checked(sequences.iter().map(|s| s.values().to_vec()).collect(), Some(features), config)
    }
}

impl<T: Copy> Chunk<T> {
    /// Splits a chunk into its first `steps` steps and the rest, for a network that processes them one after the
    /// other.
    ///
    /// # Errors
    /// One of the two parts would be empty.
    pub fn split_at(&self, steps: usize) -> Result<(Self, Self)> {
        let dims = self.x.dims();
        let all = dims[0];
        if steps == 0 || steps >= all {
            let expected = format!("some of the {all} steps, but not all");
            return Err(Error::value("Chunk::split_at", "steps", expected, steps));
        }
        let part = |values: &HostArray<T>, from: usize, to: usize| {
            let of_step = values.values().len() / all;
            let dims = [&[to - from], &values.dims()[1..]].concat();
            HostArray::from_parts(values.values()[from * of_step..to * of_step].to_vec(), &dims)
        };
        let batch = self.resets.len() / all;
        let side = |from: usize, to: usize| Chunk {
            x: part(&self.x, from, to),
            y: part(&self.y, from, to),
            resets: self.resets[from * batch..to * batch].to_vec(),
            first: self.first && from == 0,
            next: Cursor { position: self.next.position - (all - to) as u64, ..self.next },
        };
        Ok((side(0, steps), side(steps, all)))
    }
}

impl<T: Copy> Streams<T> {
    fn checked(documents: Vec<Vec<T>>, features: Option<usize>, config: &StreamConfig) -> Result<Self> {
        for (field, size) in [("batch_size", config.batch_size), ("steps", config.steps)] {
            if size == 0 {
                return Err(Error::config("StreamConfig", field, "at least 1", 0));
            }
        }
        if documents.is_empty() {
            return Err(Problem::Empty { what: "the list of documents" }.at(Place::default()));
        }
        let mut streams = Streams {
            documents: documents.into(),
            features,
            config: config.clone(),
            pairs: 0,
            cursor: Cursor::default(),
            layout: None,
        };
        for index in 0..streams.documents.len() {
            let length = streams.pairs_of(index).map_or(0, |pairs| pairs + 1);
            if length < 2 {
                return Err(Problem::TooShort { length, needed: 2 }.at(Place::sequence(index)));
            }
            streams.pairs += length - 1;
        }
        if streams.steps_per_epoch() == 0 {
            let expected = format!("at most the {} steps that have a next one", streams.pairs);
            return Err(Error::config("StreamConfig", "batch_size", expected, config.batch_size));
        }
        Ok(streams)
    }

    fn width(&self) -> usize {
        self.features.unwrap_or(1)
    }

    /// The number of (input, target) pairs of a document; `None` for an empty document.
    fn pairs_of(&self, document: usize) -> Option<usize> {
        (self.documents[document].len() / self.width()).checked_sub(1)
    }

    /// The settings.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// The number of documents.
    pub fn documents(&self) -> usize {
        self.documents.len()
    }

    /// The number of (input, target) pairs of all documents.
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// The length of each stream.
    pub fn steps_per_epoch(&self) -> usize {
        self.pairs / self.config.batch_size
    }

    /// The number of chunks in each epoch.
    pub fn chunks_per_epoch(&self) -> usize {
        self.steps_per_epoch().div_ceil(self.config.steps)
    }

    /// The position of the next chunk, in time steps.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Continues at the position of another iteration.
    ///
    /// # Errors
    /// The position is beyond the epoch, so the cursor belongs to other data. Nothing is changed then.
    pub fn seek(&mut self, cursor: Cursor) -> Result<()> {
        let steps = self.steps_per_epoch();
        if cursor.position > steps as u64 {
            let expected = format!("at most the {steps} steps of an epoch");
            return Err(Error::value("Streams::seek", "position", expected, cursor.position));
        }
        self.go_to(cursor);
        Ok(())
    }

    fn go_to(&mut self, cursor: Cursor) {
        if self.cursor.epoch != cursor.epoch {
            self.layout = None;
        }
        self.cursor = cursor;
    }

    fn layout(&mut self) -> Arc<Layout> {
        let layout = self.layout.take().unwrap_or_else(|| Arc::new(self.lay_out(self.cursor.epoch)));
        self.layout.insert(layout).clone()
    }

    fn lay_out(&self, epoch: u64) -> Layout {
        let mut documents: Vec<usize> = (0..self.documents.len()).collect();
        let mut rotation = 0;
        if let Some(seed) = self.config.seed {
            shuffle(&mut documents, seed, Draw::Items, epoch);
            rotation = draw_below(seed, Draw::Rotation, epoch, self.pairs);
        }
        let mut before = 0;
        let place = |document: usize| {
            let start = before;
            before += self.pairs_of(document).unwrap_or(0);
            (document, start)
        };
        Layout { order: documents.into_iter().map(place).collect(), rotation }
    }
}

impl<T: Copy> Iterator for Streams<T> {
    type Item = Chunk<T>;

    /// The next chunk; `None` once at the end of each epoch.
    fn next(&mut self) -> Option<Chunk<T>> {
        let layout = self.layout();
        let (length, start) = (self.steps_per_epoch(), self.cursor.position as usize);
        let steps = length.saturating_sub(start).min(self.config.steps);
        if steps == 0 {
            self.go_to(self.cursor.next_epoch());
            return None;
        }
        let (batch, width, pairs) = (self.config.batch_size, self.width(), self.pairs);
        let mut x = Vec::with_capacity(steps * batch * width);
        let mut y = Vec::with_capacity(steps * batch * width);
        let mut resets = Vec::with_capacity(steps * batch);
        for t in start..start + steps {
            for b in 0..batch {
                // With a random starting point, the last streams continue at the first document.
                let pair = (layout.rotation + b * length + t) % pairs;
                let at = layout.order.partition_point(|&(_, before)| before <= pair) - 1;
                let (document, before) = layout.order[at];
                let from = (pair - before) * width;
                let values = &self.documents[document];
                x.extend_from_slice(&values[from..from + width]);
                y.extend_from_slice(&values[from + width..from + 2 * width]);
                resets.push(t == 0 || pair == before);
            }
        }
        let dims = [&[steps, batch][..], self.features.as_slice()].concat();
        self.cursor.position += steps as u64;
        Some(Chunk {
            x: HostArray::from_parts(x, &dims),
            y: HostArray::from_parts(y, &dims),
            resets,
            first: start == 0,
            next: self.cursor,
        })
    }
}

#[cfg(test)]
mod tests;
