//! Runs the sections of the report in order. A section that fails ends alone, and the next one starts.

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The time that a section has; it looks at the clock between pieces of work.
#[derive(Clone, Copy)]
pub struct Clock {
    end: Instant,
}

impl Clock {
    /// Starts now.
    pub fn new(time: Duration) -> Self {
        Clock { end: Instant::now() + time }
    }

    /// Zero when it is over.
    pub fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether nothing is left.
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// What a section has to say at its end: one line each.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// For the summary, as Markdown.
    pub text: Vec<String>,
    /// What failed; the section went on.
    pub failures: Vec<String>,
    /// Checks and measurements that did not fit into the section's time.
    pub not_run: usize,
}

impl Findings {
    /// The section in a few words. What did not run is no success.
    pub fn verdict(&self) -> String {
        let failures = match self.failures.len() {
            0 => "no failure".to_string(),
            count => format!("{count} FAILURES"),
        };
        match self.not_run {
            0 if self.failures.is_empty() => "ok".into(),
            0 => failures,
            count => format!("{failures}, {count} of its parts did not fit into the time"),
        }
    }
}

type Body<T> = fn(&T, Clock) -> Result<Findings>;

/// A part of the report.
pub struct Section<T> {
    /// For `--only`.
    pub name: &'static str,
    /// For the summary.
    pub title: &'static str,
    /// Its part of the time, relative to the others.
    pub weight: u32,
    /// What it does.
    pub body: Body<T>,
}

impl<T> Clone for Section<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Section<T> {}

/// A section that was run, or was to be.
pub struct Outcome {
    /// Of the section.
    pub name: &'static str,
    /// Of the section.
    pub title: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// What it found, with errors and panics among the failures.
    pub findings: Findings,
}

/// Runs the sections in order, all together in about `time`. Time that one leaves goes to those after it. `execute` runs
/// one in its share of the time. `done` sees all outcomes so far at the end of each.
pub fn run<T>(
    sections: &[Section<T>],
    time: Duration,
    mut execute: impl FnMut(&Section<T>, Duration) -> Result<Findings>,
    mut done: impl FnMut(&[Outcome]),
) -> Vec<Outcome> {
    let all = Clock::new(time);
    let mut outcomes = Vec::new();
    for (n, section) in sections.iter().enumerate() {
        let weights: u32 = sections[n..].iter().map(|section| section.weight).sum();
        let share = all.left() * section.weight / weights.max(1);
        let start = Instant::now();
        let result = match share.is_zero() {
            true => Err(anyhow!("not run: the time was over")),
            false => execute(section, share),
        };
        let findings = result.unwrap_or_else(|error| Findings {
            failures: vec![format!("the section ended early: {error:#}")],
            ..Findings::default()
        });
        let seconds = start.elapsed().as_secs_f64();
        outcomes.push(Outcome { name: section.name, title: section.title, seconds, findings });
        done(&outcomes);
    }
    outcomes
}

/// A panic as an error with its message.
pub fn without_panic<R>(body: impl FnOnce() -> Result<R>) -> Result<R> {
    // What the body leaves behind is dropped: a section opens its own device.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(anyhow!("panic: {text}"))
    })
}
