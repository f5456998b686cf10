//! A barrier for the few threads that share the steps of a recurrence.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Spins before a waiting thread starts to give its core away: about 20 microseconds, several
/// steps' imbalance. Pure spinning would stall a machine that is busy with something else.
const SPINS: usize = 4000;

/// Releases its members when all have arrived; what they wrote before is visible to all after.
pub(crate) struct Barrier {
    members: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
}

impl Barrier {
    pub(crate) fn new(members: usize) -> Self {
        Barrier { members, arrived: AtomicUsize::new(0), generation: AtomicUsize::new(0) }
    }

    /// Returns when every member has called it as often as this one.
    #[inline]
    pub(crate) fn wait(&self) {
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
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every member sees what all others wrote in the round before.
    #[test]
    fn rounds_do_not_overlap() {
        const MEMBERS: usize = 3;
        let barrier = Barrier::new(MEMBERS);
        let counts: Vec<AtomicUsize> = (0..MEMBERS).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for member in 0..MEMBERS {
                let (barrier, counts) = (&barrier, &counts);
                scope.spawn(move || {
                    for round in 1..=1000 {
                        counts[member].store(round, Ordering::Relaxed);
                        barrier.wait();
                        for count in counts {
                            assert_eq!(count.load(Ordering::Relaxed), round);
                        }
                        barrier.wait();
                    }
                });
            }
        });
    }
}
