//! What wrote a file.

use crate::Result;
use rnn_api::io::Archive;
use std::fmt;
use std::path::Path;

/// The system that a model file is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A zip archive with a configuration in JSON.
    Deeplearning4j,
    /// HDF5, or a zip archive with HDF5.
    Keras,
    /// Everything else.
    Onnx,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Deeplearning4j => "Deeplearning4j",
            Kind::Keras => "Keras",
            Kind::Onnx => "ONNX",
        })
    }
}

impl Kind {
    /// The kind of a file, by its content.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io): the file cannot be read.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = crate::file::read(path)?;
        Ok(Kind::of_bytes(&bytes))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let configured = |archive: Archive<'_>| archive.names().any(|name| name == "configuration.json");
        match Archive::is_zip(bytes) {
            true if Archive::read(bytes).is_ok_and(configured) => Kind::Deeplearning4j,
            true => Kind::Keras,
            false if bytes.starts_with(b"\x89HDF") => Kind::Keras,
            false => Kind::Onnx,
        }
    }
}

/// Reads a model of ONNX, Keras or Deeplearning4j, whichever the file holds. The normalizer of a Deeplearning4j model is left
/// out; [`dl4j::load`](crate::dl4j::load) gives it.
///
/// # Errors
/// Those of `onnx::Model::load`, `keras::load` and `dl4j::load`.
#[cfg(all(feature = "dl4j", feature = "keras", feature = "onnx"))]
pub fn load(path: impl AsRef<Path>, device: &rnn_api::Device) -> Result<crate::Model> {
    let path = path.as_ref();
    match Kind::of(path)? {
        Kind::Deeplearning4j => Ok(crate::dl4j::load(path, device)?.0),
        Kind::Keras => crate::keras::load(path, device),
        Kind::Onnx => crate::Model::load(path, device),
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;
    use rnn_testing::zip;

    #[test]
    fn files_are_told_by_their_content() {
        let dl4j = zip(&[("coefficients.bin", &[1]), ("configuration.json", b"{}")], true);
        assert_eq!(Kind::of_bytes(&dl4j), Kind::Deeplearning4j);
        let keras = zip(&[("metadata.json", b"{}"), ("config.json", b"{}")], false);
        assert_eq!(Kind::of_bytes(&keras), Kind::Keras);
        // The file is cut off; the reader of its contents reports that.
        assert_eq!(Kind::of_bytes(&keras[..40]), Kind::Keras);
        assert_eq!(Kind::of_bytes(b"\x89HDF\r\n\x1a\n"), Kind::Keras);
        assert_eq!(Kind::of_bytes(b"\x08\x08"), Kind::Onnx);
        assert_eq!(Kind::of_bytes(b""), Kind::Onnx);
    }
}
