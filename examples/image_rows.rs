//! Images as sequences: a network reads a digit row by row, or patch by patch, and classifies it.
//!
//! ```sh
//! cargo run --release --example image_rows                                        # drawn bars, crosses and boxes
//! cargo run --release --example image_rows -- --data digits.csv.gz --train 1437   # 64 pixels and the class a line
//! cargo run --release --example image_rows -- --data digits.csv.gz --train 1437 --patch 2 --save digits.safetensors
//! cargo run --release --example image_rows -- --load digits.safetensors --predict newer.csv
//! ```

#[path = "image_rows/drawn.rs"]
mod drawn;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rnn_api::data::{Image, Labels, Missing, Normaliser, Scaling, Sequence, Table, TableOptions};
use rnn_api::io::ModelFile;
use rnn_examples::flag::{FlagError, size};
use rnn_examples::labelled::{Dataset, Options, run};
use rnn_examples::series::Series;
use serde::{Deserialize, Serialize};
use serde_json::to_value;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Learns to classify images read row by row or patch by patch.
///
/// Parts of the data are held out: the test part (all images after the first --train, or --test, or --test-share of them, or
/// another part for each of --folds networks), by which nothing is chosen, and the validation part (--valid, or a share of
/// the rest), which chooses the epoch whose weights are kept.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
struct Data {
    /// Square images, one per line without a header: the pixels, then the class. The default is generated drawings.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Learn from so many images, the first ones; the others are the test part.
    #[arg(long, value_name = "IMAGES", value_parser = size, conflicts_with_all = ["test", "test_share", "folds"])]
    train: Option<usize>,
    /// Read square patches with this side length instead of rows.
    #[arg(long, value_name = "SIDE", value_parser = size)]
    patch: Option<usize>,
}

/// How images become sequences.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    /// Side length of an image.
    side: usize,
    patch: Option<usize>,
    /// One scale for all pixels. Separate scales would amplify the pixels at the border, which are nearly always 0.
    normaliser: Normaliser,
}

impl Reading {
    /// Fitted on the images of the training part.
    fn fit<'a>(images: impl Iterator<Item = &'a Image>, side: usize, patch: Option<usize>) -> Result<Self> {
        let values = images.flat_map(|image| image.rows().values().to_vec()).collect();
        let normaliser = Normaliser::fit(Scaling::ZScore, [&Sequence::new(values, 1)?])?;
        Ok(Reading { side, patch, normaliser })
    }

    fn sequence(&self, image: &Image) -> rnn_api::Result<Sequence> {
        let steps = match self.patch {
            Some(side) => image.patches(side, side)?,
            None => image.rows(),
        };
        let flat = self.normaliser.apply(&Sequence::new(steps.values().to_vec(), 1)?)?;
        Sequence::new(flat.values().to_vec(), steps.features())
    }

    fn sequences(&self, images: &[Image]) -> Result<Vec<Sequence>> {
        Ok(images.iter().map(|image| self.sequence(image)).collect::<rnn_api::Result<_>>()?)
    }
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    match (&args.options.files.load, &args.options.files.predict) {
        (Some(model), Some(file)) => predict(model, file, &args.options),
        _ => train(&args, started),
    }
}

fn train(Args { data, options }: &Args, started: Instant) -> Result<()> {
    let (device, seed) = (options.common.device()?, options.common.seed);
    let (images, dataset) = read_all(data, options)?;
    let side = images[0].rows().len();
    let start = |train: &[usize], classes: usize| {
        let reading = Reading::fit(train.iter().map(|&item| &images[item]), side, data.patch)?;
        let sequences = reading.sequences(&images)?;
        let config = options.model.config(sequences[0].features(), classes);
        Series::new(config, sequences, vec![("reading", to_value(&reading)?)], &device, seed)
    };
    run(options, &dataset, start, started)
}

/// All files in one list.
fn read_all(data: &Data, options: &Options) -> Result<(Vec<Image>, Dataset)> {
    let Some(path) = &data.data else {
        let (images, labels) = drawn::images(600, 1)?;
        return Ok((images, Dataset::of(&labels)));
    };
    let (mut images, labels) = read(path)?;
    let mut dataset = Dataset::of(&labels);
    if let Some(train) = data.train {
        if train >= images.len() {
            let expected = format!("below the number of images, {}", images.len());
            return Err(FlagError::new("--train", expected, train).into());
        }
        dataset.test = images.len() - train;
    }
    for (part, path) in options.protocol.files() {
        let (file, labels) = read(path)?;
        let sides = [&images[0], &file[0]].map(|image| image.rows().len());
        ensure!(
            sides[0] == sides[1],
            "{}: images of {} rows, expected {}",
            path.display(),
            sides[1],
            sides[0]
        );
        images.extend(file);
        dataset.add(part, Dataset::of(&labels));
    }
    Ok((images, dataset))
}

/// Images and labels of a file, whose last column is the label.
fn read(path: &Path) -> Result<(Vec<Image>, Labels)> {
    let table = Table::read(path, &TableOptions::new().with_header(false))?;
    let pixels = table.width() - 1;
    let side = pixels.isqrt();
    ensure!(side > 0 && side * side == pixels, "{}: {pixels} pixels are no square", path.display());
    let values = table.sequence(&(0..pixels).collect::<Vec<_>>(), Missing::Error)?;
    Ok((Image::from_steps(&values, side, side, 1)?, table.labels(pixels)?))
}

/// Predicts the classes of new images with a saved model. A column of labels behind the pixels is not read.
fn predict(model: &Path, file: &Path, options: &Options) -> Result<()> {
    let saved = ModelFile::read(model).context("--load")?;
    let reading: Reading = saved.kept("reading")?;
    let (side, pixels) = (reading.side, reading.side * reading.side);
    let table = Table::read(file, &TableOptions::new().with_header(false))?;
    if !(pixels..=pixels + 1).contains(&table.width()) {
        let got = format!("{} columns", table.width());
        return Err(FlagError::new("--predict", format!("{pixels} pixels per line"), got).into());
    }
    let values = table.sequence(&(0..pixels).collect::<Vec<_>>(), Missing::Error)?;
    let sequences = reading.sequences(&Image::from_steps(&values, side, side, 1)?)?;
    let count = sequences.len();
    options.predict(&saved, &Series::load(&saved, sequences, &options.common.device()?)?, count)
}
