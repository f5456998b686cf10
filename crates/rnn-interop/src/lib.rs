//! Readers of other systems' files of recurrent networks.

#[cfg(feature = "keras")]
pub mod keras;
