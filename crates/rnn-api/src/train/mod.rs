//! Training without writing the loop: [`Trainer`] and its parts, each of which also works alone.
//!
//! The plain loop is `optimizer.step(&loss.backward()?)?`. A trainer adds validation, early stopping that ends with
//! the best weights, schedules, and checkpoints from which a killed run resumes bit for bit. It reports [`Event`]s
//! to [`Callback`]s such as `Progress` and [`JsonLog`], and prints nothing itself.
//!
//! ```no_run
//! use rnn_api::train::prelude::*;
//! # struct CharLm { embedding: Embedding, lstm: Lstm, head: Linear }
//! # module!(CharLm { embedding, lstm, head });
//! # fn nats(_: &CharLm) -> rnn_api::Result<f64> { Ok(0.0) }
//! # fn main() -> rnn_api::Result<()> {
//! # let (device, seed, text) = (Device::auto()?, 1, "some text");
//! # let model = CharLm {
//! #     embedding: EmbeddingConfig::new(50, 8).init(&device, seed)?,
//! #     lstm: LstmConfig::new(8, 16).init(&device, seed)?,
//! #     head: LinearConfig::new(16, 50).init(&device, seed)?,
//! # };
//! # let documents = vec![vec![1, 2, 3, 4]];
//! let adam = AdamConfig::new(1e-3).with_clip_norm(1.0).init(&model)?;
//! let mut trainer = TrainerConfig::new(10)
//!     .with_checkpoints(CheckpointConfig::new("runs/one").with_resume(true))
//!     .init(&model, adam)?;
//! trainer.validate(|| Ok(Score::min("nats", nats(&model)?)));
//! trainer.on_event(Progress::new()).on_event(JsonLog::new("runs/one.jsonl"));
//! trainer.interrupt(&Interrupt::on_ctrl_c()?);
//! let streams = Streams::of_indices(documents, &StreamConfig::new(32, 50))?;
//! let outcome = trainer.fit_streams(streams, |chunk, state: Option<&LstmState>| {
//!     let x = model.embedding.forward(&chunk.x.to_tensor(&device)?)?;
//!     let out = model.lstm.forward(&x, state)?;
//!     let loss = model.head.forward(&out.y)?.cross_entropy(&chunk.y.to_tensor(&device)?)?;
//!     Ok((loss, out.state))
//! })?;
//! println!("{}", outcome.reason);
//! # Ok(()) }
//! ```

#[cfg(feature = "progress")]
mod bar;
mod checkpoint;
mod config;
mod diagnose;
mod event;
mod examination;
mod fit;
mod fitting;
mod internals;
mod interrupt;
mod log;
mod predict;
pub mod prelude;
#[cfg(feature = "progress")]
mod progress;
mod ratios;
mod report;
mod run;
mod saving;
mod score;
mod settings;
mod source;
mod steps;
mod stopping;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod trainer;

pub use crate::carried::{Carried, StateParts};
pub use checkpoint::{Checkpoint, CheckpointConfig, Every};
pub use config::TrainerConfig;
pub use diagnose::{NonFinite, Origin, Symptom};
pub use event::{Callback, EpochReport, Event, Flow, Outcome, Started, StepReport, StopReason, Validation};
pub use fitting::TrainerRun;
pub use internals::Internals;
pub use interrupt::Interrupt;
pub use log::JsonLog;
pub use predict::{predict, predict_each};
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use report::{Page, Report, report_of_logs};
pub use score::Score;
pub use settings::Settings;
pub use source::{Prepared, Source};
pub use stopping::EarlyStopping;
#[cfg(feature = "tensorboard")]
pub use tensorboard::{Board, TensorBoard};
pub use trainer::Trainer;
