//! The states of single streams of [`Slots`] as bytes.

use super::checksum::{CHECKSUM, checksum, checksum_problem, missing};
use super::safetensors::{TensorFile, serialized, to_host};
use crate::error::{Error, Result};
use crate::nn::mismatches;
use crate::slots::{SlotId, Slots};
use crate::train::Carried;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The version of the bytes that are written, and the only one so far.
const VERSION: &str = "1";
/// Its name in the metadata.
const FORMAT: &str = "rnn.slot";

impl<S: Carried> Slots<S> {
    /// The state of a stream as bytes, for another process or device: safetensors with a checksum.
    ///
    /// # Errors
    /// A closed or foreign id; a state that is infinite or NaN; a failing device.
    pub fn save(&self, id: SlotId) -> Result<Vec<u8>> {
        let tensors = to_host(&self.row(id)?)?;
        if let Some(problem) = tensors.iter().find_map(|(name, tensor)| tensor.not_finite(name)) {
            return Err(Error::value("Slots::save", "state", "finite", problem));
        }
        let mut metadata = HashMap::from([(FORMAT.to_string(), VERSION.to_string())]);
        metadata.insert(CHECKSUM.to_string(), checksum(&tensors, &metadata));
        serialized(Path::new("the state of a stream"), tensors, metadata)
    }

    /// Starts a stream in the state that [`save`](Self::save) returned.
    ///
    /// # Errors
    /// [`Error::StateDict`]: bytes that are damaged, of another version, or of a state with other arrays; otherwise as
    /// [`open`](Self::open).
    pub fn load(&mut self, bytes: &[u8]) -> Result<SlotId> {
        let file = TensorFile::parse(Path::new(""), bytes).map_err(|error| match error {
            Error::Checkpoint { problems, .. } => Error::StateDict { problems },
            other => other,
        })?;
        let shapes = self.initial()?.shapes();
        let mut problems = match file.metadata.get(FORMAT).map(String::as_str) {
            Some(VERSION) => checksum_problem(&file.tensors, &file.metadata).into_iter().collect(),
            Some(other) => {
                vec![format!("a stream of version {other:?}; this program reads version {VERSION}")]
            }
            None => vec![format!("no stream of slots: {}", missing(FORMAT))],
        };
        if problems.is_empty() {
            problems = mismatches(&shapes, file.dims());
            problems.extend(shapes.iter().filter_map(|(name, _)| file.value_problem(name)));
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
}
