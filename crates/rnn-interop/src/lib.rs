//! Recurrent networks of other systems: models of ONNX, Keras and Deeplearning4j become a [`Model`] that runs on every device
//! of [`rnn_api`], trains with its optimizers, and gives its layers away.
//!
//! ```no_run
//! use rnn_api::prelude::*;
//! use rnn_interop::onnx;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::cpu();
//! let model = onnx::Model::load("vad.onnx", &device)?;
//! let x = Tensor::zeros(&device, &[1, 512])?;
//! let out = model.run(&[("x", x.into())])?;
//! println!("{:?}", out.tensor("y")?.dims());
//! # Ok(()) }
//! ```
//!
//! Networks of RTNeural become a [`Pipeline`](rnn_api::live::Pipeline) that runs in real time; the LSTMs of Neural Amp Modeler
//! become layers, which can be trained further, and a pipeline.
//!
//! A file that holds what is not supported is refused as a whole: the error lists every such node.

// rustdoc asks whether a model is `Send`, and follows its device through the types of wgpu.
#![recursion_limit = "256"]

#[cfg(feature = "dl4j")]
pub mod dl4j;
#[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only ONNX has all of it"))]
mod error;
#[cfg_attr(not(any(feature = "keras", feature = "nam")), allow(dead_code, reason = "only JSON is text"))]
mod file;
#[cfg_attr(
    not(all(feature = "dl4j", feature = "keras", feature = "onnx")),
    allow(dead_code, unused_imports, reason = "no reader has all of it")
)]
mod graph;
#[cfg(feature = "keras")]
pub mod keras;
mod kind;
#[cfg(feature = "nam")]
pub mod nam;
#[cfg(feature = "onnx")]
pub mod onnx;
#[cfg(feature = "keras")]
pub mod rtneural;
#[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only ONNX has all of it"))]
mod value;

pub use error::{Error, Result};
pub use graph::{Layer, LayerType, Model, Outputs, Port};
pub use kind::Kind;
#[cfg(all(feature = "dl4j", feature = "keras", feature = "onnx"))]
pub use kind::load;
pub use value::{Host, Value};
