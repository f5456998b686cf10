//! Folds for cross-validation: every item is held out once.

use super::error::{Place, Problem};
use super::shuffle::{Draw, shuffle};
use super::split::members;
use crate::{Error, Result};
use std::hash::Hash;

/// The items that each of `count` folds holds out, in a seeded random order of items, each fold sorted. The counts of a
/// class in two folds differ by at most 1, and so do the sizes of folds. Split what a fold leaves once more for
/// validation, with [`stratified`](super::stratified).
///
/// ```
/// # fn main() -> rnn_api::Result<()> {
/// let classes = ["a", "b", "a", "b", "a", "b"];
/// for held_out in rnn_api::data::folds(&classes, 3, 42)? {
///     assert_eq!(held_out.len(), 2);
///     let train: Vec<usize> = (0..classes.len()).filter(|item| !held_out.contains(item)).collect();
///     # let _ = train;
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// `count` is below 2; there are fewer items than folds; or the indices do not fit into memory.
pub fn folds<K: Eq + Hash>(classes: &[K], count: usize, seed: u64) -> Result<Vec<Vec<usize>>> {
    let mut folds = empty(classes.len(), count)?;
    for (place, item) in members(classes, seed)?.into_iter().flatten().enumerate() {
        folds[place % count].push(item);
    }
    finish(folds, classes.len())
}

/// As [`folds`], with whole groups (speaker, patient, machine): the fold that holds out one item of a group holds out all.
/// Larger groups come first, each to the smallest fold so far.
///
/// # Errors
/// As [`folds`], or there are fewer groups than folds.
pub fn grouped_folds<K: Eq + Hash>(groups: &[K], count: usize, seed: u64) -> Result<Vec<Vec<usize>>> {
    let mut folds = empty(groups.len(), count)?;
    let mut all = members(groups, seed)?;
    shuffle(&mut all, seed, Draw::Split, 1);
    all.sort_by_key(|items| std::cmp::Reverse(items.len()));
    for items in all {
        if let Some(smallest) = folds.iter_mut().min_by_key(|fold| fold.len()) {
            smallest.extend(items);
        }
    }
    finish(folds, groups.len())
}

/// Folds without items, if the items can fill them.
fn empty(items: usize, count: usize) -> Result<Vec<Vec<usize>>> {
    if count < 2 {
        return Err(Error::value("folds", "count", "at least 2", count));
    }
    if items < count {
        return Err(Error::value("folds", "count", format!("at most the number of items, {items}"), count));
    }
    Ok(vec![Vec::new(); count])
}

fn finish(mut folds: Vec<Vec<usize>>, of: usize) -> Result<Vec<Vec<usize>>> {
    if folds.iter().any(Vec::is_empty) {
        return Err(Problem::EmptyPart { part: "held-out", of }.at(Place::default()));
    }
    folds.iter_mut().for_each(|fold| fold.sort_unstable());
    Ok(folds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rnn_testing::data::SplitMix64;
    use std::collections::HashSet;

    fn random_keys(rng: &mut SplitMix64) -> Vec<usize> {
        (0..60 + rng.next_below(200)).map(|_| rng.next_below(13)).collect()
    }

    fn complete(folds: &[Vec<usize>], items: usize) {
        let mut all = folds.concat();
        all.sort_unstable();
        assert_eq!(all, (0..items).collect::<Vec<_>>(), "every item once");
        assert!(folds.iter().all(|fold| fold.is_sorted()));
    }

    #[test]
    fn folds_have_the_same_classes() {
        let mut rng = SplitMix64::new(4);
        for seed in 0..50 {
            let (keys, count) = (random_keys(&mut rng), 2 + seed as usize % 9);
            let folds = folds(&keys, count, seed).unwrap();
            complete(&folds, keys.len());
            let spread = |of: &dyn Fn(&Vec<usize>) -> usize| {
                let counts: Vec<usize> = folds.iter().map(of).collect();
                counts.iter().max().unwrap() - counts.iter().min().unwrap()
            };
            assert!(spread(&Vec::len) <= 1);
            for class in 0..13 {
                assert!(spread(&|fold| fold.iter().filter(|&&item| keys[item] == class).count()) <= 1);
            }
        }
    }

    #[test]
    fn groups_stay_together() {
        let mut rng = SplitMix64::new(5);
        for seed in 0..50 {
            let (keys, count) = (random_keys(&mut rng), 2 + seed as usize % 9);
            let folds = grouped_folds(&keys, count, seed).unwrap();
            complete(&folds, keys.len());
            let mut seen = HashSet::new();
            for fold in &folds {
                let groups: HashSet<usize> = fold.iter().map(|&item| keys[item]).collect();
                assert!(groups.iter().all(|group| seen.insert(*group)), "a group in two folds");
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        let keys = vec![0; 40];
        assert_eq!(folds(&keys, 4, 1).unwrap(), folds(&keys, 4, 1).unwrap());
        assert_ne!(folds(&keys, 4, 1).unwrap(), folds(&keys, 4, 2).unwrap());
        let groups: Vec<usize> = (0..40).map(|item| item / 2).collect();
        assert_ne!(grouped_folds(&groups, 4, 1).unwrap(), grouped_folds(&groups, 4, 2).unwrap());
    }

    #[test]
    fn folds_without_items_are_refused() {
        for count in [0, 1] {
            let error = folds(&[0; 9], count, 1).unwrap_err().to_string();
            assert!(error.contains(&format!("count must be at least 2, got {count}")), "{error}");
        }
        let error = folds(&[0; 3], 4, 1).unwrap_err().to_string();
        assert!(error.contains("count must be at most the number of items, 3, got 4"), "{error}");
        assert!(folds(&[(); 0], 2, 1).is_err() && folds(&[0; 3], usize::MAX, 1).is_err());
        let error = grouped_folds(&["a", "a", "a", "b"], 3, 1).unwrap_err().to_string();
        assert!(error.starts_with("the held-out part of 4 items would be empty"), "{error}");
    }
}
