//! Class labels as text, and their class numbers.

use super::error::{Place, Problem};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

/// Class labels as written in a file, with their places. Serialised, they are a list of texts without places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Labels {
    values: Vec<String>,
    lines: Vec<usize>,
    files: Vec<(usize, PathBuf)>,
}

impl Labels {
    /// Labels without a file.
    pub fn new<S: Into<String>>(values: impl IntoIterator<Item = S>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Labels { values, ..Labels::default() }
    }

    /// Marks the following labels as coming from this file.
    pub(crate) fn start_file(&mut self, file: Option<&std::path::Path>) {
        self.files.extend(file.map(|file| (self.values.len(), file.to_path_buf())));
    }

    pub(crate) fn push(&mut self, label: impl Into<String>, line: usize) {
        self.values.push(label.into());
        self.lines.push(line);
    }

    /// Adds the label of a whole file.
    #[cfg(feature = "audio")]
    pub(crate) fn push_whole(&mut self, label: String) {
        self.values.push(label);
    }

    /// The labels in order.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// The number of labels.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The labels of these items, for one part of a split.
    ///
    /// # Errors
    /// An index is beyond the labels.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        let mut labels = Labels::default();
        for &index in indices {
            let Some(value) = self.values.get(index) else {
                let expected = format!("below the {} labels", self.len());
                return Err(Error::value("Labels::select", "indices", expected, index));
            };
            if let Some((_, file)) = self.files.iter().rev().find(|(first, _)| *first <= index)
                && labels.files.last().is_none_or(|(_, last)| last != file)
            {
                labels.start_file(Some(file));
            }
            labels.values.push(value.clone());
            labels.lines.extend(self.lines.get(index));
        }
        Ok(labels)
    }

    /// The place of an item's label.
    pub(crate) fn place(&self, index: usize) -> Place {
        let file = self.files.iter().rev().find(|(first, _)| *first <= index);
        let place = Place::file(file.map(|(_, path)| path.as_path()));
        match self.lines.get(index) {
            Some(&line) => place.line(line),
            None => Place { sequence: Some(index), ..place },
        }
    }
}

/// A label that is a decimal number, so that `1`, `1.0` and `1.000e+00` are the same label. Digits are compared, not
/// floating-point numbers, so long identifiers stay apart; so do codes with leading zeros, and codes such as `1e5`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NumberLabel {
    negative: bool,
    /// Without zeros at both ends.
    digits: String,
    exponent: i64,
}

impl NumberLabel {
    /// `None` for other labels.
    pub(crate) fn of(label: &str) -> Option<Self> {
        let (negative, size) = label.strip_prefix('-').map_or((false, label), |size| (true, size));
        let (mantissa, exponent) = size.split_once(['e', 'E']).unwrap_or((size, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
        let plain = is_digits(whole) && is_digits(fraction) && !whole.is_empty();
        if !plain || (whole.len() > 1 && whole.starts_with('0')) || mantissa.ends_with('.') {
            return None;
        }
        if mantissa != size && (fraction.is_empty() || exponent.len() > 5) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let exponent =
            exponent.parse::<i64>().ok()? - fraction.len() as i64 + (all.len() - digits.len()) as i64;
        match digits.trim_start_matches('0') {
            "" => Some(NumberLabel { negative: false, digits: String::new(), exponent: 0 }),
            digits => Some(NumberLabel { negative, digits: digits.into(), exponent }),
        }
    }
}

/// The classes of a task: labels in sorted order, numbered from 0. Save them with a model, so that its outputs keep
/// their names. Labels that are equal as numbers, such as `1` and `1.0`, are one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Classes {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    /// The numbers of the classes whose labels are decimal numbers, by the value of the label.
    equal: HashMap<NumberLabel, u32>,
}

impl Classes {
    /// The distinct labels of the training part. Numbers are sorted numerically (2 before 10), other labels as
    /// text. Of labels that are equal as numbers the shortest is the name.
    ///
    /// # Errors
    /// There are no labels.
    pub fn fit(labels: &Labels) -> Result<Self> {
        let mut distinct: BTreeSet<(usize, &String)> =
            labels.values.iter().map(|label| (label.len(), label)).collect();
        let mut seen = HashSet::new();
        distinct.retain(|(_, label)| NumberLabel::of(label).is_none_or(|number| seen.insert(number)));
        let mut names: Vec<String> = distinct.into_iter().map(|(_, label)| label.clone()).collect();
        names.sort();
        let numbers: Option<Vec<f64>> = names.iter().map(|name| name.parse().ok()).collect();
        if numbers.is_some_and(|numbers| numbers.iter().all(|x| x.is_finite())) {
            let key = |name: &String| name.parse().unwrap_or(0.0f64);
            names.sort_by(|a, b| key(a).total_cmp(&key(b)));
        }
        Self::from_names(names)
    }

    /// These classes, in this order.
    ///
    /// # Errors
    /// There are no names, or two names are the same text or the same number.
    pub fn from_names(names: Vec<String>) -> Result<Self> {
        if names.is_empty() {
            return Err(Problem::Empty { what: "the list of classes" }.at(Place::default()));
        }
        let (mut numbers, mut equal) = (HashMap::with_capacity(names.len()), HashMap::new());
        for (number, name) in names.iter().enumerate() {
            let number = number as u32;
            let twice = NumberLabel::of(name).is_some_and(|label| equal.insert(label, number).is_some());
            if numbers.insert(name.clone(), number).is_some() || twice {
                return Err(Error::value(
                    "Classes::from_names",
                    "names",
                    "all different",
                    format!("{name:?} twice"),
                ));
            }
        }
        Ok(Classes { names, numbers, equal })
    }

    /// The names, in the order of their numbers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of classes, at least 1.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Always false.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The number of the class with this name, or with a name that is equal as a number.
    pub fn number(&self, name: &str) -> Option<u32> {
        let exact = self.numbers.get(name);
        exact.or_else(|| self.equal.get(&NumberLabel::of(name)?)).copied()
    }

    /// The name of the class with this number.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(String::as_str)
    }

    /// The class numbers of labels.
    ///
    /// # Errors
    /// A label does not occur in the training part. The error names file and line.
    pub fn encode(&self, labels: &Labels) -> Result<Vec<u32>> {
        let number = |(index, label): (usize, &String)| {
            self.number(label).ok_or_else(|| {
                let problem = Problem::UnknownLabel { label: label.clone(), known: self.names.clone() };
                problem.at(labels.place(index))
            })
        };
        labels.values.iter().enumerate().map(number).collect()
    }
}

impl From<Vec<String>> for Labels {
    fn from(values: Vec<String>) -> Self {
        Labels::new(values)
    }
}

impl From<Labels> for Vec<String> {
    fn from(labels: Labels) -> Self {
        labels.values
    }
}

impl TryFrom<Vec<String>> for Classes {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Self> {
        Self::from_names(names)
    }
}

impl From<Classes> for Vec<String> {
    fn from(classes: Classes) -> Self {
        classes.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_come_from_training_and_survive_saving() {
        let classes = Classes::fit(&Labels::new(["b", "a", "b"])).unwrap();
        assert_eq!(classes.names(), ["a", "b"]);
        assert_eq!(classes.encode(&Labels::new(["b", "a"])).unwrap(), [1, 0]);
        let text = classes.encode(&Labels::new(["a", "c"])).unwrap_err().to_string();
        assert!(text.starts_with("sequence 1: the label \"c\"") && text.ends_with("a, b"), "{text}");
        let numbers = Classes::fit(&Labels::new(["10", "9", "-1"])).unwrap();
        assert_eq!(numbers.names(), ["-1", "9", "10"]);
        let json = serde_json::to_string(&numbers).unwrap();
        assert_eq!(json, r#"["-1","9","10"]"#);
        assert_eq!(serde_json::from_str::<Classes>(&json).unwrap(), numbers);
        assert!(serde_json::from_str::<Classes>(r#"["a","a"]"#).is_err());
        assert!(Classes::fit(&Labels::default()).is_err());
    }

    #[test]
    fn selected_labels_keep_their_places() {
        let mut labels = Labels::default();
        labels.start_file(Some("one.txt".as_ref()));
        labels.push("a", 1);
        labels.push("b", 2);
        labels.start_file(Some("two.txt".as_ref()));
        labels.push("c", 7);
        let picked = labels.select(&[2, 0, 2]).unwrap();
        assert_eq!(picked.values(), ["c", "a", "c"]);
        let unknown = Classes::fit(&Labels::new(["a"])).unwrap().encode(&picked).unwrap_err().to_string();
        assert!(unknown.starts_with("two.txt, line 7: "), "{unknown}");
        let unknown = Classes::fit(&Labels::new(["c"])).unwrap().encode(&picked).unwrap_err().to_string();
        assert!(unknown.starts_with("one.txt, line 1: "), "{unknown}");
        assert!(labels.select(&[3]).is_err());
        let json = serde_json::to_string(&picked).unwrap();
        assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), Labels::new(["c", "a", "c"]));
    }

    #[test]
    fn labels_that_are_equal_as_numbers_are_one_class() {
        let same = [
            ["1", "1.0"],
            ["-2", "-2.00"],
            ["0", "-0.0"],
            ["1", "1.0000000e+00"],
            ["0.5", "5.0e-1"],
            ["120", "1.2E2"],
        ];
        for [a, b] in same {
            let classes = Classes::fit(&Labels::new([b, a, b])).unwrap();
            assert_eq!((classes.names(), classes.number(b)), (&[a.to_string()][..], Some(0)), "{a} {b}");
            assert!(Classes::from_names(vec![a.into(), b.into()]).unwrap_err().to_string().contains("twice"));
        }
        let long = "123456789012345678901";
        let others = [
            ["1", "01"],
            ["1", "-1"],
            ["100000", "1e5"],
            ["1", "1."],
            ["1", "+1"],
            ["1", "1.1"],
            ["1", "1 "],
            ["1", "1.0e"],
            ["1", "1.0e+99999"],
            [long, "123456789012345678902"],
            ["nan", "NaN"],
            [".5", "0.5"],
        ];
        for [a, b] in others {
            let classes = Classes::fit(&Labels::new([a, b])).unwrap();
            assert_eq!(classes.len(), 2, "{a} {b}");
        }
        let train = Classes::fit(&Labels::new(["1", "2"])).unwrap();
        assert_eq!(train.encode(&Labels::new(["2.0", "1.0"])).unwrap(), [1, 0]);
    }
}
