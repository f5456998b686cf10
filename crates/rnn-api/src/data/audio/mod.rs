//! Sound as sequences of log-mel frames. With the feature `audio`.

mod log_mel;

pub use log_mel::{LogMel, LogMelConfig};

use super::error::{Place, Problem};
use super::labels::Labels;
use super::text::{files_with_extension, io_error};
use crate::Result;
use std::path::{Path, PathBuf};

/// A sound: one channel of samples in `[-1, 1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    samples: Vec<f32>,
    rate: u32,
}

impl Sound {
    /// Samples, so many per second.
    ///
    /// # Errors
    /// No samples, or one that is not finite.
    pub fn new(samples: Vec<f32>, rate: u32) -> Result<Self> {
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

    /// Reads a WAV file of 8 to 32 bit integers or 32 bit floats. Several channels are averaged.
    ///
    /// # Errors
    /// A file that cannot be read, is not such a WAV file, is cut off, or holds no samples, or one
    /// that is not finite.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(|source| io_error(path, source))?;
        let named = |place| Place { file: Some(path.to_path_buf()), ..place };
        match decode(std::io::BufReader::new(file)) {
            Ok((samples, rate)) => Sound::new(samples, rate).map_err(|error| error.located(named)),
            Err(hound::Error::IoError(source)) => Err(io_error(path, source)),
            Err(other) => Err(no_wav(&other).at(Place::file(Some(path)))),
        }
    }

    /// As [`Sound::read`], from the bytes of a WAV file.
    ///
    /// # Errors
    /// As [`Sound::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (samples, rate) = decode(bytes).map_err(|error| no_wav(&error).at(Place::default()))?;
        Sound::new(samples, rate)
    }
}

fn no_wav(error: &hound::Error) -> Problem {
    Problem::Format { expected: "a WAV file".into(), got: error.to_string() }
}

/// The samples, channels averaged, and the rate.
fn decode(bytes: impl std::io::Read) -> std::result::Result<(Vec<f32>, u32), hound::Error> {
    let mut reader = hound::WavReader::new(bytes)?;
    let spec = reader.spec();
    let samples: std::result::Result<Vec<f32>, _> = match spec.sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().collect(),
        hound::SampleFormat::Int => {
            let scale = (1u64 << (spec.bits_per_sample.clamp(1, 64) - 1)) as f32;
            reader.samples::<i32>().map(|sample| Ok(sample? as f32 / scale)).collect()
        }
    };
    let channels = usize::from(spec.channels.max(1));
    let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
    Ok((samples?.chunks_exact(channels).map(mean).collect(), spec.sample_rate))
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

/// The WAV files of a folder and their labels, sorted by path.
///
/// # Errors
/// A folder that cannot be read, or one without such files; a name without the character.
pub fn labelled_files(folder: impl AsRef<Path>, label: LabelFrom) -> Result<(Vec<PathBuf>, Labels)> {
    let folder = folder.as_ref();
    let files = match label {
        LabelFrom::NameUntil(_) => files_with_extension(folder, "wav")?,
        LabelFrom::Folder => {
            let mut folders = Vec::new();
            for entry in std::fs::read_dir(folder).map_err(|source| io_error(folder, source))? {
                let path = entry.map_err(|source| io_error(folder, source))?.path();
                folders.extend(path.is_dir().then_some(path));
            }
            folders.sort();
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
    use crate::Error;
    use crate::data::Classes;
    use crate::data::text::tests::TestFile;

    fn wav(spec: hound::WavSpec, samples: &[i32]) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    const SPEC: hound::WavSpec = hound::WavSpec {
        channels: 2,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };

    #[test]
    fn files_are_scaled_and_channels_averaged() {
        let file = TestFile::new("7_ann_0.wav", &wav(SPEC, &[16384, 0, -32768, -32768]));
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
        let whole = wav(SPEC, &[1, 2, 3, 4]);
        for (name, bytes) in
            [("text.wav", &b"RIFX"[..]), ("cut.wav", &whole[..whole.len() - 3]), ("no.wav", &wav(SPEC, &[]))]
        {
            let file = TestFile::new(name, bytes);
            let error = Sound::read(&file.0).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(matches!(Sound::read("none.wav"), Err(Error::Io { .. })));
        assert!(Sound::new(vec![], 8000).unwrap_err().to_string().contains("empty"));
        assert!(Sound::new(vec![0.0, f32::NAN], 8000).unwrap_err().to_string().starts_with("step 1"));
    }
}
