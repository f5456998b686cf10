//! The loss of a step: from independent items, or from chunks of streams with a state.

use super::settings::Settings;
use super::source::Source;
use crate::autograd::no_grad;
use crate::carried::{Carried, StateParts};
use crate::data::{Chunk, Cursor, Streams};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::Device;
use std::collections::VecDeque;

/// The interface of a run to its data. `loss` may be called again for the same item, to find the origin of a
/// value that is not finite.
pub(crate) trait Steps {
    /// Takes the next item; returns false at the end of an epoch.
    fn next(&mut self) -> Result<bool>;
    /// The loss of the current item.
    fn loss(&mut self) -> Result<Tensor>;
    /// The loss of the last item that was taken, also after the end of an epoch; `None` before the first one.
    fn last_loss(&mut self) -> Result<Option<Tensor>>;
    /// Whether a state is carried from item to item as it should be.
    fn carries_state(&self) -> bool;
    /// The weight of that loss among those that are accumulated.
    fn weight(&self) -> f32;
    /// The epoch of the next item.
    fn epoch(&self) -> u64;
    fn items_per_epoch(&mut self) -> usize;
    /// The position to store in a checkpoint.
    fn place(&self) -> Result<DataPosition>;
    /// Continues at the position of another iteration.
    fn go_to(&mut self, place: &DataPosition, device: &Device) -> Result<()>;
    /// What decides which items come in which order.
    fn settings(&mut self) -> Settings;
}

/// The position of an iteration.
#[derive(Clone, Debug, Default)]
pub(crate) struct DataPosition {
    pub(crate) cursor: Cursor,
    /// The number of chunks after the cursor that the next step needs again.
    pub(crate) window: usize,
    pub(crate) states: StateParts,
}

/// Independent items. `step` computes the loss of one, and its weight unless the source knows it.
pub(crate) struct Independent<S: Source, F> {
    source: S,
    step: F,
    item: Option<S::Item>,
    weight: f32,
}

impl<S: Source, F> Independent<S, F> {
    pub(crate) fn new(source: S, step: F) -> Self {
        Independent { source, step, item: None, weight: 1.0 }
    }
}

impl<S: Source, F: FnMut(&S::Item) -> Result<(Tensor, Option<f32>)>> Steps for Independent<S, F> {
    fn next(&mut self) -> Result<bool> {
        match self.source.next_item()? {
            Some(item) => self.item = Some(item),
            // The last item stays for `last_loss`.
            None => return Ok(false),
        }
        Ok(true)
    }

    fn last_loss(&mut self) -> Result<Option<Tensor>> {
        if self.item.is_some() { self.loss().map(Some) } else { Ok(None) }
    }

    fn carries_state(&self) -> bool {
        false
    }

    fn loss(&mut self) -> Result<Tensor> {
        let Some(item) = &self.item else { return Err(no_item()) };
        let (loss, weight) = (self.step)(item)?;
        self.weight = weight.unwrap_or_else(|| self.source.weight(item));
        Ok(loss)
    }

    fn weight(&self) -> f32 {
        self.weight
    }

    fn epoch(&self) -> u64 {
        self.source.cursor().epoch
    }

    fn items_per_epoch(&mut self) -> usize {
        self.source.items_per_epoch()
    }

    fn place(&self) -> Result<DataPosition> {
        Ok(DataPosition { cursor: self.source.cursor(), ..DataPosition::default() })
    }

    fn go_to(&mut self, place: &DataPosition, _: &Device) -> Result<()> {
        self.source.seek(place.cursor)
    }

    fn settings(&mut self) -> Settings {
        self.source.settings()
    }
}

fn no_item() -> Error {
    Error::value("Trainer", "item", "taken before its loss", "none")
}

/// The largest number of chunks in a window, each of which is computed again at every step.
const MAX_WINDOW: usize = 1 << 20;

/// A chunk and the position before it.
type Placed<T> = (Chunk<T>, Cursor);

/// Truncated BPTT (Williams and Peng 1990): one update per chunk, with gradients over the last `backward` time
/// steps.
///
/// If these are several chunks, the chunks of the window are computed again from the state before them, and the
/// loss is that of the last chunk. If they are fewer than one chunk, the first steps of the chunk only carry the
/// state.
pub(crate) struct Streamed<'a, T: Copy, C, F> {
    streams: &'a mut Streams<T>,
    step: F,
    backward: usize,
    /// The number of chunks in a full window.
    full: usize,
    window: VecDeque<Placed<T>>,
    /// The state before the window; `None` at the start of an epoch.
    before: Option<C>,
    /// The state after the first chunk of the window. Once the window is full, it is the state before the next
    /// window.
    after_first: Option<C>,
    /// The last window of the epoch before, and the state before it.
    ended: Option<(VecDeque<Placed<T>>, Option<C>)>,
}

impl<'a, T: Copy, C: Carried, F> Streamed<'a, T, C, F> {
    pub(crate) fn new(streams: &'a mut Streams<T>, backward: Option<usize>, step: F) -> Result<Self> {
        let forward = streams.config().steps;
        let backward = backward.unwrap_or(forward);
        if backward > forward && !backward.is_multiple_of(forward) {
            let expected = format!("less than the {forward} steps of a chunk, or a multiple of them");
            return Err(Error::config("TrainerConfig", "backward_steps", expected, backward));
        }
        let full = backward.div_ceil(forward);
        if full > MAX_WINDOW {
            let expected = format!("at most {MAX_WINDOW} chunks of {forward} steps");
            return Err(Error::config("TrainerConfig", "backward_steps", expected, backward));
        }
        // The window grows with the chunks that there are, which may be fewer.
        let window = VecDeque::new();
        Ok(Streamed { streams, step, backward, full, window, before: None, after_first: None, ended: None })
    }
}

impl<T, C, F> Steps for Streamed<'_, T, C, F>
where
    T: Copy,
    C: Carried,
    F: FnMut(&Chunk<T>, Option<&C>) -> Result<(Tensor, C)>,
{
    fn next(&mut self) -> Result<bool> {
        let cursor = self.streams.cursor();
        let Some(chunk) = self.streams.next() else {
            self.ended = Some((std::mem::take(&mut self.window), self.before.take()));
            self.after_first = None;
            return Ok(false);
        };
        self.ended = None;
        if chunk.first {
            self.window.clear();
            (self.before, self.after_first) = (None, None);
        }
        if self.window.len() == self.full {
            self.window.pop_front();
            self.before = self.after_first.take();
        }
        self.window.push_back((chunk, cursor));
        Ok(true)
    }

    fn loss(&mut self) -> Result<Tensor> {
        let mut state = self.before.clone();
        let mut last = None;
        for (n, (chunk, _)) in self.window.iter().enumerate() {
            let steps = chunk.x.dims()[0];
            let (loss, next) = if steps > self.backward {
                let (head, tail) = chunk.split_at(steps - self.backward)?;
                let (_, middle) = no_grad(|| (self.step)(&head, state.as_ref()))?;
                (self.step)(&tail, Some(&middle.detached()))?
            } else {
                (self.step)(chunk, state.as_ref())?
            };
            if n == 0 {
                self.after_first = Some(next.detached());
            }
            (state, last) = (Some(next), Some(loss));
        }
        last.ok_or_else(no_item)
    }

    fn last_loss(&mut self) -> Result<Option<Tensor>> {
        let after_first = self.after_first.clone();
        if !self.window.is_empty() {
            let loss = self.loss();
            self.after_first = after_first;
            return loss.map(Some);
        }
        let Some((window, before)) = self.ended.take() else { return Ok(None) };
        (self.window, self.before) = (window, before);
        let loss = self.loss();
        self.ended = Some((std::mem::take(&mut self.window), self.before.take()));
        self.after_first = after_first;
        loss.map(Some)
    }

    fn carries_state(&self) -> bool {
        true
    }

    /// The steps with a loss. All of them have the same number of rows.
    fn weight(&self) -> f32 {
        self.window.back().map_or(1.0, |(chunk, _)| chunk.x.dims()[0].min(self.backward) as f32)
    }

    fn epoch(&self) -> u64 {
        self.streams.cursor().epoch
    }

    fn items_per_epoch(&mut self) -> usize {
        self.streams.chunks_per_epoch()
    }

    fn place(&self) -> Result<DataPosition> {
        let mut states = StateParts::default();
        for (name, state) in [("before.", &self.before), ("after_first.", &self.after_first)] {
            if let Some(state) = state {
                states.extend(state.parts().with_prefix(name));
                states.numbers.insert(name.trim_end_matches('.').into(), 1);
            }
        }
        let cursor = self.window.front().map_or(self.streams.cursor(), |(_, cursor)| *cursor);
        Ok(DataPosition { cursor, window: self.window.len(), states })
    }

    fn go_to(&mut self, place: &DataPosition, device: &Device) -> Result<()> {
        let state = |name: &str| {
            let there = place.states.numbers.contains_key(name);
            there.then(|| C::from_parts(&place.states.under(&format!("{name}.")), device)).transpose()
        };
        let (before, after_first) = (state("before")?, state("after_first")?);
        if place.window > self.full {
            let expected = format!("at most {} chunks, as backward_steps says", self.full);
            return Err(Error::value("Trainer", "checkpoint", expected, format!("{} chunks", place.window)));
        }
        self.streams.seek(place.cursor)?;
        self.window.clear();
        for _ in 0..place.window {
            let cursor = self.streams.cursor();
            let Some(chunk) = self.streams.next() else {
                let expected = "of the same streams: an epoch ends too early";
                return Err(Error::value("Trainer", "checkpoint", expected, format!("{cursor:?}")));
            };
            self.window.push_back((chunk, cursor));
        }
        (self.before, self.after_first) = (before, after_first);
        Ok(())
    }

    fn settings(&mut self) -> Settings {
        let mut all = Source::settings(self.streams);
        all.insert("backward_steps".into(), self.backward.to_string());
        all
    }
}
