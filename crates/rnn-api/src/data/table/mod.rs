//! [`Table`]: delimited text (CSV, TSV) with columns by name or number.

mod fields;
mod options;
mod records;
mod times;

pub use options::TableOptions;
pub use times::DateOrder;
pub(crate) use times::seconds;

use super::error::{Place, Problem};
use super::labels::Labels;
use super::number::NumberFormat;
use super::reserve::room;
use super::sequence::{Missing, Sequence};
use super::text::read_text_with;
use crate::Result;
use fields::Fields;
use records::{Delimiter, Records, guess};
use std::path::{Path, PathBuf};

/// A column, by its name in the header or by its number from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// By name.
    Name(String),
    /// By number.
    Number(usize),
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Column::Name(name.into())
    }
}

impl From<&String> for Column {
    fn from(name: &String) -> Self {
        Column::Name(name.clone())
    }
}

impl From<usize> for Column {
    fn from(number: usize) -> Self {
        Column::Number(number)
    }
}

/// Delimited text in memory. Fields are stored as text and converted to numbers column by column. Reading a file takes
/// at most three times the memory of its text, and the table itself less.
///
/// Fields may be quoted as in RFC 4180: `"a, b"`, with `""` for a quote and line breaks inside. Spaces around the quotes
/// do not count. Empty lines are skipped, and so are rows at the end whose fields are all empty, which spreadsheets
/// write. All other lines must have as many fields as the first. A line ends with a line feed, a carriage return, or
/// both. A first line `sep=;` names the delimiter.
#[derive(Clone, Debug)]
pub struct Table {
    file: Option<PathBuf>,
    names: Option<Vec<String>>,
    width: usize,
    fields: Fields,
    numbers: NumberFormat,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`read_text_with`] and [`Table::parse`].
    pub fn read(path: impl AsRef<Path>, options: &TableOptions) -> Result<Self> {
        let path = path.as_ref();
        options.check()?;
        Self::from_bytes(read_text_with(path, &options.text)?.into_bytes(), options, Some(path))
    }

    /// Reads text. Options of files, [`TableOptions::text`], do not apply.
    ///
    /// # Errors
    /// There are no rows, rows differ in their number of fields, or a quote is not closed.
    pub fn parse(text: &str, options: &TableOptions) -> Result<Self> {
        options.check()?;
        let mut copy = room("Table::parse", "the text", &[text.len()])?;
        copy.extend_from_slice(text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes());
        // The bytes are those of a text.
        Self::from_bytes(copy, options, None)
    }

    /// Reads UTF-8.
    fn from_bytes(mut bytes: Vec<u8>, options: &TableOptions, file: Option<&Path>) -> Result<Self> {
        let place = |line: usize| Place::file(file).line(line);
        let (delimiter, options) = delimiter(&bytes, options);
        let mut records = Records::new(&mut bytes, delimiter, &options);
        let (most_fields, most_rows) = records.bounds();
        let mut fields = Fields::new(most_fields, most_rows)?;
        let (mut width, mut filled) = (0, 0);
        while records.next_record() {
            let (line, before) = (records.line, fields.fields());
            let mut empty = true;
            loop {
                let field = records.field().map_err(|problem| problem.at(place(records.line)))?;
                empty &= !field.quoted && records.is_blank(&field);
                fields.push_field(field.bytes);
                if field.last {
                    break;
                }
            }
            let got = fields.fields() - before;
            if fields.rows() == 0 {
                width = got;
            } else if got != width {
                return Err(ragged(width, got, records.first_byte()).at(place(line)));
            }
            fields.push_row(line);
            if !empty {
                filled = fields.rows();
            }
        }
        let end = fields.finish(filled * width, filled);
        bytes.truncate(end);
        let text = String::from_utf8(bytes)
            .map_err(|_| Problem::format("UTF-8", "other bytes").at(Place::file(file)))?;
        fields.set_text(text);
        let (file, numbers) = (file.map(Path::to_path_buf), options.numbers());
        Table { file, names: None, width, fields, numbers }.with_header(options.header)
    }

    /// Takes the names off, and refuses a table without rows.
    fn with_header(mut self, header: bool) -> Result<Self> {
        if header && self.fields.rows() > 0 {
            self.names = Some((0..self.width).map(|c| self.fields.get(c).trim().to_string()).collect());
        }
        if self.fields.rows() == usize::from(self.names.is_some()) {
            return Err(Problem::Empty { what: "the table" }.at(Place::file(self.file.as_deref())));
        }
        Ok(self)
    }

    /// The first row of values.
    fn first(&self) -> usize {
        usize::from(self.names.is_some())
    }

    /// The place of a row.
    fn place(&self, row: usize) -> Place {
        Place::file(self.file.as_deref()).line(self.fields.line(self.first() + row))
    }

    /// The number of rows, without the header; at least 1.
    pub fn rows(&self) -> usize {
        self.fields.rows() - self.first()
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The column names, if there is a header.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    fn cell(&self, row: usize, column: usize) -> &str {
        self.fields.get((self.first() + row) * self.width + column)
    }

    /// The number of a column.
    fn index(&self, column: &Column) -> Result<usize> {
        let place = Place::file(self.file.as_deref());
        let (found, name) = match column {
            Column::Number(number) => (vec![*number], number.to_string()),
            Column::Name(name) => {
                let names = self.names.as_deref().unwrap_or(&[]);
                ((0..names.len()).filter(|&c| names[c] == *name).collect(), name.clone())
            }
        };
        match found[..] {
            [c] if c < self.width => Ok(c),
            [] | [_] => {
                let known = (0..self.width).map(|c| self.name(c)).collect();
                Err(Problem::UnknownField { name, known }.at(place))
            }
            [_, _, ..] => {
                let expected = "a name that one column has, or a number";
                Err(Problem::format(expected, &name).at(place.field(&name)))
            }
        }
    }

    /// A column as text.
    ///
    /// # Errors
    /// The column does not exist, or several columns have this name.
    pub fn strings(&self, column: impl Into<Column>) -> Result<Vec<&str>> {
        let c = self.index(&column.into())?;
        Ok((0..self.rows()).map(|row| self.cell(row, c)).collect())
    }

    /// A column as class labels, with line numbers for error messages.
    ///
    /// # Errors
    /// The column does not exist, or a label is empty.
    pub fn labels(&self, column: impl Into<Column>) -> Result<Labels> {
        let c = self.index(&column.into())?;
        let mut labels = Labels::default();
        labels.start_file(self.file.as_deref());
        for (row, line) in self.fields.lines().skip(self.first()).enumerate() {
            match self.cell(row, c).trim() {
                "" => return Err(Problem::Missing.at(self.place(row).field(self.name(c)))),
                label => labels.push(label, line),
            }
        }
        Ok(labels)
    }

    fn name(&self, column: usize) -> String {
        self.names.as_ref().map_or_else(|| column.to_string(), |names| names[column].clone())
    }

    /// A column as numbers. Missing are an empty field, `?`, `NA`, `N/A`, `NaN`, `null`, `none` and the marks of
    /// spreadsheets, in any case, and those of [`TableOptions::missing_marks`].
    ///
    /// # Errors
    /// The column does not exist; a field is not a number or not finite; it is an integer beyond 2^24 that f32 does
    /// not have (see [`Table::doubles`] and [`TableOptions::with_rounded_integers`]); or a value is missing and
    /// `missing` does not allow it.
    pub fn numbers(&self, column: impl Into<Column>, missing: Missing) -> Result<Vec<f32>> {
        let c = self.index(&column.into())?;
        self.column(|row| self.number(row, c, missing))
    }

    /// As [`Table::numbers`], in f64: for identifiers and times with more digits than f32 has. Subtract an offset
    /// before you convert them.
    ///
    /// # Errors
    /// As [`Table::numbers`], with integers beyond 2^53.
    pub fn doubles(&self, column: impl Into<Column>, missing: Missing) -> Result<Vec<f64>> {
        let c = self.index(&column.into())?;
        let number = |row| self.checked(row, c, missing, self.numbers.double(self.cell(row, c)), f64::NAN);
        self.column(number)
    }

    /// A value per row.
    fn column<T>(&self, value: impl Fn(usize) -> Result<T>) -> Result<Vec<T>> {
        let mut values = room("Table::numbers", "the values of the rows", &[self.rows()])?;
        for row in 0..self.rows() {
            values.push(value(row)?);
        }
        Ok(values)
    }

    fn number(&self, row: usize, column: usize, missing: Missing) -> Result<f32> {
        self.checked(row, column, missing, self.numbers.single(self.cell(row, column)), f32::NAN)
    }

    /// A number, or the place of the problem.
    fn checked<T>(
        &self,
        row: usize,
        column: usize,
        missing: Missing,
        number: std::result::Result<T, Problem>,
        absent: T,
    ) -> Result<T> {
        match number {
            Err(Problem::Missing) if missing == Missing::Keep => Ok(absent),
            number => number.map_err(|problem| problem.at(self.place(row).field(self.name(column)))),
        }
    }

    /// Several columns as a sequence with one step per row: `[rows, columns]`.
    ///
    /// # Errors
    /// No columns are given, or an error of [`Table::numbers`].
    pub fn sequence<C: Into<Column> + Clone>(&self, columns: &[C], missing: Missing) -> Result<Sequence> {
        let columns: Vec<usize> =
            columns.iter().map(|column| self.index(&column.clone().into())).collect::<Result<_>>()?;
        let mut values = room("Table::sequence", "the values", &[self.rows(), columns.len()])?;
        for row in 0..self.rows() {
            for &column in &columns {
                values.push(self.number(row, column, missing)?);
            }
        }
        Sequence::checked(values, columns.len(), missing)
    }
}

/// The delimiter; options that pass over a first line which names it.
fn delimiter(text: &[u8], options: &TableOptions) -> (Delimiter, TableOptions) {
    let mut options = options.clone();
    let named = match text {
        [b's', b'e', b'p', b'=', c @ (b'\t' | b';' | b',' | b'|'), b'\n' | b'\r', ..] => Some(char::from(*c)),
        _ => None,
    };
    if named.is_some() && options.skip_lines == 0 {
        options.skip_lines = 1;
        options.delimiter = options.delimiter.or(named.filter(|_| !options.spaces));
    }
    let delimiter = match options.delimiter {
        Some(c) => Delimiter::Character(c),
        None if options.spaces => Delimiter::Spaces,
        None => guess(text, &options),
    };
    (delimiter, options)
}

/// Rows of different length. The usual reason in a file that begins with `#` is that its comments are read as a row.
fn ragged(expected: usize, got: usize, first: Option<u8>) -> Problem {
    let what = match first {
        Some(b'#' | b'%') => "fields (does the file begin with comments? see TableOptions::with_comment)",
        _ => "fields",
    };
    Problem::Ragged { what, expected, got }
}

#[cfg(test)]
mod tests;
