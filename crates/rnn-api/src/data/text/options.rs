//! [`TextOptions`]: encoding, normal form and the limit of unpacked text.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;

/// How the bytes of a file become text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextOptions {
    /// The encoding, by a label of the WHATWG Encoding Standard: `latin1`, `windows-1252`, `utf-16le`, `shift_jis`.
    /// By default text is UTF-8. A byte order mark of UTF-8 or UTF-16 goes before either.
    pub encoding: Option<String>,
    /// The largest size of unpacked text in bytes, so that a small file cannot fill the memory; 1 GiB by default.
    pub max_unpacked: u64,
    /// The Unicode normalisation; none by default.
    pub normalisation: Option<Normalisation>,
}

impl Default for TextOptions {
    fn default() -> Self {
        TextOptions { encoding: None, max_unpacked: 1 << 30, normalisation: None }
    }
}

impl TextOptions {
    /// UTF-8, or UTF-16 with a byte order mark; at most 1 GiB of unpacked text; no normalisation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the encoding of files without a byte order mark.
    #[must_use]
    pub fn with_encoding(self, label: impl Into<String>) -> Self {
        TextOptions { encoding: Some(label.into()), ..self }
    }

    /// Sets the largest size of unpacked text in bytes.
    #[must_use]
    pub fn with_max_unpacked(self, bytes: u64) -> Self {
        TextOptions { max_unpacked: bytes, ..self }
    }

    /// Normalises the text.
    #[must_use]
    pub fn with_normalisation(self, normalisation: Normalisation) -> Self {
        TextOptions { normalisation: Some(normalisation), ..self }
    }
}

/// The normal forms of Unicode (Annex 15). Texts that look alike, such as `é` as one character and as two, are equal
/// in a normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalisation {
    /// Composed: `é` is one character.
    Nfc,
    /// Decomposed: `é` is a letter and an accent.
    Nfd,
    /// Composed, with compatible characters replaced: the ligature `ﬁ` becomes `fi`.
    Nfkc,
    /// Decomposed, with compatible characters replaced.
    Nfkd,
}

impl Normalisation {
    /// The text in this form.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        // ASCII is the same in every form.
        if text.is_ascii() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(match self {
            Normalisation::Nfc => text.nfc().collect(),
            Normalisation::Nfd => text.nfd().collect(),
            Normalisation::Nfkc => text.nfkc().collect(),
            Normalisation::Nfkd => text.nfkd().collect(),
        })
    }
}
