//! [`Progress`]: shows a run to a person.

use super::event::{Callback, Event, Flow, StepReport};
use super::score::Score;
use crate::error::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;
use web_time::Instant;

/// The time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows loss, score, baseline, steps per second and remaining time: as a bar if standard error is a terminal, else
/// as a plain line every few seconds. Without this callback nothing is shown.
#[derive(Debug, Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    first_step: u64,
    step: u64,
    started: Option<Instant>,
    last_line: Option<Instant>,
    /// The exponential mean over about twenty steps.
    loss: Option<f32>,
    score: Option<Score>,
}

impl Progress {
    /// Shows one run.
    pub fn new() -> Self {
        Self::default()
    }

    fn message(&self) -> String {
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        let rate = (self.step - self.first_step) as f64 / seconds.max(1e-9);
        let loss = self.loss.unwrap_or(f32::NAN);
        let score = self.score.as_ref().map(|score| format!(", {score}")).unwrap_or_default();
        format!("loss {loss:.4}{score}, {rate:.1} steps/s")
    }

    fn left(&self) -> Duration {
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        let done = (self.step - self.first_step).max(1) as f64;
        // A run may be planned for longer than any time.
        let left = Duration::try_from_secs_f64(seconds / done * self.total.saturating_sub(self.step) as f64);
        left.unwrap_or(Duration::MAX)
    }

    /// Prints above the bar, if there is one. A closed standard error does not end the run.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => drop(writeln!(stderr(), "{text}")),
        }
    }

    fn step(&mut self, report: &StepReport) {
        self.step = report.step;
        let mean = self.loss.map_or(report.loss, |mean| mean + 0.05 * (report.loss - mean));
        self.loss = Some(mean);
        if let Some(bar) = &self.bar {
            bar.set_message(self.message());
            bar.set_position(report.step);
        } else if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY)
            && self.step > self.first_step + 1
        {
            let (step, total, left) = (self.step, self.total, self.left().as_secs());
            self.line(&format!("step {step}/{total}: {}, {left} s left", self.message()));
            self.last_line = Some(Instant::now());
        }
    }
}

impl Callback for Progress {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        match event {
            Event::Started(started) => {
                *self = Progress {
                    total: started.planned_steps,
                    first_step: started.resumed_step,
                    step: started.resumed_step,
                    started: Some(Instant::now()),
                    last_line: Some(Instant::now()),
                    ..Progress::default()
                };
                let (parameters, device) = (started.num_parameters, &started.device);
                let mut text = format!("{parameters} parameters on {device}, {} epochs", started.epochs);
                if started.resumed_step > 0 {
                    text += &format!(", resumed after step {}", started.resumed_step);
                }
                self.line(&text);
                if stderr().is_terminal() {
                    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} eta {eta}");
                    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
                    self.bar = Some(ProgressBar::new(self.total).with_style(style));
                }
            }
            Event::Step(report) => self.step(report),
            Event::Validated(validation) => self.score = Some(validation.score.clone()),
            Event::Epoch(epoch) if self.bar.is_some() => {
                let score = epoch.score.as_ref().map(|score| format!(", {score}")).unwrap_or_default();
                self.line(&format!("epoch {}: loss {:.4}{score}", epoch.epoch + 1, epoch.loss));
            }
            Event::Epoch(_) | Event::Saved { .. } => {}
            Event::Damaged { path, error } => {
                self.line(&format!("damaged checkpoint {}: {error}", path.display()));
            }
            Event::Ended(outcome) => {
                if let Some(bar) = &self.bar {
                    bar.finish();
                }
                let score =
                    outcome.best.as_ref().map(|best| format!(", best {}", best.score)).unwrap_or_default();
                let (steps, seconds) = (outcome.steps, outcome.seconds);
                self.line(&format!("{}: {steps} steps in {seconds:.1} s{score}", outcome.reason));
            }
        }
        Ok(Flow::Continue)
    }
}
