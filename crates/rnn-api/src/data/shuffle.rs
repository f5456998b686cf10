//! Seeded shuffling.

use rnn_runtime::RngKey;
use serde::{Deserialize, Serialize};

/// Separates the random draws of data from those of weights and dropout.
const DATA_STREAM: u32 = 0x6461_7461;

/// The purpose of a draw.
#[derive(Clone, Copy)]
pub(crate) enum Draw {
    Split = 0,
    Items = 1,
    Batches = 2,
    Rotation = 3,
}

/// The position of an iteration over data. A checkpoint stores it, and `seek` continues there with the same items
/// in the same order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The number of complete passes.
    pub epoch: u64,
    /// The position in the current pass, in items for [`Batches`](super::Batches) and time steps for
    /// [`Streams`](super::Streams).
    pub position: u64,
}

impl Cursor {
    /// The start of the next pass. A cursor may come from a file with any number in it.
    pub(crate) fn next_epoch(self) -> Self {
        Cursor { epoch: self.epoch.wrapping_add(1), position: 0 }
    }
}

/// A number in `0..bound`, uniform up to one part in 2^32 / bound.
fn below(key: RngKey, index: usize, bound: usize) -> usize {
    let bits = key.bits((index as u64 >> 32) as u32, index as u32);
    ((u128::from(bits) * bound as u128) >> 32) as usize
}

fn key(seed: u64, draw: Draw, epoch: u64) -> RngKey {
    let key = RngKey::new(seed).derive(DATA_STREAM, draw as u32);
    key.derive((epoch >> 32) as u32, epoch as u32)
}

/// One number in `0..bound` per epoch.
pub(crate) fn draw_below(seed: u64, draw: Draw, epoch: u64, bound: usize) -> usize {
    below(key(seed, draw, epoch), 0, bound)
}

/// A Fisher-Yates shuffle. The order depends only on (seed, draw, epoch).
pub(crate) fn shuffle<T>(items: &mut [T], seed: u64, draw: Draw, epoch: u64) {
    let key = key(seed, draw, epoch);
    for last in (1..items.len()).rev() {
        items.swap(last, below(key, last, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_permutations_that_depend_on_seed_draw_and_epoch() {
        let order = |seed, draw, epoch| {
            let mut items: Vec<usize> = (0..50).collect();
            shuffle(&mut items, seed, draw, epoch);
            items
        };
        let first = order(1, Draw::Items, 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(first, order(1, Draw::Items, 0));
        let others =
            [(2, Draw::Items, 0), (1, Draw::Batches, 0), (1, Draw::Items, 1), (1, Draw::Items, 1 << 32)];
        for (seed, draw, epoch) in others {
            assert_ne!(first, order(seed, draw, epoch));
        }
    }

    /// All six orders of three items are equally frequent.
    #[test]
    fn orders_are_uniform() {
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..6000 {
            let mut items = [0, 1, 2];
            shuffle(&mut items, 3, Draw::Items, epoch);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // 1000 each; four standard deviations of a binomial count are 115.
        assert!(counts.values().all(|&n| (n - 1000i32).abs() < 115), "{counts:?}");
    }
}
