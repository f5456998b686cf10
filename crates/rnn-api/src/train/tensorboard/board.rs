//! [`Board`]: an event file.

use super::message::{
    Content, Event, Histogram, Metadata, PluginData, SessionLog, Summary, TextTensor, Value, What,
};
use super::record::record;
use crate::error::{Error, Result};
use prost::Message;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use web_time::UNIX_EPOCH;

/// Names to try for a new file: runs that start in one second.
const NAMES: u32 = 1000;
/// The most characters of a text.
const LONGEST: usize = 100_000;
const BINS: usize = 30;

/// The event file of a [`TensorBoard`](super::TensorBoard): adds values of the program.
#[derive(Clone, Debug)]
pub struct Board {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    file: Option<(PathBuf, BufWriter<File>)>,
    problem: Option<String>,
}

impl Board {
    pub(super) fn new(folder: PathBuf) -> Self {
        Board { inner: Arc::new(Mutex::new(Inner { folder, file: None, problem: None })) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a new file, in which steps after this one replace those of earlier files.
    pub(super) fn start(&self, after: u64) -> Result<()> {
        let mut inner = self.lock();
        (inner.file, inner.problem) = (None, None);
        inner.open()?;
        if after > 0 {
            inner.event(after + 1, What::SessionLog(SessionLog { status: SessionLog::START }))?;
        }
        inner.flush()
    }

    pub(super) fn fail(&self, error: &Error) {
        let mut inner = self.lock();
        if inner.problem.is_none() {
            tracing::warn!(%error, "events for TensorBoard cannot be written; the run goes on");
        }
        inner.problem = Some(error.to_string());
    }

    /// Why events could not be written; nothing is written after that.
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// Adds a number under this tag. Slashes in tags make groups.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalar(&self, tag: &str, step: u64, value: f64) -> Result<()> {
        self.scalars(step, vec![(tag.into(), value)])
    }

    /// Several numbers of one step.
    pub(super) fn scalars(&self, step: u64, values: Vec<(String, f64)>) -> Result<()> {
        let of = |(tag, value): (String, f64)| Value {
            tag,
            metadata: None,
            content: Some(Content::Scalar(value as f32)),
        };
        self.summary(step, values.into_iter().map(of).collect())
    }

    /// Adds the distribution of values, such as the weights of a layer; nothing for none. Values that are not finite are left
    /// out.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn histogram(&self, tag: &str, step: u64, values: &[f32]) -> Result<()> {
        let Some(histogram) = histogram(values) else { return Ok(()) };
        let content = Some(Content::Histogram(histogram));
        self.summary(step, vec![Value { tag: tag.into(), metadata: None, content }])
    }

    /// Adds text, which TensorBoard shows as Markdown. The first 100,000 characters are kept.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn text(&self, tag: &str, step: u64, text: &str) -> Result<()> {
        let text = text.char_indices().nth(LONGEST).map_or(text, |(at, _)| &text[..at]);
        let plugin_data = Some(PluginData { plugin_name: "text".into() });
        let metadata = Some(Metadata { plugin_data });
        let content = Some(Content::Tensor(TextTensor::of(text)));
        self.summary(step, vec![Value { tag: tag.into(), metadata, content }])
    }

    /// Writes what is in memory to the file. The trainer does so after validations and epochs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&self) -> Result<()> {
        self.lock().flush()
    }

    fn summary(&self, step: u64, value: Vec<Value>) -> Result<()> {
        let mut inner = self.lock();
        if inner.file.is_none() {
            inner.open()?;
        }
        inner.event(step, What::Summary(Summary { value }))
    }
}

impl Inner {
    fn open(&mut self) -> Result<()> {
        let failed = |path: &Path, source| Error::Io { path: path.to_path_buf(), source };
        fs::create_dir_all(&self.folder).map_err(|source| failed(&self.folder, source))?;
        let second = now() as u64;
        for number in 0..NAMES {
            // TensorBoard finds files by `tfevents`, and orders them by their names.
            let path = self.folder.join(format!("events.out.tfevents.{second:010}.rnn.{number:03}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    self.file = Some((path, BufWriter::new(file)));
                    return self.event(0, What::FileVersion("brain.Event:2".into()));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Err(failed(&self.folder, ErrorKind::AlreadyExists.into()))
    }

    fn event(&mut self, step: u64, what: What) -> Result<()> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let event = Event { wall_time: now(), step, what: Some(what) };
        self.write(|file| file.write_all(&record(&event.encode_to_vec())))
    }

    fn flush(&mut self) -> Result<()> {
        self.write(Write::flush)
    }

    fn write(&mut self, action: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        action(file).map_err(|source| Error::Io { path: path.clone(), source })
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    web_time::SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Equal buckets between the smallest and the largest finite value.
fn histogram(values: &[f32]) -> Option<Histogram> {
    let finite: Vec<f64> =
        values.iter().filter(|value| value.is_finite()).map(|&value| value.into()).collect();
    let min = finite.iter().copied().reduce(f64::min)?;
    let max = finite.iter().copied().reduce(f64::max)?;
    let bins = if min < max { BINS } else { 1 };
    let width = (max - min) / bins as f64;
    let mut bucket = vec![0.0; bins];
    for value in &finite {
        let at = if width > 0.0 { ((value - min) / width) as usize } else { 0 };
        bucket[at.min(bins - 1)] += 1.0;
    }
    let bucket_limit = (1..=bins).map(|n| if n == bins { max } else { min + n as f64 * width }).collect();
    let (sum, sum_squares) = (finite.iter().sum(), finite.iter().map(|value| value * value).sum());
    Some(Histogram { min, max, num: finite.len() as f64, sum, sum_squares, bucket_limit, bucket })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_every_finite_value() {
        let found = histogram(&[1.0, f32::NAN, -2.0, 4.0, 4.0]).unwrap();
        assert_eq!(
            (found.min, found.max, found.num, found.sum, found.sum_squares),
            (-2.0, 4.0, 4.0, 7.0, 37.0)
        );
        assert_eq!(found.bucket.iter().sum::<f64>(), 4.0);
        assert_eq!((found.bucket[0], found.bucket[15], found.bucket[29]), (1.0, 1.0, 2.0));
        assert_eq!((found.bucket_limit.len(), *found.bucket_limit.last().unwrap()), (30, 4.0));
        assert_eq!(histogram(&[3.0, 3.0]).unwrap().bucket, [2.0]);
        assert_eq!(histogram(&[f32::NAN]), None);
    }
}
