//! What a checkpoint holds.

use crate::data::Cursor;
use crate::error::Result;
use crate::io;
use crate::optim::{count_problem, state_problem};
use crate::train::settings::Settings;
use rnn_runtime::Array;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(crate) const MODEL: &str = "model";
pub(crate) const OPTIMIZER: &str = "optimizer";
pub(crate) const BEST: &str = "best";

/// The numbers of a run; its arrays are in other files. The trainer defines their meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunFile<R> {
    pub(crate) run: R,
    pub(crate) cursor: Cursor,
    pub(crate) window: usize,
    pub(crate) state_numbers: BTreeMap<String, u64>,
    pub(crate) draws: BTreeMap<String, u64>,
    /// Values that the program asked to keep.
    pub(crate) kept: BTreeMap<String, Value>,
    /// The settings of the run; absent in checkpoints of earlier versions.
    #[serde(default)]
    pub(crate) settings: Option<Settings>,
}

/// The arrays and the metadata of one file.
pub(crate) type Arrays = (BTreeMap<String, Array>, HashMap<String, String>);

/// The content of a checkpoint.
pub(crate) struct Content<R> {
    pub(crate) file: RunFile<R>,
    /// Files by name without extension: `model`, `optimizer`, `best`, `ema`, `states`.
    pub(crate) arrays: BTreeMap<String, Arrays>,
}

impl<R> Content<R> {
    /// Names of the arrays with values that are infinite or NaN. A run would not resume from them.
    pub(crate) fn not_finite(&self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for (name, array) in self.arrays.values().flat_map(|(arrays, _)| arrays) {
            if array.to_vec()?.iter().any(|value| !value.is_finite()) {
                names.insert(name.clone());
            }
        }
        Ok(names.into_iter().collect())
    }
}

impl RunFile<Value> {
    /// Why a checkpoint of this step cannot hold these numbers, if so.
    pub(super) fn problem(&self, step: u64) -> Option<String> {
        let own = self.run.get("step");
        if own.and_then(Value::as_u64) != Some(step) {
            let own = own.map_or("none".to_string(), Value::to_string);
            return Some(format!("the folder's name says step {step}, `run.step` is {own}"));
        }
        let cursor = [("cursor.epoch", self.cursor.epoch), ("cursor.position", self.cursor.position)];
        let draws = self.draws.iter().map(|(path, &position)| (path.as_str(), position));
        // The trainer increments its counts, whichever these are.
        let counts = cursor.into_iter().chain(draws).chain([("run", largest_count(&self.run))]);
        counts.into_iter().find_map(|(name, count)| count_problem(name, count))
    }
}

fn largest_count(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::Array(values) => values.iter().map(largest_count).max().unwrap_or(0),
        Value::Object(fields) => fields.values().map(largest_count).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::String(_) => 0,
    }
}

/// The problem with the values of an array of the file `name` (without extension), if any.
pub(super) fn value_problem(name: &str, array: &str, values: &[f32]) -> Option<String> {
    match name {
        OPTIMIZER => state_problem(array, values),
        _ => io::not_finite(array, values),
    }
}
