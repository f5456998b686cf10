//! Progress of a training run: a bar in a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows loss, characters per second and remaining time.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    items: usize,
    started: Instant,
    last_line: Instant,
    /// Exponential mean over about twenty updates.
    loss: Option<f32>,
}

impl Progress {
    pub(crate) fn new(total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} eta {eta}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total as u64).with_style(style)
        });
        let now = Instant::now();
        Progress { bar, total, done: 0, items: 0, started: now, last_line: now, loss: None }
    }

    /// One more update with this loss, over this many items.
    pub(crate) fn update(&mut self, loss: f32, items: usize) {
        self.done += 1;
        self.items += items;
        let mean = self.loss.map_or(loss, |mean| mean + 0.05 * (loss - mean));
        self.loss = Some(mean);
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = self.items as f64 / seconds;
        let message = format!("loss {mean:.4}, {rate:.0} characters/s");
        match &self.bar {
            Some(bar) => {
                bar.set_message(message);
                bar.inc(1);
            }
            None if self.last_line.elapsed() >= LINE_EVERY || self.done == self.total => {
                let left = seconds / self.done as f64 * (self.total - self.done) as f64;
                println!("update {}/{}: {message}, {left:.0} s left", self.done, self.total);
                self.last_line = Instant::now();
            }
            None => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
