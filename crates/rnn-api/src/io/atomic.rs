//! Files that are read and replaced as a whole.

use crate::error::{Error, Result};
use rnn_runtime::files::create_beside;
use std::fs::{self, File, FileType, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The number of links to follow; the limit of Linux.
const MAX_LINKS: usize = 40;

/// Writes beside the destination, flushes and renames. After a crash either the old or the new content is there. A link
/// stays a link: the file that it leads to is replaced.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes).map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

/// Reads a whole file. Reading a pipe may never end, and reading a device may fill the memory.
pub(crate) fn read_regular(path: &Path) -> Result<Vec<u8>> {
    expect_regular(path).and_then(|()| fs::read(path)).map_err(|source| {
        let path = path.to_path_buf();
        Error::Io { path, source }
    })
}

/// Refuses a path that does not lead to a regular file.
pub(crate) fn expect_regular(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() { Ok(()) } else { Err(not_regular(kind)) }
}

/// The error of a path that leads to something else than a regular file.
pub(crate) fn not_regular(kind: FileType) -> io::Error {
    let (error, what) = if kind.is_dir() {
        (ErrorKind::IsADirectory, "a folder")
    } else if kind.is_symlink() {
        (ErrorKind::InvalidInput, "a link")
    } else {
        (ErrorKind::InvalidInput, "a pipe, socket or device")
    };
    io::Error::new(error, format!("must be a regular file, got {what}"))
}

/// Flushes a folder. On Unix a rename is durable only then; other systems cannot open folders.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Destination { path, permissions } = Destination::of(path)?;
    let (temporary, file) = create_beside(&path, |candidate| create(candidate, permissions.is_some()))?;
    let written = fill(file, bytes, permissions).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // Report the first error.
        drop(fs::remove_file(&temporary));
    }
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

/// What a save replaces.
struct Destination {
    /// The end of all links.
    path: PathBuf,
    /// Those of the file that exists there.
    permissions: Option<Permissions>,
}

impl Destination {
    fn of(path: &Path) -> io::Result<Self> {
        let ends_with_separator = path
            .as_os_str()
            .as_encoded_bytes()
            .last()
            .is_some_and(|&byte| std::path::is_separator(byte.into()));
        if path.file_name().is_none() || ends_with_separator {
            return Err(io::Error::new(ErrorKind::InvalidInput, "must end with the name of a file"));
        }
        let mut path = path.to_path_buf();
        for _ in 0..MAX_LINKS {
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Destination { path, permissions: None });
                }
                found => found?,
            };
            if found.is_symlink() {
                // `join` replaces the path by an absolute target.
                path = path.parent().unwrap_or(Path::new("")).join(fs::read_link(&path)?);
            } else if !found.is_file() {
                return Err(not_regular(found.file_type()));
            } else if found.permissions().readonly() {
                return Err(io::Error::new(ErrorKind::PermissionDenied, "the file is read-only"));
            } else {
                return Ok(Destination { path, permissions: Some(found.permissions()) });
            }
        }
        Err(io::Error::new(ErrorKind::InvalidInput, format!("leads through more than {MAX_LINKS} links")))
    }
}

/// A new file. If it will get the permissions of another one, nobody else may read it before.
fn create(path: &Path, private: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = private;
    options.open(path)
}

fn fill(mut file: File, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.sync_all()
}
