//! Readers of recurrent networks in the files of other systems.

#[cfg(feature = "dl4j")]
pub mod dl4j;
