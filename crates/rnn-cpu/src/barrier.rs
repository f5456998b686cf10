//! A barrier for the few threads that share the steps of a recurrence. Checked by `tests/loom.rs`.

use super::sync::{AtomicUsize, Ordering, SPINS, spin_loop, yield_now};

/// Releases its members when all have arrived. What they wrote before is visible to all of them after.
pub struct Barrier {
    members: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
}

impl Barrier {
    /// For so many threads.
    pub fn new(members: usize) -> Self {
        Barrier { members, arrived: AtomicUsize::new(0), generation: AtomicUsize::new(0) }
    }

    /// Returns when every member has called it as often as this one.
    #[inline]
    pub fn wait(&self) {
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
            self.arrived.store(0, Ordering::Relaxed);
            self.generation.store(generation.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.generation.load(Ordering::Acquire) == generation {
            if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                yield_now();
            }
        }
    }
}
