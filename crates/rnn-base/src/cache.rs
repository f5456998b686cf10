//! Small files in the user's cache directory that save work in the next run: compiled pipelines, and other
//! data that can be recomputed.
//!
//! Measurements in them decide how work is split, so results depend on these files by rounding at most. A file
//! is ignored and replaced if it is damaged, or if another version or another adapter wrote it. A directory
//! that cannot be written stays unchanged. Either case is reported once per process and file through `tracing`.
//!
//! A file is a header and a payload, all numbers little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `MAGIC` |
//! | 4 | `FORMAT` |
//! | 4 + n | length and text: version of this crate |
//! | 4 + n | length and text: key, naming what the payload is for |
//! | 8 | length of the payload |
//! | 8 | checksum of all the above and of the payload |
//! | n | payload |

use crate::files::create_beside;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const MAGIC: [u8; 8] = *b"RNNCACHE";
const FORMAT: u32 = 1;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// No cache file of this framework comes near this size. The limit bounds the reads of a foreign file, and
/// the disk space of a payload that only grows.
const MAX_BYTES: u64 = 64 << 20;

/// Where cache files are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheDir {
    /// The directory that the environment variable `RNN_CACHE_DIR` names (`off` or empty: no files),
    /// else `rnn` in the user's cache directory: `$XDG_CACHE_HOME` or `~/.cache`,
    /// `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows.
    #[default]
    User,
    /// No files are read or written.
    Off,
    /// This directory; it is made when the first file is written.
    At(PathBuf),
}

impl CacheDir {
    /// The directory; `None` where files are switched off.
    fn path(&self) -> Option<PathBuf> {
        match self {
            CacheDir::User => user_dir(&|name| std::env::var_os(name)),
            CacheDir::Off => None,
            CacheDir::At(path) => Some(path.clone()),
        }
    }
}

fn user_dir(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(chosen) = variable("RNN_CACHE_DIR") {
        return (!chosen.is_empty() && chosen != "off").then(|| chosen.into());
    }
    // The XDG specification forbids relative paths, which would depend on where a program starts.
    let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    base.map(|base| base.join("rnn"))
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not a cache file")]
    Magic,
    #[error("format {0} instead of {FORMAT}")]
    Format(u32),
    #[error("written by version {0:?} instead of {VERSION:?}")]
    Version(String),
    #[error("written for {0:?}")]
    Key(String),
    #[error("{0} bytes, more than {MAX_BYTES}")]
    TooLarge(u64),
    #[error("it ends early or goes on too long")]
    Length,
    #[error("its checksum does not fit")]
    Checksum,
}

/// One cache file.
#[derive(Clone, Debug)]
pub struct CacheFile {
    path: PathBuf,
    key: String,
}

impl CacheFile {
    /// The file `name` for payloads of `key`; `None` where files are switched off or there is no directory
    /// for them.
    pub fn new(dir: &CacheDir, name: &str, key: &str) -> Option<Self> {
        Some(CacheFile { path: dir.path()?.join(name), key: key.to_string() })
    }

    /// The payload, if the file is complete and was written by this version for this key.
    pub fn read(&self) -> Option<Vec<u8>> {
        self.try_read().unwrap_or_else(|error| {
            self.warn("the cache file is ignored and will be replaced", &error);
            None
        })
    }

    fn try_read(&self) -> Result<Option<Vec<u8>>, Unusable> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let length = file.metadata()?.len();
        if length > MAX_BYTES {
            return Err(Unusable::TooLarge(length));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        unpack(&bytes, &self.key).map(|payload| Some(payload.to_vec()))
    }

    /// Replaces the file; a failure is only reported.
    pub fn write(&self, payload: &[u8]) {
        if let Err(error) = self.try_write(payload) {
            self.warn("the cache file cannot be written", &error);
        }
    }

    /// Writes a temporary file in the same directory and renames it, so that readers and other writers see
    /// the old file or the new one. The file is not flushed to disk: after a power cut the checksum reveals
    /// damage.
    fn try_write(&self, payload: &[u8]) -> Result<(), Unusable> {
        let bytes = pack(payload, &self.key);
        if bytes.len() as u64 > MAX_BYTES {
            // The next run must not start with a payload that has outgrown its file.
            drop(fs::remove_file(&self.path));
            return Err(Unusable::TooLarge(bytes.len() as u64));
        }
        if let Some(folder) = self.path.parent() {
            make_private_dir(folder)?;
        }
        let (temporary, mut file) = create_beside(&self.path, create_private)?;
        let written = file.write_all(&bytes);
        drop(file);
        let written = written.and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            // The first error is the one to report.
            drop(fs::remove_file(&temporary));
        }
        Ok(written?)
    }

    fn warn(&self, what: &str, error: &Unusable) {
        static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
        let first = SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(self.path.clone());
        if first {
            tracing::warn!(path = %self.path.display(), %error, "{what}");
        }
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Accessible to this user only, as the XDG specification asks: drivers trust these files.
fn make_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn pack(payload: &[u8], key: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 128);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    for text in [VERSION, key] {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(checksum(&[&bytes, payload]).to_le_bytes());
    bytes.extend(payload);
    bytes
}

fn unpack<'a>(bytes: &'a [u8], key: &str) -> Result<&'a [u8], Unusable> {
    let mut rest = bytes;
    if take(&mut rest, MAGIC.len())? != MAGIC {
        return Err(Unusable::Magic);
    }
    let format = u32::from_le_bytes(take_array(&mut rest)?);
    if format != FORMAT {
        return Err(Unusable::Format(format));
    }
    let mut text = || -> Result<String, Unusable> {
        let length = u32::from_le_bytes(take_array(&mut rest)?) as usize;
        Ok(String::from_utf8_lossy(take(&mut rest, length)?).into_owned())
    };
    let version = text()?;
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    let found = text()?;
    if found != key {
        return Err(Unusable::Key(found));
    }
    let length = u64::from_le_bytes(take_array(&mut rest)?);
    let header = &bytes[..bytes.len() - rest.len()];
    let expected = u64::from_le_bytes(take_array(&mut rest)?);
    if rest.len() as u64 != length {
        return Err(Unusable::Length);
    }
    if checksum(&[header, rest]) != expected {
        return Err(Unusable::Checksum);
    }
    Ok(rest)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Unusable> {
    let (taken, left) = rest.split_at_checked(count).ok_or(Unusable::Length)?;
    *rest = left;
    Ok(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Unusable> {
    let (taken, left) = rest.split_first_chunk().ok_or(Unusable::Length)?;
    *rest = left;
    Ok(*taken)
}

/// FNV-1a. It detects accidental damage. It need not resist forgery, because whoever can write to the user's
/// directory can replace the program too.
pub fn checksum(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of one test, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rnn-cache-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self, key: &str) -> CacheFile {
            CacheFile::new(&CacheDir::At(self.0.join("new/er")), "table.bin", key).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = Folder::new("round-trip");
        let file = folder.file("adapter");
        assert_eq!(file.try_read().unwrap(), None, "nothing there is not an error");
        for payload in [&b"first"[..], b"", &[7; 100_000]] {
            file.try_write(payload).unwrap();
            assert_eq!(file.try_read().unwrap().unwrap(), payload);
        }
        let names: Vec<_> = fs::read_dir(file.path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "temporary files are gone");
    }

    #[test]
    fn other_keys_versions_and_formats_are_foreign() {
        let bytes = pack(b"payload", "mine");
        assert_eq!(unpack(&bytes, "mine").unwrap(), b"payload");
        assert!(matches!(unpack(&bytes, "yours"), Err(Unusable::Key(key)) if key == "mine"));
        assert!(matches!(unpack(b"RNNSHARE", "mine"), Err(Unusable::Magic)));
        let mut newer = bytes.clone();
        newer[8] = 2;
        assert!(matches!(unpack(&newer, "mine"), Err(Unusable::Format(2))));
        let mut older = bytes;
        older[16] ^= 1;
        assert!(matches!(unpack(&older, "mine"), Err(Unusable::Version(_))));
    }

    /// Every truncation and every flipped bit is detected.
    #[test]
    fn damage_is_found_wherever_it_is() {
        let bytes = pack(b"a payload of some length", "key");
        for length in 0..bytes.len() {
            assert!(unpack(&bytes[..length], "key").is_err(), "cut to {length}");
        }
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unpack(&damaged, "key").is_err(), "bit {bit}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(unpack(&longer, "key"), Err(Unusable::Length)));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_inside_and_silence_outside() {
        let folder = Folder::new("blocked");
        // A file at the directory's path: no one can write there, whatever the permissions.
        fs::write(folder.0.join("new"), b"").unwrap();
        let file = folder.file("key");
        assert!(matches!(file.try_write(b"payload"), Err(Unusable::Io(_))));
        file.write(b"payload");
        assert_eq!(file.read(), None);
    }

    #[test]
    fn a_file_too_large_is_not_read() {
        let folder = Folder::new("large");
        let file = folder.file("key");
        file.try_write(b"payload").unwrap();
        File::options().write(true).open(&file.path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(file.try_read(), Err(Unusable::TooLarge(_))));
    }

    #[test]
    fn the_environment_chooses_the_directory() {
        let dir = |variables: &[(&str, &str)]| {
            user_dir(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
        };
        let home = if cfg!(windows) { ("LOCALAPPDATA", "C:\\home") } else { ("HOME", "/home") };
        assert_eq!(dir(&[home, ("RNN_CACHE_DIR", "chosen")]), Some("chosen".into()));
        assert_eq!(dir(&[home, ("RNN_CACHE_DIR", "off")]), None);
        assert_eq!(dir(&[home, ("RNN_CACHE_DIR", "")]), None);
        assert_eq!(dir(&[]), None);
        assert!(dir(&[home]).unwrap().ends_with("rnn"));
        if cfg!(target_os = "linux") {
            assert_eq!(dir(&[home]), Some("/home/.cache/rnn".into()));
            assert_eq!(dir(&[home, ("XDG_CACHE_HOME", "/x")]), Some("/x/rnn".into()));
            assert_eq!(dir(&[home, ("XDG_CACHE_HOME", "relative")]), Some("/home/.cache/rnn".into()));
        }
        assert_eq!(CacheDir::Off.path(), None);
    }
}
