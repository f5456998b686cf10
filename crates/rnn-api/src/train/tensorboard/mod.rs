//! [`TensorBoard`]: event files of a run.

mod board;
mod message;
mod record;

pub use board::Board;

use super::event::{Callback, Event, Flow, Outcome, Started, StepReport};
use crate::error::Result;
use std::fmt::Write;
use std::path::PathBuf;

/// Values of a step are written for at most about this many steps of a run, evenly.
const POINTS: u64 = 20_000;

/// Writes the events of a run as event files that TensorBoard reads (`tensorboard --logdir runs`): loss, learning rate,
/// gradient norm and update-to-parameter ratios by step, scores with their baselines, the distribution of the losses and
/// gradient norms of every epoch as histograms, the settings and the end as text. A [`Board`] adds more.
///
/// ```no_run
/// # use rnn_api::train::prelude::*;
/// use rnn_api::train::TensorBoard;
/// # fn train(trainer: &mut Trainer<'_>) -> rnn_api::Result<()> {
/// let tensorboard = TensorBoard::new("runs/one");
/// let board = tensorboard.board();
/// trainer.on_event(tensorboard);
/// // .. trainer.fit(..)
/// board.text("sample", 600, "what the network writes")?;
/// # Ok(()) }
/// ```
///
/// Every run of a program makes a new file in the folder; a resumed run replaces the steps that it takes again. Give runs that
/// should be compared folders of their own. **A run never stops because of these files**: [`Board::problem`] and a warning of
/// `tracing` say why nothing was written. Of runs with more than 20,000 steps every n-th step is written. Update-to-parameter
/// ratios are those that another callback computes, such as every 25th step for a [`Report`](super::Report).
#[derive(Debug)]
pub struct TensorBoard {
    board: Board,
    every: u64,
    losses: Vec<f32>,
    norms: Vec<f32>,
}

impl TensorBoard {
    /// Event files in this folder, which is made if necessary.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        TensorBoard { board: Board::new(folder.into()), every: 1, losses: Vec::new(), norms: Vec::new() }
    }

    /// A handle by which the program adds scalars, histograms and text.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    fn started(&mut self, started: &Started) -> Result<()> {
        self.every = started.planned_steps.div_ceil(POINTS).max(1);
        (self.losses, self.norms) = (Vec::new(), Vec::new());
        self.board.start(started.resumed_step)?;
        let mut text = format!(
            "{} parameters on {}, {} epochs\n\n| setting | value |\n|---|---|\n",
            started.num_parameters, started.device, started.epochs
        );
        for (name, value) in &started.settings {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {name} | {} |", value.replace('|', "\\|"));
        }
        self.board.text("settings", started.resumed_step, &text)
    }

    fn step(&mut self, report: &StepReport) -> Result<()> {
        for (values, value) in [(&mut self.losses, report.loss), (&mut self.norms, report.grad_norm)] {
            if values.len() < POINTS as usize {
                values.push(value);
            }
        }
        if !report.step.is_multiple_of(self.every) {
            return Ok(());
        }
        let ratios =
            report.update_ratios.iter().map(|(name, ratio)| (format!("update_ratio/{name}"), *ratio));
        let mut values = vec![
            ("loss/training".to_string(), f64::from(report.loss)),
            ("gradient_norm".to_string(), f64::from(report.grad_norm)),
            ("learning_rate".to_string(), report.lr),
        ];
        values.extend(report.update_ratio.map(|ratio| ("update_ratio".to_string(), ratio)));
        values.extend(ratios);
        self.board.scalars(report.step, values)
    }

    fn epoch(&mut self, step: u64, loss: f64) -> Result<()> {
        self.board.scalar("loss/epoch", step, loss)?;
        let (losses, norms) = (std::mem::take(&mut self.losses), std::mem::take(&mut self.norms));
        self.board.histogram("losses of the epoch", step, &losses)?;
        self.board.histogram("gradient norms of the epoch", step, &norms)?;
        self.board.flush()
    }

    fn ended(&mut self, outcome: &Outcome) -> Result<()> {
        let best =
            outcome.best.as_ref().map(|best| format!(", best {} after step {}", best.score, best.step));
        let text = format!(
            "{}: {} steps in {:.1} s{}",
            outcome.reason,
            outcome.steps,
            outcome.seconds,
            best.unwrap_or_default()
        );
        self.board.text("end", outcome.steps, &text)?;
        self.board.flush()
    }
}

impl Callback for TensorBoard {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        let written = match event {
            Event::Started(started) => self.started(started),
            // Without a file nothing else is written.
            _ if self.board.problem().is_some() => Ok(()),
            Event::Step(report) => self.step(report),
            Event::Validated(validation) => {
                let score = &validation.score;
                let mut values = vec![(format!("validation/{}", score.name), score.value)];
                values.extend(
                    score.baseline.map(|value| (format!("validation/{} baseline", score.name), value)),
                );
                self.board.scalars(validation.step, values).and_then(|()| self.board.flush())
            }
            Event::Epoch(report) => self.epoch(report.step, report.loss),
            Event::Ended(outcome) => self.ended(outcome),
            Event::Saved { .. } | Event::Damaged { .. } | Event::Internals(_) => Ok(()),
        };
        if let Err(error) = written {
            self.board.fail(&error);
        }
        Ok(Flow::Continue)
    }
}
