//! A barrier for the few threads that share the steps of a recurrence. Checked by `tests/loom.rs`.

use super::sync::{AtomicUsize, Ordering, SPINS, spin_loop, yield_now};
use std::panic::resume_unwind;

/// Set in the generation once a member cannot arrive any more.
const POISONED: usize = 1 << (usize::BITS - 1);

/// Releases its members when all have arrived. What they wrote before is visible to all of them after.
///
/// A [member](Barrier::member) that panics poisons the barrier. The others then unwind from [`Barrier::wait`] instead of
/// waiting for ever.
pub struct Barrier {
    members: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
}

/// Payload of the panic of a member whose peer has panicked.
pub(crate) struct Poisoned;

impl Barrier {
    /// For so many threads.
    pub fn new(members: usize) -> Self {
        Barrier { members, arrived: AtomicUsize::new(0), generation: AtomicUsize::new(0) }
    }

    /// Returns when every member has called it as often as this one.
    ///
    /// # Panics
    /// If a member has panicked: it will never arrive.
    #[inline]
    pub fn wait(&self) {
        let generation = self.generation.load(Ordering::Acquire);
        if generation & POISONED == 0 {
            if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.members {
                self.arrived.store(0, Ordering::Relaxed);
                // All members are here, so none is poisoning: this store overwrites no poison.
                self.generation.store(generation.wrapping_add(1) & !POISONED, Ordering::Release);
                return;
            }
            let mut spins = 0;
            let mut now = generation;
            while now == generation {
                if spins < SPINS {
                    spins += 1;
                    spin_loop();
                } else {
                    yield_now();
                }
                now = self.generation.load(Ordering::Acquire);
            }
            if now & POISONED == 0 {
                return;
            }
        }
        give_up()
    }

    /// Runs a member's work and poisons the barrier if it panics.
    pub fn member(&self, work: impl FnOnce()) {
        struct Poison<'a>(&'a Barrier);
        impl Drop for Poison<'_> {
            fn drop(&mut self) {
                self.0.poison();
            }
        }
        let poison = Poison(self);
        work();
        std::mem::forget(poison);
    }

    /// Lets all members go, now and in future. Only a member that has not arrived in this round may call this.
    fn poison(&self) {
        self.generation.fetch_or(POISONED, Ordering::AcqRel);
    }
}

/// The panic of a peer has been reported already, so this one bypasses the hook.
#[cold]
fn give_up() -> ! {
    resume_unwind(Box::new(Poisoned))
}
