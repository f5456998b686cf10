//! The cell as a command-line option.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cell {
    Lstm,
    Gru,
    /// Elman, with tanh.
    Rnn,
}

/// `config!(cell, inputs, hidden, with_dropout(0.2), ..)`: the configuration for the chosen cell. A macro, because
/// the three configurations have methods of the same names but no common type.
macro_rules! config {
    ($cell:expr, $inputs:expr, $hidden:expr $(, $option:ident($value:expr))*) => {
        match $cell {
            Cell::Lstm => AnyRnnConfig::from(LstmConfig::new($inputs, $hidden)$(.$option($value))*),
            Cell::Gru => GruConfig::new($inputs, $hidden)$(.$option($value))*.into(),
            Cell::Rnn => RnnConfig::new($inputs, $hidden)$(.$option($value))*.into(),
        }
    };
}
pub(crate) use config;
