//! New files and folders under names that nothing else has.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Suffix of the names that [`create_beside`] gives.
pub const TEMPORARY: &str = ".tmp";

/// Number of names to try. Two of 2^64 random names are hardly ever equal, so more failures have another reason.
const ATTEMPTS: usize = 100;

/// File systems allow 255 bytes in a name; the rest is for dots, the random number and the suffix.
const MAX_STEM: usize = 128;

/// Creates a file or folder beside `path`, under a hidden random name, and returns it with its path. `create` must
/// fail with [`io::ErrorKind::AlreadyExists`] where the name is taken; then another name is tried.
///
/// A process id does not separate two writers: in containers every process may have the same one.
///
/// # Errors
/// The error of `create`.
pub fn create_beside<T>(path: &Path, create: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..ATTEMPTS {
        let candidate = path.with_file_name(format!(".{}.{:016x}{TEMPORARY}", stem(path), random()));
        match create(&candidate) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            created => return Ok((candidate, created?)),
        }
    }
    Err(taken)
}

/// The name of a path, or the beginning of a long one.
fn stem(path: &Path) -> String {
    let mut name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.truncate(name.floor_char_boundary(MAX_STEM));
    name
}

/// The standard library seeds its hash maps with random bits of the system; the hash of nothing depends on them alone.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let names = RefCell::new(BTreeSet::new());
        let (path, count) = create_beside(Path::new("folder/model"), |candidate| {
            names.borrow_mut().insert(candidate.to_path_buf());
            let count = names.borrow().len();
            if count < 4 { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(count) }
        })
        .unwrap();
        assert_eq!(count, 4, "four different names");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(path.starts_with("folder") && name.starts_with(".model.") && name.ends_with(TEMPORARY));
        let refused = create_beside::<()>(Path::new("x"), |_| Err(io::ErrorKind::AlreadyExists.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let refused = create_beside::<()>(Path::new("x"), |_| Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_long_name_is_shortened_between_characters() {
        let (path, ()) = create_beside(Path::new(&"\u{e4}\u{1f600}".repeat(40)), |_| Ok(())).unwrap();
        let length = path.file_name().unwrap().len();
        assert!((120..160).contains(&length), "{length}");
    }
}
