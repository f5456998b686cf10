//! Sound as sequences of log-mel frames. With the feature `audio`.

mod log_mel;
mod pcm;
pub(super) mod wav;
#[cfg(test)]
mod wild;
mod write;

pub use log_mel::{LogMel, LogMelConfig};

use super::error::{Place, Problem};
use super::labels::Labels;
use super::reserve::room;
use super::text::{files_with_extension, folders};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use wav::Wav;

/// A sound: one channel of samples, of which those in `[-1, 1]` are within full scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    samples: Vec<f32>,
    rate: u32,
}

impl Sound {
    /// Samples, `rate` per second.
    ///
    /// # Errors
    /// There are no samples, one is not finite, or the rate is 0.
    pub fn new(samples: Vec<f32>, rate: u32) -> Result<Self> {
        if rate == 0 {
            return Err(Error::value("Sound::new", "rate", "at least 1", rate));
        }
        if samples.is_empty() {
            return Err(Problem::Empty { what: "the sound" }.at(Place::default()));
        }
        if let Some(step) = samples.iter().position(|x| !x.is_finite()) {
            return Err(Problem::NotFinite { got: samples[step].to_string() }.at(Place::default().step(step)));
        }
        Ok(Sound { samples, rate })
    }

    /// The samples.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// Samples per second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Reads a WAV file (RIFF or RF64) of integers up to 64 bits, floats of 32 or 64 bits, A-law or mu-law. Several
    /// channels are averaged.
    ///
    /// Where the header states another length than the file has, the samples that are there are read. `tracing`
    /// reports it unless the header says that the length is unknown, as programs that write into a pipe do.
    ///
    /// # Errors
    /// The file cannot be read, is not such a WAV file, or holds no samples or one that is not finite.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        read(path.as_ref(), mixed)
    }

    /// As [`Sound::read`], from the bytes of a WAV file.
    ///
    /// # Errors
    /// As [`Sound::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        mixed(&parse(bytes, None)?)
    }

    /// As [`Sound::read`], with each channel as a sound of its own.
    ///
    /// # Errors
    /// As [`Sound::read`].
    pub fn read_channels(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        read(path.as_ref(), |wav| (0..wav.format.channels).map(|channel| one_channel(wav, channel)).collect())
    }
}

fn read<T>(path: &Path, decode: impl FnOnce(&Wav<'_>) -> Result<T>) -> Result<T> {
    let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
    let named = |place| Place { file: Some(path.to_path_buf()), ..place };
    parse(&bytes, Some(path)).and_then(|wav| decode(&wav)).map_err(|error| error.located(named))
}

/// Finds the samples and reports what the header says otherwise.
fn parse<'a>(bytes: &'a [u8], path: Option<&Path>) -> Result<Wav<'a>> {
    let wav = Wav::parse(bytes).map_err(|problem| problem.at(Place::default()))?;
    for warning in &wav.warnings {
        let file = path.map_or_else(|| "a WAV file".into(), |path| path.display().to_string());
        tracing::warn!("{file}: {warning}");
    }
    Ok(wav)
}

/// The mean of the channels.
fn mixed(wav: &Wav<'_>) -> Result<Sound> {
    let channels = wav.format.channels as f32;
    frames(wav, |frame| wav.format.samples(frame).sum::<f32>() / channels)
}

fn one_channel(wav: &Wav<'_>, channel: usize) -> Result<Sound> {
    frames(wav, |frame| wav.format.samples(frame).nth(channel).unwrap_or(f32::NAN))
}

/// One sample per frame.
fn frames(wav: &Wav<'_>, sample: impl Fn(&[u8]) -> f32) -> Result<Sound> {
    let frame = wav.format.frame_bytes();
    let mut samples = room("Sound::read", "the samples", &[wav.data.len() / frame])?;
    samples.extend(wav.data.chunks_exact(frame).map(sample));
    Sound::new(samples, wav.format.rate)
}

/// Where the label of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelFrom {
    /// The folder of the file: `yes/0a7c2a8d.wav`.
    Folder,
    /// The name up to this character: `7_jackson_32.wav` with `_`.
    NameUntil(char),
}

/// The WAV files of a folder and their labels, sorted by path. Hidden files and folders, whose names begin with a
/// dot, are passed over.
///
/// # Errors
/// A folder that cannot be read, or one without such files; a name without the character.
pub fn labelled_files(folder: impl AsRef<Path>, label: LabelFrom) -> Result<(Vec<PathBuf>, Labels)> {
    let folder = folder.as_ref();
    let files = match label {
        LabelFrom::NameUntil(_) => files_with_extension(folder, "wav")?,
        LabelFrom::Folder => {
            let folders = folders(folder)?;
            let found: Result<Vec<_>> =
                folders.iter().map(|class| files_with_extension(class, "wav")).collect();
            found?.concat()
        }
    };
    if files.is_empty() {
        return Err(Problem::Empty { what: "the folder (of folders)" }.at(Place::file(Some(folder))));
    }
    let mut labels = Labels::default();
    for path in &files {
        labels.start_file(Some(path));
        labels.push_whole(label.of(path)?);
    }
    Ok((files, labels))
}

impl LabelFrom {
    fn of(self, path: &Path) -> Result<String> {
        let text = |name: Option<&std::ffi::OsStr>| name.map(|name| name.to_string_lossy().into_owned());
        let name = text(path.file_name()).unwrap_or_default();
        let (label, expected) = match self {
            LabelFrom::Folder => {
                (text(path.parent().and_then(Path::file_name)), "a folder with a name".into())
            }
            LabelFrom::NameUntil(end) => {
                let label = name.split_once(end).map(|(label, _)| label.to_string());
                (label, format!("a name with {end:?}"))
            }
        };
        label.ok_or_else(|| Problem::format(expected, &name).at(Place::file(Some(path))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Classes;
    use crate::data::text::tests::TestFile;
    use wav::tests::stereo;

    #[test]
    fn files_are_scaled_and_channels_averaged() {
        let file = TestFile::new("7_ann_0.wav", &stereo(&[16384, 0, -32768, -32768]));
        let sound = Sound::read(&file.0).unwrap();
        assert_eq!((sound.samples(), sound.rate()), (&[0.25, -1.0][..], 8000));
        let (files, labels) = labelled_files(file.0.parent().unwrap(), LabelFrom::NameUntil('_')).unwrap();
        assert_eq!((files, labels.values()), (vec![file.0.clone()], &["7".to_string()][..]));
        assert!(labelled_files(file.0.parent().unwrap(), LabelFrom::NameUntil('-')).is_err());
        assert!(labelled_files(file.0.parent().unwrap(), LabelFrom::Folder).is_err());
        let parent = file.0.parent().unwrap().join("nested/yes");
        std::fs::create_dir_all(&parent).unwrap();
        std::fs::copy(&file.0, parent.join("a.WAV")).unwrap();
        let (_, labels) = labelled_files(parent.parent().unwrap(), LabelFrom::Folder).unwrap();
        assert_eq!(labels.values(), ["yes"]);
        let classes = Classes::from_names(vec!["no".into()]).unwrap();
        let error = classes.encode(&labels).unwrap_err().to_string();
        assert!(error.contains("a.WAV, sequence 0: the label \"yes\""), "{error}");
    }

    #[test]
    fn broken_files_are_named() {
        for (name, bytes) in [("text.wav", &b"RIFX"[..]), ("no.wav", &stereo(&[]))] {
            let file = TestFile::new(name, bytes);
            let error = Sound::read(&file.0).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(matches!(Sound::read("none.wav"), Err(Error::Io { .. })));
        assert!(Sound::new(vec![], 8000).unwrap_err().to_string().contains("empty"));
        assert!(Sound::new(vec![0.0, f32::NAN], 8000).unwrap_err().to_string().starts_with("step 1"));
    }
}
