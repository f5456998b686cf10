//! Class labels as text, and their class numbers.

use super::error::{Place, Problem};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

/// Class labels as written in a file, with their places.
#[derive(Clone, Debug, Default, PartialEq)]
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

/// The classes of a task: labels in sorted order, numbered from 0. Save them with a model, so that its outputs keep
/// their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Classes {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Classes {
    /// The distinct labels of the training part. Numbers are sorted numerically (2 before 10), other labels as
    /// text.
    ///
    /// There are no labels.
    /// No labels.
    pub fn fit(labels: &Labels) -> Result<Self> {
        let distinct: BTreeSet<&String> = labels.values.iter().collect();
        let mut names: Vec<String> = distinct.into_iter().cloned().collect();
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
    /// There are no names, or a name occurs twice.
    pub fn from_names(names: Vec<String>) -> Result<Self> {
        if names.is_empty() {
            return Err(Problem::Empty { what: "the list of classes" }.at(Place::default()));
        }
        let mut numbers = HashMap::with_capacity(names.len());
        for (number, name) in names.iter().enumerate() {
            if numbers.insert(name.clone(), number as u32).is_some() {
                return Err(Error::value(
                    "Classes::from_names",
                    "names",
                    "all different",
                    format!("{name:?} twice"),
                ));
            }
        }
        Ok(Classes { names, numbers })
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

    /// The number of the class with this name.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
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
    }
}
