//! Sessions as files: a line of JSON, then the state of the stream as the library writes it.

use crate::session::Progress;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;
const EXTENSION: &str = "session";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    /// Checksum of the model's file.
    model: u32,
    seed: u64,
    drawn: u64,
    next: Option<u32>,
    /// Checksum of the state and its length, so that the file is known to be whole.
    state: u32,
    bytes: usize,
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
}

impl Store {
    pub(crate) fn open(folder: &Path, model: u32) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Ok(Store { folder: folder.to_path_buf(), model })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension(EXTENSION)
    }

    /// Writes a session. A process that is killed leaves the old file or the new one.
    pub(crate) fn write(&self, saved: &Saved) -> Result<()> {
        let Saved { name, seed, progress, state } = saved;
        let head = Head {
            version: VERSION,
            model: self.model,
            seed: *seed,
            drawn: progress.drawn,
            next: progress.next,
            state: crc32fast::hash(state),
            bytes: state.len(),
        };
        let path = self.path(name);
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh).with_context(|| fresh.display().to_string())?;
        serde_json::to_writer(&mut file, &head)?;
        file.write_all(b"\n")?;
        file.write_all(state)?;
        file.sync_all()?;
        fs::rename(&fresh, &path).with_context(|| path.display().to_string())
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
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { bail!("not a name") };
        let bytes = fs::read(path)?;
        let Some(line) = bytes.iter().position(|&byte| byte == b'\n') else { bail!("the file is cut off") };
        let head: Head = serde_json::from_slice(&bytes[..line]).context("the first line")?;
        let state = bytes[line + 1..].to_vec();
        if head.version != VERSION {
            bail!("version {}; this program reads version {VERSION}", head.version);
        }
        if head.model != self.model {
            bail!("a session of another model");
        }
        if (head.bytes, head.state) != (state.len(), crc32fast::hash(&state)) {
            bail!("the state is damaged");
        }
        let progress = Progress { next: head.next, drawn: head.drawn, changed: false, closed: false };
        Ok(Saved { name: name.to_string(), seed: head.seed, progress, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(state: &[u8]) -> Saved {
        let progress = Progress { next: Some(3), drawn: 7, changed: true, closed: false };
        Saved { name: "a1".into(), seed: u64::MAX, progress, state: state.to_vec() }
    }

    #[test]
    fn what_is_written_comes_back_and_what_is_damaged_is_named() {
        let folder = std::env::temp_dir().join(format!("rnn-serve-store-{}", std::process::id()));
        let store = Store::open(&folder, 9).unwrap();
        store.write(&saved(b"first")).unwrap();
        store.write(&saved(b"a state\nof bytes\0")).unwrap();
        let read = store.read_all().unwrap().pop().unwrap().unwrap();
        assert_eq!(
            (&read.name[..], read.seed, &read.state[..]),
            ("a1", u64::MAX, &b"a state\nof bytes\0"[..])
        );
        assert_eq!((read.progress.next, read.progress.drawn, read.progress.changed), (Some(3), 7, false));
        let problem = |store: &Store| format!("{:#}", store.read_all().unwrap().pop().unwrap().unwrap_err());
        let other = Store::open(&folder, 8).unwrap();
        assert!(problem(&other).contains("a session of another model"));
        let path = folder.join("a1.session");
        let whole = fs::read(&path).unwrap();
        for cut in [0, 10, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            let problem = problem(&store);
            let named = ["is cut off", "is damaged"].iter().any(|part| problem.contains(part));
            assert!(named && problem.contains("a1.session"), "{cut}: {problem}");
        }
        store.remove("a1").unwrap();
        store.remove("a1").unwrap();
        assert!(store.read_all().unwrap().is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}
