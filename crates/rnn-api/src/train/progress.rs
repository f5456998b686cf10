//! [`Progress`]: shows a run to a person.

use super::bar::View;
use super::event::{Callback, EpochReport, Event, Flow, Outcome, Started, StepReport};
use super::score::Score;
use crate::error::Result;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write, stderr};
use web_time::Instant;

/// Shows a run on standard error. In a terminal it is a bar with epoch, step, loss, last score and its baseline, steps per
/// second and remaining time, as far as there are columns for them; a line for each epoch stands above. At the end the bar
/// goes, and a line says how the run ended. Elsewhere, such as in a file, it is a line for each epoch. Without this callback
/// nothing is shown.
#[derive(Debug, Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    epochs: u64,
    /// The number of the epoch, from 1; 0 before the first step.
    epoch: u64,
    first_step: u64,
    step: u64,
    started: Option<Instant>,
    /// The exponential mean over about twenty steps.
    loss: Option<f32>,
    score: Option<Score>,
}

impl Progress {
    /// Shows one run.
    pub fn new() -> Self {
        Self::default()
    }

    fn seconds(&self) -> f64 {
        self.started.map_or(0.0, |started| started.elapsed().as_secs_f64())
    }

    /// The seconds that the other steps take, if the run goes on as before.
    fn left(&self) -> Option<u64> {
        let done = self.step.saturating_sub(self.first_step);
        let left = self.seconds() / done as f64 * self.total.saturating_sub(self.step) as f64;
        // A run may be planned for longer than any time.
        const LONGEST: f64 = 999.0 * 3600.0;
        (done > 0 && left < LONGEST).then_some(left as u64)
    }

    fn draw(&self) {
        let Some(bar) = &self.bar else { return };
        let done = self.step.saturating_sub(self.first_step);
        let view = View {
            epoch: (self.epoch > 0).then_some([self.epoch, self.epochs]),
            step: self.step,
            total: self.total,
            loss: self.loss,
            score: self.score.as_ref(),
            steps_per_second: done as f64 / self.seconds().max(1e-9),
            left: self.left(),
        };
        // A window may have another size by now.
        let (_, columns) = Term::stderr().size();
        bar.set_message(view.line(columns.into()));
    }

    /// Prints above the bar, if there is one. A closed standard error does not end the run.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => drop(writeln!(stderr(), "{text}")),
        }
    }

    fn start(&mut self, started: &Started) {
        *self = Progress {
            total: started.planned_steps,
            epochs: started.epochs,
            first_step: started.resumed_step,
            step: started.resumed_step,
            started: Some(Instant::now()),
            ..Progress::default()
        };
        let (parameters, device) = (started.num_parameters, &started.device);
        let mut text = format!("{parameters} parameters on {device}, {} epochs", started.epochs);
        if started.resumed_step > 0 {
            text += &format!(", resumed after step {}", started.resumed_step);
        }
        self.line(&text);
        if stderr().is_terminal() {
            // Longer messages would be cut, should the window get smaller before they are drawn.
            let style = ProgressStyle::with_template("{wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = Some(ProgressBar::new(self.total).with_style(style));
            self.draw();
        }
    }

    fn step(&mut self, report: &StepReport) {
        self.step = report.step;
        self.epoch = report.epoch + 1;
        let mean = self.loss.map_or(report.loss, |mean| mean + 0.05 * (report.loss - mean));
        self.loss = Some(mean);
        self.draw();
    }

    fn epoch(&self, epoch: &EpochReport) {
        let score = epoch.score.as_ref().map(|score| format!(", {score}")).unwrap_or_default();
        self.line(&format!("epoch {}/{}: loss {:.4}{score}", epoch.epoch + 1, self.epochs, epoch.loss));
    }

    fn end(&mut self, outcome: &Outcome) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let of = if outcome.steps < self.total { format!(" of {}", self.total) } else { String::new() };
        let best = outcome.best.as_ref().map(|best| format!(", best {}", best.score)).unwrap_or_default();
        let (steps, seconds) = (outcome.steps, outcome.seconds);
        self.line(&format!("{}: {steps}{of} steps in {seconds:.1} s{best}", outcome.reason));
        outcome.findings.iter().for_each(|finding| self.line(&finding.to_string()));
    }
}

impl Callback for Progress {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        match event {
            Event::Started(started) => self.start(started),
            Event::Step(report) => self.step(report),
            Event::Validated(validation) => {
                self.score = Some(validation.score.clone());
                self.draw();
            }
            Event::Epoch(epoch) => self.epoch(epoch),
            Event::Saved { .. } | Event::Internals(_) => {}
            Event::Damaged { path, error } => {
                self.line(&format!("damaged checkpoint {}: {error}", path.display()));
            }
            Event::Ended(outcome) => self.end(outcome),
        }
        Ok(Flow::Continue)
    }
}
