//! Imitation of faulty drivers, for the tests of self-tests.

use rnn_kernels::catalogue::pointwise::FILL;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The kernels that devices run wrongly, and how; the memory that they have, and their speed. Only for tests: the results of such a
/// device are wrong.
#[derive(Debug)]
pub struct Fault {
    kernels: Mutex<Option<(&'static str, FaultEffect)>>,
    /// Most bytes of all buffers together.
    memory: AtomicU64,
    /// Most multiply-adds of a dispatch.
    work: AtomicUsize,
}

/// What a faulty kernel does.
#[derive(Clone, Copy, Debug)]
pub enum FaultEffect {
    /// It does not run: what was in memory stays there.
    Nothing,
    /// Only its first workgroup runs.
    FirstWorkgroup,
    /// It writes this number everywhere in the arrays that it may write.
    Fills(f32),
}

impl Fault {
    /// All kernels run as they should.
    pub const fn none() -> Self {
        Fault {
            kernels: Mutex::new(None),
            memory: AtomicU64::new(u64::MAX),
            work: AtomicUsize::new(usize::MAX),
        }
    }

    /// From now on the driver has no memory for more bytes than this.
    pub fn set_memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// From now on the adapter is so slow that a dispatch may have only so many multiply-adds.
    pub fn set_most_work(&self, work: usize) {
        self.work.store(work, Ordering::Relaxed);
    }

    pub(super) fn most_work(&self) -> usize {
        self.work.load(Ordering::Relaxed)
    }

    pub(super) fn has_no_memory(&self, bytes: u64) -> bool {
        bytes > self.memory.load(Ordering::Relaxed)
    }

    /// From now on the kernels whose label contains `kernels` do this. All labels contain the empty text.
    pub fn set(&self, kernels: &'static str, effect: FaultEffect) {
        *self.kernels.lock().unwrap_or_else(PoisonError::into_inner) = Some((kernels, effect));
    }

    pub(super) fn of(&self, label: &str) -> Option<FaultEffect> {
        let (kernels, effect) = (*self.kernels.lock().unwrap_or_else(PoisonError::into_inner))?;
        // The faults themselves are written by `FILL`.
        (label.contains(kernels) && label != FILL.label).then_some(effect)
    }
}
