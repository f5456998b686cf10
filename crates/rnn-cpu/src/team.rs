//! Jobs on several threads: the caller and its helpers.
//!
//! A training step is a chain of short parallel pieces, so waking a thread must not cost more than
//! the work. Helpers spin for a while after every piece before they park ([`super::handover`]). The caller starts at
//! once and takes every part that no helper has taken. The caller does not wait for helpers that have not begun.
//!
//! Which threads help is the matter of [`super::threads`]. No result depends on their number, because work is divided by
//! size alone and sums keep their order.
//!
//! If a part panics, the caller panics with the same payload once no thread works on the job any more. The team survives.

use super::handover::{Payload, keep_first};
use super::threads::{self, Current};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::thread::Builder;

/// Calls `work` with every number below `count`. There may be more parts than threads, so parts must
/// not wait for each other.
///
/// # Panics
/// With the panic of a part.
pub fn each(count: usize, work: impl Fn(usize) + Sync) {
    // Where there are no helpers, or another thread of the program is using them, this one works alone.
    if count > 1
        && let Some(team) = Current::of_this_thread().team()
        && let (false, Some(_busy)) = (team.helpers().is_empty(), team.lock())
    {
        return team.run(count, &work);
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
        // Parts that wait for each other block their threads until all have begun, so no thread claims two. The job
        // stays open for helpers until the caller's own part ends.
        if let Some(team) = Current::of_this_thread().team()
            && let (true, Some(_busy)) = (team.helpers().len() >= count - 1, team.lock())
        {
            team.run(count, &work);
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
                let _alone = threads::work_alone();
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
// SAFETY: parts write disjoint elements, and no thread reads them before all parts have finished.
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
    let per_group = count.div_ceil(4 * Current::of_this_thread().count()).max(1);
    let all = Slice(out.as_mut_ptr(), out.len());
    each(count.div_ceil(per_group), |group| {
        let first = group * per_group;
        for k in first..(first + per_group).min(count) {
            // SAFETY: every k occurs once.
            work(k, unsafe { all.range(k * piece, (k + 1) * piece) });
        }
    });
}
