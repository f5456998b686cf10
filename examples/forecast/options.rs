//! The command line.

use super::transform::{NAMES, Transform};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, ValueEnum};
use rnn_api::data::TableOptions;
use rnn_examples::cell::Cell;
use rnn_examples::common::Common;
use rnn_examples::flag::{not_negative, positive, share, size};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Forecasts a column of a table from windows of past values.
///
/// The last steps of the series are held out: --test of them, by default 20 %. Nothing is chosen by them. Before them the
/// end of the training part is divided into --folds. Each is forecast by models that know only the steps before it, and
/// these errors choose.
///
/// --transform auto forecasts with a weighted sum. Without networks it takes the last value, that of the last season, and
/// linear autoregressions over 4 and over --window steps of every transform: the smaller the error in the folds, the larger
/// the weight. The last value or season gets up to three quarters of the weight more, unless the error of all together is
/// smaller than its own by two standard errors. Networks for the two transforms with the best linear forecasts get the share
/// of the sum that makes its error in the folds smallest, less two standard errors: often nothing, on short series. With
/// another --transform one network forecasts alone.
///
/// A network learns from the data before its fold without their last part, which is as long as a fold. That part chooses
/// the epoch.
///
/// An interval is as wide as --interval of the errors in the folds and of those known later, the newest with the largest
/// weight, and is wider after restless steps. The test is a rolling origin: from every step of the test part the next
/// --horizon steps are forecast from the true values before, with the same weights.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) data: Data,
    #[command(flatten)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) windows: WindowOptions,
    #[command(flatten)]
    pub(crate) learning: Learning,
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What is forecast, and on which part.
#[derive(Args)]
pub(crate) struct Data {
    /// A table with a header. The default is a generated series with a season and noise.
    #[arg(long, requires = "column")]
    pub(crate) data: Option<PathBuf>,
    /// The name of the column to forecast.
    #[arg(long, requires = "data")]
    pub(crate) column: Option<String>,
    /// Names of further input columns, with commas between them.
    #[arg(long, requires = "column", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// What to do about missing values. `linear` uses later values.
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) missing: MissingValues,
    /// Steps of the training part, from the first one; by default 80 %, or all but --test.
    #[arg(long, value_parser = size)]
    pub(crate) train: Option<usize>,
    /// Steps of the test part, behind the training part; by default all others.
    #[arg(long, value_parser = size)]
    pub(crate) test: Option<usize>,
    /// The length of a fold, as a share of the training part; and the share of what a network may know that chooses its
    /// epoch.
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub(crate) validation: f64,
    /// Folds at the end of the training part; fewer if too few steps are left before them.
    #[arg(long, default_value_t = 4, value_parser = size)]
    pub(crate) folds: usize,
    /// The first steps whose variance the average relative variance refers to; by default all.
    #[arg(long, value_parser = size)]
    pub(crate) reference: Option<usize>,
}

/// How a table is written.
#[derive(Args)]
pub(crate) struct Format {
    /// Numbers have decimal commas.
    #[arg(long)]
    decimal_comma: bool,
    /// The character with which lines of comment begin.
    #[arg(long)]
    comment: Option<char>,
    /// The encoding of the table, such as latin1; UTF-8 by default.
    #[arg(long)]
    encoding: Option<String>,
}

impl Format {
    pub(crate) fn options(&self) -> TableOptions {
        let mut options = TableOptions::new();
        options.decimal_comma = self.decimal_comma;
        options.comment = self.comment;
        options.text.encoding = self.encoding.clone();
        options
    }
}

/// What to do about missing values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MissingValues {
    /// Refuse them.
    Error,
    /// Repeat the value before.
    Previous,
    /// Interpolate between the values before and after.
    Linear,
}

/// Windows and their transform.
#[derive(Args)]
pub(crate) struct WindowOptions {
    /// Steps of input.
    #[arg(long, default_value_t = 12, value_parser = size)]
    pub(crate) window: usize,
    /// Forecast this many steps from each origin.
    #[arg(long, default_value_t = 1, value_parser = size)]
    pub(crate) horizon: usize,
    /// Length of the season, for seasonal differences and a further baseline.
    #[arg(long, value_parser = size)]
    pub(crate) period: Option<usize>,
    /// What the network sees and predicts instead of the values. `auto` combines forecasts with several.
    /// Seasonal and double differences (seasonal, then from step to step) need --period.
    #[arg(long, default_value = "auto", value_parser = names())]
    pub(crate) transform: String,
    /// A transform by its parts: changes from step to step.
    #[arg(long, conflicts_with = "transform")]
    pub(crate) difference: bool,
    /// A transform by its parts: changes from the same season before.
    #[arg(long, conflicts_with = "transform", requires = "period")]
    pub(crate) seasonal_difference: bool,
    /// A transform by its parts: logarithms. (`--log` names a file.)
    #[arg(long, conflicts_with = "transform")]
    pub(crate) logarithm: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(["auto"].into_iter().chain(NAMES))
}

impl WindowOptions {
    /// The transform given by its parts.
    pub(crate) fn parts(&self) -> Option<Transform> {
        let transform = Transform {
            log: self.logarithm,
            difference: self.difference,
            season: self.period.filter(|_| self.seasonal_difference),
        };
        (transform != Transform::default()).then_some(transform)
    }
}

/// The network and its training.
#[derive(Args)]
pub(crate) struct Learning {
    #[arg(long, value_enum, default_value = "lstm")]
    pub(crate) cell: Cell,
    /// Units of the recurrent layer.
    #[arg(long, default_value_t = 32, value_parser = size)]
    pub(crate) hidden: usize,
    /// Networks of each transform whose mean is the forecast, trained together from different weights.
    #[arg(long, default_value_t = 4, value_parser = size)]
    pub(crate) members: usize,
    /// Add a linear path from the window to the forecast, beside the recurrent layer.
    #[arg(long)]
    pub(crate) linear: bool,
    /// Windows per step of the optimizer.
    #[arg(long, default_value_t = 16, value_parser = size)]
    pub(crate) batch: usize,
    /// Peak learning rate of AdamW, with cosine decay to zero.
    #[arg(long, default_value_t = 1e-2, value_parser = positive)]
    pub(crate) lr: f64,
    /// Decoupled weight decay.
    #[arg(long, default_value_t = 0.05, value_parser = not_negative)]
    pub(crate) weight_decay: f64,
    /// Probability that a value lies inside its interval.
    #[arg(long, default_value_t = 0.9, value_parser = share)]
    pub(crate) interval: f64,
}

/// Files that are written, and a model that is read.
#[derive(Args)]
pub(crate) struct Files {
    /// Write the forecasts and their intervals to this file, as CSV with rows numbered from 1.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Save the model in this file, with all that --predict needs.
    #[arg(long, conflicts_with = "predict")]
    pub(crate) save: Option<PathBuf>,
    /// Load the model of this file, for --predict.
    #[arg(long, requires = "predict")]
    pub(crate) load: Option<PathBuf>,
    /// Forecast the steps after the last row of this table, with the model of --load. Columns, sizes and transform are those
    /// of the model.
    #[arg(long, requires = "load", conflicts_with_all = [
        "data", "column", "columns", "missing", "train", "test", "validation", "folds", "reference", "window", "horizon",
        "period", "transform", "difference", "seasonal_difference", "logarithm", "cell", "hidden", "members", "linear",
        "batch", "lr", "weight_decay", "interval",
    ])]
    pub(crate) predict: Option<PathBuf>,
}
