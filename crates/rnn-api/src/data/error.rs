//! What can be wrong with data, and where it stands.

use crate::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// Data that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{problem}")]
#[non_exhaustive]
pub struct DataError {
    /// Where it stands.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// Where something stands; what is not known stays `None`. Lines and columns count from 1, as
/// editors do; sequences, steps and features from 0, as slices do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file, where the data came from one.
    pub file: Option<PathBuf>,
    /// The line of the file.
    pub line: Option<usize>,
    /// The column of the line, in characters.
    pub column: Option<usize>,
    /// The name of the field, or its number where fields have no names.
    pub field: Option<String>,
    /// The index of the sequence, text or image.
    pub sequence: Option<usize>,
    /// The time step, or the position in a text.
    pub step: Option<usize>,
    /// The index of the feature.
    pub feature: Option<usize>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Rows or sequences that should have one size have several.
    Ragged {
        /// What is counted: fields, steps, features.
        what: &'static str,
        /// The number that the first had, or that was declared.
        expected: usize,
        /// The number that came.
        got: usize,
    },
    /// Text where a number should be.
    NotANumber {
        /// The text.
        got: String,
    },
    /// Infinite, or beyond what f32 holds.
    NotFinite {
        /// The value.
        got: String,
    },
    /// A missing value (NaN, or a mark such as `NA`) where the policy allows none.
    Missing,
    /// A label that the training part does not have.
    UnknownLabel {
        /// The label.
        label: String,
        /// All known labels.
        known: Vec<String>,
    },
    /// A character or word that the vocabulary does not have.
    UnknownSymbol {
        /// The symbol.
        symbol: String,
    },
    /// A name or number of a field that the file does not have.
    UnknownField {
        /// The name.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// Something without content: a file, a sequence, a list of sequences.
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// A sequence with fewer steps than the request needs.
    TooShort {
        /// Its number of steps.
        length: usize,
        /// The fewest that would do.
        needed: usize,
    },
    /// A part of a split that would have nothing in it.
    EmptyPart {
        /// `training`, `validation` or `test`.
        part: &'static str,
        /// How many items there were to divide.
        of: usize,
    },
    /// Text or bytes that do not follow the format, or a size that does not fit.
    Format {
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The iterator behind a [`Prefetch`](crate::data::Prefetch) panicked.
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

impl fmt::Display for Place {
    /// Ends with ": " unless nothing is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(file) = &self.file {
            parts.push(file.display().to_string());
        }
        let mut say = |name: &str, value: Option<usize>| {
            parts.extend(value.map(|value| format!("{name} {value}")));
        };
        say("line", self.line);
        say("column", self.column);
        if let Some(field) = &self.field {
            parts.push(format!("field {field:?}"));
        }
        let mut say = |name: &str, value: Option<usize>| {
            parts.extend(value.map(|value| format!("{name} {value}")));
        };
        say("sequence", self.sequence);
        say("step", self.step);
        say("feature", self.feature);
        if parts.is_empty() { Ok(()) } else { write!(f, "{}: ", parts.join(", ")) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Ragged { what, expected, got } => write!(f, "expected {expected} {what}, got {got}"),
            Problem::NotANumber { got } => write!(f, "expected a number, got {got:?}"),
            Problem::NotFinite { got } => write!(f, "expected a finite number within f32, got {got}"),
            Problem::Missing => {
                f.write_str("a value is missing (NaN); fill it, or choose another policy for missing values")
            }
            Problem::UnknownLabel { label, known } => {
                write!(f, "the label {label:?} is not among those known from training: {}", some(known))
            }
            Problem::UnknownSymbol { symbol } => write!(
                f,
                "the vocabulary has no {symbol:?}; fit it on more text, or give it an unknown token"
            ),
            Problem::UnknownField { name, known } => {
                write!(f, "there is no field {name:?} among {}", some(known))
            }
            Problem::Empty { what } => write!(f, "{what} is empty"),
            Problem::TooShort { length, needed } => {
                write!(f, "a sequence of {length} steps is too short, {needed} are needed")
            }
            Problem::EmptyPart { part, of } => {
                write!(f, "the {part} part of {of} items would be empty; give it a larger share, or none")
            }
            Problem::Format { expected, got } => write!(f, "expected {expected}, got {got}"),
            Problem::Panicked { message } => write!(f, "the thread that prepares data panicked: {message}"),
        }
    }
}

/// The first names of a list, and how many more there are.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    if names.is_empty() { "none".into() } else { text }
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        Error::Data(Box::new(error))
    }
}

impl Problem {
    pub(crate) fn at(self, place: Place) -> Error {
        DataError { place, problem: self }.into()
    }

    /// A [`Problem::Format`]; long texts are cut.
    pub(crate) fn format(expected: impl Into<String>, got: impl AsRef<str>) -> Self {
        let got = got.as_ref();
        let cut = got.char_indices().nth(60).map_or(got.len(), |(at, _)| at);
        let dots = if cut < got.len() { "..." } else { "" };
        Problem::Format { expected: expected.into(), got: format!("{:?}{dots}", &got[..cut]) }
    }
}

impl Place {
    /// A file, where there is one.
    pub(crate) fn file(path: Option<&Path>) -> Self {
        Place { file: path.map(Path::to_path_buf), ..Place::default() }
    }

    /// A sequence of a list.
    pub(crate) fn sequence(index: usize) -> Self {
        Place { sequence: Some(index), ..Place::default() }
    }

    pub(crate) fn line(self, line: usize) -> Self {
        Place { line: Some(line), ..self }
    }

    pub(crate) fn column(self, column: usize) -> Self {
        Place { column: Some(column), ..self }
    }

    pub(crate) fn field(self, field: impl Into<String>) -> Self {
        Place { field: Some(field.into()), ..self }
    }

    pub(crate) fn step(self, step: usize) -> Self {
        Place { step: Some(step), ..self }
    }

    pub(crate) fn feature(self, feature: usize) -> Self {
        Place { feature: Some(feature), ..self }
    }
}

impl Error {
    /// Adds what the caller knows of the place to a [`Error::Data`]; other errors stay as they are.
    pub(crate) fn located(self, fill: impl FnOnce(Place) -> Place) -> Self {
        match self {
            Error::Data(mut error) => {
                error.place = fill(std::mem::take(&mut error.place));
                Error::Data(error)
            }
            other => other,
        }
    }

    /// A [`Error::Config`].
    pub(crate) fn config(
        config: &'static str,
        field: &'static str,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Error::Config { config, field, expected: expected.into(), got: got.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_where_and_what() {
        let place = Place::file(Some(Path::new("a.csv"))).line(3).field("co2");
        let text = Problem::NotANumber { got: "x".into() }.at(place).to_string();
        assert_eq!(text, "a.csv, line 3, field \"co2\": expected a number, got \"x\"");
        let text = Problem::TooShort { length: 2, needed: 5 }.at(Place::default()).to_string();
        assert_eq!(text, "a sequence of 2 steps is too short, 5 are needed");
        let known = (0..22).map(|k| k.to_string()).collect();
        let text = Problem::UnknownLabel { label: "z".into(), known }.to_string();
        assert!(text.ends_with("18, 19 and 2 more"), "{text}");
        assert!(Problem::format("a line", "é".repeat(99)).to_string().ends_with("é\"..."));
    }
}
