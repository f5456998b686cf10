//! Text from files.

mod decode;
mod options;
mod unpack;

pub use options::{Normalisation, TextOptions};

use super::error::{Place, Problem};
use crate::{Error, Result};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Reads text in UTF-8, or in UTF-16 with a byte order mark. Removes the mark and, with the feature `gzip`, unpacks
/// gzip, which it knows by its content.
///
/// # Errors
/// As [`read_text_with`].
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    read_text_with(path, &TextOptions::new())
}

/// As [`read_text`], with options.
///
/// # Errors
/// The file cannot be read; it is not text in its encoding, where the error names line and column; the encoding is
/// unknown; or unpacked text exceeds the limit.
pub fn read_text_with(path: impl AsRef<Path>, options: &TextOptions) -> Result<String> {
    let path = path.as_ref();
    let mut bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bytes = unpack::unpack(path, bytes, options.max_unpacked)?;
    }
    let text = decode::decode(path, bytes, options)?;
    match options.normalisation.map(|form| form.apply(&text)) {
        Some(Cow::Owned(normalised)) => Ok(normalised),
        Some(Cow::Borrowed(_)) | None => Ok(text),
    }
}

/// The lines of a text with their numbers from 1. A line ends with a line feed, a carriage return, or both.
pub(crate) fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut rest, mut number) = (text, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let line = &rest[..end];
        let after = &rest[end..];
        rest = after.strip_prefix("\r\n").or(after.get(1..)).unwrap_or("");
        number += 1;
        Some((number, line))
    })
}

/// Lines without white space at both ends, if anything is left, with their numbers.
pub(crate) fn filled_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    numbered_lines(text).map(|(number, line)| (number, line.trim())).filter(|(_, line)| !line.is_empty())
}

/// The entries of a folder, sorted by name, without hidden ones: names that begin with a dot.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|source| Error::io(folder, source))? {
        let entry = entry.map_err(|source| Error::io(folder, source))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The folders in a folder, sorted by name, without hidden ones.
#[cfg(feature = "audio")]
pub(crate) fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = entries(folder)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

/// The files of a folder with this extension (given without the dot, in any case), sorted by name. Hidden files,
/// whose names begin with a dot, are passed over.
///
/// # Errors
/// The folder cannot be read, or it has no such files.
pub fn files_with_extension(folder: impl AsRef<Path>, extension: &str) -> Result<Vec<PathBuf>> {
    let folder = folder.as_ref();
    let mut files = entries(folder)?;
    files.retain(|path| {
        path.is_file() && path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
    });
    if files.is_empty() {
        return Err(Problem::Empty { what: "the folder (of such files)" }.at(Place::file(Some(folder))));
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A temporary file for one test, removed afterwards.
    pub(crate) struct TestFile(pub(crate) PathBuf);

    impl TestFile {
        pub(crate) fn new(name: &str, bytes: &[u8]) -> Self {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let folder = std::env::temp_dir().join(format!("rnn-api-data-{process}-{count}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), bytes).unwrap();
            TestFile(folder.join(name))
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            if let Some(folder) = self.0.parent() {
                let _ = std::fs::remove_dir_all(folder);
            }
        }
    }

    #[test]
    fn missing_and_broken_files_are_named() {
        let error = read_text("no/such/file.txt").unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("file.txt"));
        let file = TestFile::new("latin1.txt", b"first\nsm\xf8rrebr\xf8d\n");
        let error = read_text(&file.0).unwrap_err().to_string();
        assert!(error.contains("latin1.txt, line 2, column 3: expected UTF-8 text"), "{error}");
        assert!(error.contains("with_encoding") && error.ends_with("got byte 0xf8"), "{error}");
        let file = TestFile::new("mark.txt", "\u{feff}a".as_bytes());
        assert_eq!(read_text(&file.0).unwrap(), "a");
    }

    /// `printf 'one,2\n' | gzip -9n`
    #[test]
    fn gzip_is_unpacked() {
        let packed = [
            0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0x02, 0x03, 0xcb, 0xcf, 0x4b, 0xd5, 0x31, 0xe2, 0x02, 0, 0xda,
            0xd0, 0x68, 0x5e, 0x06, 0, 0, 0,
        ];
        let file = TestFile::new("packed.csv.gz", &packed);
        let cut = TestFile::new("cut.csv.gz", &packed[..15]);
        if cfg!(feature = "gzip") {
            assert_eq!(read_text(&file.0).unwrap(), "one,2\n");
            assert!(read_text(&cut.0).unwrap_err().to_string().contains("cut.csv.gz"));
        } else {
            assert!(read_text(&file.0).unwrap_err().to_string().contains("`gzip`"));
        }
    }

    fn read(bytes: &[u8], options: &TextOptions) -> Result<String> {
        read_text_with(&TestFile::new("encoded.txt", bytes).0, options)
    }

    #[test]
    fn encodings_by_mark_and_by_label() {
        let utf16 = |text: &str, mark: bool| -> Vec<u8> {
            text.encode_utf16().skip(usize::from(!mark)).flat_map(u16::to_le_bytes).collect()
        };
        let plain = TextOptions::new();
        let text = "\u{feff}é,𝄞\n";
        assert_eq!(read(&utf16(text, true), &plain).unwrap(), "é,𝄞\n");
        assert_eq!(read(&utf16(text, false), &plain.clone().with_encoding("utf-16le")).unwrap(), "é,𝄞\n");
        let swapped: Vec<u8> = utf16(text, true).chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        assert_eq!(read(&swapped, &plain).unwrap(), "é,𝄞\n");
        let latin1 = plain.clone().with_encoding("latin1");
        assert_eq!(read(b"20 \xb0C", &latin1).unwrap(), "20 °C");
        // A mark goes before the options.
        assert_eq!(read("\u{feff}é".as_bytes(), &latin1).unwrap(), "é");
        // More than one buffer of the decoder.
        let long = "äb".repeat(40_000);
        assert_eq!(read(&utf16(&format!("\u{feff}{long}"), true), &plain).unwrap(), long);
    }

    #[test]
    fn wrong_encodings_are_named() {
        let error = |bytes: &[u8], options: &TextOptions| read(bytes, options).unwrap_err().to_string();
        let plain = TextOptions::new();
        assert!(error(b"a\0b\0", &plain).contains("got UTF-16 without a byte order mark"));
        assert!(error(b"\0a\0b", &plain).contains("got UTF-16 without a byte order mark"));
        assert!(error(b"\xff\xfe\0\0a\0\0\0", &plain).contains("got UTF-32"));
        assert!(error(b"PK\x03\x04", &plain).contains("got a zip archive"));
        assert!(error(b"a", &plain.clone().with_encoding("latin-0")).contains("encoding must be a label"));
        // Half of a surrogate pair at the end of the second line.
        let error = error(b"\xff\xfea\0\n\0b\0\x34\xd8", &plain);
        assert!(error.contains("line 2, column 2: expected UTF-16LE text, got byte 0x"), "{error}");
    }

    #[test]
    fn normal_forms_on_request() {
        let options = |form| TextOptions::new().with_normalisation(form);
        let (composed, decomposed) = ("é ﬁ", "e\u{301} ﬁ");
        assert_eq!(read(decomposed.as_bytes(), &TextOptions::new()).unwrap(), decomposed);
        assert_eq!(read(decomposed.as_bytes(), &options(Normalisation::Nfc)).unwrap(), composed);
        assert_eq!(read(composed.as_bytes(), &options(Normalisation::Nfd)).unwrap(), decomposed);
        assert_eq!(read(decomposed.as_bytes(), &options(Normalisation::Nfkc)).unwrap(), "é fi");
        assert_eq!(read(composed.as_bytes(), &options(Normalisation::Nfkd)).unwrap(), "e\u{301} fi");
    }

    #[test]
    fn line_ends_of_every_system() {
        let lines: Vec<_> = numbered_lines("a\r\nb\rc\n\n\rd").collect();
        assert_eq!(lines, [(1, "a"), (2, "b"), (3, "c"), (4, ""), (5, ""), (6, "d")]);
        assert_eq!(numbered_lines("a\r").count(), 1);
    }
}
