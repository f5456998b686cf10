//! The threads of the CPU backend: the caller and a pool of helpers that sleeps between calls.
//!
//! `RNN_THREADS` sets their number, the machine's parallelism is the default. No result depends on
//! it: work is cut by sizes, and sums keep their order.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

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

/// The helpers; `None` when the caller works alone.
fn helpers() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    POOL.get_or_init(|| {
        let helpers = threads() - 1;
        if helpers == 0 {
            return None;
        }
        let builder = ThreadPoolBuilder::new().num_threads(helpers);
        match builder.thread_name(|n| format!("rnn-cpu-{n}")).build() {
            Ok(pool) => Some(pool),
            Err(error) => {
                tracing::warn!(%error, "no threads to be had; the CPU backend works alone");
                None
            }
        }
    })
    .as_ref()
}

/// Calls `work` with every number below `count`; the caller takes part from number 0 on. There may
/// be more parts than threads, so parts must not wait for each other.
pub(crate) fn each(count: usize, work: impl Fn(usize) + Sync) {
    match helpers() {
        Some(pool) if count > 1 => pool.in_place_scope(|scope| {
            let work = &work;
            for part in 1..count {
                scope.spawn(move |_| work(part));
            }
            work(0);
        }),
        _ => (0..count).for_each(work),
    }
}

/// Calls `work(k, piece)` for the pieces of `piece` elements that `out` is cut into; neighbouring
/// pieces go to one thread.
pub(crate) fn pieces<E: Send>(out: &mut [E], piece: usize, work: impl Fn(usize, &mut [E]) + Sync) {
    let count = out.len().div_ceil(piece);
    let per_thread = count.div_ceil(threads()).max(1);
    let run = |group: usize, part: &mut [E]| {
        for (k, piece) in part.chunks_mut(piece).enumerate() {
            work(group * per_thread + k, piece);
        }
    };
    match helpers() {
        Some(pool) if count > 1 => pool.in_place_scope(|scope| {
            let run = &run;
            let mut groups = out.chunks_mut(per_thread * piece).enumerate();
            let own = groups.next();
            for (group, part) in groups {
                scope.spawn(move |_| run(group, part));
            }
            if let Some((group, part)) = own {
                run(group, part);
            }
        }),
        _ => run(0, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_part_runs_once() {
        for count in [0, 1, 2, 7, 100] {
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
}
