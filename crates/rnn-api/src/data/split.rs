//! Splits into training, validation and test parts. Split before you cut windows and fit normalisers: a window
//! across a border, or a mean over all data, leaks information about the test part.

use super::error::{Place, Problem};
use super::reserve::indices;
use super::shuffle::{Draw, shuffle};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

/// One value for each part of a split.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts<T> {
    /// The part that the network is trained on.
    pub train: T,
    /// The part that decides when to stop and which settings are best.
    pub validation: T,
    /// The part for the final evaluation.
    pub test: T,
}

impl<T> Parts<T> {
    /// Borrows all parts.
    pub fn as_ref(&self) -> Parts<&T> {
        Parts { train: &self.train, validation: &self.validation, test: &self.test }
    }

    /// Applies a function to each part.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Parts<U> {
        Parts { train: f(self.train), validation: f(self.validation), test: f(self.test) }
    }

    /// Applies a fallible function to each part.
    ///
    /// # Errors
    /// The first error of the function.
    pub fn try_map<U>(self, mut f: impl FnMut(T) -> Result<U>) -> Result<Parts<U>> {
        Ok(Parts { train: f(self.train)?, validation: f(self.validation)?, test: f(self.test)? })
    }
}

/// The shares of validation and test; the remainder is for training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// Share of the validation part; 0 for none.
    pub validation: f64,
    /// Share of the test part; 0 for none.
    pub test: f64,
}

impl Shares {
    /// Shares of validation and test.
    ///
    /// # Errors
    /// A share is outside `[0, 1)`, or nothing remains for training.
    pub fn new(validation: f64, test: f64) -> Result<Self> {
        let shares = Shares { validation, test };
        shares.check()?;
        Ok(shares)
    }

    fn check(&self) -> Result<()> {
        for (field, share) in [("validation", self.validation), ("test", self.test)] {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::config("Shares", field, "in [0, 1)", share));
            }
        }
        let sum = self.validation + self.test;
        if sum >= 1.0 {
            return Err(Error::config("Shares", "validation + test", "below 1", sum));
        }
        Ok(())
    }

    /// How many of `of` items go to validation and test, rounded to nearest.
    fn counts(&self, of: usize) -> (usize, usize) {
        // f64 rounds numbers beyond 2^53, also upwards.
        let part = |share: f64| (of as f64 * share).round() as usize;
        let end = if self.test == 0.0 { of } else { part(1.0 - self.test).min(of) };
        let start =
            if self.validation == 0.0 { end } else { part(1.0 - self.test - self.validation).min(end) };
        (end - start, of - end)
    }

    /// Refuses a requested part that is empty.
    fn filled(&self, of: usize, train: usize, validation: usize, test: usize) -> Result<()> {
        self.check()?;
        let parts = [
            ("training", true, train),
            ("validation", self.validation > 0.0, validation),
            ("test", self.test > 0.0, test),
        ];
        match parts.into_iter().find(|&(_, wanted, count)| wanted && count == 0) {
            Some((part, ..)) => Err(Problem::EmptyPart { part, of }.at(Place::default())),
            None => Ok(()),
        }
    }
}

/// The first items for training, the next for validation, the last for test. For time series: later values must not
/// help to predict earlier ones.
///
/// # Errors
/// A share is invalid, or a part would be empty.
pub fn chronological(items: usize, shares: Shares) -> Result<Parts<Range<usize>>> {
    shares.check()?;
    let (validation, test) = shares.counts(items);
    let train = items - validation - test;
    shares.filled(items, train, validation, test)?;
    let end = train + validation;
    Ok(Parts { train: 0..train, validation: train..end, test: end..items })
}

/// Splits a text as [`chronological`] splits a series, at the last character border before each cut.
///
/// # Errors
/// As [`chronological`], which counts bytes here.
pub fn chronological_text(text: &str, shares: Shares) -> Result<Parts<&str>> {
    let parts = chronological(text.len(), shares)?;
    let first = text.floor_char_boundary(parts.train.end);
    let second = text.floor_char_boundary(parts.validation.end);
    shares.filled(text.len(), first, second - first, text.len() - second)?;
    Ok(Parts { train: &text[..first], validation: &text[first..second], test: &text[second..] })
}

/// Indices in a seeded random order, divided into parts. For independent items.
///
/// # Errors
/// As [`chronological`], or the indices do not fit into memory.
pub fn shuffled(items: usize, shares: Shares, seed: u64) -> Result<Parts<Vec<usize>>> {
    stratified(&vec![(); items], shares, seed)
}

/// As [`shuffled`], with the same class proportions in all parts. Counts are rounded so that their sums are right;
/// a class with few items may be absent from a part.
///
/// # Errors
/// As [`chronological`].
pub fn stratified<K: Eq + Hash>(classes: &[K], shares: Shares, seed: u64) -> Result<Parts<Vec<usize>>> {
    shares.check()?;
    let mut parts = Parts::<Vec<usize>>::default();
    let mut before = 0;
    for items in members(classes, seed)? {
        // The target count of all classes so far, minus the items already assigned, so that rounding errors do not
        // add up.
        let (v0, t0) = shares.counts(before);
        before += items.len();
        let (v1, t1) = shares.counts(before);
        let test = t1.saturating_sub(t0).min(items.len());
        let validation = v1.saturating_sub(v0).min(items.len() - test);
        let train = items.len() - validation - test;
        parts.train.extend(&items[..train]);
        parts.validation.extend(&items[train..train + validation]);
        parts.test.extend(&items[train + validation..]);
    }
    finish(classes.len(), shares, parts)
}

/// Whole groups in a seeded random order, divided so that the parts approach their shares of the items. No group
/// (speaker, patient, machine) is in two parts.
///
/// # Errors
/// As [`chronological`].
pub fn grouped<K: Eq + Hash>(groups: &[K], shares: Shares, seed: u64) -> Result<Parts<Vec<usize>>> {
    shares.check()?;
    let mut parts = Parts::<Vec<usize>>::default();
    let mut all = members(groups, seed)?;
    shuffle(&mut all, seed, Draw::Split, 1);
    let goal = Parts {
        train: 1.0 - shares.validation - shares.test,
        validation: shares.validation,
        test: shares.test,
    };
    let total = groups.len() as f64;
    for items in all {
        // The next group goes to the part that is furthest below its share.
        let lack = |have: &Vec<usize>, share: f64| {
            if share > 0.0 { 1.0 - have.len() as f64 / (share * total) } else { f64::NEG_INFINITY }
        };
        let (train, validation) = (lack(&parts.train, goal.train), lack(&parts.validation, goal.validation));
        let part = match lack(&parts.test, goal.test) {
            test if test > train && test > validation => &mut parts.test,
            _ if validation > train => &mut parts.validation,
            _ => &mut parts.train,
        };
        part.extend(items);
    }
    finish(groups.len(), shares, parts)
}

/// The items of each key, shuffled; keys in order of first occurrence.
pub(super) fn members<K: Eq + Hash>(keys: &[K], seed: u64) -> Result<Vec<Vec<usize>>> {
    let mut order = indices("split", "the order of items", keys.len())?;
    shuffle(&mut order, seed, Draw::Split, 0);
    let mut numbers: HashMap<&K, usize> = HashMap::new();
    for key in keys {
        let next = numbers.len();
        numbers.entry(key).or_insert(next);
    }
    let mut members = vec![Vec::new(); numbers.len()];
    for item in order {
        members[numbers[&keys[item]]].push(item);
    }
    Ok(members)
}

/// Sorts the parts, so that they are easy to compare, and checks them.
fn finish(of: usize, shares: Shares, mut parts: Parts<Vec<usize>>) -> Result<Parts<Vec<usize>>> {
    shares.filled(of, parts.train.len(), parts.validation.len(), parts.test.len())?;
    for part in [&mut parts.train, &mut parts.validation, &mut parts.test] {
        part.sort_unstable();
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rnn_testing::data::SplitMix64;

    fn complete(parts: &Parts<Vec<usize>>, items: usize) {
        let mut all = [parts.train.clone(), parts.validation.clone(), parts.test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..items).collect::<Vec<_>>(), "disjoint and complete");
    }

    #[test]
    fn chronological_parts_follow_each_other() {
        let parts = chronological(10, Shares::new(0.2, 0.1).unwrap()).unwrap();
        assert_eq!((parts.train, parts.validation, parts.test), (0..7, 7..9, 9..10));
        let none = chronological(3, Shares::new(0.0, 0.4).unwrap()).unwrap();
        assert_eq!((none.train, none.validation, none.test), (0..2, 2..2, 2..3));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        // Three bytes each: the borders at bytes 7 and 10 of 12 move to 6 and 9.
        let parts = chronological_text("一二三四", Shares::new(0.2, 0.2).unwrap()).unwrap();
        assert_eq!((parts.train, parts.validation, parts.test), ("一二", "三", "四"));
        let error = chronological_text("一a", Shares::new(0.0, 0.5).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("the training part of 4 items"), "{error}");
    }

    #[test]
    fn parts_that_were_asked_for_are_not_empty() {
        let shares = Shares::new(0.1, 0.2).unwrap();
        let error = chronological(3, shares).unwrap_err().to_string();
        assert!(error.starts_with("the validation part of 3 items would be empty"), "{error}");
        assert!(shuffled(0, shares, 1).unwrap_err().to_string().starts_with("the training part"));
        assert!(grouped(&[1, 1, 1, 1], shares, 1).unwrap_err().to_string().contains("part of 4 items"));
        for (v, t) in [(-0.1, 0.1), (0.5, 0.5), (f64::NAN, 0.0), (0.0, 1.0)] {
            assert!(Shares::new(v, t).is_err());
            assert!(chronological(100, Shares { validation: v, test: t }).is_err());
        }
    }

    #[test]
    fn numbers_of_items_beyond_the_memory_are_errors() {
        let shares = Shares::new(0.1, 0.2).unwrap();
        for items in [usize::MAX, 1 << 62, (1 << 60) + 1] {
            let error = shuffled(items, shares, 1).unwrap_err().to_string();
            assert!(error.starts_with("split: the order of items"), "{error}");
            assert!(grouped(&vec![(); items], shares, 1).is_err());
        }
        // Ranges need no memory. f64 has neither of these numbers.
        for items in [usize::MAX, (1 << 53) + 1, (1 << 53) + 3] {
            let parts = chronological(items, shares).unwrap();
            assert!(parts.train.end == parts.validation.start && parts.test.end == items);
            assert_eq!(chronological(items, Shares::new(0.0, 0.0).unwrap()).unwrap().train, 0..items);
            // 1 minus this share is 1 in f64, which may not give more items than there are.
            let tiny = chronological(items, Shares::new(0.0, 1e-17).unwrap());
            assert!(tiny.is_err() || tiny.is_ok_and(|parts| parts.test.end == items));
        }
    }

    #[test]
    fn random_splits_are_disjoint_complete_and_near_their_shares() {
        let mut rng = SplitMix64::new(8);
        for seed in 0..100 {
            let items = 60 + rng.next_below(200);
            let keys: Vec<usize> = (0..items).map(|_| rng.next_below(13).pow(2)).collect();
            let shares = Shares::new(0.15, 0.25).unwrap();
            let near = |part: &[usize], share: f64, slack: f64| {
                assert!((part.len() as f64 - share * items as f64).abs() <= slack, "{} {items}", part.len());
            };
            let parts = shuffled(items, shares, seed).unwrap();
            complete(&parts, items);
            near(&parts.validation, 0.15, 1.0);
            near(&parts.test, 0.25, 1.0);

            let parts = stratified(&keys, shares, seed).unwrap();
            complete(&parts, items);
            for class in 0..13 {
                let count =
                    |part: &[usize]| part.iter().filter(|&&i| keys[i] == class * class).count() as f64;
                let all = keys.iter().filter(|&&k| k == class * class).count() as f64;
                assert!((count(&parts.validation) - 0.15 * all).abs() <= 2.0);
                assert!((count(&parts.test) - 0.25 * all).abs() <= 2.0);
            }

            let parts = grouped(&keys, shares, seed).unwrap();
            complete(&parts, items);
            let groups =
                |part: &[usize]| part.iter().map(|&i| keys[i]).collect::<std::collections::HashSet<_>>();
            let (a, b, c) = (groups(&parts.train), groups(&parts.validation), groups(&parts.test));
            assert!(a.is_disjoint(&b) && a.is_disjoint(&c) && b.is_disjoint(&c));
            // The deviation is at most the size of the largest group.
            let largest = (0..13).map(|g| keys.iter().filter(|&&k| k == g * g).count()).max().unwrap();
            near(&parts.test, 0.25, largest as f64);
            assert_eq!(parts, grouped(&keys, shares, seed).unwrap());
        }
        let shares = Shares::new(0.2, 0.2).unwrap();
        assert_ne!(shuffled(50, shares, 1).unwrap(), shuffled(50, shares, 2).unwrap());
    }
}
