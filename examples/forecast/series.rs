//! The columns of a table that take part in a forecast.

use super::baselines::generated;
use super::options::{Format, MissingValues};
use anyhow::{Context, Result};
use rnn_api::data::{Fill, Missing, Sequence, Table};
use rnn_examples::flag::FlagError;
use std::path::Path;

/// Columns of equal length, without missing values.
pub(crate) struct Series {
    /// First the column that is forecast, then the further inputs.
    pub(crate) names: Vec<String>,
    /// Their values.
    pub(crate) columns: Vec<Vec<f64>>,
}

impl Series {
    /// Reads columns of a table. `flag` named the file.
    pub(crate) fn read(
        path: &Path,
        format: &Format,
        names: &[String],
        missing: MissingValues,
        flag: &'static str,
    ) -> Result<Self> {
        let table = Table::read(path, &format.options()).context(flag)?;
        check_names(&table, names)?;
        let by_name: Vec<&String> = names.iter().collect();
        let read = |missing| table.sequence(&by_name, missing);
        let sequence = match missing {
            MissingValues::Error => read(Missing::Error).context("--missing error")?,
            MissingValues::Previous => read(Missing::Keep)?.fill(Fill::Previous)?,
            MissingValues::Linear => read(Missing::Keep)?.fill(Fill::Linear)?,
        };
        Self::new(names.to_vec(), &sequence)
    }

    /// The generated series of the default.
    pub(crate) fn generated(seed: u64) -> Result<Self> {
        Self::new(vec!["generated".into()], &Sequence::new(generated(600, seed), 1)?)
    }

    fn new(names: Vec<String>, sequence: &Sequence) -> Result<Self> {
        let column = |feature| Ok(sequence.column(feature)?.into_iter().map(f64::from).collect());
        let columns = (0..sequence.features()).map(column).collect::<Result<_>>()?;
        Ok(Series { names, columns })
    }

    /// The column that is forecast.
    pub(crate) fn target(&self) -> &[f64] {
        &self.columns[0]
    }

    /// The number of steps.
    pub(crate) fn len(&self) -> usize {
        self.target().len()
    }
}

/// Refuses names that are not in the table, and a column twice.
fn check_names(table: &Table, names: &[String]) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        let flag = if index == 0 { "--column" } else { "--columns" };
        if names[..index].contains(name) {
            return Err(FlagError::new(flag, "every column once", format!("{name:?} twice")).into());
        }
        let known = table.names().unwrap_or_default();
        if !known.contains(name) {
            return Err(
                FlagError::new(flag, format!("one of {}", known.join(", ")), format!("{name:?}")).into()
            );
        }
    }
    Ok(())
}
