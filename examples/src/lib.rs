//! What the examples share: options of the command line, the choice of the cell, and a classifier with its data handling.

pub mod cell;
pub mod classifier;
pub mod common;
pub mod flag;
pub mod labelled;
