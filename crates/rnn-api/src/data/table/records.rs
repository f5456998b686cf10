//! Records and fields of delimited text (RFC 4180, and what programs make of it), and the delimiter.

use super::options::TableOptions;
use crate::data::error::Problem;

/// What separates fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Delimiter {
    Character(char),
    /// Runs of spaces and tabs.
    Spaces,
}

/// Walks through text and moves the contents of fields to its front, without delimiters, quotes and line ends. What
/// is written never overtakes what is read, so a table needs no second copy of its text.
pub(super) struct Records<'a> {
    bytes: &'a mut [u8],
    /// The next byte to read, and the end of what is written.
    at: usize,
    out: usize,
    pub(super) line: usize,
    delimiter: [u8; 4],
    delimiter_bytes: usize,
    spaces: bool,
    comment: Option<char>,
}

/// A field that was moved to the front.
pub(super) struct Field {
    pub(super) bytes: usize,
    pub(super) quoted: bool,
    /// Whether the record ends with it.
    pub(super) last: bool,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

impl<'a> Records<'a> {
    /// `bytes` are UTF-8.
    pub(super) fn new(bytes: &'a mut [u8], delimiter: Delimiter, options: &TableOptions) -> Self {
        let mut buffer = [0; 4];
        let delimiter_bytes = match delimiter {
            Delimiter::Character(c) => c.encode_utf8(&mut buffer).len(),
            Delimiter::Spaces => 0,
        };
        let spaces = delimiter == Delimiter::Spaces;
        let mut records = Records {
            bytes,
            at: 0,
            out: 0,
            line: 1,
            delimiter: buffer,
            delimiter_bytes,
            spaces,
            comment: options.comment,
        };
        for _ in 0..options.skip_lines {
            if records.at == records.bytes.len() {
                break;
            }
            records.skip_line();
        }
        records
    }

    /// An upper bound of the number of fields, and one of records.
    pub(super) fn bounds(&self) -> (usize, usize) {
        let first = self.delimiter[0];
        let between = |byte: &&u8| if self.spaces { is_space(**byte) } else { **byte == first };
        let ends = self.bytes.iter().filter(|byte| is_line_end(**byte)).count();
        let delimiters = self.bytes.iter().filter(between).count();
        // A record has at least one byte besides its line end.
        (ends + delimiters + 1, ends.min(self.bytes.len() / 2) + 1)
    }

    /// Goes to the next record, beyond empty lines and comments. False at the end of the text.
    pub(super) fn next_record(&mut self) -> bool {
        while self.at < self.bytes.len() {
            let start = self.after_spaces(self.at);
            let rest = &self.bytes[start..];
            let mut comment = [0; 4];
            let comment = self.comment.map(|c| c.encode_utf8(&mut comment).as_bytes());
            let ends = rest.first().is_none_or(|&byte| is_line_end(byte));
            if !ends && !comment.is_some_and(|comment| rest.starts_with(comment)) {
                if self.spaces {
                    self.at = start;
                }
                return true;
            }
            self.skip_line();
        }
        false
    }

    /// The first byte from `at` on that is neither space nor tab, or that is the delimiter.
    fn after_spaces(&self, mut at: usize) -> usize {
        while self.bytes.get(at).is_some_and(|&byte| is_space(byte)) && !self.is_delimiter(at) {
            at += 1;
        }
        at
    }

    fn is_delimiter(&self, at: usize) -> bool {
        let rest = &self.bytes[at..];
        !self.spaces
            && rest.first() == Some(&self.delimiter[0])
            && rest.starts_with(&self.delimiter[..self.delimiter_bytes])
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|&byte| is_line_end(byte)).unwrap_or(rest.len());
        self.end_line();
    }

    /// Steps over a line end: a line feed, a carriage return, or both.
    fn end_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += if rest.starts_with(b"\r\n") { 2 } else { usize::from(!rest.is_empty()) };
        self.line += 1;
    }

    fn write(&mut self, from: usize, to: usize) {
        self.bytes.copy_within(from..to, self.out);
        self.out += to - from;
    }

    /// Moves the next field of a record.
    pub(super) fn field(&mut self) -> Result<Field, Problem> {
        let before = self.out;
        let quote = self.after_spaces(self.at);
        let quoted = self.bytes.get(quote) == Some(&b'"');
        if quoted {
            self.at = quote + 1;
            self.quoted()?;
        } else {
            let start = self.at;
            while self.at < self.bytes.len() && !self.field_ends() {
                self.at += 1;
            }
            self.write(start, self.at);
        }
        let bytes = self.out - before;
        Ok(Field { bytes, quoted, last: self.end_field() })
    }

    /// Whether a delimiter or a line end is next.
    fn field_ends(&self) -> bool {
        let byte = self.bytes[self.at];
        is_line_end(byte) || if self.spaces { is_space(byte) } else { self.is_delimiter(self.at) }
    }

    /// Steps over a delimiter, or over the end of the record: whether it was that.
    fn end_field(&mut self) -> bool {
        if self.spaces {
            self.at = self.after_spaces(self.at);
            if self.bytes.get(self.at).is_some_and(|&byte| !is_line_end(byte)) {
                return false;
            }
        } else if self.at < self.bytes.len() && self.is_delimiter(self.at) {
            self.at += self.delimiter_bytes;
            return false;
        }
        self.end_line();
        true
    }

    /// Moves the content of a quoted field and steps over the closing quote and spaces behind it.
    fn quoted(&mut self) -> Result<(), Problem> {
        let (opened, start) = (self.line, self.at);
        loop {
            let rest = &self.bytes[self.at..];
            let Some(end) = rest.iter().position(|&byte| byte == b'"') else {
                self.line = opened;
                return Err(Problem::format("a closing quote", self.text(start)));
            };
            let line_feeds = rest[..end].iter().filter(|&&byte| byte == b'\n').count();
            let pairs = rest[..end].windows(2).filter(|pair| *pair == b"\r\n").count();
            let returns = rest[..end].iter().filter(|&&byte| byte == b'\r').count();
            self.line += line_feeds + returns - pairs;
            self.write(self.at, self.at + end);
            self.at += end + 1;
            if self.bytes.get(self.at) != Some(&b'"') {
                break;
            }
            self.write(self.at, self.at + 1);
            self.at += 1;
        }
        let after = self.after_spaces(self.at);
        let ends = after == self.bytes.len() || is_line_end(self.bytes[after]) || self.is_delimiter(after);
        let ends = ends || (self.spaces && after > self.at);
        if !ends {
            return Err(Problem::format("a delimiter after the closing quote", self.text(self.at)));
        }
        if !self.spaces {
            self.at = after;
        }
        Ok(())
    }

    /// Whether a field that was just moved has spaces only.
    pub(super) fn is_blank(&self, field: &Field) -> bool {
        self.bytes[self.out - field.bytes..self.out].iter().all(|&byte| is_space(byte))
    }

    /// The first byte of the first field.
    pub(super) fn first_byte(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// The last bytes that were written.
    fn written(&self, bytes: usize) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[self.out - bytes..self.out])
    }

    /// The text from `at` on, or its beginning, for a message.
    fn text(&self, at: usize) -> String {
        let end = self.bytes.len().min(at.saturating_add(400));
        String::from_utf8_lossy(&self.bytes[at..end]).into_owned()
    }
}

/// The longest beginning of a text that decides on the delimiter.
const SAMPLE_BYTES: usize = 1 << 16;
const SAMPLE_RECORDS: usize = 20;

/// Detects the delimiter from the first records; see [`TableOptions::delimiter`].
pub(super) fn guess(text: &[u8], options: &TableOptions) -> Delimiter {
    let mut sample = &text[..text.len().min(SAMPLE_BYTES)];
    if sample.len() < text.len() {
        // The last line is cut off.
        let end = sample.iter().rposition(|&byte| is_line_end(byte));
        sample = &sample[..end.unwrap_or(sample.len())];
    }
    let spaced = || is_spaced(sample, options).then_some(Delimiter::Spaces);
    if options.decimal_comma {
        // Commas are in numbers, unless nothing else divides the lines.
        return guess_among(&['\t', ';', '|'], sample, options)
            .or_else(spaced)
            .or_else(|| guess_among(&[','], sample, options))
            .unwrap_or(Delimiter::Character(';'));
    }
    let found = guess_among(&['\t', ';', ',', '|'], sample, options).or_else(spaced);
    found.unwrap_or(Delimiter::Character(','))
}

/// The first character that divides the first records evenly, else the first that divides the first record.
fn guess_among(characters: &[char], sample: &[u8], options: &TableOptions) -> Option<Delimiter> {
    let mut first = None;
    for delimiter in characters.iter().map(|&c| Delimiter::Character(c)) {
        let counts = sample_counts(sample, delimiter, options, |_, _| ());
        if counts.first().is_some_and(|&count| count > 1) {
            if counts.iter().all(|count| *count == counts[0]) {
                return Some(delimiter);
            }
            first = first.or(Some(delimiter));
        }
    }
    first
}

/// Whether runs of spaces divide a sample into equally many numbers.
fn is_spaced(sample: &[u8], options: &TableOptions) -> bool {
    let format = options.numbers();
    let (mut numbers, mut others) = (0, 0);
    let header = usize::from(options.header);
    let counts = sample_counts(sample, Delimiter::Spaces, options, |record, field| {
        let number = !matches!(format.single(field), Err(Problem::NotANumber { .. }));
        if record >= header {
            *(if number { &mut numbers } else { &mut others }) += 1;
        }
    });
    let columns = counts.first().copied().unwrap_or(0);
    columns > 1 && counts.iter().all(|count| *count == columns) && numbers > 0 && others == 0
}

/// The number of fields of the first records, as far as their quotes allow this delimiter. Calls `each` with the
/// number of the record and each field.
fn sample_counts(
    sample: &[u8],
    delimiter: Delimiter,
    options: &TableOptions,
    mut each: impl FnMut(usize, &str),
) -> Vec<usize> {
    let mut bytes = sample.to_vec();
    let mut counts = Vec::new();
    let mut records = Records::new(&mut bytes, delimiter, options);
    while counts.len() < SAMPLE_RECORDS && records.next_record() {
        let mut count = 1;
        loop {
            let Ok(field) = records.field() else { return counts };
            each(counts.len(), &records.written(field.bytes));
            if field.last {
                break;
            }
            count += 1;
        }
        counts.push(count);
    }
    counts
}
