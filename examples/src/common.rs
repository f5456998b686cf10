//! Common options of the examples that train: device, seed, length of the run, progress, log, checkpoints. And
//! their result line.

use anyhow::Result;
use clap::Args;
use rnn_api::Device;
#[cfg(feature = "ctrl-c")]
use rnn_api::train::Interrupt;
#[cfg(feature = "progress")]
use rnn_api::train::Progress;
#[cfg(feature = "tensorboard")]
use rnn_api::train::TensorBoard;
use rnn_api::train::{CheckpointConfig, Every, JsonLog, Page, Report, Trainer, TrainerConfig};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Options of every example that trains.
#[derive(Args, Clone)]
pub struct Common {
    /// Device: auto, cpu, gpu, gpu:INDEX or gpu:NAME.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Seed of weights, dropout and the order of the data.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Passes over the training data.
    #[arg(long)]
    epochs: Option<u64>,
    /// Show only the result.
    #[arg(long)]
    pub quiet: bool,
    /// Log every step to this file, as one JSON object per line.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Write a page about the run to this file, which browsers show; it is renewed until the run ends.
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,
    /// Write event files for TensorBoard into this folder.
    #[cfg(feature = "tensorboard")]
    #[arg(long, value_name = "FOLDER")]
    tensorboard: Option<PathBuf>,
    /// Save checkpoints in this folder, and resume from the last one there.
    #[arg(long)]
    run: Option<PathBuf>,
}

impl Common {
    /// The device of the command line.
    pub fn device(&self) -> Result<Device> {
        Ok(Device::from_name(&self.device)?)
    }

    /// The number of epochs of the command line, or the example's default.
    pub fn epochs(&self, default: u64) -> u64 {
        self.epochs.unwrap_or(default)
    }

    /// The options of one run of several, without progress: its log and checkpoints have names of their own.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        let of_part = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{name}-{file}"))
        };
        let (log, report) = (self.log.as_ref().map(of_part), self.report.as_ref().map(of_part));
        let run = self.run.as_ref().map(|run| run.join(name));
        #[cfg(feature = "tensorboard")]
        let tensorboard = self.tensorboard.as_ref().map(|folder| folder.join(name));
        Common {
            quiet: true,
            log,
            report,
            run,
            #[cfg(feature = "tensorboard")]
            tensorboard,
            ..self.clone()
        }
    }

    /// Prints a line, except with `--quiet`.
    pub fn say(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            println!("{line}");
        }
    }

    /// The configuration of a trainer, with checkpoints if requested.
    pub fn trainer(&self, epochs: u64) -> TrainerConfig {
        let config = TrainerConfig::new(epochs);
        match &self.run {
            Some(path) => {
                let every = Every::Time(Duration::from_secs(10));
                config.with_checkpoints(CheckpointConfig::new(path).with_every(every).with_resume(true))
            }
            None => config,
        }
    }

    /// Adds progress, log, report, and a clean stop at Ctrl-C, as far as the features of this build go. Results can be added to
    /// the report.
    ///
    /// # Errors
    /// The report cannot be written.
    pub fn equip(&self, trainer: &mut Trainer<'_>) -> Result<Results> {
        #[cfg(feature = "progress")]
        if !self.quiet {
            trainer.on_event(Progress::new());
        }
        if let Some(path) = &self.log {
            trainer.on_event(JsonLog::new(path));
        }
        #[cfg(feature = "tensorboard")]
        if let Some(folder) = &self.tensorboard {
            trainer.on_event(TensorBoard::new(folder));
        }
        let report = self.report.as_ref().map(|path| {
            let command: Vec<String> = std::env::args().collect();
            Report::new(path)
                .with_setting("command", command.join(" "))
                .with_setting("seed of weights", self.seed)
        });
        let page = report.as_ref().map(Report::page);
        if let Some((report, page)) = report.zip(page.as_ref()) {
            page.save()?;
            trainer.on_event(report);
        }
        #[cfg(feature = "ctrl-c")]
        trainer.interrupt(&Interrupt::on_ctrl_c()?);
        Ok(Results(page))
    }
}

/// Where the results of a run are shown, if it has a report.
#[derive(Clone, Debug)]
pub struct Results(Option<Page>);

impl Results {
    /// Adds results to the report.
    ///
    /// # Errors
    /// Those of `add`; the report cannot be written.
    pub fn add(&self, add: impl FnOnce(&Page) -> Result<()>) -> Result<()> {
        let Some(page) = &self.0 else { return Ok(()) };
        add(page)?;
        Ok(page.save()?)
    }
}

/// The last line of every example.
pub fn print_result(metric: &str, value: f64, baseline: f64, started: Instant) {
    print_result_with(metric, value, baseline, "", started);
}

/// The last line of every example, with more values such as `deviation=0.0100 `.
pub fn print_result_with(metric: &str, value: f64, baseline: f64, more: &str, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("result {metric}={value:.4} baseline={baseline:.4} {more}seconds={seconds:.1}");
}
