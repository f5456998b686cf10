//! The folder of a run: which entries are checkpoints, and what may be removed.

use super::content::MODEL;
use super::manifest::{MANIFEST, Manifest, RUN, tensors};
use crate::error::{Error, Result};
use crate::optim::MAX_COUNT;
use rnn_runtime::files::{TEMPORARY, create_beside};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A checkpoint that may be damaged, sorted by age.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub(super) step: u64,
    /// The number of earlier checkpoints of the same step.
    pub(super) generation: u64,
    pub(super) path: PathBuf,
}

/// The content of a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Its checkpoints, oldest first.
    pub(super) found: Vec<Listed>,
    /// What is named like a checkpoint and is none, with the reason.
    pub(super) odd: Vec<(PathBuf, &'static str)>,
}

/// Lists a folder.
pub(super) fn list(folder: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    for (name, path) in entries(folder)? {
        if !name.starts_with("step-") {
            continue;
        }
        match checkpoint(&name, &path).map_err(|source| Error::Io { path: path.clone(), source })? {
            Ok((step, generation)) => listing.found.push(Listed { step, generation, path }),
            Err(why) => listing.odd.push((path, why)),
        }
    }
    listing.found.sort();
    Ok(listing)
}

/// Names and paths of a folder's entries; names that are no text are not from here.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let at = |source| Error::Io { path: folder.to_path_buf(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// Step and generation of a checkpoint, or why an entry is none.
fn checkpoint(name: &str, path: &Path) -> io::Result<Result<(u64, u64), &'static str>> {
    let Some(numbers) = numbers(name) else { return Ok(Err("not a name that a run gives")) };
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err("gone")),
        found => found?.file_type(),
    };
    if !kind.is_dir() {
        return Ok(Err(if kind.is_symlink() { "a link" } else { "a file and not a folder" }));
    }
    let parts = [MANIFEST.to_string(), RUN.to_string(), tensors(MODEL)];
    let is_checkpoint = parts.iter().any(|part| fs::symlink_metadata(path.join(part)).is_ok());
    Ok(if is_checkpoint { Ok(numbers) } else { Err("a folder without the files of a checkpoint") })
}

fn name_of(step: u64, generation: u64) -> String {
    match generation {
        0 => format!("step-{step:09}"),
        generation => format!("step-{step:09}.{generation}"),
    }
}

/// Step and generation from the name of a checkpoint; `None` for other names and for numbers at which counting would
/// end.
fn numbers(name: &str) -> Option<(u64, u64)> {
    let numbers = name.strip_prefix("step-")?;
    let (step, generation) = numbers.split_once('.').unwrap_or((numbers, "0"));
    let (step, generation) = (step.parse().ok()?, generation.parse().ok()?);
    let is_own = step <= MAX_COUNT && generation <= MAX_COUNT && name_of(step, generation) == name;
    is_own.then_some((step, generation))
}

/// The path of a new checkpoint. A second one of the same step, such as the one at the end of an epoch, sorts after the
/// first.
pub(super) fn free_path(folder: &Path, step: u64) -> Result<PathBuf> {
    let listing = list(folder)?;
    let last = listing.found.iter().filter(|found| found.step == step).map(|found| found.generation).max();
    let mut generation = last.map_or(0, |last| last + 1);
    loop {
        let path = folder.join(name_of(step, generation));
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path),
            Err(source) => return Err(Error::Io { path, source }),
            // A rename would replace an empty folder of someone else.
            Ok(_) => generation += 1,
        }
    }
}

/// Creates a folder under a random name, in which to write the checkpoint `path`.
pub(super) fn create_temporary(path: &Path) -> Result<PathBuf> {
    let created = create_beside(path, |candidate| fs::create_dir(candidate));
    let (temporary, ()) = created.map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    Ok(temporary)
}

/// Removes the files of a checkpoint that a run of this version wrote. Other folders, and other files in it, stay.
pub(super) fn discard(path: &Path) -> Result<()> {
    let Ok(manifest) = Manifest::read(path) else {
        tracing::debug!(path = %path.display(), "without a readable manifest, so it is not removed");
        return Ok(());
    };
    let own: BTreeSet<String> = manifest.files.into_keys().chain([MANIFEST.to_string()]).collect();
    if own.iter().any(|name| fs::symlink_metadata(path.join(name)).is_ok_and(|found| found.is_dir())) {
        tracing::warn!(path = %path.display(), "has a folder in the place of a file, so it is not removed");
        return Ok(());
    }
    let is_alone = entries(path)?.iter().all(|(name, _)| own.contains(name));
    let at = |source| Error::Io { path: path.to_path_buf(), source };
    if is_alone {
        // A partly removed checkpoint must not look like one.
        let away = |candidate: &Path| match fs::symlink_metadata(candidate) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(path, candidate),
        };
        let (away, ()) = create_beside(path, away).map_err(at)?;
        return remove_files(&away, &own).and_then(|()| fs::remove_dir(&away)).map_err(at);
    }
    tracing::warn!(path = %path.display(), "other files in this old checkpoint stay");
    // Without its manifest it is no checkpoint.
    remove(&path.join(MANIFEST)).and_then(|()| remove_files(path, &own)).map_err(at)
}

fn remove_files(folder: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    names.iter().try_for_each(|name| remove(&folder.join(name)))
}

/// Removes a file that may be gone.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes unfinished folders of killed processes. Only the owner of the folder's lock may do so.
pub(super) fn clean(folder: &Path) -> Result<()> {
    for (name, path) in entries(folder)? {
        if !is_unfinished(&name) {
            continue;
        }
        let at = |source| Error::Io { path: path.clone(), source };
        if !fs::symlink_metadata(&path).map_err(at)?.is_dir() {
            tracing::warn!(path = %path.display(), "named like an unfinished checkpoint, but not a folder");
            continue;
        }
        let names: BTreeSet<String> = entries(&path)?.into_iter().map(|(name, _)| name).collect();
        let parts = fs::read_dir(&path).map_err(at)?.count();
        if parts == names.len() && names.iter().all(|name| is_part(name)) {
            remove_files(&path, &names).and_then(|()| fs::remove_dir(&path)).map_err(at)?;
        } else {
            tracing::warn!(path = %path.display(), "an unfinished checkpoint with other files stays");
        }
    }
    Ok(())
}

/// Whether a name is that of an unfinished checkpoint: `.step-000000007.1.0123456789abcdef.tmp`. Earlier versions had a
/// process id instead of the random number.
fn is_unfinished(name: &str) -> bool {
    let Some(middle) = name.strip_prefix(".step-").and_then(|rest| rest.strip_suffix(TEMPORARY)) else {
        return false;
    };
    let mut parts = middle.split('.');
    let step = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    step.len() >= 9
        && step.bytes().all(|byte| byte.is_ascii_digit())
        && (1..=3).contains(&rest.len())
        && rest.iter().all(is_word)
}

/// Whether a name is that of a file of a checkpoint, or of one that was being written.
fn is_part(name: &str) -> bool {
    let written = name.strip_prefix('.').is_some_and(|rest| rest.ends_with(TEMPORARY));
    name == MANIFEST || name == RUN || name.ends_with(".safetensors") || written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_run_gives() {
        for (step, generation) in [(0, 0), (7, 0), (7, 12), (1_234_567_890, 1), (MAX_COUNT, MAX_COUNT)] {
            assert_eq!(numbers(&name_of(step, generation)), Some((step, generation)));
        }
        let others = [
            "step-",
            "step-7",
            "step-+00000007",
            "step-000000007.0",
            "step-000000007.01",
            "step-000000007.1.2",
            "step-00000000x",
            "step-18446744073709551615",
            "step-000000007.18446744073709551615",
            "step-99999999999999999999999",
            "step--00000001",
        ];
        for name in others {
            assert_eq!(numbers(name), None, "{name}");
        }
    }

    #[test]
    fn only_unfinished_checkpoints_are_leftovers() {
        for name in [
            ".step-000000007.0123456789abcdef.tmp",
            ".step-000000007.1.0123456789abcdef.tmp",
            ".step-000000007.4242.tmp",
            ".step-000000007.1.4242.old.tmp",
        ] {
            assert!(is_unfinished(name), "{name}");
        }
        for name in [
            ".step-notes.tmp",
            ".step-7.tmp",
            "step-000000007.12.tmp",
            ".step-000000007.tmp",
            ".step-000000007..tmp",
        ] {
            assert!(!is_unfinished(name), "{name}");
        }
    }
}
