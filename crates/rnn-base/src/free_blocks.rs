//! [`FreeBlocks`]: memory that a device keeps for its next arrays.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::marker::PhantomData;

/// Bytes that may be kept besides twice the most that was in use.
const SPARE: u64 = 256 << 20;

/// Freed blocks of memory by kind, of which a block of the same kind is made.
///
/// A training step with the sizes of the one before finds all its blocks here. Sequences of varying lengths need blocks of
/// many sizes, so what is kept has a bound. All blocks of a device, in use or free, take at most twice the bytes that were
/// ever in use at the same time, and 256 MiB more. Above that, blocks that have been free for the longest time go first.
#[derive(Debug)]
pub struct FreeBlocks<K, B, L = Stack<B>> {
    lists: HashMap<K, L>,
    spare: u64,
    /// Bytes of the lists.
    free: u64,
    /// Bytes of all blocks that exist.
    held: u64,
    most_used: u64,
    /// Blocks freed so far.
    clock: u64,
    blocks: PhantomData<B>,
}

/// A block that is not in use.
#[derive(Debug)]
pub struct Free<B> {
    block: B,
    bytes: u64,
    /// The clock when it was freed.
    since: u64,
}

/// The free blocks of one kind. Lists differ in which block they give first.
pub trait List<B>: Default {
    /// Adds a block.
    fn put(&mut self, free: Free<B>);
    /// Takes the next block.
    fn take(&mut self) -> Option<Free<B>>;
    /// The clock when the block was freed that has been free for the longest time.
    fn oldest(&self) -> Option<u64>;
    /// Takes that block.
    fn take_oldest(&mut self) -> Option<Free<B>>;
}

/// Gives the block first that was freed last, which a cache most likely holds.
#[derive(Debug)]
pub struct Stack<B>(Vec<Free<B>>);

/// Gives the block with the lowest number first. Which one that is depends only on the blocks that are free, not on the order in
/// which they were freed: steps that start with the same free blocks get the same ones.
#[derive(Debug)]
pub struct ByNumber<B>(BTreeMap<u64, Free<B>>);

/// A block with a number that no other one has.
pub trait Numbered {
    /// The number.
    fn number(&self) -> u64;
}

impl<B> Default for Stack<B> {
    fn default() -> Self {
        Stack(Vec::new())
    }
}

impl<B> List<B> for Stack<B> {
    #[inline]
    fn put(&mut self, free: Free<B>) {
        self.0.push(free);
    }

    #[inline]
    fn take(&mut self) -> Option<Free<B>> {
        self.0.pop()
    }

    fn oldest(&self) -> Option<u64> {
        self.0.first().map(|free| free.since)
    }

    fn take_oldest(&mut self) -> Option<Free<B>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}

impl<B> Default for ByNumber<B> {
    fn default() -> Self {
        ByNumber(BTreeMap::new())
    }
}

impl<B: Numbered> List<B> for ByNumber<B> {
    fn put(&mut self, free: Free<B>) {
        self.0.insert(free.block.number(), free);
    }

    fn take(&mut self) -> Option<Free<B>> {
        self.0.pop_first().map(|(_, free)| free)
    }

    fn oldest(&self) -> Option<u64> {
        self.0.values().map(|free| free.since).min()
    }

    fn take_oldest(&mut self) -> Option<Free<B>> {
        let (&number, _) = self.0.iter().min_by_key(|(_, free)| free.since)?;
        self.0.remove(&number)
    }
}

impl<K, B, L> Default for FreeBlocks<K, B, L> {
    fn default() -> Self {
        FreeBlocks {
            lists: HashMap::new(),
            spare: SPARE,
            free: 0,
            held: 0,
            most_used: 0,
            clock: 0,
            blocks: PhantomData,
        }
    }
}

impl<K: Copy + Eq + Hash, B, L: List<B>> FreeBlocks<K, B, L> {
    /// A block of this kind that is free.
    #[inline]
    pub fn take(&mut self, kind: K) -> Option<B> {
        let Free { block, bytes, .. } = self.lists.get_mut(&kind)?.take()?;
        self.free -= bytes;
        self.most_used = self.most_used.max(self.held - self.free);
        Some(block)
    }

    /// Counts a new block. Returns blocks to be given back to the system, so that the bound holds.
    #[must_use = "blocks are freed where they are dropped"]
    pub fn add(&mut self, bytes: u64) -> Vec<B> {
        self.held += bytes;
        self.most_used = self.most_used.max(self.held - self.free);
        let mut too_many = Vec::new();
        while self.held > 2 * self.most_used + self.spare {
            let Some(oldest) = self.take_oldest() else { break };
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
        self.lists.entry(kind).or_default().put(Free { block, bytes, since: self.clock });
    }

    /// Takes out all free blocks, to be given back to a system that has no memory left.
    #[must_use = "blocks are freed where they are dropped"]
    pub fn take_all(&mut self) -> Vec<B> {
        self.held -= self.free;
        self.free = 0;
        let lists = self.lists.drain().map(|(_, list)| list);
        lists.flat_map(|mut list| std::iter::from_fn(move || list.take())).map(|free| free.block).collect()
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
    fn take_oldest(&mut self) -> Option<Free<B>> {
        let lists = self.lists.values_mut().filter_map(|list| list.oldest().map(|since| (since, list)));
        lists.min_by_key(|&(since, _)| since)?.1.take_oldest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Numbered for u64 {
        fn number(&self) -> u64 {
            *self
        }
    }

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
            let mut blocks: FreeBlocks<u64, u64, ByNumber<u64>> =
                FreeBlocks { spare: 10, ..FreeBlocks::default() };
            for number in freed {
                assert!(blocks.add(8).is_empty());
                blocks.put(8, 8, number);
            }
            // What has been free for the longest time goes first, whatever its number.
            assert_eq!(blocks.add(8), [freed[0]]);
            let mut left = [freed[1], freed[2]];
            left.sort_unstable();
            assert_eq!(
                [blocks.take(8), blocks.take(8), blocks.take(8)],
                [Some(left[0]), Some(left[1]), None]
            );
            assert_eq!((blocks.held(), blocks.take_all()), (24, vec![]));
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
