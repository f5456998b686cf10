//! Files that are read as a whole.

use crate::error::{Error, Result};
use std::io::{self, ErrorKind};
use std::path::Path;

/// The bytes of a file.
///
/// # Errors
/// [`Error::Io`]: it cannot be read, or is no regular file. Reading a pipe may never end, and reading a device may fill the
/// memory.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::Io { path: path.to_path_buf(), error };
    expect_regular(path).and_then(|()| std::fs::read(path)).map_err(failed)
}

/// The text of a file.
///
/// # Errors
/// As [`read`]; it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let failed = |_| io::Error::new(ErrorKind::InvalidData, "the file is not UTF-8");
    String::from_utf8(read(path)?)
        .map_err(|error| Error::Io { path: path.to_path_buf(), error: failed(error) })
}

fn expect_regular(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path)?.is_file() {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "a folder, pipe, socket or device, not a regular file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path, part: &str) {
        match read_text(path) {
            Err(error @ Error::Io { .. }) => assert!(error.to_string().contains(part), "{error}"),
            other => panic!("{part:?}: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        refused(Path::new("no such file"), "no such file");
        refused(&std::env::temp_dir(), "not a regular file");
        if cfg!(unix) {
            // Endless.
            refused(Path::new("/dev/zero"), "not a regular file");
        }
    }

    #[test]
    fn texts_are_utf_8() {
        let path = std::env::temp_dir().join(format!("rnn-interop-text-{}", std::process::id()));
        std::fs::write(&path, b"a\xff").unwrap();
        refused(&path, "not UTF-8");
        std::fs::write(&path, "\u{e4}").unwrap();
        assert_eq!(read_text(&path).unwrap(), "\u{e4}");
        std::fs::remove_file(&path).unwrap();
    }
}
