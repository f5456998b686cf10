//! Recurrent networks that train and run on any GPU through wgpu, and on the CPU: tensors with
//! automatic gradients, LSTM, GRU and Elman layers, losses, optimizers, safetensors.
//!
//! ```
//! use rnn_api::prelude::*;
//!
//! # fn main() -> rnn_api::Result<()> {
//! # let device = Device::cpu();
//! # let seed = 42;
//! // let device = Device::auto()?;   the fastest GPU, else the CPU
//! let lstm = LstmConfig::new(4, 16).with_num_layers(2).with_dropout(0.2).init(&device, seed)?;
//! let head = LinearConfig::new(16, 3).init(&device, seed)?;
//! let mut adam = AdamConfig::new(1e-2).with_clip_norm(1.0).init(&(&lstm, &head))?;
//!
//! let x = Tensor::ones(&device, &[5, 2, 4])?; // [T, B, I]
//! let labels = Tensor::from_indices(&device, &[0, 2], &[2])?; // [B]
//! for _ in 0..3 {
//!     let out = lstm.forward(&x, None)?; // out.y [T, B, H], out.state
//!     let loss = head.forward(&out.last()?)?.cross_entropy(&labels)?;
//!     adam.step(&loss.backward()?)?;
//! }
//!
//! lstm.eval();
//! let mut stream = lstm.stream(1)?; // same weights, constant cost per step
//! let y = stream.step(&Tensor::ones(&device, &[1, 4])?)?;
//! assert_eq!(y.dims(), [1, 16]);
//! # Ok(()) }
//! ```
//!
//! # Conventions
//!
//! Letters: T steps, B batch, I input, H hidden, G gates, L layers, D directions. Sequences are
//! time-major `[T, B, features]`; [`Tensor::transpose`] adapts batch-major data. States are
//! `[L*D, B, H]`, layer-major, then direction. Parameters have PyTorch's names, shapes and gate
//! order, so its state dicts load unchanged.
//!
//! Nothing is hidden: states go in and come out as values, random draws are pure functions of a
//! seed and a position, and a request that cannot be met is an error.

mod autograd;
mod batcher;
mod carried;
pub mod data;
pub mod doctor;
mod error;
mod flat;
mod functional;
pub mod generate;
mod init;
pub mod io;
#[doc(hidden)]
pub mod kept;
pub mod live;
pub mod metrics;
pub mod nn;
pub mod optim;
mod param;
mod slots;
mod snapshot;
mod tensor;
pub mod train;
mod units;
mod warm_up;

pub use autograd::{Gradients, Leaf, LeafId, backward, is_grad_enabled, no_grad};
pub use batcher::{Batcher, BatcherConfig, BatcherStats, StreamId, Ticket};
pub use error::{Error, Result};
pub use generate::Sampling;
pub use init::Init;
pub use param::Param;
pub use slots::{SlotId, Slots};
pub use snapshot::Snapshot;
pub use tensor::Tensor;
pub use warm_up::warm_up;

/// For the code of [`model!`](crate::model!).
#[doc(hidden)]
pub use serde;

pub use rnn_kernels::cell::{
    Activation, CellKind, CellSpec, Direction, Merge, Parameter, Regularization, StackSpec, Storage,
    WeightFormat,
};
pub use rnn_runtime::ops::dropout::DropoutMask;
pub use rnn_runtime::ops::loss::{
    CrossEntropyOptions, CtcOptions, Elementwise as ElementwiseLoss, LossOptions, Reduction,
};
pub use rnn_runtime::ops::pointwise::{BinaryOp, UnaryOp};
#[cfg(feature = "gpu")]
pub use rnn_runtime::ops::rnn::{Comparison, Explanation};
#[cfg(feature = "gpu")]
pub use rnn_runtime::{
    AdapterInfo, Algorithm, CacheDir, DeviceKind, GpuOptions, GpuSelector, Recurrence, Speed, SpeedReport,
    SpeedSource,
};
pub use rnn_runtime::{Array, CpuOptions, DType, Device, DeviceStats, RngKey, Shape};

/// Everything a program usually needs. [`train::prelude`] has that and what a training program needs.
pub mod prelude {
    pub use crate::nn::config::cells::*;
    pub use crate::nn::{
        Attended, Attention, AttentionConfig, AttentionMemory, Dropout, DropoutConfig, Embedding,
        EmbeddingConfig, ForgetBias, ForwardArgs, HiddenState, Layer, LayerNorm, LayerNormConfig, Lengths,
        Linear, LinearConfig, ModelConfig, Module, RecurrentState, Resets, Sequential, Setting, Summary,
        Trace, summary,
    };
    pub use crate::optim::rules::*;
    pub use crate::optim::{
        Ema, EmaConfig, GradAccumulator, LossScale, LrRangeTest, Optimizer, ParamGroup, ParamRole,
        ReduceOnPlateau, Schedule,
    };
    pub use crate::{
        Activation, CrossEntropyOptions, CtcOptions, DType, Device, Direction, Gradients, Init, LossOptions,
        Merge, Param, Reduction, Regularization, RngKey, Sampling, Snapshot, Storage, Tensor, UnaryOp,
        WeightFormat, model, module, no_grad, warm_up,
    };
}

/// Compiles and runs the program of the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Compiles and runs the program of the crate's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;

/// Compiles and runs the program of docs/devices.md.
#[cfg(all(doctest, feature = "gpu"))]
#[doc = include_str!("../../../docs/devices.md")]
struct Devices;

/// Compiles the programs of docs/training.md.
#[cfg(all(doctest, feature = "progress", feature = "ctrl-c"))]
#[doc = include_str!("../../../docs/training.md")]
struct Training;

/// Compiles the programs of docs/report.md.
#[cfg(all(doctest, feature = "tensorboard"))]
#[doc = include_str!("../../../docs/report.md")]
struct Report;

/// Compiles and runs the programs of docs/doctor.md.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/doctor.md")]
struct DoctorPage;

/// Compiles and runs the programs of docs/streaming.md.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/streaming.md")]
struct Streaming;

/// Compiles and runs the program of docs/generation.md.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/generation.md")]
struct GenerationDocs;

/// Compiles and runs the programs of docs/guide.md.
#[cfg(all(doctest, feature = "progress", feature = "ctrl-c"))]
#[doc = include_str!("../../../docs/guide.md")]
struct Guide;
