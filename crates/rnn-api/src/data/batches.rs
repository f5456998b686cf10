//! Batches of independent items.

use super::error::{Place, Problem};
use super::reserve::room;
use super::shuffle::{Cursor, Draw, shuffle};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// How items are put into batches. Items stay in their order unless a seed shuffles them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BatchConfig {
    /// Items per batch.
    pub batch_size: usize,
    /// Seed of a new order for every epoch. Without a seed, the default, items keep their order.
    pub seed: Option<u64>,
    /// Items share a batch only if their lengths fall into the same bucket: 1 to `bucket_width`, `bucket_width` + 1
    /// to 2 `bucket_width`, and so on. This reduces padding and the number of different shapes.
    pub bucket_width: Option<usize>,
    /// Whether to drop batches that are not full.
    pub drop_last: bool,
}

impl BatchConfig {
    /// Batches of `batch_size` items, in order. The last batch holds the remaining items.
    pub fn new(batch_size: usize) -> Self {
        BatchConfig { batch_size, seed: None, bucket_width: None, drop_last: false }
    }

    /// Shuffles every epoch.
    #[must_use]
    pub fn with_shuffle(self, seed: u64) -> Self {
        BatchConfig { seed: Some(seed), ..self }
    }

    /// Sets the width of length buckets.
    #[must_use]
    pub fn with_bucket_width(self, width: usize) -> Self {
        BatchConfig { bucket_width: Some(width), ..self }
    }

    /// Drops batches that are not full.
    #[must_use]
    pub fn with_drop_last(self, drop_last: bool) -> Self {
        BatchConfig { drop_last, ..self }
    }
}

/// The items of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// The indices of the items.
    pub indices: Vec<usize>,
    /// The upper end of their length bucket, for [`pad`](super::pad()); `None` without buckets.
    pub bucket: Option<usize>,
    /// The position after this batch.
    pub next: Cursor,
    /// The total number of items.
    items: usize,
}

impl Batch {
    /// Borrows the items of this batch.
    ///
    /// # Errors
    /// The list has a different number of items than the batches were made for.
    pub fn pick<'a, T>(&self, items: &'a [T]) -> Result<Vec<&'a T>> {
        if items.len() != self.items {
            let expected = format!("the {} items that the batches are made for", self.items);
            return Err(Error::value("Batch::pick", "items", expected, items.len()));
        }
        Ok(self.indices.iter().map(|&index| &items[index]).collect())
    }

    /// Copies the items of this batch, such as labels.
    ///
    /// # Errors
    /// As [`Batch::pick`].
    pub fn copy<T: Clone>(&self, items: &[T]) -> Result<Vec<T>> {
        Ok(self.pick(items)?.into_iter().cloned().collect())
    }
}

/// Goes through items in batches, epoch after epoch. The iterator ends with each epoch, and the next call starts
/// the next epoch. The order depends only on the configuration and the epoch, so a run that seeks the cursor of
/// another run gets the same batches. The cursor counts items: without buckets, a run with another batch size goes on
/// with the items that are left of the epoch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Batches {
    config: BatchConfig,
    items: usize,
    lengths: Option<Arc<[usize]>>,
    cursor: Cursor,
    /// The batches of the last epoch that was needed.
    epoch: Arc<Epoch>,
}

/// The batches of an epoch.
#[derive(Clone, Debug, Default)]
struct Epoch {
    number: u64,
    /// Items before the first batch, so that a batch starts at the position that was sought. 0 with buckets.
    offset: usize,
    /// All items.
    order: Vec<usize>,
    /// Parts of the order.
    batches: Vec<Chosen>,
}

/// A batch as a part of the order.
#[derive(Clone, Debug)]
struct Chosen {
    /// The number of items before it in the epoch.
    start: u64,
    items: Range<usize>,
    /// The end of its bucket.
    bucket: Option<usize>,
}

impl Chosen {
    fn end(&self) -> u64 {
        self.start + self.items.len() as u64
    }
}

impl Batches {
    /// Batches of `items` items.
    ///
    /// # Errors
    /// The batch size is 0; there are no items; there are fewer items than a batch while incomplete batches are
    /// dropped; buckets are configured, which need [`Batches::by_length`]; or the indices do not fit into memory.
    pub fn new(items: usize, config: &BatchConfig) -> Result<Self> {
        if let Some(width) = config.bucket_width {
            let expected = "None without lengths; use Batches::by_length";
            return Err(Error::config("BatchConfig", "bucket_width", expected, width));
        }
        Self::checked(items, None, config)
    }

    /// Batches of items with the given lengths.
    ///
    /// # Errors
    /// As [`Batches::new`], a bucket width of 0, or a length of 0.
    pub fn by_length(lengths: &[usize], config: &BatchConfig) -> Result<Self> {
        if config.bucket_width == Some(0) {
            return Err(Error::config("BatchConfig", "bucket_width", "at least 1", 0));
        }
        if let Some(index) = lengths.iter().position(|&length| length == 0) {
            return Err(Problem::Empty { what: "the sequence" }.at(Place::sequence(index)));
        }
        Self::checked(lengths.len(), Some(lengths.into()), config)
    }

    fn checked(items: usize, lengths: Option<Arc<[usize]>>, config: &BatchConfig) -> Result<Self> {
        if config.batch_size == 0 {
            return Err(Error::config("BatchConfig", "batch_size", "at least 1", 0));
        }
        if items == 0 {
            return Err(Problem::Empty { what: "the list of items to put into batches" }.at(Place::default()));
        }
        let mut epoch = Epoch {
            number: 0,
            offset: 0,
            order: room("Batches::new", "the order of items", &[items])?,
            batches: room("Batches::new", "the batches", &[items.div_ceil(config.batch_size)])?,
        };
        let mut batches = Batches {
            config: config.clone(),
            items,
            lengths,
            cursor: Cursor::default(),
            epoch: Arc::default(),
        };
        batches.choose(&mut epoch);
        batches.epoch = Arc::new(epoch);
        if batches.batches_per_epoch() == 0 {
            let expected = format!("false where no batch of {} gets full", config.batch_size);
            return Err(Error::config("BatchConfig", "drop_last", expected, true));
        }
        Ok(batches)
    }

    /// The settings.
    pub fn config(&self) -> &BatchConfig {
        &self.config
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// The lengths of the items, if the batches were made [`by_length`](Batches::by_length).
    pub fn lengths(&self) -> Option<&[usize]> {
        self.lengths.as_deref()
    }

    /// The number of batches in each epoch.
    pub fn batches_per_epoch(&mut self) -> usize {
        match (self.config.bucket_width, self.config.drop_last) {
            (None, false) => self.items.div_ceil(self.config.batch_size),
            (None, true) => self.items / self.config.batch_size,
            (Some(_), _) => self.current().batches.len(),
        }
    }

    /// The position of the next batch.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Continues at the position of another iteration.
    ///
    /// # Errors
    /// The position is beyond the epoch, or inside a batch of a bucket, so the cursor belongs to other data. Nothing is
    /// changed then.
    pub fn seek(&mut self, cursor: Cursor) -> Result<()> {
        let refused =
            |expected: String| Err(Error::value("Batches::seek", "position", expected, cursor.position));
        if cursor.position > self.items as u64 {
            return refused(format!("at most the {} items of an epoch", self.items));
        }
        let buckets = self.config.bucket_width.is_some();
        let offset = if buckets { 0 } else { (cursor.position % self.config.batch_size as u64) as usize };
        // With buckets, which alone can be refused below, these are the batches of that epoch for every cursor.
        self.prepare(cursor.epoch, offset);
        let batches = &self.epoch.batches;
        let end = batches.last().map_or(0, Chosen::end);
        if buckets
            && cursor.position < end
            && batches.binary_search_by_key(&cursor.position, |batch| batch.start).is_err()
        {
            return refused("the beginning of a batch of a bucket".into());
        }
        self.cursor = cursor;
        Ok(())
    }

    fn current(&mut self) -> Arc<Epoch> {
        if self.epoch.number != self.cursor.epoch {
            self.prepare(self.cursor.epoch, 0);
        }
        self.epoch.clone()
    }

    /// Makes the batches of an epoch. The memory of the epoch before serves again, unless a clone still needs it.
    fn prepare(&mut self, number: u64, offset: usize) {
        if (self.epoch.number, self.epoch.offset) == (number, offset) {
            return;
        }
        let before = Arc::unwrap_or_clone(std::mem::take(&mut self.epoch));
        let mut epoch = Epoch { number, offset, ..before };
        self.choose(&mut epoch);
        self.epoch = Arc::new(epoch);
    }

    /// Divides the items of an epoch into batches.
    fn choose(&self, Epoch { number, offset, order, batches }: &mut Epoch) {
        order.clear();
        order.extend(0..self.items);
        batches.clear();
        if let Some(seed) = self.config.seed {
            shuffle(order, seed, Draw::Items, *number);
        }
        let (Some(lengths), Some(width)) = (&self.lengths, self.config.bucket_width) else {
            self.cut(*offset..self.items, None, batches);
            return count_items(batches, *offset);
        };
        let end = |item: usize| lengths[item].div_ceil(width).saturating_mul(width);
        // A stable sort: within a bucket items keep their order.
        order.sort_by_key(|&item| end(item));
        let mut start = 0;
        for bucket in order.chunk_by(|&a, &b| end(a) == end(b)) {
            self.cut(start..start + bucket.len(), Some(end(bucket[0])), batches);
            start += bucket.len();
        }
        if let Some(seed) = self.config.seed {
            shuffle(batches, seed, Draw::Batches, *number);
        }
        count_items(batches, 0);
    }

    /// Cuts a part of the order into batches.
    fn cut(&self, part: Range<usize>, bucket: Option<usize>, batches: &mut Vec<Chosen>) {
        let size = self.config.batch_size;
        for start in part.clone().step_by(size) {
            let items = start..start.saturating_add(size).min(part.end);
            if items.len() == size || !self.config.drop_last {
                batches.push(Chosen { start: 0, items, bucket });
            }
        }
    }
}

/// Sets the number of items before each batch.
fn count_items(batches: &mut [Chosen], offset: usize) {
    let mut start = offset as u64;
    for batch in batches {
        batch.start = start;
        start = batch.end();
    }
}

impl Iterator for Batches {
    type Item = Batch;

    /// The next batch; `None` once at the end of each epoch.
    fn next(&mut self) -> Option<Batch> {
        let epoch = self.current();
        let position = self.cursor.position;
        let number = epoch.batches.partition_point(|batch| batch.start < position);
        let Some(chosen) = epoch.batches.get(number) else {
            self.cursor = self.cursor.next_epoch();
            return None;
        };
        self.cursor.position = chosen.end();
        let indices = epoch.order[chosen.items.clone()].to_vec();
        Some(Batch { indices, bucket: chosen.bucket, next: self.cursor, items: self.items })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rnn_testing::data::SplitMix64;

    fn indices(batches: &mut Batches) -> Vec<Vec<usize>> {
        batches.map(|batch| batch.indices).collect()
    }

    #[test]
    fn in_order_and_shuffled() {
        let mut plain = Batches::new(5, &BatchConfig::new(2)).unwrap();
        assert_eq!(indices(&mut plain), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(plain.cursor(), Cursor { epoch: 1, position: 0 });
        let mut full = Batches::new(5, &BatchConfig::new(2).with_drop_last(true)).unwrap();
        assert_eq!(indices(&mut full).len(), 2);
        let mut shuffled = Batches::new(40, &BatchConfig::new(7).with_shuffle(3)).unwrap();
        let (first, second) = (indices(&mut shuffled), indices(&mut shuffled));
        assert_ne!(first, second);
        for epoch in [first, second] {
            let mut all = epoch.concat();
            all.sort_unstable();
            assert_eq!(all, (0..40).collect::<Vec<_>>());
        }
    }

    #[test]
    fn buckets_are_complete_and_never_mixed() {
        let mut rng = SplitMix64::new(2);
        for seed in 0..50 {
            let lengths: Vec<usize> = (0..1 + rng.next_below(90)).map(|_| 1 + rng.next_below(40)).collect();
            let (size, width) = (1 + rng.next_below(8), 1 + rng.next_below(12));
            let config = BatchConfig::new(size).with_shuffle(seed).with_bucket_width(width);
            let mut batches = Batches::by_length(&lengths, &config).unwrap();
            let mut all = Vec::new();
            for batch in &mut batches {
                let end = batch.bucket.unwrap();
                assert!(batch.indices.len() <= size && end % width == 0);
                assert!(batch.indices.iter().all(|&i| lengths[i] <= end && lengths[i] + width > end));
                all.extend(batch.indices);
            }
            all.sort_unstable();
            assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            // At most one batch of each bucket is not full.
            let mut partial: Vec<usize> =
                batches.filter(|b| b.indices.len() < size).map(|b| b.bucket.unwrap()).collect();
            let count = partial.len();
            partial.sort_unstable();
            partial.dedup();
            assert_eq!(partial.len(), count);
        }
    }

    #[test]
    fn a_resumed_iteration_goes_on_alike() {
        let lengths: Vec<usize> = (0..50).map(|i| 1 + i * i % 23).collect();
        let config = BatchConfig::new(4).with_shuffle(11).with_bucket_width(5);
        let fresh = || Batches::by_length(&lengths, &config).unwrap();
        let mut whole = fresh();
        let run: Vec<Option<Batch>> = (0..60).map(|_| whole.next()).collect();
        for stop in 0..run.len() - 1 {
            let Some(batch) = &run[stop] else { continue };
            let saved = serde_json::to_string(&batch.next).unwrap();
            let mut resumed = fresh();
            resumed.seek(serde_json::from_str(&saved).unwrap()).unwrap();
            for (k, expected) in run[stop + 1..].iter().enumerate() {
                assert_eq!(&resumed.next(), expected, "{stop} + {k}");
            }
        }
        let beyond = Cursor { epoch: 0, position: 1000 };
        assert!(fresh().seek(beyond).unwrap_err().to_string().contains("items of an epoch"));
        // The first batch has four items, or what its bucket has.
        let inside = Cursor { epoch: 0, position: fresh().next().unwrap().next.position - 1 };
        assert!(fresh().seek(inside).unwrap_err().to_string().contains("beginning of a batch"));
    }

    /// Positions that count batches would skip or repeat items here.
    #[test]
    fn another_batch_size_goes_on_with_the_items_that_are_left() {
        let of = |size| Batches::new(20, &BatchConfig::new(size).with_shuffle(3)).unwrap();
        let order = of(20).next().unwrap().indices;
        let mut small = of(3);
        small.by_ref().take(2).for_each(drop);
        assert_eq!(small.cursor(), Cursor { epoch: 0, position: 6 });
        let mut large = of(5);
        large.seek(small.cursor()).unwrap();
        assert_eq!(indices(&mut large), [&order[6..11], &order[11..16], &order[16..]]);
        let mut whole = of(5);
        whole.by_ref().for_each(drop);
        assert_eq!(indices(&mut large), indices(&mut whole), "the next epoch is a whole one");
        let mut full = Batches::new(20, &BatchConfig::new(5).with_drop_last(true)).unwrap();
        full.seek(Cursor { epoch: 0, position: 6 }).unwrap();
        assert_eq!(indices(&mut full), [(6..11).collect::<Vec<_>>(), (11..16).collect()]);
        assert_eq!((full.batches_per_epoch(), indices(&mut full).len()), (4, 4));
    }

    #[test]
    fn numbers_of_items_beyond_the_memory_are_errors() {
        for items in [usize::MAX, 1 << 62, (1 << 60) + 1] {
            for config in
                [BatchConfig::new(2), BatchConfig::new(usize::MAX), BatchConfig::new(1).with_shuffle(1)]
            {
                let error = Batches::new(items, &config).unwrap_err().to_string();
                assert!(error.starts_with("Batches::new: the order of items"), "{error}");
            }
        }
        let mut whole = Batches::new(3, &BatchConfig::new(usize::MAX)).unwrap();
        assert_eq!(indices(&mut whole), [vec![0, 1, 2]]);
        // The last epoch that a file can name.
        whole.seek(Cursor { epoch: u64::MAX, position: 3 }).unwrap();
        assert!(whole.next().is_none());
        assert_eq!(whole.next().unwrap().indices, [0, 1, 2]);
    }

    #[test]
    fn items_are_picked_and_nonsense_is_refused() {
        let batch = Batches::new(3, &BatchConfig::new(2)).unwrap().nth(1).unwrap();
        assert_eq!(batch.pick(&["a", "b", "c"]).unwrap(), [&"c"]);
        assert_eq!(batch.copy(&[5u32, 6, 7]).unwrap(), [7]);
        assert!(batch.pick(&["a", "b"]).is_err());
        let error = |items, config: &BatchConfig| Batches::new(items, config).unwrap_err().to_string();
        assert!(error(3, &BatchConfig::new(0)).contains("batch_size"));
        assert!(error(0, &BatchConfig::new(1)).contains("empty"));
        assert!(error(3, &BatchConfig::new(4).with_drop_last(true)).contains("drop_last"));
        assert!(error(3, &BatchConfig::new(4).with_bucket_width(4)).contains("by_length"));
        let by_length = |lengths: &[usize], width| {
            Batches::by_length(lengths, &BatchConfig::new(2).with_bucket_width(width))
                .unwrap_err()
                .to_string()
        };
        assert!(by_length(&[1, 2], 0).contains("bucket_width"));
        assert!(by_length(&[1, 0], 2).starts_with("sequence 1"));
    }
}
