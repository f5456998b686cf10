//! Everything that a training program usually needs.
//!
//! ```
//! use rnn_api::train::prelude::*;
//!
//! # fn main() -> rnn_api::Result<()> {
//! # let device = Device::cpu();
//! # let series = (0..60).map(|t| (t as f32 / 3.0).sin()).collect();
//! let series = Sequence::new(series, 1)?;
//! let parts = chronological(series.len(), Shares::new(0.2, 0.0)?)?;
//! let config = WindowConfig::new(8);
//! let train = Windows::with_targets_in(series.clone(), parts.train, &config)?;
//! let held_out = Windows::with_targets_in(series, parts.validation, &config)?.all()?;
//!
//! model!(struct Forecaster, ForecasterConfig { gru: GruConfig, head: LinearConfig });
//! let config = ForecasterConfig { gru: GruConfig::new(1, 8), head: LinearConfig::new(8, 1) };
//! let model = config.init(&device, 1)?;
//! let loss = |batch: &WindowBatch| {
//!     let last = model.gru.forward(&batch.x.to_tensor(&device)?, None)?.last()?; // [B, H]
//!     let y = batch.y.to_tensor(&device)?; // [1, B, 1]
//!     model.head.forward(&last)?.reshape(y.dims())?.mse(&y)
//! };
//!
//! let adam = AdamConfig::new(1e-2).with_clip_norm(1.0).init(&model)?;
//! let mut trainer = TrainerConfig::new(2).init(&model, adam)?;
//! trainer.validate(|| Ok(Score::min("mse", loss(&held_out)?.item()?.into())));
//! let batches = Batches::new(train.len(), &BatchConfig::new(8).with_shuffle(1))?;
//! let outcome = trainer.fit(batches, |batch| loss(&train.batch(&batch.indices)?))?;
//! assert_eq!(outcome.epochs.len(), 2);
//!
//! # let path = std::env::temp_dir().join(format!("rnn-api-prelude-{}.safetensors", std::process::id()));
//! save_model(&path, &model, &config)?;
//! let (model, config) = load_model::<ForecasterConfig>(&path, &device)?;
//! # assert_eq!((model.num_parameters(), config.gru.hidden_size), (273, 8));
//! # std::fs::remove_file(&path).expect("the example's file");
//! # Ok(()) }
//! ```

#[cfg(feature = "progress")]
pub use super::Progress;
#[cfg(feature = "tensorboard")]
pub use super::TensorBoard;
pub use super::{
    Callback, Checkpoint, CheckpointConfig, EarlyStopping, Event, Every, Flow, Interrupt, JsonLog, Outcome,
    Prepared, Report, Score, Source, StopReason, Trainer, TrainerConfig, predict, predict_each,
};
pub use crate::data::{
    Batch, BatchConfig, Batches, Chunk, Classes, Fill, HostArray, LabelledBatch, LabelledWindows, Labels,
    Missing, Normaliser, Padded, Parts, RecordingColumns, Recordings, Scaling, Sequence, Shares,
    StreamConfig, Streams, Table, TableOptions, Vocabulary, VocabularyConfig, WindowBatch, WindowConfig,
    WindowLabel, Windows, chronological, chronological_text, grouped, pad, pad_indices, shuffled, stratified,
};
pub use crate::io::{ModelFile, ModelWriter, load_model, save_model};
pub use crate::metrics::{Accuracy, ConfusionMatrix, MajorityClass, RegressionErrors, skill};
pub use crate::nn::AnyRnnConfig;
pub use crate::prelude::*;
