//! Checkpoints: folders that are complete or absent.

use super::carried::StateParts;
use crate::data::Cursor;
use crate::error::{Error, Result};
use crate::io::{self, TensorFile};
use crate::nn::Module;
use rnn_runtime::{Array, DType, Device};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where and how often a run saves checkpoints.
///
/// The folder of a run has one folder `step-N` for each of the last checkpoints. Each is written beside its
/// destination, flushed to disk and renamed, so it is complete or absent, even if the process or the machine
/// crashes. Only one run may use a folder at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CheckpointConfig {
    /// The folder of the run; created if absent.
    pub path: PathBuf,
    /// The interval between checkpoints.
    pub every: Every,
    /// Number of checkpoints to keep; 2 by default.
    pub keep: usize,
    /// Whether to resume from the last checkpoint of the folder, if there is one. If not, the default, a folder
    /// with a checkpoint is an error.
    pub resume: bool,
}

/// The interval between checkpoints. A run also saves one at its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Every {
    /// Optimizer steps.
    Steps(u64),
    /// Epochs.
    Epochs(u64),
    /// Time, checked after every step.
    Time(Duration),
}

impl CheckpointConfig {
    /// Checkpoints in this folder, after every epoch.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        CheckpointConfig { path: path.into(), every: Every::Epochs(1), keep: 2, resume: false }
    }

    /// Sets the interval.
    #[must_use]
    pub fn with_every(self, every: Every) -> Self {
        CheckpointConfig { every, ..self }
    }

    /// Sets how many checkpoints to keep.
    #[must_use]
    pub fn with_keep(self, keep: usize) -> Self {
        CheckpointConfig { keep, ..self }
    }

    /// Sets whether to resume from the last checkpoint of the folder.
    #[must_use]
    pub fn with_resume(self, resume: bool) -> Self {
        CheckpointConfig { resume, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        const CONFIG: &str = "CheckpointConfig";
        let never = match self.every {
            Every::Steps(n) | Every::Epochs(n) => n == 0,
            Every::Time(time) => time.is_zero(),
        };
        if never {
            return Err(Error::config(CONFIG, "every", "an interval above 0", 0));
        }
        if self.keep == 0 {
            return Err(Error::config(CONFIG, "keep", "at least 1", 0));
        }
        Ok(())
    }
}

/// Version of the file layout.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const RUN: &str = "run.json";
const MODEL: &str = "model";
const BEST: &str = "best";
/// Suffix of folders that are being written or removed.
const TEMPORARY: &str = ".tmp";

/// The manifest of a checkpoint's files.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Length and CRC-32 by name.
    files: BTreeMap<String, (u64, u32)>,
}

/// The numbers of a run; its arrays are in other files. The trainer defines their meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunFile<R> {
    pub(crate) run: R,
    pub(crate) cursor: Cursor,
    pub(crate) window: usize,
    pub(crate) state_numbers: BTreeMap<String, u64>,
    pub(crate) draws: BTreeMap<String, u64>,
    /// Values that the program asked to keep.
    pub(crate) kept: BTreeMap<String, serde_json::Value>,
}

/// The arrays and the metadata of one file.
pub(crate) type Arrays = (BTreeMap<String, Array>, HashMap<String, String>);

/// The content of a checkpoint.
pub(crate) struct Content<R> {
    pub(crate) file: RunFile<R>,
    /// Files by name without extension: `model`, `optimizer`, `best`, `ema`, `states`.
    pub(crate) arrays: BTreeMap<String, Arrays>,
}

/// Writes the checkpoint of step `step` and removes the oldest ones.
pub(crate) fn write<R: Serialize>(
    config: &CheckpointConfig,
    step: u64,
    content: &Content<R>,
) -> Result<PathBuf> {
    let (path, temporary) = free_name(&config.path, step)?;
    let at = |source| Error::Io { path: temporary.clone(), source };
    fs::create_dir(&temporary).map_err(at)?;
    let written = write_files(&temporary, content).and_then(|()| {
        fs::rename(&temporary, &path).map_err(at)?;
        sync(&config.path)
    });
    if let Err(error) = written {
        // Report the first error; older checkpoints are untouched.
        drop(fs::remove_dir_all(&temporary));
        return Err(error);
    }
    // Later checkpoints are damaged, or belong to a continuation that was abandoned.
    let (past, future): (Vec<_>, Vec<_>) =
        list(&config.path)?.into_iter().partition(|found| found.step <= step);
    let old = past.len().saturating_sub(config.keep);
    for found in past.into_iter().take(old).chain(future) {
        discard(&found.path)?;
    }
    Ok(path)
}

/// The destination of a checkpoint and the folder to write it in. A second checkpoint of the same step, such as the
/// one at the end of an epoch, does not replace the first; it sorts after it.
fn free_name(folder: &Path, step: u64) -> Result<(PathBuf, PathBuf)> {
    let generation = list(folder)?.iter().filter(|f| f.step == step).map(|f| f.generation + 1).max();
    let name = match generation {
        None => format!("step-{step:09}"),
        Some(generation) => format!("step-{step:09}.{generation}"),
    };
    let temporary = folder.join(format!(".{name}.{}{TEMPORARY}", std::process::id()));
    Ok((folder.join(name), temporary))
}

fn write_files<R: Serialize>(folder: &Path, content: &Content<R>) -> Result<()> {
    let mut names = vec![RUN.to_string()];
    io::write_atomically(&folder.join(RUN), &json(folder, &content.file)?)?;
    for (name, (arrays, metadata)) in &content.arrays {
        let name = format!("{name}.safetensors");
        io::write(folder.join(&name), arrays, metadata.clone())?;
        names.push(name);
    }
    let mut files = BTreeMap::new();
    for name in names {
        let bytes = read(&folder.join(&name))?;
        files.insert(name, (bytes.len() as u64, crc32fast::hash(&bytes)));
    }
    io::write_atomically(&folder.join(MANIFEST), &json(folder, &Manifest { format: FORMAT, files })?)?;
    sync(folder)
}

fn json(folder: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| bad(folder, error.to_string()))
}

fn bad(path: &Path, problem: String) -> Error {
    Error::Checkpoint { path: path.to_path_buf(), problems: vec![problem] }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

/// On Unix a rename is durable only after the folder is flushed; other systems cannot open folders.
fn sync(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        let at = |source| Error::Io { path: folder.to_path_buf(), source };
        File::open(folder).map_err(at)?.sync_all().map_err(at)?;
    }
    Ok(())
}

/// Removes a checkpoint. It is renamed first, because a partly removed one must not look like a checkpoint.
fn discard(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let away = path.with_file_name(format!(".{name}.{}.old{TEMPORARY}", std::process::id()));
    let at = |source| Error::Io { path: path.to_path_buf(), source };
    fs::rename(path, &away).map_err(at)?;
    fs::remove_dir_all(&away).map_err(at)
}

/// Creates the folder of a run and removes unfinished folders of killed processes.
pub(crate) fn prepare(folder: &Path) -> Result<()> {
    let at = |source| Error::Io { path: folder.to_path_buf(), source };
    fs::create_dir_all(folder).map_err(at)?;
    for entry in fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(".step-") && name.ends_with(TEMPORARY) {
            fs::remove_dir_all(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        }
    }
    Ok(())
}

/// A checkpoint that may be damaged, sorted by age.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    step: u64,
    generation: u64,
    path: PathBuf,
}

/// The checkpoints of a folder, oldest first.
fn list(folder: &Path) -> Result<Vec<Listed>> {
    let at = |source| Error::Io { path: folder.to_path_buf(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(numbers) = name.strip_prefix("step-") else { continue };
        let (step, generation) = numbers.split_once('.').unwrap_or((numbers, "0"));
        if let (Ok(step), Ok(generation)) = (step.parse(), generation.parse()) {
            found.push(Listed { step, generation, path });
        }
    }
    found.sort();
    Ok(found)
}

/// A checkpoint that cannot be used, and the reason.
pub(crate) type Damage = (PathBuf, Error);

/// Why a checkpoint cannot be opened.
enum Closed {
    /// Its content has changed since it was written; an older checkpoint can be used instead.
    Damaged(Error),
    /// This version cannot open it, or cannot open it now; it may be intact, so it must not be skipped.
    Other(Error),
}

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
    file: RunFile<serde_json::Value>,
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
        let (found, damaged) = Self::newest(folder)?;
        match (found, damaged.into_iter().next()) {
            (Some(checkpoint), _) => Ok(checkpoint),
            (None, Some((_, error))) => Err(error),
            (None, None) => Err(bad(folder, "has no checkpoint".into())),
        }
    }

    /// The newest intact checkpoint, and the newer ones that are damaged.
    ///
    /// # Errors
    /// An undamaged checkpoint cannot be read by this version or at this time.
    pub(crate) fn newest(folder: &Path) -> Result<(Option<Self>, Vec<Damage>)> {
        let mut damaged = Vec::new();
        for Listed { step, path, .. } in list(folder)?.into_iter().rev() {
            match Self::open(&path, step) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(Closed::Damaged(error)) => damaged.push((path, error)),
                Err(Closed::Other(error)) => return Err(error),
            }
        }
        Ok((None, damaged))
    }

    fn open(path: &Path, step: u64) -> std::result::Result<Self, Closed> {
        let damaged = |problem: String| Closed::Damaged(bad(path, problem));
        let read = |name: &str| {
            read(&path.join(name)).map_err(|error| match &error {
                Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                    Closed::Damaged(error)
                }
                _ => Closed::Other(error),
            })
        };
        let manifest: Manifest = serde_json::from_slice(&read(MANIFEST)?)
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        if manifest.format != FORMAT {
            let problem = format!("has format {}, this program reads {FORMAT}", manifest.format);
            return Err(Closed::Other(bad(path, problem)));
        }
        for (name, &(length, sum)) in &manifest.files {
            let bytes = read(name)?;
            if bytes.len() as u64 != length || crc32fast::hash(&bytes) != sum {
                return Err(damaged(format!("{name} is not what was written")));
            }
        }
        let file = serde_json::from_slice(&read(RUN)?).map_err(|error| damaged(format!("{RUN}: {error}")))?;
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

    /// A value that [`Trainer::keep`](super::Trainer::keep) stored under a name: a configuration, a normaliser, a
    /// vocabulary.
    ///
    /// # Errors
    /// There is no value under that name, or it has another type.
    pub fn kept<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let Some(value) = self.file.kept.get(name) else {
            let names: Vec<&str> = self.file.kept.keys().map(String::as_str).collect();
            return Err(bad(&self.path, format!("nothing is kept as `{name}`; there is {names:?}")));
        };
        T::deserialize(value).map_err(|error| bad(&self.path, format!("`{name}`: {error}")))
    }

    /// Loads the weights with the best score into the model; without validation, the last weights.
    ///
    /// # Errors
    /// The architecture differs; nothing is assigned then.
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
        self.path.join(format!("{name}.safetensors"))
    }

    fn has(&self, name: &str) -> bool {
        self.manifest_files.iter().any(|file| file.strip_suffix(".safetensors") == Some(name))
    }

    /// The arrays of a file, on the CPU; `None` if the checkpoint does not have the file.
    pub(crate) fn arrays(&self, name: &str) -> Result<Option<Arrays>> {
        if !self.has(name) {
            return Ok(None);
        }
        let file = TensorFile::read(self.file_path(name))?;
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
        let RunFile { cursor, window, state_numbers, draws, kept, .. } = file;
        Ok(RunFile { run, cursor, window, state_numbers, draws, kept })
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
