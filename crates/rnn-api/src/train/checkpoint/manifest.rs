//! The manifest of a checkpoint: which files it has, and what they hold.

use super::content::{MODEL, OPTIMIZER};
use crate::error::{Error, Result};
use crate::io;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

/// Version of the file layout.
pub(super) const FORMAT: u32 = 1;
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const RUN: &str = "run.json";

/// A manifest has one line per file. The limit bounds the reads of a foreign file.
const MAX_BYTES: u64 = 1 << 20;

/// The manifest of a checkpoint's files.
#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// Length and CRC-32 by name.
    pub(super) files: BTreeMap<String, (u64, u32)>,
}

/// What every version of a manifest has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Why a checkpoint cannot be opened.
pub(super) enum Closed {
    /// Its content is not what was written; an older checkpoint can be used instead.
    Damaged(Error),
    /// This version cannot open it, or cannot open it now; it may be intact, so it must not be skipped.
    Other(Error),
}

impl Closed {
    pub(super) fn damaged(path: &Path, problem: String) -> Self {
        Closed::Damaged(bad(path, problem))
    }
}

/// An error with one problem.
pub(super) fn bad(path: &Path, problem: String) -> Error {
    Error::Checkpoint { path: path.to_path_buf(), problems: vec![problem] }
}

/// The name of a file of arrays.
pub(super) fn tensors(name: &str) -> String {
    format!("{name}.safetensors")
}

impl Manifest {
    /// Reads and checks the manifest of a checkpoint.
    pub(super) fn read(folder: &Path) -> Result<Self, Closed> {
        let length = length_of(folder, MANIFEST)?;
        if length > MAX_BYTES {
            let problem = format!("{MANIFEST} has {length} bytes, more than {MAX_BYTES}");
            return Err(Closed::damaged(folder, problem));
        }
        let bytes = read(folder, MANIFEST)?;
        let unreadable = |error| Closed::damaged(folder, format!("{MANIFEST}: {error}"));
        let Version { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if format != FORMAT {
            let problem = format!("has format {format}, this program reads {FORMAT}");
            return Err(Closed::Other(bad(folder, problem)));
        }
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(unreadable)?;
        for required in [RUN.to_string(), tensors(MODEL), tensors(OPTIMIZER)] {
            if !manifest.files.contains_key(&required) {
                return Err(Closed::damaged(folder, format!("{MANIFEST} does not list {required}")));
            }
        }
        match manifest.files.keys().find(|name| !is_plain(name)) {
            Some(name) => {
                let problem = format!("{MANIFEST} lists {name:?}, which is no name of a file in the folder");
                Err(Closed::damaged(folder, problem))
            }
            None => Ok(manifest),
        }
    }

    /// Reads a listed file and compares it with what was written.
    pub(super) fn verified(&self, folder: &Path, name: &str) -> Result<Vec<u8>, Closed> {
        let differs = || Closed::damaged(folder, format!("{name} is not what was written"));
        let &(length, sum) = self.files.get(name).ok_or_else(differs)?;
        // Compare the length first: a file that has grown without bound is not read.
        if length_of(folder, name)? != length {
            return Err(differs());
        }
        let bytes = read(folder, name)?;
        if bytes.len() as u64 == length && crc32fast::hash(&bytes) == sum {
            Ok(bytes)
        } else {
            Err(differs())
        }
    }
}

/// Whether a name is that of a file in a folder, on every system: no path, no drive, not the manifest itself.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let is_single =
        matches!(parts.next(), Some(Component::Normal(only)) if only == name) && parts.next().is_none();
    is_single && !name.contains(['/', '\\', ':', '\0']) && name != MANIFEST
}

/// The length of a regular file in a checkpoint. A link may lead out of the folder, and a pipe never ends.
fn length_of(folder: &Path, name: &str) -> Result<u64, Closed> {
    let found = fs::symlink_metadata(folder.join(name)).map_err(|error| closed(folder, name, error))?;
    if found.is_file() {
        return Ok(found.len());
    }
    Err(Closed::damaged(folder, format!("{name} {}", io::not_regular(found.file_type()))))
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, Closed> {
    fs::read(folder.join(name)).map_err(|error| closed(folder, name, error))
}

fn closed(folder: &Path, name: &str, source: std::io::Error) -> Closed {
    let is_gone = source.kind() == ErrorKind::NotFound;
    let error = Error::Io { path: folder.join(name), source };
    if is_gone { Closed::Damaged(error) } else { Closed::Other(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_files_in_the_folder_are_plain() {
        for name in ["run.json", "model.safetensors", "a b", "..x", ".hidden"] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a/",
            "/etc/passwd",
            "a\\b",
            "C:x",
            "\\\\host\\x",
            "a\0",
            "manifest.json",
            "./x",
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
