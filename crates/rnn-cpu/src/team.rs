//! The threads of the CPU backend: the caller and its helpers.
//!
//! A training step is a chain of short parallel pieces, so waking a thread must not cost more than
//! the work. Helpers spin for a while after every piece before they park ([`super::handover`]). The caller starts at
//! once and takes every part that no helper has taken. Nobody waits for a helper that never arrived.
//!
//! `RNN_THREADS` sets the number of threads; the default is the machine's parallelism. If the system does not start them
//! all, the team works with fewer, or the caller alone. No result depends on the number, because work is divided by size
//! alone and sums keep their order.
//!
//! If a part panics, the caller panics with the same payload once no thread works on the job any more. The team survives.
//!
//! A child process made by `fork` has none of its parent's helpers. Its first job finds another process id in the team and
//! starts a team of its own.

use super::handover::{Handover, Helper, Payload, keep_first};
use super::subnormals::FlushSubnormals;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread::Builder;

/// Number of threads that work together, the caller included: those that have started.
pub(crate) fn threads() -> usize {
    // The process is not compared here, because the system call would cost more than the rest. `each` and `together`
    // compare it.
    // SAFETY: a team that is in use is never freed.
    let known = unsafe { TEAM.load(Ordering::Acquire).as_ref() };
    1 + known.unwrap_or_else(|| team()).helpers().len()
}

/// Number of threads asked for.
fn wanted() -> usize {
    let machine = std::thread::available_parallelism().map_or(1, usize::from);
    let Ok(wanted) = std::env::var("RNN_THREADS") else { return machine };
    match wanted.parse() {
        Ok(threads) if (1..=1024).contains(&threads) => threads,
        _ => {
            tracing::warn!(%wanted, using = machine, "RNN_THREADS must be 1 to 1024");
            machine
        }
    }
}

/// Number of the process, where processes can be copied with `fork`.
fn process() -> u32 {
    if cfg!(unix) { std::process::id() } else { 0 }
}

struct Team {
    /// The process that the helpers run in.
    process: u32,
    /// Held by the caller of the current job.
    busy: Mutex<()>,
    handover: Handover,
    /// They start with the first job.
    helpers: OnceLock<Vec<Helper>>,
}

/// The team in use. It is a pointer and not a lock, which another thread could hold at the moment of a `fork`.
static TEAM: AtomicPtr<Team> = AtomicPtr::new(std::ptr::null_mut());

/// The team of this process.
fn team() -> &'static Team {
    let process = process();
    let mut current = TEAM.load(Ordering::Acquire);
    loop {
        // SAFETY: a team that is in use is never freed.
        match unsafe { current.as_ref() } {
            Some(team) if team.process == process => return team,
            _ => {}
        }
        let fresh = Box::into_raw(Box::new(Team {
            process,
            busy: Mutex::new(()),
            handover: Handover::new(),
            helpers: OnceLock::new(),
        }));
        match TEAM.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just made, and in use from now on.
            Ok(_) => return unsafe { &*fresh },
            Err(other) => {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                current = other;
            }
        }
    }
}

impl Team {
    fn helpers(&'static self) -> &'static [Helper] {
        self.helpers.get_or_init(|| self.start())
    }

    /// Starts as many of the wanted helpers as the system allows.
    fn start(&'static self) -> Vec<Helper> {
        let mut helpers = Vec::new();
        let wanted = wanted();
        for n in 1..wanted {
            let parked = Arc::new(AtomicBool::new(false));
            let own = parked.clone();
            let turns = move || {
                let _flushed = FlushSubnormals::on();
                let mut last = 0;
                loop {
                    last = self.handover.help(last, &own);
                }
            };
            match Builder::new().name(format!("rnn-cpu-{n}")).spawn(turns) {
                Ok(handle) => helpers.push(Helper { thread: handle.thread().clone(), parked }),
                Err(error) => {
                    tracing::warn!(%error, wanted, started = n, "a thread of the CPU backend does not start");
                    break;
                }
            }
        }
        helpers
    }

    /// The right to run a job; absent while another thread of the program has it.
    fn lock(&self) -> Option<MutexGuard<'_, ()>> {
        match self.busy.try_lock() {
            Ok(guard) => Some(guard),
            // A job that panicked has closed its gate, so the team can run the next one.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Calls `work` with every number below `count`. There may be more parts than threads, so parts must
/// not wait for each other.
///
/// # Panics
/// With the panic of a part.
pub fn each(count: usize, work: impl Fn(usize) + Sync) {
    if count > 1 {
        let team = team();
        // Where there are no helpers, or another thread of the program is using them, this one works alone.
        if let (false, Some(_busy)) = (team.helpers().is_empty(), team.lock()) {
            return team.handover.run(team.helpers(), count, &work);
        }
    }
    (0..count).for_each(work);
}

/// Calls `work` with every number below `count`, each on a thread of its own. The parts may wait for each other. False,
/// and no call, if the system does not start that many threads.
///
/// # Panics
/// With the panic of a part. The other parts must then end too, see [`Barrier::member`](super::barrier::Barrier::member).
#[must_use]
pub fn together(count: usize, work: impl Fn(usize) + Sync) -> bool {
    if count > 1 {
        let team = team();
        // Parts that wait for each other block their threads until all have begun, so no thread claims two. The job
        // stays open for helpers until the caller's own part ends.
        if let (true, Some(_busy)) = (team.helpers().len() >= count - 1, team.lock()) {
            team.handover.run(team.helpers(), count, &work);
            return true;
        }
        return on_new_threads(count, &work);
    }
    (0..count).for_each(work);
    true
}

/// [`together`] on threads that end with the job.
fn on_new_threads(count: usize, work: &(dyn Fn(usize) + Sync)) -> bool {
    // Whether all threads have started. Before that no part may begin: it would wait for ever for one that cannot start.
    let complete = OnceLock::new();
    std::thread::scope(|scope| {
        let mut started = Vec::with_capacity(count - 1);
        for part in 1..count {
            let complete = &complete;
            let begin = move || {
                let _flushed = FlushSubnormals::on();
                if *complete.wait() {
                    work(part);
                }
            };
            match Builder::new().name(format!("rnn-cpu-part-{part}")).spawn_scoped(scope, begin) {
                Ok(handle) => started.push(handle),
                Err(error) => {
                    tracing::debug!(%error, count, "a part of a layer has no thread");
                    complete.get_or_init(|| false);
                    return false;
                }
            }
        }
        complete.get_or_init(|| true);
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        let mut panic: Option<Payload> = None;
        let others = started.into_iter().map(|handle| handle.join());
        for payload in std::iter::once(own).chain(others).filter_map(Result::err) {
            keep_first(&mut panic, payload);
        }
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        true
    })
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
