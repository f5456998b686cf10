//! [`AnyRnn`]: a layer whose cell is chosen at run time.

use crate::error::Result;
use crate::nn::config::common::{RecurrentCell, sealed};
use crate::nn::config::gru::GruConfig;
use crate::nn::config::lstm::LstmConfig;
use crate::nn::config::mgu::MguConfig;
use crate::nn::config::parts::StackConfig;
use crate::nn::config::rnn::RnnConfig;
use crate::nn::layers::RecurrentLayer;
use crate::nn::output::RecurrentOutput;
use crate::nn::state::StackState;
use crate::nn::stream::RecurrentStream;
use crate::tensor::Tensor;
use rnn_runtime::Device;
use serde::{Deserialize, Serialize};

/// A recurrent layer for programs that choose the cell at run time. Parameters have the same names and
/// values, and outputs the same bits, as those of [`Lstm`](crate::nn::Lstm), [`Gru`](crate::nn::Gru),
/// [`Mgu`](crate::nn::Mgu) or [`Rnn`](crate::nn::Rnn).
///
/// ```
/// use rnn_api::nn::AnyRnnConfig;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// # let asked_for = "gru";
/// let config: AnyRnnConfig = match asked_for {
///     "lstm" => LstmConfig::new(3, 8).into(),
///     "gru" => GruConfig::new(3, 8).into(),
///     _ => RnnConfig::new(3, 8).into(),
/// };
/// let layer = config.init(&device, 1)?;
/// let out = layer.forward(&Tensor::ones(&device, &[5, 2, 3])?, None)?;
/// assert_eq!(out.y.dims(), [5, 2, 8]);
/// assert!(out.state.c.is_none()); // a GRU has no cell state
/// # Ok(()) }
/// ```
pub type AnyRnn = RecurrentLayer<AnyCell>;

/// A running sequence per batch row, made by [`AnyRnn::stream`].
pub type AnyRnnStream = RecurrentStream<AnyCell>;

/// State of a layer whose cell is chosen at run time; `c` is `Some` for an LSTM.
pub type AnyRnnState = StackState<Option<Tensor>>;

/// Output of an [`AnyRnn`].
pub type AnyRnnOutput = RecurrentOutput<AnyRnnState>;

/// Settings of an [`AnyRnn`], converted from those of a specific layer.
///
/// In JSON it is the object of that layer with one more field, the name of the cell in lower case:
///
/// ```
/// use rnn_api::nn::{AnyRnnConfig, GruConfig};
/// let json = r#"{ "cell": "gru", "input_size": 3, "hidden_size": 8 }"#;
/// let config: AnyRnnConfig = serde_json::from_str(json).unwrap();
/// assert_eq!(config, GruConfig::new(3, 8).into());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cell", rename_all = "lowercase")]
#[non_exhaustive]
pub enum AnyRnnConfig {
    /// Settings of an [`Lstm`](crate::nn::Lstm).
    Lstm(LstmConfig),
    /// Settings of a [`Gru`](crate::nn::Gru).
    Gru(GruConfig),
    /// Settings of an [`Mgu`](crate::nn::Mgu).
    Mgu(MguConfig),
    /// Settings of an [`Rnn`](crate::nn::Rnn).
    Rnn(RnnConfig),
}

impl AnyRnnConfig {
    /// Draws the parameters, with the values that the cell's own layer would have.
    ///
    /// # Errors
    /// As [`RecurrentConfig::init`](crate::nn::RecurrentConfig::init).
    pub fn init(&self, device: &Device, seed: u64) -> Result<AnyRnn> {
        RecurrentLayer::new(&self.parts(), device, seed)
    }

    fn parts(&self) -> StackConfig {
        match self {
            AnyRnnConfig::Lstm(config) => config.parts(),
            AnyRnnConfig::Gru(config) => config.parts(),
            AnyRnnConfig::Mgu(config) => config.parts(),
            AnyRnnConfig::Rnn(config) => config.parts(),
        }
    }
}

impl From<LstmConfig> for AnyRnnConfig {
    fn from(config: LstmConfig) -> Self {
        AnyRnnConfig::Lstm(config)
    }
}

impl From<GruConfig> for AnyRnnConfig {
    fn from(config: GruConfig) -> Self {
        AnyRnnConfig::Gru(config)
    }
}

impl From<MguConfig> for AnyRnnConfig {
    fn from(config: MguConfig) -> Self {
        AnyRnnConfig::Mgu(config)
    }
}

impl From<RnnConfig> for AnyRnnConfig {
    fn from(config: RnnConfig) -> Self {
        AnyRnnConfig::Rnn(config)
    }
}

/// A cell chosen at run time.
#[derive(Clone, Copy, Debug)]
pub enum AnyCell {}

impl sealed::Sealed for AnyCell {}

impl RecurrentCell for AnyCell {
    type State = AnyRnnState;
    const LAYER: &'static str = "AnyRnn";
}
