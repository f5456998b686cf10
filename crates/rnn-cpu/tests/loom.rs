//! Model checks of the barrier and of the hand-over of jobs: loom runs every order in which the threads can meet their
//! atomic operations, within the bounds below. The library's own files are compiled here with loom's types.
//!
//! What loom watches are the cells behind `loom::cell::UnsafeCell`: an access that does not happen before or after a
//! conflicting one fails the model, and so does a thread that waits for ever.

/// What the library's files take from `sync.rs`.
mod sync {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::thread::{Thread, park, yield_now};

    /// No turns: a waiting thread parks or yields at once.
    pub(crate) const SPINS: usize = 0;
}
#[path = "../src/barrier.rs"]
#[allow(
    unreachable_pub,
    unused_comparisons,
    clippy::absurd_extreme_comparisons,
    reason = "the library's own file"
)]
mod barrier;
#[path = "../src/handover.rs"]
#[allow(unused_comparisons, clippy::absurd_extreme_comparisons, reason = "the library's own file")]
mod handover;

use barrier::Barrier;
use handover::{Handover, Helper};
use loom::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use sync::{AtomicBool, AtomicUsize, Ordering};

/// A number without synchronisation of its own.
#[derive(Default)]
struct Plain(UnsafeCell<usize>);

// SAFETY: loom fails the model if two accesses conflict.
unsafe impl Sync for Plain {}

impl Plain {
    fn set(&self, value: usize) {
        // SAFETY: loom fails the model before a conflicting access.
        self.0.with_mut(|p| unsafe { *p = value });
    }

    fn get(&self) -> usize {
        // SAFETY: as in `set`.
        self.0.with(|p| unsafe { *p })
    }
}

/// Up to so many times may a thread lose its core where it could go on. Most errors need two (Musuvathi and Qadeer 2007).
fn model(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

/// What a member wrote before the barrier all others read after it, in the next rounds too.
#[test]
fn a_barrier_orders_the_rounds() {
    const ROUNDS: usize = 2;
    model(3, || {
        let shared = Arc::new((Barrier::new(2), [Plain::default(), Plain::default()]));
        let member = |own: usize, (barrier, numbers): &(Barrier, [Plain; 2])| {
            for round in 1..=ROUNDS {
                numbers[own].set(round);
                barrier.wait();
                assert_eq!(numbers[1 - own].get(), round);
                barrier.wait();
            }
        };
        let other = shared.clone();
        let thread = loom::thread::spawn(move || member(1, &other));
        member(0, &shared);
        thread.join().unwrap();
    });
}

/// A member that fails before the barrier lets the others go, those that wait and those that come later.
#[test]
fn a_failed_member_poisons_the_barrier() {
    model(3, || {
        let barrier = Arc::new(Barrier::new(2));
        let other = barrier.clone();
        let fails = || other.member(|| resume_unwind(Box::new("failed")));
        let thread = loom::thread::spawn(move || {
            assert!(
                catch_unwind(AssertUnwindSafe(|| {
                    barrier.wait();
                    barrier.wait();
                }))
                .is_err()
            );
        });
        other.wait();
        assert!(catch_unwind(AssertUnwindSafe(fails)).is_err());
        thread.join().unwrap();
    });
}

/// A helper that takes turns until the end, or until a part that it ran has set `last`.
fn start_helper(handover: &Arc<Handover>, last: &Arc<AtomicBool>) -> (Helper, loom::thread::JoinHandle<()>) {
    let parked = Arc::new(AtomicBool::new(false));
    let (handover, last, own) = (handover.clone(), last.clone(), parked.clone());
    let handle = loom::thread::spawn(move || {
        let mut number = Some(0);
        while let (Some(last), false) = (number, last.load(Ordering::Relaxed)) {
            number = handover.help(last, &own);
        }
    });
    (Helper { thread: handle.thread().clone(), parked }, handle)
}

/// Every part of a job runs once. What it wrote is visible when the job returns, and no helper touches the job after
/// that; a helper that sleeps wakes up for a job that cannot do without it.
#[test]
fn a_job_runs_once_and_is_let_go_of() {
    model(2, || {
        let (handover, last) = (Arc::new(Handover::new()), Arc::new(AtomicBool::new(false)));
        let (helper, handle) = start_helper(&handover, &last);
        let helpers = [helper];
        // A job that the caller may do alone.
        let calls = [Plain::default(), Plain::default()];
        handover.run(&helpers, 2, &|part| calls[part].set(calls[part].get() + 1));
        assert_eq!([calls[0].get(), calls[1].get()], [1, 1]);
        // Now the memory is the caller's again.
        calls[1].set(0);
        // A job whose parts wait for each other, as those of `together` do.
        let (barrier, claimed) = (Barrier::new(2), AtomicUsize::new(0));
        handover.run(&helpers, 2, &|_| {
            claimed.fetch_add(1, Ordering::Relaxed);
            barrier.wait();
            // Only now, so that the helper has come.
            last.store(true, Ordering::Relaxed);
        });
        assert_eq!(claimed.load(Ordering::Relaxed), 2);
        handle.join().unwrap();
    });
}

/// A helper ends after the last job, whether it spins, is about to sleep, sleeps, or comes late from the job.
#[test]
fn the_end_reaches_every_helper() {
    model(2, || {
        let (handover, never) = (Arc::new(Handover::new()), Arc::new(AtomicBool::new(false)));
        let (helper, handle) = start_helper(&handover, &never);
        let helpers = [helper];
        let calls = [Plain::default(), Plain::default()];
        handover.run(&helpers, 2, &|part| calls[part].set(calls[part].get() + 1));
        handover.end(&helpers);
        assert_eq!([calls[0].get(), calls[1].get()], [1, 1]);
        handle.join().unwrap();
    });
}
