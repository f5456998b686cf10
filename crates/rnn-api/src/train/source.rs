//! [`Source`]: the items of a training run.

use super::settings::{Settings, of_lengths};
use crate::data::{Batch, Batches, Chunk, Cursor, Prefetch, Streams};
use crate::error::Result;
use std::fmt;
use std::sync::Arc;

/// Items in epochs, with a position that can be saved and restored, which resuming from a checkpoint needs.
/// [`Batches`] and [`Streams`] are sources; [`Prepared`] wraps another source.
pub trait Source {
    /// The data of one training step.
    type Item;

    /// The next item; `None` once at the end of each epoch.
    ///
    /// # Errors
    /// The data are not available.
    fn next_item(&mut self) -> Result<Option<Self::Item>>;

    /// The position of the next item.
    fn cursor(&self) -> Cursor;

    /// Continues at the position of another iteration.
    ///
    /// # Errors
    /// This source does not have the position, so the cursor belongs to other data. Nothing is changed then.
    fn seek(&mut self, cursor: Cursor) -> Result<()>;

    /// The number of items in each epoch.
    fn items_per_epoch(&mut self) -> usize;

    /// The weight of the last item in a step that accumulates several: the number of elements that its loss is the mean
    /// of, up to a constant factor. [`Batches`] give the number of rows and [`Streams`] that of time steps; 1 by
    /// default. Where losses are means over valid time steps, use
    /// [`Trainer::fit_weighted`](super::Trainer::fit_weighted).
    fn weight(&self, _item: &Self::Item) -> f32 {
        1.0
    }

    /// What decides which items come in which order, by name: sizes, seeds, lengths. A resumed run compares it with the
    /// settings in its checkpoint. By default the number of items.
    fn settings(&mut self) -> Settings {
        Settings::from([("items_per_epoch".into(), self.items_per_epoch().to_string())])
    }
}

impl Source for Batches {
    type Item = Batch;

    fn next_item(&mut self) -> Result<Option<Batch>> {
        Ok(self.next())
    }

    fn cursor(&self) -> Cursor {
        self.cursor()
    }

    fn seek(&mut self, cursor: Cursor) -> Result<()> {
        self.seek(cursor)
    }

    fn items_per_epoch(&mut self) -> usize {
        self.batches_per_epoch()
    }

    fn weight(&self, batch: &Batch) -> f32 {
        batch.indices.len() as f32
    }

    fn settings(&mut self) -> Settings {
        let config = self.config();
        let mut all = Settings::from([
            ("batch_size".into(), config.batch_size.to_string()),
            ("drop_last".into(), config.drop_last.to_string()),
            ("items".into(), self.items().to_string()),
        ]);
        all.extend(config.seed.map(|seed| ("seed".into(), seed.to_string())));
        all.extend(config.bucket_width.map(|width| ("bucket_width".into(), width.to_string())));
        all.extend(self.lengths().map(|lengths| ("lengths".into(), of_lengths(lengths))));
        all
    }
}

impl<T: Copy> Source for Streams<T> {
    type Item = Chunk<T>;

    fn next_item(&mut self) -> Result<Option<Chunk<T>>> {
        Ok(self.next())
    }

    fn cursor(&self) -> Cursor {
        self.cursor()
    }

    fn seek(&mut self, cursor: Cursor) -> Result<()> {
        self.seek(cursor)
    }

    fn items_per_epoch(&mut self) -> usize {
        self.chunks_per_epoch()
    }

    fn weight(&self, chunk: &Chunk<T>) -> f32 {
        chunk.x.dims()[0] as f32
    }

    fn settings(&mut self) -> Settings {
        let config = self.config();
        let mut all = Settings::from([
            ("batch_size".into(), config.batch_size.to_string()),
            ("steps".into(), config.steps.to_string()),
            ("documents".into(), self.documents().to_string()),
            ("pairs".into(), self.pairs().to_string()),
        ]);
        all.extend(config.seed.map(|seed| ("seed".into(), seed.to_string())));
        all
    }
}

impl<S: Source> Source for &mut S {
    type Item = S::Item;

    fn next_item(&mut self) -> Result<Option<S::Item>> {
        (**self).next_item()
    }

    fn cursor(&self) -> Cursor {
        (**self).cursor()
    }

    fn seek(&mut self, cursor: Cursor) -> Result<()> {
        (**self).seek(cursor)
    }

    fn items_per_epoch(&mut self) -> usize {
        (**self).items_per_epoch()
    }

    fn weight(&self, item: &S::Item) -> f32 {
        (**self).weight(item)
    }

    fn settings(&mut self) -> Settings {
        (**self).settings()
    }
}

/// An item with its weight, or `None` at the end of an epoch, and the position after it.
type Prefetched<T> = (Option<(T, f32)>, Cursor);

/// Prepares the items of another source on its own thread, some items ahead: reading, padding, augmentation.
///
/// ```
/// use rnn_api::data::{BatchConfig, Batches, Sequence, pad};
/// use rnn_api::train::{Prepared, Source};
/// # fn main() -> rnn_api::Result<()> {
/// let sequences = vec![Sequence::new(vec![1.0, 2.0], 1)?, Sequence::new(vec![3.0], 1)?];
/// let batches = Batches::new(sequences.len(), &BatchConfig::new(2).with_shuffle(1))?;
/// let mut padded = Prepared::new(batches, 4, move |batch| pad(&batch.pick(&sequences)?, None));
/// while let Some(batch) = padded.next_item()? {
///     assert_eq!(batch.values.dims(), [2, 2, 1]);
/// }
/// # Ok(()) }
/// ```
pub struct Prepared<S: Source, T> {
    /// The position after the last item taken, or where `seek` set it. The thread has its own position.
    source: S,
    ahead: usize,
    prepare: Arc<dyn Fn(S::Item) -> Result<T> + Send + Sync>,
    cursor: Cursor,
    /// The weight of the last item taken, as the source says.
    weight: f32,
    running: Option<Prefetch<Prefetched<T>>>,
}

impl<S, T> Prepared<S, T>
where
    S: Source + Clone + Send + 'static,
    T: Send + 'static,
{
    /// Applies `prepare` to the items of `source`, up to `ahead` of them in advance.
    pub fn new(
        source: S,
        ahead: usize,
        prepare: impl Fn(S::Item) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let cursor = source.cursor();
        Prepared { source, ahead, prepare: Arc::new(prepare), cursor, weight: 1.0, running: None }
    }

    fn start(&self) -> Result<Prefetch<Prefetched<T>>> {
        let (mut source, prepare) = (self.source.clone(), self.prepare.clone());
        source.seek(self.cursor)?;
        let items = std::iter::from_fn(move || {
            let prepared = source.next_item().and_then(|item| {
                let weighted = |item: S::Item| {
                    let weight = source.weight(&item);
                    Ok((prepare(item)?, weight))
                };
                item.map(weighted).transpose()
            });
            Some(prepared.map(|item| (item, source.cursor())))
        });
        Prefetch::new(items, self.ahead)
    }
}

impl<S, T> Source for Prepared<S, T>
where
    S: Source + Clone + Send + 'static,
    T: Send + 'static,
{
    type Item = T;

    fn next_item(&mut self) -> Result<Option<T>> {
        if self.running.is_none() {
            self.running = Some(self.start()?);
        }
        let next = self.running.as_mut().and_then(Iterator::next);
        let Some(next) = next else {
            // The thread never ends on its own. It has reported why it ended, and the next call starts a new one.
            self.running = None;
            return Ok(None);
        };
        match next {
            Ok((item, cursor)) => {
                self.cursor = cursor;
                let (item, weight) = item.unzip();
                self.weight = weight.unwrap_or(1.0);
                Ok(item)
            }
            Err(error) => {
                // Items that the thread has read after the failure would be lost, so start again from the cursor.
                self.running = None;
                Err(error)
            }
        }
    }

    fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn seek(&mut self, cursor: Cursor) -> Result<()> {
        self.source.seek(cursor)?;
        (self.cursor, self.running) = (cursor, None);
        Ok(())
    }

    fn items_per_epoch(&mut self) -> usize {
        self.source.items_per_epoch()
    }

    fn weight(&self, _last: &T) -> f32 {
        self.weight
    }

    fn settings(&mut self) -> Settings {
        self.source.settings()
    }
}

impl<S: Source, T> fmt::Debug for Prepared<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({} ahead, at {:?})", self.ahead, self.cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::BatchConfig;
    use crate::error::Error;

    fn prepared(fail_at: usize) -> Prepared<Batches, Vec<usize>> {
        let batches = Batches::new(7, &BatchConfig::new(2).with_shuffle(5)).unwrap();
        Prepared::new(batches, 3, move |batch| match batch.indices.contains(&fail_at) {
            true => Err(Error::value("prepare", "item", "another one", fail_at)),
            false => Ok(batch.indices),
        })
    }

    #[test]
    fn items_and_places_are_those_of_the_source() {
        let mut plain = Batches::new(7, &BatchConfig::new(2).with_shuffle(5)).unwrap();
        let mut ahead = prepared(99);
        assert_eq!(ahead.items_per_epoch(), 4);
        let mut places = Vec::new();
        for _ in 0..13 {
            places.push(ahead.cursor());
            let (item, batch) = (ahead.next_item().unwrap(), plain.next());
            if let (Some(item), Some(batch)) = (&item, &batch) {
                assert_eq!(ahead.weight(item), plain.weight(batch));
            }
            assert_eq!(item, batch.map(|batch| batch.indices));
            assert_eq!(ahead.cursor(), plain.cursor());
        }
        for place in places {
            ahead.seek(place).unwrap();
            plain.seek(place).unwrap();
            assert_eq!(ahead.next_item().unwrap(), plain.next().map(|batch| batch.indices));
        }
        let beyond = Cursor { epoch: 0, position: 8 };
        assert!(ahead.seek(beyond).is_err());
    }

    #[test]
    fn a_failure_comes_at_its_place() {
        let mut source = prepared(3);
        let mut good = 0;
        let error = loop {
            match source.next_item() {
                Ok(item) => good += usize::from(item.is_some()),
                Err(error) => break error,
            }
        };
        assert!(good < 4 && error.to_string().contains("another one"), "{error}");
        // The position is unchanged, so the next call fails again.
        assert!(source.next_item().is_err());
    }
}
