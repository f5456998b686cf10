//! Jobs on several threads, and the barrier between the steps of a recurrence.

use rnn_cpu::internals::Barrier;
use rnn_cpu::internals::team::{each, pieces, together};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

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
                    let begun = together(2, |_| {
                        arrived.fetch_add(1, Ordering::AcqRel);
                        while arrived.load(Ordering::Acquire) < 2 {
                            std::thread::yield_now();
                        }
                    });
                    assert!(begun, "two threads start");
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
    assert_eq!(message(result), "part 33");
    let sum = AtomicUsize::new(0);
    each(50, |part| {
        sum.fetch_add(part, Ordering::Relaxed);
    });
    assert_eq!(sum.into_inner(), 1225);
}

/// The text of the panic that ended a job.
fn message<T>(result: std::thread::Result<T>) -> &'static str {
    let Err(payload) = result else { panic!("the job ended without a panic") };
    payload.downcast_ref::<&str>().copied().expect("the payload of the part that failed")
}

/// A part that panics between two barriers takes its peers with it, whichever thread runs it, and the caller gets its
/// message: on the team's threads, and on new ones while the team is busy.
#[test]
fn a_panic_between_barriers_ends_the_job() {
    let job = |count: usize, bad: usize| {
        let barrier = Barrier::new(count);
        let rounds = AtomicUsize::new(0);
        let part = |part: usize| {
            barrier.wait();
            rounds.fetch_add(1, Ordering::Relaxed);
            assert!(part != bad, "the bad part");
            barrier.wait();
            rounds.fetch_add(100, Ordering::Relaxed);
        };
        let job = || together(count, |n| barrier.member(|| part(n)));
        assert_eq!(message(catch_unwind(AssertUnwindSafe(job))), "the bad part");
        assert!(rounds.into_inner() < 100, "a part passed the second barrier");
    };
    for bad in [0, 1] {
        job(2, bad);
        // No team has as many helpers, or this job holds the team.
        job(40, 39 * bad);
        each(2, |_| job(3, 2 * bad));
    }
}

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
