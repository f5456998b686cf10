//! How labelled items are divided: by shares, files or folds, and by groups.

use crate::flag::{FlagError, share};
use anyhow::Result;
use clap::Args;
use rnn_api::data::{Parts, Shares, folds, grouped, grouped_folds, stratified};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Options of the division into training, validation and test parts.
#[derive(Args)]
pub struct Protocol {
    /// Test part: another file of the same kind. Nothing is chosen by it.
    #[arg(long, value_name = "FILE", requires = "data")]
    pub test: Option<PathBuf>,
    /// Validation part: another file of the same kind. It chooses the epoch whose weights are kept.
    #[arg(long, value_name = "FILE", requires = "data")]
    pub valid: Option<PathBuf>,
    /// Share of the training part that is held out for validation, without --valid.
    #[arg(long, value_name = "SHARE", default_value_t = 0.15, value_parser = share, conflicts_with = "valid")]
    pub validation: f64,
    /// Share of the items that is the test part, without --test and --folds.
    #[arg(
        long, value_name = "SHARE", default_value_t = 0.15, value_parser = share, conflicts_with_all = ["test", "folds"],
    )]
    pub test_share: f64,
    /// Cross-validation: this many networks, each tested on another part of the items.
    #[arg(long, value_name = "K", value_parser = at_least_2, conflicts_with_all = ["test", "save"])]
    pub folds: Option<usize>,
    /// Seed of the division. Runs that differ in --seed alone have the same parts.
    #[arg(long, default_value_t = 1)]
    pub split_seed: u64,
}

fn at_least_2(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count >= 2 => Ok(count),
        _ => Err("must be a whole number of at least 2".into()),
    }
}

/// A part that can have a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldOut {
    /// --valid
    Validation,
    /// --test
    Test,
}

/// The items of all files in one list: first those to divide, then those of --valid, then those of --test.
#[derive(Clone, Copy)]
pub struct Items<'a> {
    /// The class of every item.
    pub labels: &'a [u32],
    /// Its group, if there are groups: items of one group are never in two parts.
    pub groups: Option<&'a [String]>,
    /// How many items are those of --valid.
    pub valid: usize,
    /// How many items are those of --test.
    pub test: usize,
}

impl Items<'_> {
    /// How many items are divided.
    fn given(&self) -> usize {
        self.labels.len() - self.valid - self.test
    }

    /// The divided items that are not in `held_out`, which is sorted.
    fn without(&self, held_out: &[usize]) -> Vec<usize> {
        (0..self.given()).filter(|item| held_out.binary_search(item).is_err()).collect()
    }

    /// Divides the chosen items in two, of which the second has about this share.
    fn divide(&self, chosen: &[usize], share: f64, seed: u64) -> rnn_api::Result<[Vec<usize>; 2]> {
        let shares = Shares::new(share, 0.0)?;
        let parts = match self.groups {
            Some(groups) => grouped(&pick(groups, chosen), shares, seed)?,
            None => stratified(&pick(self.labels, chosen), shares, seed)?,
        };
        Ok([parts.train, parts.validation].map(|part| pick(chosen, &part)))
    }

    /// Refuses a group on two sides, which only files of their own can have.
    fn check_groups(&self, parts: &Parts<Vec<usize>>) -> Result<()> {
        let Some(groups) = self.groups else { return Ok(()) };
        let mut sides = HashMap::new();
        for (side, part) in
            [("training", &parts.train), ("validation", &parts.validation), ("test", &parts.test)]
        {
            for &item in part {
                let first = *sides.entry(&groups[item]).or_insert(side);
                if first != side {
                    let got = format!("{} in the {first} and the {side} part", groups[item]);
                    return Err(FlagError::new("--group", "every group in one part", got).into());
                }
            }
        }
        Ok(())
    }
}

fn pick<T: Clone>(values: &[T], indices: &[usize]) -> Vec<T> {
    indices.iter().map(|&index| values[index].clone()).collect()
}

impl Protocol {
    /// The files of held-out parts, in the order of their items.
    pub fn files(&self) -> impl Iterator<Item = (HeldOut, &Path)> {
        let files = [(HeldOut::Validation, &self.valid), (HeldOut::Test, &self.test)];
        files.into_iter().filter_map(|(part, file)| Some((part, file.as_deref()?)))
    }

    /// The parts of every network to train: one, or one per fold.
    ///
    /// # Errors
    /// A part without items; a group in two files.
    pub fn parts(&self, items: &Items<'_>) -> Result<Vec<Parts<Vec<usize>>>> {
        let (given, seed) = (items.given(), self.split_seed);
        let first_test = given + items.valid;
        let everything: Vec<usize> = (0..given).collect();
        let tests = match (self.folds, items.groups) {
            (Some(count), Some(groups)) => grouped_folds(&groups[..given], count, seed)?,
            (Some(count), None) => folds(&items.labels[..given], count, seed)?,
            (None, _) if items.test > 0 => vec![(first_test..items.labels.len()).collect()],
            (None, _) => {
                let [_, test] = items.divide(&everything, self.test_share, seed)?;
                vec![test]
            }
        };
        let parts = |test: Vec<usize>| -> Result<Parts<Vec<usize>>> {
            let rest = items.without(&test);
            let [train, validation] = match items.valid {
                0 => items.divide(&rest, self.validation, seed)?,
                _ => [rest, (given..first_test).collect()],
            };
            let parts = Parts { train, validation, test };
            items.check_groups(&parts)?;
            Ok(parts)
        };
        tests.into_iter().map(parts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::collections::HashSet;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        protocol: Protocol,
        #[arg(long)]
        data: Option<String>,
        #[arg(long)]
        save: Option<String>,
    }

    fn protocol(words: &str) -> Protocol {
        Command::try_parse_from(["x"].into_iter().chain(words.split_whitespace())).unwrap().protocol
    }

    fn labels(count: usize) -> Vec<u32> {
        (0..count as u32).map(|item| item % 3).collect()
    }

    #[test]
    fn shares_are_of_what_is_left() {
        let labels = labels(120);
        let items = Items { labels: &labels, groups: None, valid: 0, test: 0 };
        let parts = protocol("--test-share 0.25 --validation 0.1").parts(&items).unwrap().remove(0);
        assert_eq!((parts.train.len(), parts.validation.len(), parts.test.len()), (81, 9, 30));
        let all: HashSet<usize> =
            [&parts.train[..], &parts.validation, &parts.test].concat().into_iter().collect();
        assert_eq!(all.len(), 120);
        let again =
            protocol("--test-share 0.25 --validation 0.1 --split-seed 2").parts(&items).unwrap().remove(0);
        assert_ne!(parts.test, again.test);
    }

    #[test]
    fn files_are_the_parts_that_they_say() {
        let labels = labels(100);
        let items = Items { labels: &labels, groups: None, valid: 10, test: 20 };
        let parts = protocol("").parts(&items).unwrap();
        assert_eq!(
            parts,
            [Parts { train: (0..70).collect(), validation: (70..80).collect(), test: (80..100).collect() }]
        );
        let parts = protocol("--folds 7").parts(&Items { test: 0, ..items }).unwrap();
        assert!(
            parts.len() == 7 && parts.iter().all(|parts| parts.validation == (90..100).collect::<Vec<_>>())
        );
        assert_eq!(parts.iter().map(|parts| parts.test.len()).sum::<usize>(), 90);
    }

    #[test]
    fn groups_are_on_one_side() {
        let labels = labels(90);
        let groups: Vec<String> = (0..90).map(|item| format!("subject {}", item / 6)).collect();
        let items = Items { labels: &labels, groups: Some(&groups), valid: 0, test: 0 };
        for words in ["", "--folds 5", "--split-seed 9"] {
            for parts in protocol(words).parts(&items).unwrap() {
                let of = |part: &[usize]| part.iter().map(|&item| &groups[item]).collect::<HashSet<_>>();
                let [a, b, c] = [of(&parts.train), of(&parts.validation), of(&parts.test)];
                assert!(a.is_disjoint(&b) && a.is_disjoint(&c) && b.is_disjoint(&c), "{words}");
            }
        }
        // The last 20 items are a file of their own, in which subject 11 goes on.
        let error = protocol("").parts(&Items { test: 20, ..items }).unwrap_err().to_string();
        assert!(
            error.starts_with("--group: expected every group in one part, got subject 11 in the "),
            "{error}"
        );
        assert!(error.ends_with(" and the test part"), "{error}");
    }

    #[test]
    fn contradictions_are_refused() {
        for words in [
            "--folds 1",
            "--folds x",
            "--folds 3 --data b --test a",
            "--folds 3 --save a",
            "--test-share 0.2 --data b --test a",
            "--validation 0.2 --data b --valid a",
            "--test a",
            "--validation 0",
            "--test-share 1",
        ] {
            assert!(
                Command::try_parse_from(["x"].into_iter().chain(words.split_whitespace())).is_err(),
                "{words}"
            );
        }
        let items = Items { labels: &[0, 1, 0], groups: None, valid: 0, test: 0 };
        assert!(protocol("--folds 4").parts(&items).is_err() && protocol("").parts(&items).is_err());
    }
}
