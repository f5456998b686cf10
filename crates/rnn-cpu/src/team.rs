//! The threads of the CPU backend: the caller and its helpers.
//!
//! A training step is a chain of short parallel pieces, so waking a thread must not cost more than
//! the work. Helpers spin for a while after every piece before they park ([`super::handover`]). The caller starts at
//! once and takes every part that no helper has taken. Nobody waits for a helper that never arrived.
//!
//! `RNN_THREADS` sets the number of threads; the default is the machine's parallelism. No result depends on it, because
//! work is divided by size alone and sums keep their order.

use super::handover::{Handover, Helper};
use super::subnormals::FlushSubnormals;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, TryLockError};

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

struct Team {
    /// Held by the caller of the current job.
    busy: Mutex<()>,
    handover: Handover,
    helpers: OnceLock<Vec<Helper>>,
}

/// The team of the process; its helpers start with the first job.
fn team() -> &'static Team {
    static TEAM: OnceLock<&'static Team> = OnceLock::new();
    TEAM.get_or_init(|| {
        let team: &'static Team = Box::leak(Box::new(Team {
            busy: Mutex::new(()),
            handover: Handover::new(),
            helpers: OnceLock::new(),
        }));
        let mut helpers = Vec::new();
        for n in 1..threads() {
            let parked = Arc::new(AtomicBool::new(false));
            let own = parked.clone();
            let turns = move || {
                let _flushed = FlushSubnormals::on();
                let mut last = 0;
                loop {
                    last = team.handover.help(last, &own);
                }
            };
            match std::thread::Builder::new().name(format!("rnn-cpu-{n}")).spawn(turns) {
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

    /// Runs a job with the helpers. The caller holds `busy`.
    fn run(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        self.handover.run(self.helpers(), count, work);
    }
}

/// Calls `work` with every number below `count`. There may be more parts than threads, so parts must
/// not wait for each other.
pub fn each(count: usize, work: impl Fn(usize) + Sync) {
    if count > 1 && threads() > 1 {
        let team = team();
        // Another thread of the program is using the team: this one works alone.
        if let Ok(_busy) = team.lock() {
            return team.run(count, &work);
        }
    }
    (0..count).for_each(work);
}

/// Calls `work` with every number below `count`, each on a thread of its own. The parts may wait for each other.
pub fn together(count: usize, work: impl Fn(usize) + Sync) {
    if count > 1 && count <= threads() {
        let team = team();
        // Parts that wait for each other block their threads until all have begun, so no thread claims two. The job
        // stays open for helpers until the caller's own part ends.
        if let (true, Ok(_busy)) = (team.helpers().len() >= count - 1, team.lock()) {
            return team.run(count, &work);
        }
    }
    std::thread::scope(|scope| {
        let work = &work;
        for part in 1..count {
            scope.spawn(move || {
                let _flushed = FlushSubnormals::on();
                work(part);
            });
        }
        work(0);
    });
}

impl Team {
    fn lock(&self) -> Result<std::sync::MutexGuard<'_, ()>, ()> {
        match self.busy.try_lock() {
            Ok(guard) => Ok(guard),
            // A job that panicked has closed its gate, so the team can run the next one.
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(()),
        }
    }
}

/// A pointer to memory of which every part writes its own elements. `get` makes closures capture the struct, not the
/// pointer in it.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut f32);
// SAFETY: parts write disjoint elements and nobody reads before all have finished.
unsafe impl Send for Shared {}
// SAFETY: a shared pointer is only copied; the parts that use it write disjoint elements.
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
        // SAFETY: within the slice; the caller promises that no other range overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), end - start) }
    }
}

/// Calls `work(k, piece)` for the pieces of `piece` elements that `out` is cut into; neighbouring
/// pieces go to one thread.
pub fn pieces<E: Send>(out: &mut [E], piece: usize, work: impl Fn(usize, &mut [E]) + Sync) {
    let count = out.len().div_ceil(piece);
    // Several groups per thread, so that a thread that starts late can take fewer.
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
