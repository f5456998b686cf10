//! Model files, and files of predictions.

use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;

/// Options of the files that a classifier writes and reads.
#[derive(Args)]
pub struct Files {
    /// Save the model in this file, with all that --predict needs.
    #[arg(long, value_name = "MODEL", conflicts_with = "load")]
    pub save: Option<PathBuf>,
    /// Load the model of this file, for --predict.
    #[arg(long, value_name = "MODEL", requires = "predict")]
    pub load: Option<PathBuf>,
    /// Predict the classes of the items of this file, with the model of --load. Sizes, classes and columns are those of the
    /// model.
    #[arg(
        long, value_name = "FILE", requires = "load",
        conflicts_with_all = ["Data", "ModelArgs", "Protocol", "Learning", "epochs", "log", "report", "run"],
    )]
    pub predict: Option<PathBuf>,
    /// Write the predictions to this file, as CSV with items numbered from 1: those of --predict, else those of the test
    /// part.
    #[arg(long, value_name = "CSV")]
    pub out: Option<PathBuf>,
}

impl Files {
    /// Writes the file of --out, if it is wanted.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, text: &str) -> Result<()> {
        match &self.out {
            Some(path) => std::fs::write(path, text).with_context(|| format!("--out {}", path.display())),
            None => Ok(()),
        }
    }
}
