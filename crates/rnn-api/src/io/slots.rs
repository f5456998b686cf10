//! The states of single streams of [`Slots`] as bytes.

use super::checksum::{CHECKSUM, checksum, checksum_problem, missing};
use super::safetensors::{TensorFile, serialized, to_host};
use crate::carried::{CELL, Carried, kind_of};
use crate::error::{Error, Result};
use crate::nn::mismatches;
use crate::slots::{Initial, SlotId, Slots};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The version of the bytes that are written.
const VERSION: &str = "2";
/// It has neither the model's name nor the numbers of the state.
const FIRST: &str = "1";
/// Names in the metadata.
const FORMAT: &str = "rnn.slot";
const MODEL: &str = "rnn.model";
const NUMBERS: &str = "rnn.numbers";

impl<S: Carried> Slots<S> {
    /// The state of a stream as bytes, for another process or device: safetensors with a checksum, the model's name
    /// ([`with_model`](Self::with_model)) and the numbers of the state, such as a layer's directions.
    ///
    /// # Errors
    /// A closed or foreign id; a state that is infinite or NaN; a failing device.
    pub fn save(&self, id: SlotId) -> Result<Vec<u8>> {
        let tensors = to_host(&self.row(id)?)?;
        if let Some(problem) = tensors.iter().find_map(|(name, tensor)| tensor.not_finite(name)) {
            return Err(Error::value("Slots::save", "state", "finite", problem));
        }
        let mut metadata = HashMap::from([(FORMAT.to_string(), VERSION.to_string())]);
        metadata.insert(NUMBERS.to_string(), numbers(self.initial()?));
        metadata.extend(self.model().map(|model| (MODEL.to_string(), model.to_string())));
        metadata.insert(CHECKSUM.to_string(), checksum(&tensors, &metadata));
        serialized(Path::new("the state of a stream"), tensors, metadata)
    }

    /// Starts a stream in the state that [`save`](Self::save) returned. Bytes of the first version, which name no model, are
    /// read where these slots name none either.
    ///
    /// # Errors
    /// [`Error::StateDict`]: bytes that are damaged, of another version, of another model, or of a state with other arrays or
    /// numbers; otherwise as [`open`](Self::open).
    pub fn load(&mut self, bytes: &[u8]) -> Result<SlotId> {
        let file = TensorFile::parse(Path::new(""), bytes).map_err(|error| match error {
            Error::Checkpoint { problems, .. } => Error::StateDict { problems },
            other => other,
        })?;
        let initial = self.initial()?;
        let shapes = initial.shapes();
        let mut problems: Vec<String> = self.problem(&file).into_iter().collect();
        if problems.is_empty() {
            problems = mismatches(&shapes, file.dims());
            problems.extend(shapes.iter().filter_map(|(name, _)| file.value_problem(name)));
            problems.extend(numbers_problem(initial, &file));
        }
        if !problems.is_empty() {
            return Err(Error::StateDict { problems });
        }
        let arrays: Result<BTreeMap<_, _>> = shapes
            .iter()
            .map(|(name, _)| Ok((name.to_string(), file.upload(name, self.device())?.into_array())))
            .collect();
        self.open_with(&arrays?)
    }

    /// Why a file has no state of this model, whatever its arrays.
    fn problem(&self, file: &TensorFile) -> Option<String> {
        let of = |name| file.metadata.get(name).map(String::as_str);
        let version = match of(FORMAT) {
            Some(version @ (FIRST | VERSION)) => version,
            Some(other) => {
                let known = format!("this program reads versions {FIRST} and {VERSION}");
                return Some(format!("a stream of version {other:?}; {known}"));
            }
            None => return Some(format!("no stream of slots: {}", missing(FORMAT))),
        };
        if let Some(problem) = checksum_problem(&file.tensors, &file.metadata) {
            return Some(problem);
        }
        (of(MODEL) != self.model()).then(|| {
            let (theirs, own) = (named(of(MODEL)), named(self.model()));
            format!("a state of version {version}, of {theirs}; these slots are of {own}")
        })
    }
}

fn named(model: Option<&str>) -> String {
    model.map_or("a model without a name".to_string(), |model| format!("the model {model:?}"))
}

/// The problem with the numbers of a state. The first version has none.
fn numbers_problem(initial: &Initial, file: &TensorFile) -> Option<String> {
    let of = |name| file.metadata.get(name).map(String::as_str);
    let (own, theirs) = (numbers(initial), of(NUMBERS).unwrap_or_default());
    let fit = own == theirs || {
        // A state that a program has put together from tensors is of no known cell.
        let ([own, own_cells], [theirs, their_cells]) = (without_cells(&own), without_cells(theirs));
        own == theirs && (own_cells.is_empty() || their_cells.is_empty())
    };
    let shown = |numbers: &str| if numbers.is_empty() { "none".to_string() } else { numbers.to_string() };
    (of(FORMAT) != Some(FIRST) && !fit)
        .then(|| format!("a state with the numbers {}, these slots have {}", shown(theirs), shown(&own)))
}

/// The numbers of a state, as `cell=Gru, directions=1, len=2`.
fn numbers(initial: &Initial) -> String {
    let all = initial.numbers.iter().map(|(name, &number)| match kind_of(number) {
        Some(kind) if is_cell(name) => format!("{name}={kind:?}"),
        _ => format!("{name}={number}"),
    });
    all.collect::<Vec<_>>().join(", ")
}

fn is_cell(name: &str) -> bool {
    name.rsplit('.').next() == Some(CELL)
}

/// The numbers besides the cells, and the cells.
fn without_cells(numbers: &str) -> [Vec<&str>; 2] {
    let of_cells = |number: &&str| number.split_once('=').is_some_and(|(name, _)| is_cell(name));
    let (cells, others) = numbers.split(", ").partition(of_cells);
    [others, cells]
}
