//! [`Table`]: delimited text (CSV, TSV) with columns by name or number.

use super::error::{Place, Problem};
use super::labels::Labels;
use super::number::number;
use super::sequence::{Missing, Sequence};
use super::text::read_text;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// How to read delimited text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableOptions {
    /// The delimiter. `None`, the default, uses the first of tab, semicolon and comma that occurs in the first
    /// line.
    pub delimiter: Option<char>,
    /// Whether the first line names the columns; yes by default.
    pub header: bool,
}

impl Default for TableOptions {
    fn default() -> Self {
        TableOptions { delimiter: None, header: true }
    }
}

impl TableOptions {
    /// With a header, and the delimiter detected from the first line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the delimiter.
    #[must_use]
    pub fn with_delimiter(self, delimiter: char) -> Self {
        TableOptions { delimiter: Some(delimiter), ..self }
    }

    /// Sets whether the first line names the columns.
    #[must_use]
    pub fn with_header(self, header: bool) -> Self {
        TableOptions { header, ..self }
    }
}

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

/// Delimited text in memory. Fields are stored as text and converted to numbers column by column.
///
/// Fields may be quoted as in RFC 4180: `"a, b"`, with `""` for a quote and line breaks inside. Empty lines are
/// skipped. All other lines must have as many fields as the first.
#[derive(Clone, Debug)]
pub struct Table {
    file: Option<PathBuf>,
    names: Option<Vec<String>>,
    width: usize,
    /// All fields, concatenated, and the end of each.
    text: String,
    ends: Vec<usize>,
    /// The line number at which each row starts.
    lines: Vec<usize>,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`read_text`] and [`Table::parse`].
    pub fn read(path: impl AsRef<Path>, options: &TableOptions) -> Result<Self> {
        Self::parse_from(&read_text(&path)?, options, Some(path.as_ref()))
    }

    /// Reads text.
    ///
    /// # Errors
    /// There are no rows, rows differ in their number of fields, or a quote is not closed.
    pub fn parse(text: &str, options: &TableOptions) -> Result<Self> {
        Self::parse_from(text, options, None)
    }

    fn parse_from(text: &str, options: &TableOptions, file: Option<&Path>) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let delimiter = options.delimiter.unwrap_or_else(|| guess(text));
        if matches!(delimiter, '"' | '\n' | '\r') {
            let expected = "a character other than quotes and line ends";
            return Err(Error::config("TableOptions", "delimiter", expected, format!("{delimiter:?}")));
        }
        let file = file.map(Path::to_path_buf);
        let mut table =
            Table { file, names: None, width: 0, text: String::new(), ends: vec![], lines: vec![] };
        let mut reader = Reader { rest: text, line: 1, delimiter };
        while !reader.rest.is_empty() {
            let (line, before) = (reader.line, table.ends.len());
            if reader.blank_line() {
                continue;
            }
            while reader.field(&mut table.text).map_err(|p| p.at(table.place(reader.line)))? {
                table.ends.push(table.text.len());
            }
            table.ends.push(table.text.len());
            let got = table.ends.len() - before;
            if table.lines.is_empty() {
                table.width = got;
            } else if got != table.width {
                let problem = Problem::Ragged { what: "fields", expected: table.width, got };
                return Err(problem.at(table.place(line)));
            }
            table.lines.push(line);
        }
        if options.header && !table.lines.is_empty() {
            table.take_header();
        }
        if table.lines.is_empty() {
            return Err(Problem::Empty { what: "the table" }.at(Place::file(table.file.as_deref())));
        }
        Ok(table)
    }

    fn take_header(&mut self) {
        let names = (0..self.width).map(|c| self.cell(0, c).trim().to_string()).collect();
        let end = self.ends[self.width - 1];
        self.text.drain(..end);
        self.ends.drain(..self.width);
        self.ends.iter_mut().for_each(|at| *at -= end);
        self.lines.remove(0);
        self.names = Some(names);
    }

    fn place(&self, line: usize) -> Place {
        Place::file(self.file.as_deref()).line(line)
    }

    /// The number of rows, without the header; at least 1.
    pub fn rows(&self) -> usize {
        self.lines.len()
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
        let at = row * self.width + column;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[start..self.ends[at]]
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
        for (row, &line) in self.lines.iter().enumerate() {
            match self.cell(row, c).trim() {
                "" => return Err(Problem::Missing.at(self.place(line).field(self.name(c)))),
                label => labels.push(label, line),
            }
        }
        Ok(labels)
    }

    fn name(&self, column: usize) -> String {
        self.names.as_ref().map_or_else(|| column.to_string(), |names| names[column].clone())
    }

    /// A column as numbers. An empty field, `?`, `NA`, `N/A`, `NaN`, `null` and `none` count as missing.
    ///
    /// # Errors
    /// The column does not exist; a field is not a number or not finite; or a value is missing and `missing` does
    /// not allow it.
    pub fn numbers(&self, column: impl Into<Column>, missing: Missing) -> Result<Vec<f32>> {
        let c = self.index(&column.into())?;
        let parse = |row| match number(self.cell(row, c)) {
            Ok(value) => Ok(value),
            Err(Problem::Missing) if missing == Missing::Keep => Ok(f32::NAN),
            Err(problem) => Err(problem.at(self.place(self.lines[row]).field(self.name(c)))),
        };
        (0..self.rows()).map(parse).collect()
    }

    /// Several columns as a sequence with one step per row: `[rows, columns]`.
    ///
    /// # Errors
    /// No columns are given, or an error of [`Table::numbers`].
    pub fn sequence<C: Into<Column> + Clone>(&self, columns: &[C], missing: Missing) -> Result<Sequence> {
        let columns: Result<Vec<_>> = columns.iter().map(|c| self.numbers(c.clone(), missing)).collect();
        Sequence::from_columns(&columns?)
    }
}

/// Detects the delimiter from the first line.
fn guess(text: &str) -> char {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    ['\t', ';', ','].into_iter().find(|&d| line.contains(d)).unwrap_or(',')
}

/// The remaining text.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    delimiter: char,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    /// Skips an empty line.
    fn blank_line(&mut self) -> bool {
        let blank = if self.rest.starts_with("\r\n") { 2 } else { usize::from(self.rest.starts_with('\n')) };
        self.skip(blank);
        self.line += usize::from(blank > 0);
        blank > 0
    }

    /// Appends the next field to `out`. Returns whether the line has another field.
    fn field(&mut self, out: &mut String) -> std::result::Result<bool, Problem> {
        if self.rest.starts_with('"') {
            self.quoted(out)?;
        }
        let end = self.rest.find([self.delimiter, '\n']).unwrap_or(self.rest.len());
        let ended = self.rest[end..].starts_with('\n') || end == self.rest.len();
        let plain = &self.rest[..end];
        out.push_str(if ended { plain.strip_suffix('\r').unwrap_or(plain) } else { plain });
        let stop = self.rest[end..].chars().next().map_or(0, char::len_utf8);
        self.skip(end + stop);
        self.line += usize::from(ended);
        Ok(!ended)
    }

    fn quoted(&mut self, out: &mut String) -> std::result::Result<(), Problem> {
        let opened = self.line;
        self.skip(1);
        loop {
            let Some(end) = self.rest.find('"') else {
                self.line = opened;
                return Err(Problem::format("a closing quote", self.rest));
            };
            out.push_str(&self.rest[..end]);
            self.line += self.rest[..end].matches('\n').count();
            self.skip(end + 1);
            if !self.rest.starts_with('"') {
                break;
            }
            out.push('"');
            self.skip(1);
        }
        let follows = self.rest.chars().next();
        if follows.is_some_and(|c| c != self.delimiter && c != '\n' && c != '\r') {
            return Err(Problem::format("a delimiter after the closing quote", self.rest));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Table> {
        Table::parse(text, &TableOptions::new())
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn columns_by_name_and_number() {
        let table = parse("\"year\",\"a b\"\r\n\r\n1700,5\r\n1701,-1e1\r\n").unwrap();
        assert_eq!((table.rows(), table.width()), (2, 2));
        assert_eq!(table.numbers("a b", Missing::Error).unwrap(), [5.0, -10.0]);
        assert_eq!(table.numbers(0, Missing::Error).unwrap(), [1700.0, 1701.0]);
        let both = table.sequence(&["a b", "year"], Missing::Error).unwrap();
        assert_eq!(both.values(), [5.0, 1700.0, -10.0, 1701.0]);
        let text = table.strings("b").unwrap_err().to_string();
        assert_eq!(text, "there is no field \"b\" among year, a b");
        assert!(table.strings(2).is_err() && table.sequence::<usize>(&[], Missing::Error).is_err());
        let bare = Table::parse("1;2\n3;4", &TableOptions::new().with_header(false)).unwrap();
        assert_eq!(bare.numbers(1, Missing::Error).unwrap(), [2.0, 4.0]);
        assert!(bare.numbers("x", Missing::Error).is_err());
    }

    #[test]
    fn quotes_delimiters_and_line_ends() {
        let table = parse("a\tb\n\"x\ty \"\"z\"\"\nsecond\"\t1\n\"\"\t2\n").unwrap();
        assert_eq!(table.strings("a").unwrap(), ["x\ty \"z\"\nsecond", ""]);
        assert_eq!(table.numbers("b", Missing::Error).unwrap(), [1.0, 2.0]);
        // The line break inside quotes counts for the line numbers that follow.
        assert_eq!(table.labels("a").unwrap_err().to_string().split(':').next(), Some("line 4, field \"a\""));
        assert!(error("a,b\n\"1,2\n3,4\n").starts_with("line 2: expected a closing quote"));
        assert!(error("a,b\n\"1\"x,2\n").starts_with("line 2: expected a delimiter"));
        let options = TableOptions::new().with_header(false).with_delimiter('→');
        assert_eq!(Table::parse("1→2", &options).unwrap().strings(1).unwrap(), ["2"]);
        assert!(Table::parse("a", &options.with_delimiter('"')).is_err());
        assert_eq!(parse("a,b\n1,\n").unwrap().strings("b").unwrap(), [""]);
    }

    #[test]
    fn bad_rows_and_fields_are_named() {
        assert_eq!(error("a,b\n1,2\n1,2,3\n"), "line 3: expected 2 fields, got 3");
        assert_eq!(error("a,b\n"), "the table is empty");
        assert_eq!(error(""), "the table is empty");
        let twice = parse("a,a\n1,2\n").unwrap();
        assert!(twice.strings("a").unwrap_err().to_string().starts_with("field \"a\": expected a name that"));
        assert_eq!(twice.strings(1).unwrap(), ["2"]);
        let table = parse("a,b\n1,2\n3,x\nNA,1e40\n").unwrap();
        let text = |c: &str, missing| table.numbers(c, missing).unwrap_err().to_string();
        assert_eq!(text("b", Missing::Keep), "line 3, field \"b\": expected a number, got \"x\"");
        assert!(text("a", Missing::Error).starts_with("line 4, field \"a\": a value is missing"));
        assert!(table.numbers("a", Missing::Keep).unwrap()[2].is_nan());
    }

    /// The reader returns what a quoting writer wrote.
    #[test]
    fn any_fields_survive_quoting() {
        let mut rng = rnn_testing::data::SplitMix64::new(5);
        for _ in 0..200 {
            let (rows, width) = (1 + rng.next_below(5), 1 + rng.next_below(4));
            let alphabet = ['a', '"', ',', '\n', 'é', ' ', '\r', ';'];
            let mut field =
                || (0..rng.next_below(6)).map(|_| alphabet[rng.next_below(8)]).collect::<String>();
            let fields: Vec<Vec<String>> = (0..rows).map(|_| (0..width).map(|_| field()).collect()).collect();
            let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",") + "\n";
            let text: String = fields.iter().map(line).collect();
            let options = TableOptions::new().with_header(false).with_delimiter(',');
            let table = Table::parse(&text, &options).unwrap();
            for (r, row) in fields.iter().enumerate() {
                for (c, want) in row.iter().enumerate() {
                    assert_eq!(table.cell(r, c), want, "{text:?}");
                }
            }
        }
    }
}
