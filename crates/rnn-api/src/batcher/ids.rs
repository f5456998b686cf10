//! Maps and sets of streams. Their ids come from this process and count up, so a multiplication replaces the standard hash,
//! which is made for keys that an attacker chooses.

use crate::slots::SlotId;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

pub(super) type IdMap<T> = HashMap<SlotId, T, BuildHasherDefault<IdHasher>>;
pub(super) type IdSet = HashSet<SlotId, BuildHasherDefault<IdHasher>>;

/// Multiplies by 2^64 over the golden ratio (Knuth 1973, 6.4).
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(29) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        // The upper bits are the good ones; tables take both ends.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hash;

    #[test]
    fn ids_that_count_up_spread_over_tables() {
        // As a SlotId writes itself: owner, index, generation.
        let hash = |index: u32, generation: u32| {
            let mut hasher = IdHasher::default();
            (3u64, index, generation).hash(&mut hasher);
            hasher.finish()
        };
        for bits in [0, 57] {
            let mut counts = [0; 128];
            for n in 0..128 * 64 {
                counts[(hash(n, n % 3) >> bits) as usize % 128] += 1;
            }
            // A random table would have 64 of a kind with a deviation of 8.
            assert!(counts.iter().all(|&count| (24..=104).contains(&count)), "{counts:?}");
        }
    }
}
