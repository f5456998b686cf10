//! [`TsOptions`]: how `.ts` files are read.

use crate::data::number::NumberFormat;
use crate::data::sequence::Missing;
use crate::data::text::TextOptions;
use crate::{Error, Result};

/// What to do with a sequence whose dimensions have different numbers of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum UnequalDimensions {
    /// An error.
    #[default]
    Refuse,
    /// Shorter dimensions continue with this value to the length of the longest. With NaN the steps are missing, for
    /// [`Sequence::fill`](crate::data::Sequence::fill), and [`Missing::Keep`] is needed.
    Pad(f32),
}

/// How to read `.ts` files.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TsOptions {
    /// What to do with missing values, which are written as `?` or `NaN`; by default they are an error.
    pub missing: Missing,
    /// What to do with dimensions of different lengths; by default they are an error.
    pub unequal: UnequalDimensions,
    /// Whether integers with more digits than f32 has are rounded; by default they are an error.
    pub rounded_integers: bool,
    /// How the bytes of a file become text.
    pub text: TextOptions,
}

impl TsOptions {
    /// Everything unusual is an error.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what to do with missing values.
    #[must_use]
    pub fn with_missing(self, missing: Missing) -> Self {
        TsOptions { missing, ..self }
    }

    /// Sets what to do with dimensions of different lengths.
    #[must_use]
    pub fn with_unequal(self, unequal: UnequalDimensions) -> Self {
        TsOptions { unequal, ..self }
    }

    /// Rounds integers beyond 2^24 that f32 does not have.
    #[must_use]
    pub fn with_rounded_integers(self) -> Self {
        TsOptions { rounded_integers: true, ..self }
    }

    /// Sets encoding, Unicode normalisation and the limit of unpacked text.
    #[must_use]
    pub fn with_text(self, text: TextOptions) -> Self {
        TsOptions { text, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self.unequal {
            UnequalDimensions::Pad(value) if value.is_infinite() => {
                Err(Error::config("TsOptions", "unequal", "Refuse, or a finite value or NaN", value))
            }
            UnequalDimensions::Pad(value) if value.is_nan() && self.missing != Missing::Keep => Err(
                Error::config("TsOptions", "unequal", "a finite value unless missing values are kept", value),
            ),
            _ => Ok(()),
        }
    }

    pub(super) fn numbers(&self) -> NumberFormat {
        NumberFormat { rounded_integers: self.rounded_integers, ..NumberFormat::default() }
    }
}
