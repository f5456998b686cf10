//! What every example that trains has: device, seed, length of the run, progress, log, checkpoints, the result line.

use anyhow::Result;
use clap::Args;
use rnn_api::Device;
use rnn_api::train::{CheckpointConfig, Every, Interrupt, JsonLog, Progress, Trainer, TrainerConfig};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Options of every example that trains.
#[derive(Args)]
pub(crate) struct Common {
    /// Where to compute: auto, cpu, gpu, gpu:INDEX or gpu:NAME.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Seeds weights, dropout and the order of the data.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Passes over the training data.
    #[arg(long)]
    epochs: Option<u64>,
    /// Show nothing but the result.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Write every step to this file, a JSON object a line.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Save checkpoints in this folder, and go on from the last one there.
    #[arg(long)]
    run: Option<PathBuf>,
}

impl Common {
    pub(crate) fn device(&self) -> Result<Device> {
        Ok(Device::from_name(&self.device)?)
    }

    /// The asked number of epochs, or the example's own.
    pub(crate) fn epochs(&self, default: u64) -> u64 {
        self.epochs.unwrap_or(default)
    }

    /// A trainer's configuration with checkpoints where they are wanted.
    pub(crate) fn trainer(&self, epochs: u64) -> TrainerConfig {
        let config = TrainerConfig::new(epochs);
        match &self.run {
            Some(path) => {
                let every = Every::Time(Duration::from_secs(10));
                config.with_checkpoints(CheckpointConfig::new(path).with_every(every).with_resume(true))
            }
            None => config,
        }
    }

    /// Progress, log, and a clean end at Ctrl-C.
    pub(crate) fn equip(&self, trainer: &mut Trainer<'_>) -> Result<()> {
        if !self.quiet {
            trainer.on_event(Progress::new());
        }
        if let Some(path) = &self.log {
            trainer.on_event(JsonLog::new(path));
        }
        trainer.interrupt(&Interrupt::on_ctrl_c()?);
        Ok(())
    }
}

/// The last line of every example.
pub(crate) fn print_result(metric: &str, value: f64, baseline: f64, started: Instant) {
    println!(
        "result {metric}={value:.4} baseline={baseline:.4} seconds={:.1}",
        started.elapsed().as_secs_f64()
    );
}
