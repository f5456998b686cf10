//! From files to batches.
//!
//! Readers return [`Sequence`]s, texts or [`Image`]s. Then come [splits](chronological), a [`Normaliser`] or
//! [`Vocabulary`] fitted on the training part, and [`Windows`], [`Batches`] or [`Streams`]. Everything stays in
//! host memory until [`HostArray::to_tensor`]. Each part works alone.
//!
//! Files come in many forms. What is unambiguous is read as it is: line ends of every system, gzip, UTF-16 with a byte
//! order mark, the delimiter of a table. What is not is an option: [`TextOptions`] has encodings, normal forms and the
//! limit of unpacked text; [`TableOptions`] and [`TsOptions`] have those of the formats. The errors name the options.
//!
//! ```
//! use rnn_api::data::{BatchConfig, Batches, Missing, Normaliser, Scaling, Shares, Table, TableOptions};
//! use rnn_api::data::{WindowConfig, Windows, chronological};
//! # fn main() -> rnn_api::Result<()> {
//! # let device = rnn_api::Device::cpu();
//! # let text = (0..60).map(|t| format!("{t},{}\n", t % 7)).collect::<String>();
//! # let path = std::env::temp_dir().join(format!("rnn-api-doc-{}.csv", std::process::id()));
//! # std::fs::write(&path, format!("month,passengers\n{text}")).expect("a file for the example");
//! let table = Table::read(&path, &TableOptions::new())?;
//! let series = table.sequence(&["passengers"], Missing::Error)?;
//! let parts = chronological(series.len(), Shares::new(0.2, 0.2)?)?;
//! let normaliser = Normaliser::fit(Scaling::ZScore, [&series.slice(parts.train.clone())?])?;
//! let series = normaliser.apply(&series)?;
//! let windows = Windows::with_targets_in(series, parts.train, &WindowConfig::new(12))?;
//! for batch in Batches::new(windows.len(), &BatchConfig::new(8).with_shuffle(42))? {
//!     let batch = windows.batch(&batch.indices)?;
//!     let x = batch.x.to_tensor(&device)?; // [12, B, 1]
//!     let y = batch.y.to_tensor(&device)?; // [1, B, 1]
//! #   assert_eq!((x.dims()[0], y.dims()[0]), (12, 1));
//! }
//! # std::fs::remove_file(&path).expect("the example's file");
//! # Ok(()) }
//! ```
//!
//! Ragged sequences with class labels use the same steps, with [`Classes`] fitted on the training labels, batches
//! [by length](Batches::by_length) and [`pad`](pad()). Errors name the file, line and field, or the sequence, step
//! and feature ([`DataError`]).

mod argmax;
#[cfg(feature = "audio")]
pub mod audio;
mod batches;
mod error;
mod fasta;
mod folds;
mod host;
mod image;
mod labelled;
mod labels;
mod normalise;
mod number;
mod pad;
mod piano_roll;
mod prefetch;
mod recordings;
mod reserve;
#[cfg(test)]
mod robustness;
mod sequence;
mod shuffle;
mod split;
mod streams;
mod strings;
mod table;
mod text;
mod ts;
mod vocabulary;
mod windows;

pub(crate) use argmax::argmax;
pub use batches::{Batch, BatchConfig, Batches};
pub use error::{DataError, Place, Problem};
pub use fasta::Fasta;
pub use folds::{folds, grouped_folds};
pub use host::{Element, HostArray};
pub use image::Image;
pub use labelled::{LabelledBatch, LabelledWindows};
pub use labels::{Classes, Labels};
pub use normalise::{Normaliser, Scaling};
pub use pad::{AsSequence, Padded, pad, pad_indices};
pub use piano_roll::PianoRolls;
pub use prefetch::Prefetch;
pub use recordings::{RecordingColumns, Recordings};
pub use sequence::{Fill, Missing, Sequence};
pub use shuffle::Cursor;
pub use split::{Parts, Shares, chronological, chronological_text, grouped, shuffled, stratified};
pub use streams::{Chunk, StreamConfig, Streams};
pub use strings::LabelledStrings;
pub use table::{Column, DateOrder, Table, TableOptions};
pub use text::{Normalisation, TextOptions, files_with_extension, read_text, read_text_with};
pub use ts::{TsFile, TsOptions, UnequalDimensions};
pub use vocabulary::{Symbols, Vocabulary, VocabularyConfig};
pub use windows::{WindowBatch, WindowConfig, WindowLabel, Windows};
