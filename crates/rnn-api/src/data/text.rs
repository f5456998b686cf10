//! Text from files.

use super::error::{Place, Problem};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

pub(crate) fn io_error(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_path_buf(), source }
}

/// Reads UTF-8 text. Removes a byte order mark and, with the feature `gzip`, unpacks gzip.
///
/// # Errors
/// The file cannot be read, or it is not UTF-8; the error then names line and column.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut bytes = std::fs::read(path).map_err(|source| io_error(path, source))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bytes = unpack(path, &bytes)?;
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line_start = valid.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&valid[line_start..]).chars().count() + 1;
        let line = valid.iter().filter(|&&b| b == b'\n').count() + 1;
        let got = format!("byte {:#04x}", error.as_bytes()[valid.len()]);
        let problem = Problem::Format { expected: "UTF-8 text".into(), got };
        problem.at(Place::file(Some(path)).line(line).column(column))
    })
}

#[cfg(feature = "gzip")]
fn unpack(path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut text)
        .map_err(|source| io_error(path, source))?;
    Ok(text)
}

#[cfg(not(feature = "gzip"))]
fn unpack(path: &Path, _: &[u8]) -> Result<Vec<u8>> {
    let why = "this build lacks the feature `gzip`".to_string();
    Err(Error::Unsupported { what: format!("reading {}, a compressed file,", path.display()), why })
}

/// The files of a folder with this extension (given without the dot, in any case), sorted by name.
///
/// # Errors
/// The folder cannot be read, or it has no such files.
pub fn files_with_extension(folder: impl AsRef<Path>, extension: &str) -> Result<Vec<PathBuf>> {
    let folder = folder.as_ref();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|source| io_error(folder, source))? {
        let path = entry.map_err(|source| io_error(folder, source))?.path();
        if path.is_file() && path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension)) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Problem::Empty { what: "the folder (of such files)" }.at(Place::file(Some(folder))));
    }
    Ok(files)
}

/// Parses a number or a mark for a missing value.
///
/// The empty text, `?`, `NA`, `N/A`, `NaN`, `null` and `none`, in any case, count as missing.
pub(crate) fn number(text: &str) -> std::result::Result<f32, Problem> {
    const MARKS: [&str; 6] = ["?", "na", "n/a", "nan", "null", "none"];
    let text = text.trim();
    if text.is_empty() || MARKS.iter().any(|mark| text.eq_ignore_ascii_case(mark)) {
        return Err(Problem::Missing);
    }
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(Problem::NotFinite { got: text.to_string() }),
        Err(_) => Err(Problem::NotANumber { got: text.to_string() }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A temporary file for one test, removed afterwards.
    pub(crate) struct TestFile(pub(crate) PathBuf);

    impl TestFile {
        pub(crate) fn new(name: &str, bytes: &[u8]) -> Self {
            let folder = std::env::temp_dir().join(format!("rnn-api-data-{}-{name}", std::process::id()));
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
        assert!(
            error.ends_with("latin1.txt, line 2, column 3: expected UTF-8 text, got byte 0xf8"),
            "{error}"
        );
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

    #[test]
    fn numbers() {
        assert_eq!(number(" -1.5e3 "), Ok(-1500.0));
        for missing in ["", " ", "?", "NA", "nan", "NaN", "NULL", "None"] {
            assert_eq!(number(missing), Err(Problem::Missing));
        }
        assert!(matches!(number("1e99"), Err(Problem::NotFinite { .. })));
        assert!(matches!(number("inf"), Err(Problem::NotFinite { .. })));
        assert!(matches!(number("1,5"), Err(Problem::NotANumber { .. })));
    }
}
