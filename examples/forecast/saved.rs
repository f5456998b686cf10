//! The model file, and forecasts with its model.

use super::interval::Forecasts;
use super::network::{Forecaster, NetworkConfig, Scale};
use super::options::{MissingValues, Options};
use super::samples::Frame;
use super::series::Series;
use anyhow::{Context, Result, ensure};
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
        .keep("scale", &forecaster.scale)?
        .keep("columns", &names)?
        .keep("missing", &missing)?;
    writer.save(&forecaster.network, path).with_context(|| format!("--save {}", path.display()))
}

/// Forecasts the steps after the last row of a table.
pub(crate) fn predict(model: &Path, table: &Path, options: &Options) -> Result<Forecasts> {
    let device = options.common.device()?;
    let file = ModelFile::read(model).context("--load")?;
    let config: NetworkConfig = file.config()?;
    let scale: Scale = file.kept("scale")?;
    let (names, missing): (Vec<String>, MissingValues) = (file.kept("columns")?, file.kept("missing")?);
    check(&scale, &names).with_context(|| format!("--load {}", model.display()))?;
    let network = file.model::<NetworkConfig>(&device)?;
    let series = Series::read(table, &options.format, &names, missing, "--predict")?;
    let (plan, last) = (scale.plan.clone(), series.len() - 1);
    if last < plan.first_origin() {
        let expected = format!("at least {} rows, for the window and its transform", plan.first_origin() + 1);
        return Err(FlagError::new("--predict", expected, series.len()).into());
    }
    let frame = Frame::new(&series, &plan)?;
    let windows = frame.windows(vec![last]);
    Forecaster { config, network, scale }.forecast(&frame, windows, &device)
}

/// Refuses a file whose parts contradict each other.
fn check(scale: &Scale, names: &[String]) -> Result<()> {
    let (plan, interval) = (&scale.plan, &scale.interval);
    let columns = [plan.transforms.len(), scale.inputs.features()];
    ensure!(
        !names.is_empty() && columns == [names.len(); 2],
        "sizes of {columns:?} for {} columns",
        names.len()
    );
    let horizons = [scale.changes.features(), interval.lower.len(), interval.upper.len()];
    ensure!(horizons == [plan.horizon; 3], "sizes of {horizons:?} for a horizon of {}", plan.horizon);
    let seasons = plan.transforms.iter().all(|transform| transform.season != Some(0));
    ensure!(plan.window > 0 && plan.horizon > 0 && seasons, "a window, a horizon or a season of 0");
    Ok(())
}
