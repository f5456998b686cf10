//! What the examples share: options of the command line, the choice of the cell, a classifier, and what classifiers do with their data.

pub mod cell;
pub mod classifier;
pub mod common;
pub mod files;
pub mod flag;
pub mod labelled;
pub mod protocol;
pub mod report;
pub mod series;
