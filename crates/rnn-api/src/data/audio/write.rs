//! WAV files of 32-bit floats.

use super::Sound;
use crate::error::{Error, Result};
use std::path::Path;

/// Bytes before the samples.
const HEADER: u32 = 58;
/// `WAVE_FORMAT_IEEE_FLOAT`
const FLOAT: u16 = 3;
/// Of a sample.
const BYTES: u16 = 4;

impl Sound {
    /// Writes a WAV file of 32-bit floats, which keeps every bit of the samples. A file that is there is replaced.
    ///
    /// ```
    /// # fn main() -> rnn_api::Result<()> {
    /// use rnn_api::data::audio::Sound;
    /// # let path = std::env::temp_dir().join(format!("rnn-api-sound-{}.wav", std::process::id()));
    /// let sound = Sound::new(vec![0.0, 0.5, -0.25], 8000)?;
    /// sound.write(&path)?;
    /// assert_eq!(Sound::read(&path)?, sound);
    /// # std::fs::remove_file(&path).expect("the example's file");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Sound::to_bytes`]; the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::write(path, self.to_bytes()?).map_err(|source| Error::io(path, source))
    }

    /// The bytes of the file of [`Sound::write`].
    ///
    /// # Errors
    /// More samples than a WAV file can have, 2^30 less 13; no memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        const OP: &str = "Sound::to_bytes";
        let samples = self.samples();
        let data = samples.len().checked_mul(BYTES.into()).and_then(|bytes| u32::try_from(bytes).ok());
        let Some((data, riff)) = data.and_then(|data| Some((data, data.checked_add(HEADER - 8)?))) else {
            let most = (u32::MAX - HEADER + 8) / u32::from(BYTES);
            return Err(Error::value(OP, "samples", format!("at most {most}"), samples.len()));
        };
        let mut bytes = crate::data::reserve::room(OP, "the file", &[riff as usize + 8])?;
        let rate = self.rate();
        bytes.extend(b"RIFF");
        bytes.extend(riff.to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(18u32.to_le_bytes());
        bytes.extend([FLOAT, 1].map(u16::to_le_bytes).concat()); // one channel
        bytes.extend([rate, rate.saturating_mul(BYTES.into())].map(u32::to_le_bytes).concat());
        bytes.extend([BYTES, 8 * BYTES, 0].map(u16::to_le_bytes).concat());
        bytes.extend(b"fact");
        bytes.extend([4, samples.len() as u32].map(u32::to_le_bytes).concat());
        bytes.extend(b"data");
        bytes.extend(data.to_le_bytes());
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte by byte, from the description of the format (Microsoft, "Multiple channel audio data and WAVE files").
    #[test]
    fn files_are_those_of_the_format() {
        let bytes = Sound::new(vec![1.0, -0.5], 44100).unwrap().to_bytes().unwrap();
        let mut want =
            b"RIFF\x3a\0\0\0WAVEfmt \x12\0\0\0\x03\0\x01\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x20\0\0\0"
                .to_vec();
        want.extend(b"fact\x04\0\0\0\x02\0\0\0data\x08\0\0\0\0\0\x80\x3f\0\0\0\xbf");
        assert_eq!(bytes, want);
        assert_eq!(bytes.len(), HEADER as usize + 8);
    }

    #[test]
    fn what_is_written_is_read_with_every_bit() {
        let samples = vec![0.1, -1.5, 1e-38, f32::MIN_POSITIVE / 2.0, -0.0, 1.0];
        let sound = Sound::new(samples, 48000).unwrap();
        let again = Sound::from_bytes(&sound.to_bytes().unwrap()).unwrap();
        let bits = |sound: &Sound| sound.samples().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!((bits(&again), again.rate()), (bits(&sound), 48000));
        let nowhere = sound.write("no such folder/sound.wav").unwrap_err();
        assert!(matches!(nowhere, Error::Io { .. }) && nowhere.to_string().contains("no such folder"));
    }
}
