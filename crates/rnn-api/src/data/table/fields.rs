//! The fields of a table in little more memory than their text.

use crate::Result;
use crate::data::reserve::room;

const OP: &str = "Table::read";

/// Numbers of which nearly all are below 255, in a byte each.
#[derive(Clone, Debug)]
struct SmallNumbers {
    /// The numbers; 255 for those in `large`.
    bytes: Vec<u8>,
    /// Positions and values of the others, in order.
    large: Vec<(usize, usize)>,
}

impl SmallNumbers {
    fn new(what: &'static str, most: usize) -> Result<Self> {
        Ok(SmallNumbers { bytes: room(OP, what, &[most])?, large: Vec::new() })
    }

    fn push(&mut self, number: usize) {
        let byte = u8::try_from(number).unwrap_or(u8::MAX);
        if byte == u8::MAX {
            self.large.push((self.bytes.len(), number));
        }
        self.bytes.push(byte);
    }

    fn get(&self, at: usize) -> usize {
        match self.bytes[at] {
            u8::MAX => self.large[self.large.partition_point(|&(position, _)| position < at)].1,
            small => small.into(),
        }
    }

    fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.large.truncate(self.large.partition_point(|&(position, _)| position < length));
    }
}

/// Every `STRIDE`th field has its position stored; those between are counted from there.
const STRIDE: usize = 32;

/// The contents of fields, one behind the other, and the lines of rows.
///
/// A field takes its text, a byte for its length and a quarter of a byte for its position; a row takes a byte. A
/// field has a delimiter or a line end in the file, and a row has at least two bytes there. So a table takes at most
/// 1 + 1 + 1/4 + 1/2 times the memory of its text.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    text: String,
    lengths: SmallNumbers,
    positions: Vec<usize>,
    /// Lines from the start of a row to the start of the next; first those before the first row.
    lines: SmallNumbers,
    end: usize,
    line: usize,
}

impl Fields {
    /// Room for so many fields and rows.
    pub(super) fn new(fields: usize, rows: usize) -> Result<Self> {
        Ok(Fields {
            text: String::new(),
            lengths: SmallNumbers::new("the lengths of fields", fields)?,
            positions: room(OP, "the positions of fields", &[fields.div_ceil(STRIDE)])?,
            lines: SmallNumbers::new("the lines of rows", rows)?,
            end: 0,
            line: 0,
        })
    }

    pub(super) fn push_row(&mut self, line: usize) {
        self.lines.push(line - self.line);
        self.line = line;
    }

    pub(super) fn push_field(&mut self, bytes: usize) {
        if self.lengths.bytes.len().is_multiple_of(STRIDE) {
            self.positions.push(self.end);
        }
        self.lengths.push(bytes);
        self.end += bytes;
    }

    /// Keeps the first `fields` fields and `rows` rows. Returns the number of bytes that they take.
    pub(super) fn finish(&mut self, fields: usize, rows: usize) -> usize {
        let dropped = (fields..self.fields()).map(|at| self.lengths.get(at)).sum::<usize>();
        self.end -= dropped;
        self.lengths.truncate(fields);
        self.positions.truncate(fields.div_ceil(STRIDE));
        self.lines.truncate(rows);
        self.end
    }

    /// Sets the text that fields are parts of.
    pub(super) fn set_text(&mut self, text: String) {
        self.text = text;
    }

    pub(super) fn rows(&self) -> usize {
        self.lines.bytes.len()
    }

    pub(super) fn fields(&self) -> usize {
        self.lengths.bytes.len()
    }

    pub(super) fn get(&self, field: usize) -> &str {
        let stored = field / STRIDE;
        let between = (stored * STRIDE..field).map(|at| self.lengths.get(at)).sum::<usize>();
        let start = self.positions[stored] + between;
        &self.text[start..start + self.lengths.get(field)]
    }

    /// The line at which a row starts.
    pub(super) fn line(&self, row: usize) -> usize {
        (0..=row).map(|row| self.lines.get(row)).sum()
    }

    /// The lines at which rows start.
    pub(super) fn lines(&self) -> impl Iterator<Item = usize> {
        (0..self.rows()).scan(0, |line, row| {
            *line += self.lines.get(row);
            Some(*line)
        })
    }
}
