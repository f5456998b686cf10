//! Compares the times of two tasks.

use anyhow::Result;
use std::time::{Duration, Instant};

/// The median of one task in milliseconds, and the ratio of the other task's median to it. Both run in turn.
pub(crate) fn ratio(
    seconds: f64,
    mut plain: impl FnMut() -> Result<()>,
    mut option: impl FnMut() -> Result<()>,
) -> Result<[f64; 2]> {
    for _ in 0..3 {
        plain()?;
        option()?;
    }
    let (mut times, start) = ([Vec::new(), Vec::new()], Instant::now());
    while times[0].len() < 5 || start.elapsed() < Duration::from_secs_f64(seconds) {
        for (n, work) in [&mut plain as &mut dyn FnMut() -> Result<()>, &mut option].into_iter().enumerate() {
            let begin = Instant::now();
            work()?;
            times[n].push(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let [plain, option] = &mut times;
    let plain = median(plain);
    Ok([plain, median(option) / plain])
}
