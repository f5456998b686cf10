//! [`JsonLog`]: logs a run as lines of JSON.

use super::event::{Callback, Event, Flow, Outcome, Started};
use crate::error::{Error, Result};
use crate::io::{expect_regular, write_atomically};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The version of the format of a log. It is larger where an older reader would misunderstand a line.
pub(super) const FORMAT: u32 = 1;

/// Writes every event of a run to a file, one JSON object per line: `{"event":"step","step":1,"loss":..}`. The
/// fields are those of [`StepReport`](super::StepReport) and the other reports; a number that is not finite is
/// `null`. Lines are written at once, so after a killed process only the last line may be incomplete.
///
/// A resumed run continues the same file. Lines of steps that are repeated are removed first.
#[derive(Debug)]
pub struct JsonLog {
    path: PathBuf,
    file: Option<File>,
    /// Lines written before the file was opened.
    early: String,
    ratios: bool,
}

impl JsonLog {
    /// Logs to this file. It is opened at the start of the run; its folder is created if necessary. A resumed run
    /// continues an existing file, a new run replaces it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JsonLog { path: path.into(), file: None, early: String::new(), ratios: true }
    }

    /// Leaves out the update-to-parameter ratios, which cost two reductions per step.
    #[must_use]
    pub fn without_update_ratios(self) -> Self {
        JsonLog { ratios: false, ..self }
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    /// Opens the file, keeping the lines of the first `steps` steps.
    fn open(&mut self, steps: u64) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|source| self.failed(source))?;
        }
        match expect_regular(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.failed(error)),
            _ => {}
        }
        let mut kept = if steps == 0 { Vec::new() } else { lines_up_to(&self.path, steps)? };
        kept.append(&mut std::mem::take(&mut self.early).into_bytes());
        write_atomically(&self.path, &kept)?;
        let file = OpenOptions::new().append(true).open(&self.path);
        self.file = Some(file.map_err(|source| self.failed(source))?);
        Ok(())
    }
}

/// The lines of the first `steps` steps: all lines before the checkpoint of that step, which may precede the end of
/// an epoch. Without a line for that checkpoint, all lines whose step is not later.
fn lines_up_to(path: &Path, steps: u64) -> Result<Vec<u8>> {
    #[derive(Deserialize)]
    struct Line {
        event: String,
        step: Option<u64>,
    }
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(|source| Error::Io { path: path.to_path_buf(), source })?,
    };
    // The last line may be truncated, even inside a character.
    let text = String::from_utf8_lossy(&bytes);
    let (mut kept, mut saved) = (String::new(), None);
    for line in text.split_inclusive('\n') {
        let Ok(Line { event, step }) = serde_json::from_str(line) else { continue };
        if event != "ended" && step.is_none_or(|step| step <= steps) {
            kept.push_str(line);
            if event == "saved" && step == Some(steps) {
                saved = Some(kept.len());
            }
        }
    }
    kept.truncate(saved.unwrap_or(kept.len()));
    Ok(kept.into_bytes())
}

#[derive(Serialize)]
struct Line<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    fields: &'a T,
}

#[derive(Serialize)]
struct Start<'a> {
    format: u32,
    #[serde(flatten)]
    started: &'a Started,
}

#[derive(Serialize)]
struct End<'a> {
    /// The reason in words.
    why: String,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

#[derive(Serialize)]
struct Saved<'a> {
    step: u64,
    path: &'a Path,
}

#[derive(Serialize)]
struct Damaged<'a> {
    path: &'a Path,
    error: String,
}

impl JsonLog {
    fn write(&mut self, event: &'static str, fields: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(&Line { event, fields });
        let mut line = line.map_err(|error| self.failed(error.into()))?;
        line.push('\n');
        match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()).map_err(|source| self.failed(source)),
            None => {
                self.early.push_str(&line);
                Ok(())
            }
        }
    }
}

impl Callback for JsonLog {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        match event {
            Event::Started(started) => {
                self.open(started.resumed_step)?;
                self.write("started", &Start { format: FORMAT, started })?;
            }
            Event::Step(step) => self.write("step", step)?,
            Event::Internals(internals) => self.write("internals", internals)?,
            Event::Validated(validation) => self.write("validated", validation)?,
            Event::Epoch(epoch) => self.write("epoch", epoch)?,
            Event::Saved { path, step } => self.write("saved", &Saved { step: *step, path })?,
            Event::Damaged { path, error } => {
                self.write("damaged", &Damaged { path, error: error.to_string() })?;
            }
            Event::Ended(outcome) => {
                self.write("ended", &End { why: outcome.reason.to_string(), outcome })?;
            }
        }
        Ok(Flow::Continue)
    }

    fn wants_update_ratios(&self) -> bool {
        self.ratios
    }
}
