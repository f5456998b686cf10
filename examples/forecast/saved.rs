//! The model file, and forecasts with its model.

use super::forecaster::{Forecaster, Mix, NetworksConfig};
use super::interval::Forecasts;
use super::options::{MissingValues, Options};
use super::series::Series;
use anyhow::{Context, Result};
use rnn_api::io::{ModelFile, ModelWriter};
use rnn_examples::flag::FlagError;
use std::path::Path;

/// Saves a forecaster with the names of its columns.
pub(crate) fn save(
    path: &Path,
    forecaster: &Forecaster,
    names: &[String],
    missing: MissingValues,
) -> Result<()> {
    let writer = ModelWriter::new(&forecaster.config)?
        .keep("mix", &forecaster.mix)?
        .keep("columns", &names)?
        .keep("missing", &missing)?;
    writer.save(&forecaster.networks, path).with_context(|| format!("--save {}", path.display()))
}

/// Forecasts the steps after the last row of a table.
pub(crate) fn predict(model: &Path, table: &Path, options: &Options) -> Result<Forecasts> {
    let device = options.common.device()?;
    let file = ModelFile::read(model).context("--load")?;
    let (config, mix): (NetworksConfig, Mix) = (file.config()?, file.kept("mix")?);
    let (names, missing): (Vec<String>, MissingValues) = (file.kept("columns")?, file.kept("missing")?);
    let networks = file.model::<NetworksConfig>(&device)?;
    let forecaster = Forecaster { config, networks, mix };
    forecaster.check(names.len()).with_context(|| format!("--load {}", model.display()))?;
    let series = Series::read(table, &options.format, &names, missing, "--predict")?;
    let (first, last) = (forecaster.mix.first_origin(), series.len() - 1);
    if last < first {
        let rows = first.saturating_add(1);
        let expected = format!("at least {rows} rows, for the window and its transform");
        return Err(FlagError::new("--predict", expected, series.len()).into());
    }
    // Earlier forecasts of rows that the training did not have: their errors are known, and make the intervals.
    let from = forecaster.mix.interval.known.saturating_sub(1).clamp(first, last);
    Ok(forecaster.forecast(&series, (from..=last).collect(), &device)?.last())
}
