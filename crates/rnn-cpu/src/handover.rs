//! How a job goes from its caller to the helpers, and how the caller finds that they have let go of it. Checked by
//! `tests/loom.rs`.

use super::barrier::Poisoned;
use super::sync::{
    AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, SPINS, Thread, fence, park, spin_loop, yield_now,
};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// The gate's bit that says that the current job takes helpers. The bits below it are the number of helpers inside,
/// those above it the number of the job.
const OPEN: u64 = 1 << 31;

/// The gate after the last job. No job has this value, because it would mean 2^31 - 1 helpers inside.
const ENDED: u64 = u64::MAX;

/// What everybody works on: numbers are claimed from [`Handover::next`] until they run out.
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    count: usize,
}

// SAFETY: the pointee is `Sync`, and it outlives every use: see `Handover::run`.
unsafe impl Send for Job {}

/// Where a caller leaves a job and helpers find it. One job at a time.
pub(crate) struct Handover {
    job: Mutex<Option<Job>>,
    /// Number of the job << 32 | OPEN | number of helpers inside
    gate: AtomicU64,
    /// The next part that no thread has claimed.
    next: AtomicUsize,
    panicked: AtomicBool,
    /// The payload of the first panic of the current job.
    panic: Mutex<Option<Payload>>,
}

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Keeps the panic that explains the others: the first one, or the first that is not a member's of a poisoned barrier.
pub(crate) fn keep_first(kept: &mut Option<Payload>, payload: Payload) {
    if kept.as_ref().is_none_or(|kept| kept.is::<Poisoned>() && !payload.is::<Poisoned>()) {
        *kept = Some(payload);
    }
}

/// A thread that takes part in jobs, as callers see it.
pub(crate) struct Helper {
    pub(crate) thread: Thread,
    /// Whether the helper is parked or is about to park.
    pub(crate) parked: Arc<AtomicBool>,
}

impl Handover {
    pub(crate) fn new() -> Self {
        Handover {
            job: Mutex::new(None),
            gate: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        }
    }

    /// A helper's turn: waits for a job other than `last`, takes part, leaves; returns the job's number, or none after
    /// [`end`](Self::end).
    pub(crate) fn help(&self, last: u64, parked: &AtomicBool) -> Option<u64> {
        let number = self.enter(last, parked)?;
        // The lock only carries the pointer across. It is not held during the work.
        let job = *self.job.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(job) = job {
            // SAFETY: this helper is counted in the gate, so `run` has not returned.
            let work = unsafe { &*job.work };
            self.claim(work, job.count);
        }
        self.gate.fetch_sub(1, Ordering::AcqRel);
        Some(number)
    }

    /// Waits for an open job other than `last` and goes inside; returns its number, or none after the last job.
    fn enter(&self, last: u64, parked: &AtomicBool) -> Option<u64> {
        let mut spins = 0;
        loop {
            let gate = self.gate.load(Ordering::Acquire);
            if gate == ENDED {
                return None;
            } else if gate & OPEN != 0 && gate >> 32 != last {
                let inside = self.gate.compare_exchange(gate, gate + 1, Ordering::AcqRel, Ordering::Relaxed);
                if inside.is_ok() {
                    return Some(gate >> 32);
                }
            } else if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                // The helper announces that it parks, then reads the gate once more. This fence and the one in `run` order
                // both threads: either this load reads the new job, or `run` reads the announcement and wakes the helper.
                // An earlier wake-up may have left a token; parking then returns at once and the loop runs once more.
                parked.store(true, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                let gate = self.gate.load(Ordering::Acquire);
                if gate != ENDED && (gate & OPEN == 0 || gate >> 32 == last) {
                    park();
                }
                parked.store(false, Ordering::Relaxed);
                spins = 0;
            }
        }
    }

    /// Works on parts until none is left, or until one panics here.
    fn claim(&self, work: &(dyn Fn(usize) + Sync), count: usize) {
        let parts = || {
            loop {
                let part = self.next.fetch_add(1, Ordering::Relaxed);
                if part >= count {
                    return;
                }
                work(part);
            }
        };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(parts)) {
            keep_first(&mut self.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), payload);
            self.panicked.store(true, Ordering::Relaxed);
        }
    }

    /// Runs a job with the helpers that come in time. One thread at a time may call this.
    ///
    /// # Panics
    /// With the panic of a part, after all threads have let go of the job.
    pub(crate) fn run(&self, helpers: &[Helper], count: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes. Helpers use the pointer while they are counted in the
        // gate, and `Close` waits until none is.
        let erased: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        *self.job.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Job { work: erased, count });
        self.next.store(0, Ordering::Relaxed);
        self.panicked.store(false, Ordering::Relaxed);
        let number = (self.gate.load(Ordering::Relaxed) >> 32).wrapping_add(1) & 0xffff_ffff;
        self.gate.store(number << 32 | OPEN, Ordering::Release);
        let close = Close(self);
        wake(&helpers[..helpers.len().min(count - 1)]);
        self.claim(work, count);
        drop(close);
        if self.panicked.load(Ordering::Relaxed) {
            let payload = self.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
            resume_unwind(payload.unwrap_or_else(|| unreachable!("`claim` keeps the payload first")));
        }
    }

    /// Lets the helpers go. No job runs, and none comes after.
    pub(crate) fn end(&self, helpers: &[Helper]) {
        self.gate.store(ENDED, Ordering::Release);
        wake(helpers);
    }
}

/// Wakes helpers that sleep. What they shall see has been stored before.
fn wake(helpers: &[Helper]) {
    fence(Ordering::SeqCst);
    for helper in helpers {
        if helper.parked.load(Ordering::Relaxed) {
            helper.thread.unpark();
        }
    }
}

/// Closes the gate and waits until everybody has left.
struct Close<'a>(&'a Handover);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let gate = &self.0.gate;
        gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while gate.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                yield_now();
            }
        }
    }
}
