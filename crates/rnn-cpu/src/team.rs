//! The threads of the CPU backend: the caller, and helpers that wait for work together.
//!
//! A training step is a chain of short parallel pieces, so waking a thread must not cost more than
//! the work: helpers spin for a while after every piece before they park, the caller starts at once
//! and takes whatever no helper has taken, and nobody waits for a helper that never arrived.
//!
//! `RNN_THREADS` sets the number of threads, the machine's parallelism is the default. No result
//! depends on it: work is cut by sizes, and sums keep their order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::thread::Thread;

/// Number of threads that work together, the caller included.
pub(crate) fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| {
        let machine = std::thread::available_parallelism().map_or(1, usize::from);
        let Ok(wanted) = std::env::var("RNN_THREADS") else { return machine };
        match wanted.parse() {
            Ok(threads) if (1..=1024).contains(&threads) => threads,
            _ => {
                tracing::warn!(%wanted, using = machine, "RNN_THREADS must be 1 to 1024");
                machine
            }
        }
    })
}

/// Turns of a waiting helper before it parks: some 50 to 100 microseconds, longer than the gap between two
/// ops of a training step and shorter than anybody would notice.
const SPINS: usize = 4_000;

/// The gate's bit that says that the current job takes helpers; below it their number inside, above
/// it the number of the job.
const OPEN: u64 = 1 << 31;

/// What everybody works on: numbers are claimed from `Team::next` until they run out.
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    count: usize,
}

// SAFETY: the pointee is `Sync`, and it outlives every use: see `Team::run`.
unsafe impl Send for Job {}

struct Team {
    /// One job at a time.
    busy: Mutex<()>,
    job: Mutex<Option<Job>>,
    /// Generation << 32 | OPEN | number of helpers inside
    gate: AtomicU64,
    /// The next part that nobody has claimed.
    next: AtomicUsize,
    panicked: AtomicBool,
    helpers: OnceLock<Vec<Helper>>,
}

struct Helper {
    thread: Thread,
    parked: &'static AtomicBool,
}

/// The team of the process; its helpers start with the first job.
fn team() -> &'static Team {
    static TEAM: OnceLock<&'static Team> = OnceLock::new();
    TEAM.get_or_init(|| {
        let team: &'static Team = Box::leak(Box::new(Team {
            busy: Mutex::new(()),
            job: Mutex::new(None),
            gate: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            helpers: OnceLock::new(),
        }));
        let mut helpers = Vec::new();
        for n in 1..threads() {
            let parked: &'static AtomicBool = Box::leak(Box::default());
            let builder = std::thread::Builder::new().name(format!("rnn-cpu-{n}"));
            match builder.spawn(move || team.help(parked)) {
                Ok(handle) => helpers.push(Helper { thread: handle.thread().clone(), parked }),
                Err(error) => tracing::warn!(%error, "a thread of the CPU backend does not start"),
            }
        }
        team.helpers.get_or_init(|| helpers);
        team
    })
}

impl Team {
    fn helpers(&self) -> &[Helper] {
        self.helpers.get().map_or(&[], Vec::as_slice)
    }

    /// A helper's life: wait for a job, take part, leave.
    fn help(&self, parked: &AtomicBool) {
        let mut last = 0;
        loop {
            let generation = self.enter(last, parked);
            last = generation;
            // Not held while working: the lock only carries the pointer across.
            let job = *self.job.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some(job) = job {
                // SAFETY: this helper is counted in the gate, so `run` has not returned.
                let work = unsafe { &*job.work };
                if catch_unwind(AssertUnwindSafe(|| self.claim(work, job.count))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.gate.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits for an open job other than `last` and goes inside; returns its number.
    fn enter(&self, last: u64, parked: &AtomicBool) -> u64 {
        let mut spins = 0;
        loop {
            let gate = self.gate.load(Ordering::Acquire);
            if gate & OPEN != 0 && gate >> 32 != last {
                let inside = self.gate.compare_exchange(gate, gate + 1, Ordering::AcqRel, Ordering::Relaxed);
                if inside.is_ok() {
                    return gate >> 32;
                }
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                // Announced before looking once more: either this load sees the new job or its
                // caller sees the announcement. A token of an earlier wake-up only costs a turn.
                parked.store(true, Ordering::SeqCst);
                let gate = self.gate.load(Ordering::SeqCst);
                if gate & OPEN == 0 || gate >> 32 == last {
                    std::thread::park();
                }
                parked.store(false, Ordering::SeqCst);
                spins = 0;
            }
        }
    }

    /// Works on parts until none is left.
    fn claim(&self, work: &(dyn Fn(usize) + Sync), count: usize) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= count {
                return;
            }
            work(part);
        }
    }

    /// Runs a job with the helpers. The caller holds `busy`.
    fn run(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes. Helpers use the pointer while they are counted in the
        // gate, and `Close` waits until none is, also when `work` panics here.
        let erased: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(work) };
        *self.job.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Job { work: erased, count });
        self.next.store(0, Ordering::Relaxed);
        self.panicked.store(false, Ordering::Relaxed);
        let generation = (self.gate.load(Ordering::Relaxed) >> 32).wrapping_add(1) & 0xffff_ffff;
        self.gate.store(generation << 32 | OPEN, Ordering::SeqCst);
        let close = Close(self);
        for helper in self.helpers().iter().take(count - 1) {
            if helper.parked.load(Ordering::SeqCst) {
                helper.thread.unpark();
            }
        }
        self.claim(work, count);
        drop(close);
        assert!(!self.panicked.load(Ordering::Relaxed), "a helper of the CPU backend panicked");
    }
}

/// Closes the gate and waits until everybody has left.
struct Close<'a>(&'a Team);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let gate = &self.0.gate;
        gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while gate.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// Calls `work` with every number below `count`. There may be more parts than threads, so parts must
/// not wait for each other.
pub(crate) fn each(count: usize, work: impl Fn(usize) + Sync) {
    if count > 1 && threads() > 1 {
        let team = team();
        // Another thread of the program is using the team: this one works alone.
        if let Ok(_busy) = team.lock() {
            return team.run(count, &work);
        }
    }
    (0..count).for_each(work);
}

/// Calls `work` with every number below `count`, each on a thread of its own, so that the parts may
/// wait for each other.
pub(crate) fn together(count: usize, work: impl Fn(usize) + Sync) {
    if count > 1 && count <= threads() {
        let team = team();
        // A part blocks its thread until all have begun, so no thread claims two of them, and helpers
        // join as long as the caller's own part keeps the job open.
        if let (true, Ok(_busy)) = (team.helpers().len() >= count - 1, team.lock()) {
            return team.run(count, &work);
        }
    }
    std::thread::scope(|scope| {
        let work = &work;
        for part in 1..count {
            scope.spawn(move || work(part));
        }
        work(0);
    });
}

impl Team {
    fn lock(&self) -> Result<std::sync::MutexGuard<'_, ()>, ()> {
        match self.busy.try_lock() {
            Ok(guard) => Ok(guard),
            // A job that panicked has closed its gate; the team is fit for the next.
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(()),
        }
    }
}

/// A pointer to what parts write, each its own elements. Through `get`, so that closures capture the whole.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut f32);
// SAFETY: parts write disjoint elements and nobody reads before all have finished.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn get(self) -> *mut f32 {
        self.0
    }
}

/// A slice that parts share; each takes its own piece.
struct Slice<E>(*mut E, usize);
// SAFETY: `pieces` hands every element to exactly one part.
unsafe impl<E: Send> Sync for Slice<E> {}

impl<E> Slice<E> {
    /// # Safety
    /// Ranges of different calls do not overlap.
    #[expect(clippy::mut_from_ref, reason = "disjoint by contract")]
    unsafe fn range(&self, start: usize, end: usize) -> &mut [E] {
        let end = end.min(self.1);
        // SAFETY: within the slice; disjoint by contract.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), end - start) }
    }
}

/// Calls `work(k, piece)` for the pieces of `piece` elements that `out` is cut into; neighbouring
/// pieces go to one thread.
pub(crate) fn pieces<E: Send>(out: &mut [E], piece: usize, work: impl Fn(usize, &mut [E]) + Sync) {
    let count = out.len().div_ceil(piece);
    // Several groups per thread: one that starts late takes fewer.
    let per_group = count.div_ceil(4 * threads()).max(1);
    let all = Slice(out.as_mut_ptr(), out.len());
    each(count.div_ceil(per_group), |group| {
        let first = group * per_group;
        for k in first..(first + per_group).min(count) {
            // SAFETY: every k occurs once.
            work(k, unsafe { all.range(k * piece, (k + 1) * piece) });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once() {
        for round in 0..500 {
            let count = [0, 1, 2, 7, 100][round % 5];
            let calls: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            each(count, |part| {
                calls[part].fetch_add(1, Ordering::Relaxed);
            });
            assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1), "{count}");
        }
    }

    #[test]
    fn pieces_are_numbered_in_order_and_cover_everything() {
        for (len, piece) in [(1, 1), (5, 2), (1000, 7), (64, 64), (65, 64)] {
            let mut out = vec![usize::MAX; len];
            pieces(&mut out, piece, |k, part| part.fill(k));
            for (n, k) in out.into_iter().enumerate() {
                assert_eq!(k, n / piece, "element {n} of {len} in pieces of {piece}");
            }
        }
    }

    /// Parts that wait for each other all run at once, also after the helpers have parked, and when
    /// several threads of the program ask at the same time.
    #[test]
    fn together_is_concurrent() {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..50 {
                        let arrived = AtomicUsize::new(0);
                        together(2, |_| {
                            arrived.fetch_add(1, Ordering::AcqRel);
                            while arrived.load(Ordering::Acquire) < 2 {
                                std::thread::yield_now();
                            }
                        });
                        if round % 20 == 0 {
                            std::thread::sleep(std::time::Duration::from_millis(2));
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_survives() {
        let result = catch_unwind(|| each(50, |part| assert!(part != 33, "part 33")));
        assert!(result.is_err());
        let sum = AtomicUsize::new(0);
        each(50, |part| {
            sum.fetch_add(part, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 1225);
    }
}
