//! The settings of a run that a resumed one must share.

use std::collections::BTreeMap;
use std::fmt;

/// Settings by name, as text.
pub type Settings = BTreeMap<String, String>;

/// The text of a setting that is absent.
const ABSENT: &str = "absent";

/// A setting that is not as it was.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) name: String,
    was: String,
    is: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` was {} and is {}", self.name, self.was, self.is)
    }
}

/// Every setting that is not as it was.
pub(crate) fn changes(was: &Settings, is: &Settings) -> Vec<Change> {
    let mut found = Vec::new();
    let text =
        |settings: &Settings, name: &str| settings.get(name).map_or(ABSENT, String::as_str).to_string();
    let added = is.keys().filter(|name| !was.contains_key(*name));
    for name in was.keys().chain(added) {
        let (was, is) = (text(was, name), text(is, name));
        if was != is {
            found.push(Change { name: name.clone(), was, is });
        }
    }
    found
}

/// Lengths as text that is short and differs for other lengths.
pub(crate) fn of_lengths(lengths: &[usize]) -> String {
    let mut sum = crc32fast::Hasher::new();
    for &length in lengths {
        sum.update(&(length as u64).to_le_bytes());
    }
    format!(
        "{} in all with checksum {:08x}",
        lengths.iter().map(|&n| n as u128).sum::<u128>(),
        sum.finalize()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_named_once() {
        let of = |pairs: &[(&str, &str)]| -> Settings {
            pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect()
        };
        let was = of(&[("seed", "1"), ("items", "20"), ("lr", "0.1")]);
        let is = of(&[("items", "20"), ("lr", "0.2"), ("bucket_width", "4")]);
        let found: Vec<String> = changes(&was, &is).iter().map(Change::to_string).collect();
        assert_eq!(
            found,
            ["`lr` was 0.1 and is 0.2", "`seed` was 1 and is absent", "`bucket_width` was absent and is 4",]
        );
        assert!(changes(&was, &was).is_empty());
    }

    #[test]
    fn lengths_in_another_order_are_other_lengths() {
        assert_ne!(of_lengths(&[3, 5]), of_lengths(&[5, 3]));
        assert_ne!(of_lengths(&[3, 5]), of_lengths(&[4, 4]));
        assert_eq!(of_lengths(&[usize::MAX, usize::MAX]), of_lengths(&[usize::MAX, usize::MAX]));
    }
}
