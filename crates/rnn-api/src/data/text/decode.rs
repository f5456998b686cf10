//! From bytes to text.

use super::options::TextOptions;
use crate::data::error::{Place, Problem};
use crate::data::reserve::room;
use crate::{Error, Result};
use encoding_rs::{DecoderResult, Encoding, UTF_8};
use std::path::Path;

/// Decodes the bytes of a file. A byte order mark decides, then the options, then UTF-8.
pub(super) fn decode(path: &Path, mut bytes: Vec<u8>, options: &TextOptions) -> Result<String> {
    let chosen = options.encoding.as_deref().map(by_label).transpose()?;
    if let Some(name) = no_text(&bytes) {
        return Err(unreadable(name).at(Place::file(Some(path))));
    }
    let (encoding, mark) = Encoding::for_bom(&bytes).unwrap_or((chosen.unwrap_or(UTF_8), 0));
    if encoding != UTF_8 {
        return transcode(path, encoding, &bytes[mark..]);
    }
    // Every other byte of UTF-16 is 0 in most texts, which is valid UTF-8 too.
    if chosen.is_none() && matches!(bytes[..], [a, b, ..] if (a == 0) != (b == 0)) {
        return Err(unreadable("UTF-16 without a byte order mark").at(Place::file(Some(path))));
    }
    bytes.drain(..mark);
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let mut position = Position::START;
        position.advance(&String::from_utf8_lossy(&error.as_bytes()[..valid]));
        unreadable(format!("byte {:#04x}", error.as_bytes()[valid])).at(position.of(path))
    })
}

fn by_label(label: &str) -> Result<&'static Encoding> {
    Encoding::for_label_no_replacement(label.as_bytes()).ok_or_else(|| {
        let expected = "a label of the WHATWG Encoding Standard, such as latin1, windows-1252 or utf-16le";
        Error::config("TextOptions", "encoding", expected, format!("{label:?}"))
    })
}

fn unreadable(got: impl Into<String>) -> Problem {
    let expected = "UTF-8 text (TextOptions::with_encoding reads other encodings)".into();
    Problem::Format { expected, got: got.into() }
}

/// The name of what is certainly no text that this module reads.
fn no_text(bytes: &[u8]) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 7] = [
        (b"\xff\xfe\0\0", "UTF-32"),
        (b"\0\0\xfe\xff", "UTF-32"),
        (b"PK\x03\x04", "a zip archive"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"\x1f\x8b", "a gzip file inside a gzip file"),
    ];
    // Text may begin with these letters.
    let binary = |start: &[u8]| start != b"BZh" || bytes.get(4..10) == Some(b"1AY&SY");
    STARTS.iter().find(|(start, _)| bytes.starts_with(start) && binary(start)).map(|(_, name)| *name)
}

/// Decodes twice: the first pass counts, so that the text takes no more memory than it needs.
fn transcode(path: &Path, encoding: &'static Encoding, bytes: &[u8]) -> Result<String> {
    let (mut length, mut position) = (0, Position::START);
    let counted = pieces(encoding, bytes, |piece| {
        length += piece.len();
        position.advance(piece);
    });
    if let Err(byte) = counted {
        let (expected, got) = (format!("{} text", encoding.name()), format!("byte {byte:#04x}"));
        return Err(Problem::Format { expected, got }.at(position.of(path)));
    }
    let mut text: Vec<u8> = room("read_text", "the decoded text", &[length])?;
    // The first pass found nothing malformed.
    let _ = pieces(encoding, bytes, |piece| text.extend_from_slice(piece.as_bytes()));
    String::from_utf8(text).map_err(|_| unreadable("a decoder that fails").at(Place::file(Some(path))))
}

/// Calls `each` with the text piece by piece; the first byte that cannot be decoded.
fn pieces(
    encoding: &'static Encoding,
    bytes: &[u8],
    mut each: impl FnMut(&str),
) -> std::result::Result<(), u8> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut buffer = "\0".repeat(1 << 14);
    let mut at = 0;
    loop {
        let (result, read, written) =
            decoder.decode_to_str_without_replacement(&bytes[at..], &mut buffer, true);
        each(&buffer[..written]);
        at += read;
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(bad, after) => {
                let first = at.saturating_sub(usize::from(bad) + usize::from(after));
                return Err(bytes.get(first).copied().unwrap_or(0));
            }
        }
    }
}

/// A line and the characters before a position in it.
struct Position {
    line: usize,
    characters: usize,
}

impl Position {
    const START: Position = Position { line: 1, characters: 0 };

    fn advance(&mut self, text: &str) {
        let start = text.rfind('\n').map(|at| at + 1);
        self.line += text.matches('\n').count();
        let before = if start.is_some() { 0 } else { self.characters };
        self.characters = before + text[start.unwrap_or(0)..].chars().count();
    }

    fn of(&self, path: &Path) -> Place {
        Place::file(Some(path)).line(self.line).column(self.characters + 1)
    }
}
