//! [`FolderLock`]: one run per folder.

use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file in the folder of a run.
const NAME: &str = ".run.lock";

/// How often to open the file again after its owner has removed it.
const ATTEMPTS: usize = 100;

/// The lock on the folder of a run, until it is dropped. The system drops it when the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    path: PathBuf,
    /// Closing the file drops the lock.
    file: File,
}

impl FolderLock {
    /// Locks an existing folder.
    ///
    /// # Errors
    /// [`Error::InUse`]: another process or another run of this one has the lock. Or the file cannot be made.
    pub(crate) fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let at = |source| Error::Io { path: path.clone(), source };
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(at)?;
            match file.try_lock() {
                Ok(()) if !is_at(&file, &path).map_err(at)? => continue,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                    tracing::warn!(path = %path.display(), "no locks here: a second run would not be noticed");
                }
                Err(TryLockError::Error(error)) => return Err(at(error)),
            }
            return Ok(FolderLock { path, file });
        }
        Err(Error::InUse { path: folder.to_path_buf() })
    }
}

/// Whether the file system has no locks, or NFS no service for them (ENOLCK), for which Rust has no kind of error.
fn has_no_locks(error: &io::Error) -> bool {
    const ENOLCK: i32 = 37;
    error.kind() == io::ErrorKind::Unsupported
        || cfg!(target_os = "linux") && error.raw_os_error() == Some(ENOLCK)
}

/// Whether the path still leads to this file: an owner removes it at the end, and a lock on a removed file is none.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Other systems do not identify files, so the file stays.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // A link or a file with content is not from here.
        let is_own = fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_file() && found.len() == 0)
            && is_at(&self.file, &self.path).unwrap_or(false);
        if cfg!(unix)
            && is_own
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the lock file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("rnn-lock-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_folder_has_one_lock_at_a_time() {
        let folder = folder("twice");
        let first = FolderLock::acquire(&folder).unwrap();
        for _ in 0..2 {
            let error = FolderLock::acquire(&folder).unwrap_err();
            assert!(matches!(&error, Error::InUse { path } if *path == folder));
            assert!(error.to_string().contains("in use by another process"), "{error}");
        }
        drop(first);
        drop(FolderLock::acquire(&folder).unwrap());
        assert!(!cfg!(unix) || fs::read_dir(&folder).unwrap().next().is_none(), "nothing is left");
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Many threads that open, lock and remove the file: never are two inside.
    #[test]
    fn a_removed_lock_file_is_no_lock() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = folder("race");
        let (inside, entered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(lock) = FolderLock::acquire(&folder) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two owners");
                        entered.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(entered.into_inner() > 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_or_file_of_that_name_stays() {
        let folder = folder("taken");
        fs::write(folder.join(NAME), "mine").unwrap();
        drop(FolderLock::acquire(&folder).unwrap());
        assert_eq!(fs::read_to_string(folder.join(NAME)).unwrap(), "mine");
        fs::remove_file(folder.join(NAME)).unwrap();
        fs::create_dir(folder.join(NAME)).unwrap();
        assert!(matches!(FolderLock::acquire(&folder), Err(Error::Io { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }
}
