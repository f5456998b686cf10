//! The states of streams in files and as bytes.

use super::atomic::{read_regular, write_atomically};
use super::checksum::{CHECKSUM, checksum, checksum_problem, missing};
use super::safetensors::{TensorFile, serialized, to_host};
use crate::error::{Error, Result};
use crate::nn::{RecurrentCell, RecurrentState, RecurrentStream, mismatches, sealed::Sealed};
use rnn_runtime::Shape;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The version of the bytes that are written, and the only one so far.
const VERSION: &str = "1";
/// Names in the metadata.
const FORMAT: &str = "rnn.state";
const CELL: &str = "rnn.cell";
const SEQUENCE: &str = "rnn.sequence";

impl<C: RecurrentCell> RecurrentStream<C> {
    /// Saves the state in a file, from which [`load`](Self::load) goes on, also in another process and on another device.
    /// The file is safetensors with h `[L, B, H]` and an LSTM's c, and like [`io::save`](crate::io::save) it is complete or
    /// absent.
    ///
    /// ```
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// # let device = Device::cpu();
    /// # let path = std::env::temp_dir().join(format!("rnn-api-stream-{}", std::process::id()));
    /// let lstm = LstmConfig::new(1, 4).init(&device, 1)?;
    /// let x = Tensor::ones(&device, &[1, 1])?;
    /// let mut stream = lstm.stream(1)?;
    /// stream.step(&x)?;
    /// stream.save(&path)?;
    ///
    /// // In another process, with the same weights:
    /// let mut later = lstm.stream(1)?;
    /// later.load(&path)?;
    /// assert_eq!(later.step(&x)?.to_vec()?, stream.step(&x)?.to_vec()?);
    /// # std::fs::remove_file(&path).expect("the example's file");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`io::save`](crate::io::save); a state that is infinite or NaN.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), &self.to_bytes()?)
    }

    /// The state as bytes, those of the file of [`save`](Self::save).
    ///
    /// # Errors
    /// A state that is infinite or NaN, or a failing device.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let state = self.state();
        let mut arrays = BTreeMap::from([("h".to_string(), state.hidden().array().clone())]);
        arrays.extend(state.cell().map(|c| ("c".to_string(), c.array().clone())));
        let tensors = to_host(&arrays)?;
        if let Some(problem) = tensors.iter().find_map(|(name, tensor)| tensor.not_finite(name)) {
            return Err(Error::value("RecurrentStream::to_bytes", "state", "finite", problem));
        }
        let mut metadata =
            HashMap::from([(FORMAT.to_string(), VERSION.to_string()), (CELL.to_string(), self.cell_name())]);
        metadata.extend(state.sequence().map(|number| (SEQUENCE.to_string(), number.to_string())));
        metadata.insert(CHECKSUM.to_string(), checksum(&tensors, &metadata));
        serialized(Path::new("the state of a stream"), tensors, metadata)
    }

    /// Continues from the state in a file of [`save`](Self::save).
    ///
    /// # Errors
    /// [`Error::Io`]; or [`Error::Checkpoint`]: the file is of another format or version, damaged, of another cell, or of
    /// another shape. The stream is unchanged then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let state = self.parse(path, &read_regular(path)?)?;
        self.set_state(&state)
    }

    /// Continues from the state that [`to_bytes`](Self::to_bytes) returned.
    ///
    /// # Errors
    /// As [`load`](Self::load), with [`Error::StateDict`] for problems of the bytes. The stream is unchanged then.
    pub fn load_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let state = self.parse(Path::new(""), bytes).map_err(|error| match error {
            Error::Checkpoint { problems, .. } => Error::StateDict { problems },
            other => other,
        })?;
        self.set_state(&state)
    }

    fn cell_name(&self) -> String {
        format!("{:?}", self.spec().cell.kind)
    }

    fn parse(&self, path: &Path, bytes: &[u8]) -> Result<C::State> {
        let file = TensorFile::parse(path, bytes)?;
        let problems = self.problems(&file)?;
        if !problems.is_empty() {
            return Err(Error::Checkpoint { path: path.to_path_buf(), problems });
        }
        let device = self.state().hidden().device();
        let c = file.tensors.contains_key("c").then(|| file.upload("c", device)).transpose()?;
        let sequence = file.metadata.get(SEQUENCE).and_then(|number| number.parse().ok());
        let state = C::State::from_tensors(file.upload("h", device)?, c, 1).with_sequence(sequence);
        Ok(state.with_kind(Some(self.spec().cell.kind)))
    }

    /// Why a file has no state of this stream.
    fn problems(&self, file: &TensorFile) -> Result<Vec<String>> {
        let of = |name| file.metadata.get(name).map(String::as_str);
        match of(FORMAT) {
            Some(VERSION) => {}
            Some(other) => {
                return Ok(vec![format!(
                    "a state of version {other:?}; this program reads version {VERSION}"
                )]);
            }
            None => return Ok(vec![format!("no state of a stream: {}", missing(FORMAT))]),
        }
        if let Some(problem) = checksum_problem(&file.tensors, &file.metadata) {
            return Ok(vec![problem]);
        }
        let (own, spec) = (self.cell_name(), self.spec());
        if of(CELL) != Some(&own) {
            return Ok(vec![format!(
                "the state of a cell {:?}, the stream has {own:?}",
                of(CELL).unwrap_or("none")
            )]);
        }
        let shape = |width| Shape::new("stream", &[spec.num_states(), self.batch(), width]);
        let (h, c) = (shape(spec.state_size())?, shape(spec.hidden_size)?);
        let mut expected = vec![("h", &h)];
        if spec.cell.kind.has_cell_state() {
            expected.push(("c", &c));
        }
        let mut problems = mismatches(&expected, file.dims());
        problems.extend(expected.iter().filter_map(|(name, _)| file.value_problem(name)));
        Ok(problems)
    }
}
