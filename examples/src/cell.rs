//! The cell as a command-line option.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The cell of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Long short-term memory, with forget gates.
    Lstm,
    /// Gated recurrent unit.
    Gru,
    /// Elman, with tanh.
    Rnn,
    /// Minimal gated unit.
    Mgu,
}

/// `config!(cell, inputs, hidden, with_dropout(0.2), ..)`: the configuration for the chosen cell. A macro, because
/// the configurations have methods of the same names but no common type.
#[macro_export]
macro_rules! config {
    ($cell:expr, $inputs:expr, $hidden:expr $(, $option:ident($value:expr))*) => {
        match $cell {
            $crate::cell::Cell::Lstm => ::rnn_api::nn::AnyRnnConfig::from(::rnn_api::nn::LstmConfig::new($inputs, $hidden)$(.$option($value))*),
            $crate::cell::Cell::Gru => ::rnn_api::nn::GruConfig::new($inputs, $hidden)$(.$option($value))*.into(),
            $crate::cell::Cell::Rnn => ::rnn_api::nn::RnnConfig::new($inputs, $hidden)$(.$option($value))*.into(),
            $crate::cell::Cell::Mgu => ::rnn_api::nn::MguConfig::new($inputs, $hidden)$(.$option($value))*.into(),
        }
    };
}
pub use config;
