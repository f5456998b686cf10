//! How delimited text is read.

use crate::data::number::NumberFormat;
use crate::data::text::TextOptions;
use crate::{Error, Result};

/// How to read delimited text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableOptions {
    /// The delimiter. `None`, the default, takes the first of tab, semicolon, comma and `|` that divides the first
    /// lines into equally many fields, else the first that occurs outside quotes; else runs of spaces, if they
    /// divide the lines into equally many numbers.
    pub delimiter: Option<char>,
    /// Whether runs of spaces and tabs are the delimiter; no by default.
    pub spaces: bool,
    /// Whether the first line names the columns; yes by default.
    pub header: bool,
    /// Whether numbers have a decimal comma; no by default. A point in a number is an error then. Between commas as
    /// the delimiter such numbers need quotes.
    pub decimal_comma: bool,
    /// The character with which lines of comment begin; none by default.
    pub comment: Option<char>,
    /// The number of lines before the table; 0 by default.
    pub skip_lines: usize,
    /// Marks for missing values, besides the usual ones. A mark that is a number stands for all ways to write it.
    pub missing_marks: Vec<String>,
    /// Whether integers with more digits than the number type holds are rounded. By default they are an error.
    pub rounded_integers: bool,
    /// How the bytes of a file become text.
    pub text: TextOptions,
}

impl Default for TableOptions {
    fn default() -> Self {
        TableOptions {
            delimiter: None,
            spaces: false,
            header: true,
            decimal_comma: false,
            comment: None,
            skip_lines: 0,
            missing_marks: Vec::new(),
            rounded_integers: false,
            text: TextOptions::new(),
        }
    }
}

impl TableOptions {
    /// With a header, and the delimiter detected from the first lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the delimiter.
    #[must_use]
    pub fn with_delimiter(self, delimiter: char) -> Self {
        TableOptions { delimiter: Some(delimiter), spaces: false, ..self }
    }

    /// Divides lines at runs of spaces and tabs. Spaces at both ends of a line do not count.
    #[must_use]
    pub fn with_spaces(self) -> Self {
        TableOptions { delimiter: None, spaces: true, ..self }
    }

    /// Sets whether the first line names the columns.
    #[must_use]
    pub fn with_header(self, header: bool) -> Self {
        TableOptions { header, ..self }
    }

    /// Reads numbers with a decimal comma, such as `2,6`.
    #[must_use]
    pub fn with_decimal_comma(self) -> Self {
        TableOptions { decimal_comma: true, ..self }
    }

    /// Passes over lines that begin with this character, after spaces or none.
    #[must_use]
    pub fn with_comment(self, comment: char) -> Self {
        TableOptions { comment: Some(comment), ..self }
    }

    /// Passes over the first lines of the file.
    #[must_use]
    pub fn with_skip_lines(self, lines: usize) -> Self {
        TableOptions { skip_lines: lines, ..self }
    }

    /// Sets marks for missing values, besides the usual ones.
    #[must_use]
    pub fn with_missing_marks<S: Into<String>>(self, marks: impl IntoIterator<Item = S>) -> Self {
        TableOptions { missing_marks: marks.into_iter().map(Into::into).collect(), ..self }
    }

    /// Rounds integers with more digits than the number type holds: beyond 2^24 = 16,777,216 in f32, beyond 2^53 in
    /// f64.
    #[must_use]
    pub fn with_rounded_integers(self) -> Self {
        TableOptions { rounded_integers: true, ..self }
    }

    /// Sets encoding, Unicode normalisation and the limit of unpacked text.
    #[must_use]
    pub fn with_text(self, text: TextOptions) -> Self {
        TableOptions { text, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        let refused = |field, expected: &str, got: char| {
            Err(Error::config("TableOptions", field, expected, format!("{got:?}")))
        };
        let special = |c: &char| matches!(c, '"' | '\n' | '\r');
        if let Some(c) = self.delimiter.filter(special) {
            return refused("delimiter", "a character other than quotes and line ends", c);
        }
        if let Some(c) =
            self.comment.filter(|c| special(c) || c.is_whitespace() || Some(*c) == self.delimiter)
        {
            return refused("comment", "a character other than quotes, white space and the delimiter", c);
        }
        Ok(())
    }

    pub(super) fn numbers(&self) -> NumberFormat {
        NumberFormat {
            decimal_comma: self.decimal_comma,
            missing: self.missing_marks.clone(),
            rounded_integers: self.rounded_integers,
        }
    }
}
