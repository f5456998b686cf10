//! The highest rate of fused multiply-adds of this machine, to which every kernel is compared.

use crate::simd::{self, Isa, Simd, SimdKernel};
use std::hint::black_box;
use std::time::Instant;

/// Independent chains: more than latency times throughput on any machine, and as many as there are registers.
const CHAINS: usize = 12;

struct Chains(usize);

impl SimdKernel for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self) -> f32 {
        let (x, y) = (S::splat(black_box(0.999)), S::splat(black_box(0.001)));
        let mut acc = [S::splat(0.5); CHAINS];
        for _ in 0..self.0 {
            for chain in &mut acc {
                *chain = S::fma(*chain, x, y);
            }
        }
        acc.into_iter().map(|chain| S::sum(chain)).sum()
    }
}

/// Floating-point operations per second on `threads` threads, in GFLOP/s: the best of ten runs, because
/// disturbances only make a run slower.
pub(crate) fn gflops(isa: Isa, threads: usize) -> f64 {
    const TURNS: usize = 4_000_000;
    let flops = (threads * TURNS * CHAINS * 2 * simd::lanes(isa)) as f64;
    let run = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| black_box(simd::dispatch(isa, Chains(TURNS))));
            }
        });
        flops / start.elapsed().as_secs_f64() / 1e9
    };
    (0..10).map(|_| run()).fold(0.0, f64::max)
}
