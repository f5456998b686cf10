//! Sessions as files: a line of JSON, the state of the stream as the library writes it, and a checksum of both.

use crate::session::Progress;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

const VERSION: u32 = 2;
const EXTENSION: &str = "session";

/// Digits of a session's name.
pub(crate) const DIGITS: usize = 32;

/// No session draws as many symbols, and one that goes on from there does not overflow.
const MOST_DRAWN: u64 = 1 << 56;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    /// Checksum of the model's file.
    model: u32,
    seed: u64,
    drawn: u64,
    next: Option<u32>,
}

/// What every version of the first line has.
#[derive(Debug, Deserialize)]
struct Version {
    version: u32,
}

/// A session as it was saved.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) progress: Progress,
    pub(crate) state: Vec<u8>,
}

/// The directory of the files.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    model: u32,
    /// The symbols of the model.
    symbols: usize,
}

impl Store {
    pub(crate) fn open(folder: &Path, model: u32, symbols: usize) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Ok(Store { folder: folder.to_path_buf(), model, symbols })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    /// Writes a session. A process that is killed leaves the old file or the new one.
    pub(crate) fn write(&self, saved: &Saved) -> Result<()> {
        let Saved { name, seed, progress, state } = saved;
        let Progress { drawn, next, .. } = *progress;
        let head = Head { version: VERSION, model: self.model, seed: *seed, drawn, next };
        let mut bytes = serde_json::to_vec(&head)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(state);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let path = self.path(name);
        let fresh = self.folder.join(format!("{name}.new"));
        let mut file = File::create(&fresh).with_context(|| fresh.display().to_string())?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, &path).with_context(|| path.display().to_string())
    }

    /// Makes the names of the files that were written survive a loss of power, where the system can.
    pub(crate) fn sync(&self) -> Result<()> {
        // Only there is a directory a file that can be opened.
        #[cfg(unix)]
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| self.folder.display().to_string())?;
        Ok(())
    }

    /// Forgets a session.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// All sessions of the directory: each as it was saved, or why it cannot be read.
    pub(crate) fn read_all(&self) -> Result<Vec<Result<Saved>>> {
        let entries = fs::read_dir(&self.folder).with_context(|| self.folder.display().to_string())?;
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                all.push(self.read(&path).with_context(|| path.display().to_string()));
            }
        }
        Ok(all)
    }

    fn read(&self, path: &Path) -> Result<Saved> {
        let name = path.file_stem().and_then(|name| name.to_str()).filter(|name| is_name(name));
        let Some(name) = name else {
            bail!("no name of a session: {DIGITS} hexadecimal digits are expected")
        };
        ensure!(fs::metadata(path)?.is_file(), "not a file");
        let bytes = fs::read(path)?;
        let Some(line) = bytes.iter().position(|&byte| byte == b'\n') else { bail!("the file is cut off") };
        // Another version can have another checksum.
        let Version { version } = serde_json::from_slice(&bytes[..line]).context("the first line")?;
        ensure!(version == VERSION, "version {version}; this program reads version {VERSION}");
        let Some((content, checksum)) = bytes.split_last_chunk() else { bail!("the file is cut off") };
        let whole = crc32fast::hash(content) == u32::from_le_bytes(*checksum);
        ensure!(whole && line < content.len(), "the file is damaged");
        let head: Head = serde_json::from_slice(&content[..line]).context("the first line")?;
        ensure!(head.model == self.model, "a session of another model");
        let progress = self.progress(&head)?;
        Ok(Saved { name: name.to_string(), seed: head.seed, progress, state: content[line + 1..].to_vec() })
    }

    /// The progress of a file, if a session can have it.
    fn progress(&self, head: &Head) -> Result<Progress> {
        let Head { next, drawn, .. } = *head;
        let symbols = self.symbols;
        if let Some(next) = next {
            ensure!((next as usize) < symbols, "symbol {next} is next; the model has {symbols} symbols");
            ensure!(drawn > 0, "symbol {next} is next, but none was drawn");
        }
        ensure!(drawn < MOST_DRAWN, "{drawn} symbols were drawn, more than can be");
        Ok(Progress { next, drawn, changed: false, closed: false })
    }
}

/// Whether the server gives sessions such names.
fn is_name(name: &str) -> bool {
    name.len() == DIGITS && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
