//! Checkpoints: folders that are complete or absent.

mod config;
pub(crate) mod content;
mod folder;
pub(crate) mod lock;
mod manifest;
mod read;
pub(crate) mod write;

pub use config::{CheckpointConfig, Every};
pub use read::Checkpoint;
