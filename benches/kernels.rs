//! A bench for variants of CPU kernels. Each variant is verified against f64 loops, then all are timed in turn on
//! one thread. The fastest variant is in `crates/rnn-cpu/src`; the others stay here with their figures.
//!
//! ```sh
//! cargo bench --bench kernels -- [NAME ...]
//! ```

#[path = "common/peak.rs"]
mod peak;
#[path = "../crates/rnn-cpu/src/simd/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library's own file; the laboratory needs a part of it")]
mod simd;
#[path = "../crates/rnn-cpu/src/tile.rs"]
#[allow(dead_code, unused, reason = "as above")]
mod tile;

#[path = "kernels"]
mod kernels {
    pub(crate) mod activation;
    pub(crate) mod product;
    pub(crate) mod step;
}

use std::time::{Duration, Instant};

/// A task with several variants.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    /// Floating-point operations per run, or elements if `per_element`.
    pub(crate) work: f64,
    pub(crate) per_element: bool,
    pub(crate) variants: Vec<Variant>,
}

/// A variant of a task.
pub(crate) struct Variant {
    pub(crate) name: String,
    /// Runs the task once.
    pub(crate) run: Box<dyn FnMut()>,
    /// Largest relative error against f64.
    pub(crate) error: f64,
}

/// Median seconds of each variant, run in turn for about a second per variant.
fn medians(variants: &mut [Variant]) -> Vec<f64> {
    let mut times = vec![Vec::new(); variants.len()];
    let end = Instant::now() + Duration::from_secs(variants.len() as u64);
    while times[0].len() < 5 || Instant::now() < end {
        for (variant, times) in variants.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (variant.run)();
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    times.iter_mut().map(median).collect()
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let isa = simd::isa();
    let peak = peak::gflops(isa, 1);
    println!("{isa:?}, one thread, FMA peak {peak:.0} GFLOP/s\n");
    let benches = kernels::product::benches().into_iter().chain(kernels::step::benches());
    for mut bench in benches.chain(kernels::activation::benches()) {
        if !wanted.is_empty() && !wanted.iter().any(|name| bench.name.contains(name)) {
            continue;
        }
        println!("## {}", bench.name);
        let medians = medians(&mut bench.variants);
        for (variant, seconds) in bench.variants.iter().zip(medians) {
            let rate = if bench.per_element {
                format!("{:8.3} ns an element", seconds * 1e9 / bench.work)
            } else {
                let gflops = bench.work / seconds / 1e9;
                format!("{gflops:8.1} GFLOP/s  {:5.2} of peak", gflops / peak)
            };
            println!("{:44} {:9.2} us  {rate}   error {:.1e}", variant.name, seconds * 1e6, variant.error);
            assert!(variant.error < 1e-5, "{} is wrong", variant.name);
        }
        println!();
    }
}
