//! Errors in data, and their place.

use rnn_runtime::debug_as_text;
use std::fmt;
use std::path::{Path, PathBuf};

/// Data that cannot be used. `Debug` prints the same text as `Display`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{problem}")]
#[non_exhaustive]
pub struct DataError {
    /// The place of the problem.
    pub place: Place,
    /// The problem.
    pub problem: Problem,
}

/// The place of a problem; unknown parts are `None`. Lines and columns count from 1, as in editors; sequences,
/// steps and features count from 0, as in slices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file, if the data came from one.
    pub file: Option<PathBuf>,
    /// The line of the file.
    pub line: Option<usize>,
    /// The column in the line, in characters.
    pub column: Option<usize>,
    /// The name of the field, or its number if fields have no names.
    pub field: Option<String>,
    /// The index of the sequence, text or image.
    pub sequence: Option<usize>,
    /// The time step, or the position in a text.
    pub step: Option<usize>,
    /// The index of the feature.
    pub feature: Option<usize>,
}

/// What is wrong with the data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Rows or sequences differ in a size that should be equal.
    Ragged {
        /// What was counted: fields, steps, features.
        what: &'static str,
        /// The declared number, or that of the first row or sequence.
        expected: usize,
        /// The number that was found.
        got: usize,
    },
    /// Text in the place of a number.
    NotANumber {
        /// The text.
        got: String,
    },
    /// A value that is infinite or out of range for f32.
    NotFinite {
        /// The value.
        got: String,
    },
    /// An integer with more digits than the number type holds.
    Rounded {
        /// The integer.
        got: String,
        /// The size in bits of integers that the type holds exactly: 24 for f32, 53 for f64.
        bits: u32,
    },
    /// A missing value (NaN, or a mark such as `NA`) that the policy does not allow.
    Missing,
    /// A label that does not occur in the training part.
    UnknownLabel {
        /// The label.
        label: String,
        /// All known labels.
        known: Vec<String>,
    },
    /// A character or word that is not in the vocabulary.
    UnknownSymbol {
        /// The symbol.
        symbol: String,
    },
    /// A field name or number that the file does not have.
    UnknownField {
        /// The name.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// Something empty: a file, a sequence, a list of sequences.
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// A sequence that is too short.
    TooShort {
        /// Its number of steps.
        length: usize,
        /// The smallest sufficient number.
        needed: usize,
    },
    /// A part of a split that would be empty.
    EmptyPart {
        /// `training`, `validation` or `test`.
        part: &'static str,
        /// The number of items to divide.
        of: usize,
    },
    /// Text or bytes that do not follow the format, or a size that does not fit.
    Format {
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// The iterator behind a [`Prefetch`](crate::data::Prefetch) panicked.
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

impl fmt::Display for Place {
    /// Ends with ": " unless every part is unknown.
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
            Problem::NotANumber { got } if is_decimal_comma(got) => {
                write!(
                    f,
                    "expected a number, got {got:?}; TableOptions::with_decimal_comma reads a decimal comma"
                )
            }
            Problem::NotANumber { got } => write!(f, "expected a number, got {got:?}"),
            Problem::NotFinite { got } => write!(f, "expected a finite number within f32, got {got}"),
            Problem::Rounded { got, bits } => write!(
                f,
                "the integer {got} would be rounded, because numbers here have {bits} bits; read it as f64 \
                 (Table::doubles) and subtract an offset, as text, or allow it (with_rounded_integers)"
            ),
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

/// Whether a text is a number with one comma inside.
fn is_decimal_comma(text: &str) -> bool {
    text.split_once(',').is_some_and(|(whole, _)| whole.bytes().any(|c| c.is_ascii_digit()))
        && text.replacen(',', ".", 1).parse::<f64>().is_ok()
}

/// The first names of a list, and the number of the others.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    if names.is_empty() { "none".into() } else { text }
}

impl fmt::Debug for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_as_text(self, f)
    }
}

impl Problem {
    /// A [`Problem::Format`]; long texts are truncated.
    pub(crate) fn format(expected: impl Into<String>, got: impl AsRef<str>) -> Self {
        let got = got.as_ref();
        let start = beginning(got);
        let dots = if start.len() < got.len() { "..." } else { "" };
        Problem::Format { expected: expected.into(), got: format!("{start:?}{dots}") }
    }
}

/// At most 60 characters of a text, for messages.
pub(crate) fn beginning(text: &str) -> &str {
    &text[..text.char_indices().nth(60).map_or(text.len(), |(at, _)| at)]
}

impl Place {
    /// The place of a file, if there is one.
    pub(crate) fn file(path: Option<&Path>) -> Self {
        Place { file: path.map(Path::to_path_buf), ..Place::default() }
    }

    /// The place of a sequence in a list.
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
