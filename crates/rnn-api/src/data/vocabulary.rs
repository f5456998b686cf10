//! Characters and words as numbers.

use super::error::{Place, Problem};
use super::text::Normalisation;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;

/// What the symbols of a [`Vocabulary`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Symbols {
    /// Unicode characters, sorted by code point.
    Characters,
    /// Words between white space, the most frequent first; words of equal frequency in text order.
    Words,
}

/// How a vocabulary is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VocabularyConfig {
    /// Characters or words.
    pub symbols: Symbols,
    /// The token for everything that is not in the vocabulary, such as `<unk>`. Without it, the default, an unknown
    /// symbol is an error.
    pub unknown: Option<String>,
    /// Tokens that do not occur in texts, such as `<pad>`, `<start>` and `<end>`. They get the first numbers; the
    /// unknown token follows.
    pub special: Vec<String>,
    /// Symbols that occur less often are left out; 1 by default.
    pub min_count: usize,
    /// The largest number of symbols, not counting special tokens and the unknown token. The most frequent ones are
    /// kept.
    pub max_size: Option<usize>,
    /// The Unicode normal form of the texts, here and in [`Vocabulary::encode`]; none by default.
    #[serde(default)]
    pub normalisation: Option<Normalisation>,
}

impl VocabularyConfig {
    fn new(symbols: Symbols) -> Self {
        let (min_count, max_size, normalisation) = (1, None, None);
        VocabularyConfig { symbols, unknown: None, special: vec![], min_count, max_size, normalisation }
    }

    /// All characters.
    pub fn characters() -> Self {
        Self::new(Symbols::Characters)
    }

    /// All words.
    pub fn words() -> Self {
        Self::new(Symbols::Words)
    }

    /// Sets the token for unknown symbols.
    #[must_use]
    pub fn with_unknown(self, token: impl Into<String>) -> Self {
        VocabularyConfig { unknown: Some(token.into()), ..self }
    }

    /// Sets the special tokens.
    #[must_use]
    pub fn with_special<S: Into<String>>(self, tokens: impl IntoIterator<Item = S>) -> Self {
        VocabularyConfig { special: tokens.into_iter().map(Into::into).collect(), ..self }
    }

    /// Leaves out symbols that occur less often than this.
    #[must_use]
    pub fn with_min_count(self, min_count: usize) -> Self {
        VocabularyConfig { min_count, ..self }
    }

    /// Keeps only the most frequent symbols.
    #[must_use]
    pub fn with_max_size(self, max_size: usize) -> Self {
        VocabularyConfig { max_size: Some(max_size), ..self }
    }

    /// Normalises texts before they are divided into symbols, so that texts that look alike are encoded alike.
    #[must_use]
    pub fn with_normalisation(self, normalisation: Normalisation) -> Self {
        VocabularyConfig { normalisation: Some(normalisation), ..self }
    }

    /// Builds the vocabulary of these texts. Use only texts of the training part.
    ///
    /// # Errors
    /// The texts have no symbols, or two special tokens are equal.
    pub fn fit<S: AsRef<str>>(&self, texts: impl IntoIterator<Item = S>) -> Result<Vocabulary> {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for text in texts {
            let text = normalised(text.as_ref(), self.normalisation);
            each_symbol(self.symbols, &text, |_, symbol| match counts.get_mut(symbol) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(symbol.to_string(), 1);
                }
            });
        }
        if counts.is_empty() {
            return Err(Problem::Empty { what: "the text of the vocabulary" }.at(Place::default()));
        }
        let mut tokens: Vec<String> = self.special.iter().chain(&self.unknown).cloned().collect();
        let mut found: Vec<(String, u64)> = counts.into_iter().collect();
        found.retain(|(symbol, count)| *count >= self.min_count as u64 && !tokens.contains(symbol));
        found.sort_by(|(a, na), (b, nb)| nb.cmp(na).then_with(|| a.cmp(b)));
        found.truncate(self.max_size.unwrap_or(usize::MAX));
        if self.symbols == Symbols::Characters {
            found.sort();
        }
        tokens.extend(found.into_iter().map(|(symbol, _)| symbol));
        let (symbols, unknown, normalisation) = (self.symbols, self.unknown.clone(), self.normalisation);
        let saved = Saved { symbols, tokens, unknown, normalisation };
        Vocabulary::try_from(saved)
    }
}

/// A list of symbols, numbered from 0. Save it with the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Vocabulary {
    symbols: Symbols,
    tokens: Vec<String>,
    numbers: HashMap<String, u32>,
    unknown: Option<u32>,
    normalisation: Option<Normalisation>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    symbols: Symbols,
    tokens: Vec<String>,
    unknown: Option<String>,
    /// Absent from vocabularies without it, which older versions read as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    normalisation: Option<Normalisation>,
}

impl Vocabulary {
    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens in the order of their numbers.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The number of a token.
    pub fn number(&self, token: &str) -> Option<u32> {
        self.numbers.get(token).copied()
    }

    /// The token of a number.
    pub fn token(&self, number: u32) -> Option<&str> {
        self.tokens.get(number as usize).map(String::as_str)
    }

    /// The number of the unknown token.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// Encodes a text as the numbers of its symbols.
    ///
    /// # Errors
    /// The text has no symbols, or a symbol is not in the vocabulary and there is no unknown token. The error names
    /// line and column, in the normalised text if the vocabulary has a normal form.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let text = &*normalised(text, self.normalisation);
        let (mut numbers, mut missing) = (Vec::new(), None::<(usize, &str)>);
        each_symbol(self.symbols, text, |at, symbol| match self.number(symbol).or(self.unknown) {
            Some(number) => numbers.push(number),
            None => missing = missing.or(Some((at, symbol))),
        });
        if let Some((at, symbol)) = missing {
            let before = &text[..at];
            let start = before.rfind('\n').map_or(0, |end| end + 1);
            let place = Place::default().line(before.matches('\n').count() + 1);
            let place = place.column(before[start..].chars().count() + 1);
            return Err(Problem::UnknownSymbol { symbol: symbol.into() }.at(place));
        }
        if numbers.is_empty() {
            return Err(Problem::Empty { what: "the text" }.at(Place::default()));
        }
        Ok(numbers)
    }

    /// Encodes several texts.
    ///
    /// # Errors
    /// As [`Vocabulary::encode`]; the error names the index of the text.
    pub fn encode_all<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Vec<u32>>> {
        let encode = |(index, text): (usize, &S)| {
            let named = |place| Place { sequence: Some(index), ..place };
            self.encode(text.as_ref()).map_err(|error| error.located(named))
        };
        texts.iter().enumerate().map(encode).collect()
    }

    /// The text of these numbers; words are joined by a space.
    ///
    /// # Errors
    /// A number has no token.
    pub fn decode(&self, numbers: &[u32]) -> Result<String> {
        let token = |&number: &u32| {
            let expected = || format!("below the {} tokens", self.len());
            self.token(number)
                .ok_or_else(|| Error::value("Vocabulary::decode", "numbers", expected(), number))
        };
        let tokens: Vec<&str> = numbers.iter().map(token).collect::<Result<_>>()?;
        Ok(tokens.join(if self.symbols == Symbols::Words { " " } else { "" }))
    }
}

fn normalised(text: &str, form: Option<Normalisation>) -> Cow<'_, str> {
    form.map_or(Cow::Borrowed(text), |form| form.apply(text))
}

/// Calls `each` with the byte position of every symbol, and the symbol.
fn each_symbol<'a>(symbols: Symbols, text: &'a str, mut each: impl FnMut(usize, &'a str)) {
    match symbols {
        Symbols::Characters => text.char_indices().for_each(|(at, c)| each(at, &text[at..at + c.len_utf8()])),
        Symbols::Words => {
            text.split_whitespace().for_each(|word| each(word.as_ptr().addr() - text.as_ptr().addr(), word));
        }
    }
}

impl TryFrom<Saved> for Vocabulary {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<Self> {
        let Saved { symbols, tokens, unknown, normalisation } = saved;
        let mut numbers = HashMap::with_capacity(tokens.len());
        for (number, token) in tokens.iter().enumerate() {
            if numbers.insert(token.clone(), number as u32).is_some() {
                let got = format!("{token:?} twice");
                return Err(Error::config("Vocabulary", "tokens", "all different", got));
            }
        }
        let unknown = match unknown {
            None => None,
            Some(token) => Some(*numbers.get(&token).ok_or_else(|| {
                Error::config("Vocabulary", "unknown", "one of the tokens", format!("{token:?}"))
            })?),
        };
        Ok(Vocabulary { symbols, tokens, numbers, unknown, normalisation })
    }
}

impl From<Vocabulary> for Saved {
    fn from(vocabulary: Vocabulary) -> Self {
        let unknown = vocabulary.unknown.map(|number| vocabulary.tokens[number as usize].clone());
        let Vocabulary { symbols, tokens, normalisation, .. } = vocabulary;
        Saved { symbols, tokens, unknown, normalisation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters() {
        let vocabulary = VocabularyConfig::characters().fit(["héb", "b\na"]).unwrap();
        assert_eq!(vocabulary.tokens(), ["\n", "a", "b", "h", "é"]);
        let numbers = vocabulary.encode("bé\n").unwrap();
        assert_eq!(numbers, [2, 4, 0]);
        assert_eq!(vocabulary.decode(&numbers).unwrap(), "bé\n");
        let error = vocabulary.encode("a\néx").unwrap_err().to_string();
        assert!(error.starts_with("line 2, column 2: the vocabulary has no \"x\""), "{error}");
        let error = vocabulary.encode_all(&["a", ""]).unwrap_err().to_string();
        assert_eq!(error, "sequence 1: the text is empty");
        assert!(vocabulary.decode(&[5]).is_err());
        assert!(VocabularyConfig::characters().fit([""]).is_err());
    }

    #[test]
    fn words_by_frequency_with_unknown_and_special() {
        let config = VocabularyConfig::words().with_unknown("<unk>").with_special(["<pad>", "<end>"]);
        let text = "the cat  saw\nthe dog and the dog";
        let vocabulary = config.clone().with_min_count(2).fit([text]).unwrap();
        assert_eq!(vocabulary.tokens(), ["<pad>", "<end>", "<unk>", "the", "dog"]);
        assert_eq!(vocabulary.encode("the cow\tdog").unwrap(), [3, 2, 4]);
        assert_eq!(vocabulary.decode(&[3, 2, 1]).unwrap(), "the <unk> <end>");
        let vocabulary = config.with_max_size(3).fit([text]).unwrap();
        assert_eq!(vocabulary.tokens()[3..], ["the", "dog", "and"]);
        let error = VocabularyConfig::words().fit(["a b"]).unwrap().encode("a\n b  cow").unwrap_err();
        assert!(error.to_string().starts_with("line 2, column 5"), "{error}");
    }

    #[test]
    fn saved_vocabularies_are_checked() {
        let vocabulary = VocabularyConfig::characters().with_unknown("?").fit(["ab"]).unwrap();
        let json = serde_json::to_string(&vocabulary).unwrap();
        assert_eq!(json, r#"{"symbols":"Characters","tokens":["?","a","b"],"unknown":"?"}"#);
        assert_eq!(serde_json::from_str::<Vocabulary>(&json).unwrap(), vocabulary);
        assert!(serde_json::from_str::<Vocabulary>(&json.replace("\"b\"", "\"a\"")).is_err());
        assert!(serde_json::from_str::<Vocabulary>(&json.replace("own\":\"?\"", "own\":\"!\"")).is_err());
    }

    #[test]
    fn texts_that_look_alike_are_encoded_alike_on_request() {
        let (composed, decomposed) = ("h\u{e9}", "he\u{301}");
        let plain = VocabularyConfig::characters().fit([composed]).unwrap();
        assert!(plain.encode(decomposed).is_err());
        let config = VocabularyConfig::characters().with_normalisation(Normalisation::Nfc);
        let vocabulary = config.fit([decomposed]).unwrap();
        assert_eq!(vocabulary.tokens(), ["h", "\u{e9}"]);
        let json = serde_json::to_string(&vocabulary).unwrap();
        let vocabulary: Vocabulary = serde_json::from_str(&json).unwrap();
        for text in [composed, decomposed] {
            assert_eq!(vocabulary.encode(text).unwrap(), [0, 1]);
        }
    }
}
