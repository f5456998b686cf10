//! Requests of host memory whose size comes from outside.
//!
//! An allocation that fails aborts a Rust program, and Linux promises memory that it does not have: the program is then
//! killed when it writes to it. So sizes from outside go through [`reserve`] or [`expect_room`]. They compare requests
//! above 64 MiB with the memory that the system reports as available, on Linux: the machine's, swap included, and that of
//! the process's control groups. Other systems do not say it through files; there the allocator's own refusal is the only
//! limit.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Requests up to this many bytes are not compared with the available memory.
const SMALL: u128 = 64 << 20;

/// Refuses a request of host memory that the system cannot serve. `what` names it in the error.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn expect_room(op: &'static str, what: impl FnOnce() -> String, bytes: u128) -> Result<()> {
    if bytes <= SMALL {
        return Ok(());
    }
    let limit = available().unwrap_or(u64::MAX).min(isize::MAX as u64);
    if bytes <= u128::from(limit) {
        return Ok(());
    }
    Err(Error::TooLarge { op, what: what(), needed: bytes, limit })
}

/// An empty vector with room for `len` elements.
///
/// # Errors
/// [`Error::TooLarge`] where the system does not have the memory.
pub fn reserve<T>(op: &'static str, what: impl Fn() -> String, len: usize) -> Result<Vec<T>> {
    let bytes = len as u128 * size_of::<T>() as u128;
    expect_room(op, &what, bytes)?;
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| Error::TooLarge {
        op,
        what: what(),
        needed: bytes,
        limit: available().unwrap_or(isize::MAX as u64),
    })?;
    Ok(values)
}

/// A vector of `len` times `value`.
///
/// # Errors
/// As [`reserve`].
pub fn filled<T: Clone>(op: &'static str, what: impl Fn() -> String, len: usize, value: T) -> Result<Vec<T>> {
    let mut values = reserve(op, what, len)?;
    values.resize(len, value);
    Ok(values)
}

/// Bytes that this process can still use, where the system says so.
pub fn available() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| of_machine(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let of_groups = group_dirs(&groups).into_iter().filter_map(|(dir, names)| {
        let limit = read(&dir.join(names.limit))?.trim().parse::<u64>().ok()?;
        let used = field(&read(&dir.join("memory.stat"))?, names.used)?;
        Some(limit.saturating_sub(used))
    });
    machine.into_iter().chain(of_groups).min()
}

/// The number after a name in a table of lines `name number`.
fn field(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix([' ', ':']))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Available memory and free swap by `/proc/meminfo`, in bytes.
fn of_machine(meminfo: &str) -> Option<u64> {
    let kib = |name| field(meminfo, name);
    Some(1024 * (kib("MemAvailable")? + kib("SwapFree").unwrap_or(0)))
}

/// Names of a control group's files, which differ between its two versions. The kernel can drop cached files, so only
/// anonymous memory counts as used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GroupFiles {
    limit: &'static str,
    used: &'static str,
}

/// Directories of the memory groups that a process is in, from `/proc/self/cgroup`: its own and those above it, which
/// limit it too.
fn group_dirs(groups: &str) -> Vec<(PathBuf, GroupFiles)> {
    let mut dirs = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, files) = match controllers {
            "" => ("/sys/fs/cgroup", GroupFiles { limit: "memory.max", used: "anon" }),
            _ if controllers.split(',').any(|name| name == "memory") => {
                let files = GroupFiles { limit: "memory.limit_in_bytes", used: "total_rss" };
                ("/sys/fs/cgroup/memory", files)
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        dirs.extend(path.ancestors().map(|path| (Path::new(root).join(path), files)));
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_sizes_are_refused_and_possible_ones_served() {
        for len in [usize::MAX, isize::MAX as usize, 1 << 60] {
            let error = reserve::<f64>("op", || "values".into(), len).unwrap_err();
            assert!(matches!(&error, Error::TooLarge { op: "op", what, .. } if what == "values"), "{error}");
        }
        assert_eq!(filled("op", String::new, 3, 2.0).unwrap(), [2.0; 3]);
        assert!(reserve::<u8>("op", String::new, 100 << 20).is_ok(), "a hundredth of a usual machine");
    }

    /// Linux would promise this memory and kill the process later.
    #[test]
    #[cfg(target_os = "linux")]
    fn more_than_the_machine_has_is_refused() {
        let available = available().expect("Linux says it");
        let error = reserve::<u8>("op", || "bytes".into(), 2 * available as usize).unwrap_err();
        let Error::TooLarge { needed, limit, .. } = error else { panic!("{error}") };
        assert!(needed == 2 * u128::from(available) && u128::from(limit) < needed, "{limit}");
    }

    #[test]
    fn the_machine_s_memory_is_read_with_its_swap() {
        let text = "MemTotal:       100 kB\nMemFree:  10 kB\nMemAvailable:   70 kB\nSwapFree:   5 kB\n";
        assert_eq!(of_machine(text), Some(75 * 1024));
        assert_eq!(of_machine("MemTotal: 100 kB\n"), None);
        assert_eq!(field("anon 17\nanon_thp 5\n", "anon"), Some(17));
        assert_eq!(field("anon_thp 5\nanon 17\n", "anon"), Some(17));
    }

    #[test]
    fn groups_of_both_versions_are_found_with_those_above() {
        let paths = |groups| {
            let dirs = group_dirs(groups).into_iter();
            dirs.map(|(dir, files)| format!("{}/{}", dir.display(), files.limit)).collect::<Vec<_>>()
        };
        assert_eq!(
            paths("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup//memory.max"]
        );
        assert_eq!(
            paths("3:cpuset:/x\n4:cpu,memory:/a\n"),
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory//memory.limit_in_bytes"]
        );
        assert!(paths("broken\n").is_empty());
    }
}
