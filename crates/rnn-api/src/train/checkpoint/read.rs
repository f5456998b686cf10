//! [`Checkpoint`]: reads checkpoints.

use super::content::{Arrays, BEST, MODEL, RunFile, value_problem};
use super::folder::{Listed, Listing, list};
use super::manifest::{Closed, Manifest, RUN, bad, tensors};
use crate::carried::StateParts;
use crate::error::{Error, Result};
use crate::io::{self, TensorFile};
use crate::kept::from_kept;
use crate::nn::Module;
use rnn_runtime::{DType, Device};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checkpoint that cannot be used, and the reason.
pub(crate) type Damage = (PathBuf, Error);

/// How often to list a folder again whose checkpoints are removed meanwhile.
const ATTEMPTS: usize = 20;

/// A checkpoint on disk whose files have been verified.
///
/// ```no_run
/// use rnn_api::train::Checkpoint;
/// # use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let model = LstmConfig::new(3, 8).init(&Device::cpu(), 1)?;
/// let checkpoint = Checkpoint::last("runs/first")?;
/// let classes: Vec<String> = checkpoint.kept("classes")?;
/// checkpoint.load_best(&model)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    step: u64,
    file: RunFile<Value>,
    manifest_files: Vec<String>,
}

impl Checkpoint {
    /// The newest intact checkpoint of a run's folder.
    ///
    /// # Errors
    /// The folder does not exist, has no checkpoint or only damaged ones, or has one that this version or this user
    /// cannot read.
    pub fn last(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        for _ in 0..ATTEMPTS {
            let (found, damaged) = Self::newest(folder)?;
            match (found, damaged.into_iter().next()) {
                (Some(checkpoint), _) => return Ok(checkpoint),
                (None, None) => return Err(bad(folder, "has no checkpoint".into())),
                // A run has written a newer one and removed this one meanwhile.
                (None, Some((path, _))) if !path.exists() => {}
                (None, Some((_, error))) => return Err(error),
            }
        }
        Err(bad(folder, "every checkpoint was removed while it was read".into()))
    }

    /// The newest intact checkpoint, and the newer ones that are damaged. What is named like a checkpoint and is none is
    /// passed over with a warning.
    ///
    /// # Errors
    /// An undamaged checkpoint cannot be read by this version or at this time.
    pub(crate) fn newest(folder: &Path) -> Result<(Option<Self>, Vec<Damage>)> {
        let Listing { found, odd } = list(folder)?;
        for (path, why) in odd {
            tracing::warn!(path = %path.display(), why, "passed over: no checkpoint");
        }
        let mut damaged = Vec::new();
        for Listed { step, path, .. } in found.into_iter().rev() {
            match Self::open(&path, step) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(Closed::Damaged(error)) => damaged.push((path, error)),
                Err(Closed::Other(error)) => return Err(error),
            }
        }
        Ok((None, damaged))
    }

    fn open(path: &Path, step: u64) -> Result<Self, Closed> {
        let manifest = Manifest::read(path)?;
        for name in manifest.files.keys().filter(|name| *name != RUN) {
            manifest.verified(path, name)?;
        }
        let file: RunFile<Value> = serde_json::from_slice(&manifest.verified(path, RUN)?)
            .map_err(|error| Closed::damaged(path, format!("{RUN}: {error}")))?;
        if let Some(problem) = file.problem(step) {
            return Err(Closed::damaged(path, format!("{RUN}: {problem}")));
        }
        let manifest_files = manifest.files.into_keys().collect();
        Ok(Checkpoint { path: path.to_path_buf(), step, file, manifest_files })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of optimizer steps before it.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// A value that [`Trainer::keep`](crate::train::Trainer::keep) stored under a name: a configuration, a normaliser, a
    /// vocabulary.
    ///
    /// # Errors
    /// There is no value under that name, or it has another type.
    pub fn kept<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let Some(value) = self.file.kept.get(name) else {
            let names: Vec<&str> = self.file.kept.keys().map(String::as_str).collect();
            return Err(bad(&self.path, format!("nothing is kept as `{name}`; there is {names:?}")));
        };
        from_kept(name, value).map_err(|problem| bad(&self.path, problem))
    }

    /// Loads the weights with the best score into the model; without validation, the last weights.
    ///
    /// # Errors
    /// The architecture differs, or a weight is not finite; nothing is assigned then. Or a run that goes on has removed
    /// the checkpoint meanwhile ([`Error::Io`]).
    pub fn load_best(&self, model: &(impl Module + ?Sized)) -> Result<()> {
        let name = if self.has(BEST) { BEST } else { MODEL };
        io::load(model, self.file_path(name)).map(drop)
    }

    /// Loads the weights of the last step into the model.
    ///
    /// # Errors
    /// As [`Checkpoint::load_best`].
    pub fn load_last(&self, model: &(impl Module + ?Sized)) -> Result<()> {
        io::load(model, self.file_path(MODEL)).map(drop)
    }

    fn file_path(&self, name: &str) -> PathBuf {
        self.path.join(tensors(name))
    }

    fn has(&self, name: &str) -> bool {
        self.manifest_files.contains(&tensors(name))
    }

    /// The arrays of a file, on the CPU; `None` if the checkpoint does not have the file.
    pub(crate) fn arrays(&self, name: &str) -> Result<Option<Arrays>> {
        if !self.has(name) {
            return Ok(None);
        }
        let path = self.file_path(name);
        let file = TensorFile::read(&path)?;
        let values =
            file.tensors.iter().filter_map(|(array, tensor)| Some((array, tensor.values.as_ref().ok()?)));
        let problems: Vec<String> =
            values.filter_map(|(array, values)| value_problem(name, array, values)).collect();
        if !problems.is_empty() {
            return Err(Error::Checkpoint { path, problems });
        }
        let mut arrays = BTreeMap::new();
        for name in file.tensors.keys() {
            let tensor = file.upload(name, &Device::cpu())?;
            arrays.insert(name.clone(), tensor.to_dtype(DType::F32)?.into_array());
        }
        Ok(Some((arrays, file.metadata)))
    }

    /// The numbers of the run.
    pub(crate) fn run<R: DeserializeOwned>(&self) -> Result<RunFile<R>> {
        let file = self.file.clone();
        let run = R::deserialize(&file.run).map_err(|error| bad(&self.path, format!("{RUN}: {error}")))?;
        let RunFile { cursor, window, state_numbers, draws, kept, settings, .. } = file;
        Ok(RunFile { run, cursor, window, state_numbers, draws, kept, settings })
    }

    /// The states of streams.
    pub(crate) fn states(&self) -> Result<StateParts> {
        let arrays = self.arrays("states")?.map(|(arrays, _)| arrays).unwrap_or_default();
        Ok(StateParts { arrays, numbers: self.file.state_numbers.clone() })
    }

    /// An error that this checkpoint does not fit, with its name.
    pub(crate) fn misfit(&self, error: Error) -> Error {
        match error {
            Error::StateDict { problems } => Error::Checkpoint { path: self.path.clone(), problems },
            error => bad(&self.path, error.to_string()),
        }
    }
}
