//! Writes checkpoints and removes old ones.

use super::config::CheckpointConfig;
use super::content::Content;
use super::folder::{clean, create_temporary, discard, free_path, list};
use super::lock::FolderLock;
use super::manifest::{FORMAT, MANIFEST, Manifest, RUN, bad, tensors};
use crate::error::{Error, Result};
use crate::io;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Creates the folder of a run, locks it, and removes unfinished checkpoints of killed processes.
///
/// # Errors
/// [`Error::InUse`], or the folder cannot be made or read.
pub(crate) fn prepare(folder: &Path) -> Result<FolderLock> {
    fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
    let lock = FolderLock::acquire(folder)?;
    clean(folder)?;
    Ok(lock)
}

/// Writes the checkpoint of step `step` and removes the oldest ones.
pub(crate) fn write<R: Serialize>(
    config: &CheckpointConfig,
    step: u64,
    content: &Content<R>,
) -> Result<PathBuf> {
    let path = free_path(&config.path, step)?;
    let temporary = create_temporary(&path)?;
    let at = |source| Error::Io { path: path.clone(), source };
    let written = write_files(&temporary, content).and_then(|()| fs::rename(&temporary, &path).map_err(at));
    if let Err(error) = written {
        // Report the first error; older checkpoints are untouched.
        drop(fs::remove_dir_all(&temporary));
        return Err(error);
    }
    io::sync_folder(&config.path).map_err(|source| Error::Io { path: config.path.clone(), source })?;
    remove_old(config, step)?;
    Ok(path)
}

/// Keeps the last checkpoint of each of the last steps. Two of the same step hold the same weights.
fn remove_old(config: &CheckpointConfig, step: u64) -> Result<()> {
    let mut kept = BTreeSet::new();
    for found in list(&config.path)?.found.into_iter().rev() {
        // Later checkpoints are damaged, or belong to a continuation that was abandoned.
        let is_future = found.step > step;
        if is_future || kept.contains(&found.step) || kept.len() == config.keep {
            discard(&found.path)?;
        } else {
            kept.insert(found.step);
        }
    }
    Ok(())
}

fn write_files<R: Serialize>(folder: &Path, content: &Content<R>) -> Result<()> {
    let mut names = vec![RUN.to_string()];
    io::write_atomically(&folder.join(RUN), &json(folder, &content.file)?)?;
    for (name, (arrays, metadata)) in &content.arrays {
        let name = tensors(name);
        io::write(folder.join(&name), arrays, metadata.clone())?;
        names.push(name);
    }
    let mut files = BTreeMap::new();
    for name in names {
        let path = folder.join(&name);
        let bytes = fs::read(&path).map_err(|source| Error::Io { path, source })?;
        files.insert(name, (bytes.len() as u64, crc32fast::hash(&bytes)));
    }
    io::write_atomically(&folder.join(MANIFEST), &json(folder, &Manifest { format: FORMAT, files })?)?;
    io::sync_folder(folder).map_err(|source| Error::Io { path: folder.to_path_buf(), source })
}

fn json(folder: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| bad(folder, error.to_string()))
}
