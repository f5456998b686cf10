//! [`FreeBlocks`]: memory that a device keeps for its next arrays.

use std::collections::HashMap;
use std::hash::Hash;

/// Bytes that may be kept besides twice the most that was in use.
const SPARE: u64 = 256 << 20;

/// Freed blocks of memory by kind, of which a block of the same kind is made.
///
/// A training step with the sizes of the one before finds all its blocks here. Sequences of varying lengths need blocks of
/// many sizes, so what is kept has a bound. All blocks of a device, in use or free, take at most twice the bytes that were
/// ever in use at the same time, and 256 MiB more. Above that, blocks that have been free for the longest time go first.
#[derive(Debug)]
pub struct FreeBlocks<K, B> {
    lists: HashMap<K, Vec<Free<B>>>,
    spare: u64,
    /// Bytes of the lists.
    free: u64,
    /// Bytes of all blocks that exist.
    held: u64,
    most_used: u64,
    /// Blocks freed so far.
    clock: u64,
}

#[derive(Debug)]
struct Free<B> {
    block: B,
    bytes: u64,
    /// The clock when it was freed.
    since: u64,
}

impl<K, B> Default for FreeBlocks<K, B> {
    fn default() -> Self {
        FreeBlocks { lists: HashMap::new(), spare: SPARE, free: 0, held: 0, most_used: 0, clock: 0 }
    }
}

impl<K: Copy + Eq + Hash, B> FreeBlocks<K, B> {
    /// A block of this kind that is free, the last one freed.
    #[inline]
    pub fn take(&mut self, kind: K) -> Option<B> {
        let free = self.lists.get_mut(&kind)?.pop()?;
        Some(self.taken(free))
    }

    /// The free block of this kind with the lowest number. Which one that is depends only on the blocks that are free, not
    /// on the order in which they were freed: steps that start with the same free blocks get the same ones.
    pub fn take_lowest(&mut self, kind: K, number: impl Fn(&B) -> u64) -> Option<B> {
        let list = self.lists.get_mut(&kind)?;
        let (at, _) = list.iter().enumerate().min_by_key(|(_, free)| number(&free.block))?;
        let free = list.remove(at);
        Some(self.taken(free))
    }

    fn taken(&mut self, Free { block, bytes, .. }: Free<B>) -> B {
        self.free -= bytes;
        self.most_used = self.most_used.max(self.held - self.free);
        block
    }

    /// Counts a new block. Returns blocks to be given back to the system, so that the bound holds.
    #[must_use = "blocks are freed where they are dropped"]
    pub fn add(&mut self, bytes: u64) -> Vec<B> {
        self.held += bytes;
        self.most_used = self.most_used.max(self.held - self.free);
        let mut too_many = Vec::new();
        while self.held > 2 * self.most_used + self.spare {
            let Some(oldest) = self.oldest() else { break };
            self.free -= oldest.bytes;
            self.held -= oldest.bytes;
            too_many.push(oldest.block);
        }
        too_many
    }

    /// Keeps a block of `bytes` bytes that is no longer in use.
    #[inline]
    pub fn put(&mut self, kind: K, bytes: u64, block: B) {
        self.clock += 1;
        self.free += bytes;
        self.lists.entry(kind).or_default().push(Free { block, bytes, since: self.clock });
    }

    /// Takes out all free blocks, to be given back to a system that has no memory left.
    #[must_use = "blocks are freed where they are dropped"]
    pub fn take_all(&mut self) -> Vec<B> {
        self.held -= self.free;
        self.free = 0;
        self.lists.drain().flat_map(|(_, list)| list).map(|free| free.block).collect()
    }

    /// Counts a block in use that has gone without coming back.
    pub fn forget(&mut self, bytes: u64) {
        self.held -= bytes;
    }

    /// Bytes of all blocks that exist, in use or free.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Takes out the block that has been free for the longest time.
    fn oldest(&mut self) -> Option<Free<B>> {
        let first = |list: &Vec<Free<B>>| list.first().map(|free| free.since);
        let (_, list) =
            self.lists.iter_mut().filter(|(_, list)| !list.is_empty()).min_by_key(|(_, list)| first(list))?;
        Some(list.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_spare(spare: u64) -> FreeBlocks<u64, u64> {
        FreeBlocks { spare, ..FreeBlocks::default() }
    }

    /// A block of `bytes` bytes, and what was given back for it.
    fn block(blocks: &mut FreeBlocks<u64, u64>, bytes: u64) -> Vec<u64> {
        match blocks.take(bytes) {
            Some(block) => {
                assert_eq!(block, bytes);
                Vec::new()
            }
            None => blocks.add(bytes),
        }
    }

    #[test]
    fn steps_of_equal_sizes_find_their_blocks() {
        let mut blocks = with_spare(0);
        for step in 0..3 {
            for bytes in [100, 40, 40, 7] {
                assert!(block(&mut blocks, bytes).is_empty(), "step {step}");
            }
            for bytes in [40, 7, 100, 40] {
                blocks.put(bytes, bytes, bytes);
            }
            assert_eq!(blocks.held(), 187);
        }
    }

    #[test]
    fn the_lowest_number_does_not_depend_on_the_order_of_freeing() {
        for freed in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
            let mut blocks: FreeBlocks<u64, u64> = with_spare(100);
            for number in freed {
                assert!(blocks.add(8).is_empty());
                blocks.put(8, 8, number);
            }
            let mut lowest = || blocks.take_lowest(8, |&number| number);
            assert_eq!([lowest(), lowest(), lowest(), lowest()], [Some(1), Some(2), Some(3), None]);
            assert_eq!((blocks.held(), blocks.take_all().len()), (24, 0));
        }
    }

    #[test]
    fn what_is_kept_has_a_bound_and_the_oldest_goes_first() {
        let mut blocks = with_spare(50);
        for bytes in 1..=100 {
            for given_back in block(&mut blocks, bytes) {
                assert!(given_back < bytes);
            }
            blocks.put(bytes, bytes, bytes);
            // One block is in use at a time.
            assert!(blocks.held() <= 2 * bytes + 50, "{bytes}: {}", blocks.held());
        }
        // 100, 99 and 51 at most: the last ones freed are there.
        assert_eq!(blocks.take(100), Some(100));
        assert_eq!(blocks.take(99), Some(99));
        assert_eq!(blocks.take(40), None);
    }

    #[test]
    fn a_block_in_use_is_not_given_back() {
        let mut blocks = with_spare(0);
        assert!(block(&mut blocks, 1000).is_empty());
        assert!(block(&mut blocks, 10).is_empty());
        blocks.put(10, 10, 10);
        assert!(block(&mut blocks, 20).is_empty());
        assert_eq!(blocks.held(), 1030);
        assert_eq!(blocks.take_all(), [10]);
        assert_eq!((blocks.held(), blocks.take(10)), (1020, None));
        blocks.put(20, 20, 20);
        blocks.forget(1000);
        assert_eq!(blocks.take_all(), [20]);
        assert_eq!(blocks.held(), 0);
    }
}
