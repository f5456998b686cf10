//! Polyphonic music: the set of notes that sound at each step.

use super::error::{Place, Problem};
use super::sequence::Sequence;
use super::split::Parts;
use super::text::read_text;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Pieces as sets of pitches per step, in the published training, validation and test parts (Boulanger-Lewandowski
/// et al. 2012, "Modeling temporal dependencies in high-dimensional sequences"): `{"train": [[[60, 64], [60], []],
/// ...], "valid": ..., "test": ...}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PianoRolls {
    pieces: Parts<Vec<Vec<Vec<usize>>>>,
    pitches: usize,
}

impl PianoRolls {
    /// Reads a file with pitches in `lowest..lowest + pitches`: 0 and 88 for pitches that count piano keys, 21 and
    /// 88 for MIDI numbers.
    ///
    /// # Errors
    /// As [`read_text`] and [`PianoRolls::parse`].
    pub fn read(path: impl AsRef<Path>, lowest: usize, pitches: usize) -> Result<Self> {
        let path = path.as_ref();
        let named = |error: Error| error.located(|place| Place { file: Some(path.to_path_buf()), ..place });
        Self::parse(&read_text(path)?, lowest, pitches).map_err(named)
    }

    /// Reads text.
    ///
    /// # Errors
    /// The text is not JSON of this form; a part is missing or empty; a piece has no steps; a pitch is outside the
    /// range; or the range is empty.
    pub fn parse(text: &str, lowest: usize, pitches: usize) -> Result<Self> {
        if pitches == 0 {
            return Err(Error::value("PianoRolls::parse", "pitches", "at least 1", 0));
        }
        let mut parts: BTreeMap<String, Vec<Vec<Vec<usize>>>> =
            serde_json::from_str(text).map_err(|error| {
                let place = Place::default().line(error.line()).column(error.column());
                let expected = "parts of pieces of steps of pitches, as JSON".into();
                Problem::Format { expected, got: error.to_string() }.at(place)
            })?;
        let known: Vec<String> = parts.keys().cloned().collect();
        let mut take = |names: &[&str]| {
            let found = names.iter().find_map(|name| parts.remove(*name));
            let unknown = || Problem::UnknownField { name: names[0].to_string(), known: known.clone() };
            let mut pieces = found.ok_or_else(|| unknown().at(Place::default()))?;
            from_lowest(&mut pieces, lowest, pitches)
                .map_err(|error| error.located(|place| place.field(names[0])))?;
            Ok::<_, Error>(pieces)
        };
        let train = take(&["train"])?;
        let validation = take(&["valid", "validation"])?;
        let test = take(&["test"])?;
        Ok(PianoRolls { pieces: Parts { train, validation, test }, pitches })
    }

    /// The pitches that sound at each step of each piece, counted from 0.
    pub fn pieces(&self) -> &Parts<Vec<Vec<Vec<usize>>>> {
        &self.pieces
    }

    /// The number of pitches.
    pub fn pitches(&self) -> usize {
        self.pitches
    }

    /// The pieces as sequences `[T, pitches]` of zeros and ones.
    pub fn sequences(&self) -> Parts<Vec<Sequence>> {
        let roll = |piece: &Vec<Vec<usize>>| {
            let mut values = vec![0.0; piece.len() * self.pitches];
            for (step, notes) in values.chunks_exact_mut(self.pitches).zip(piece) {
                notes.iter().for_each(|&note| step[note] = 1.0);
            }
            Sequence::from_parts(values, self.pitches)
        };
        self.pieces.as_ref().map(|pieces| pieces.iter().map(roll).collect())
    }
}

/// Counts pitches from the lowest one and checks the range.
fn from_lowest(pieces: &mut [Vec<Vec<usize>>], lowest: usize, pitches: usize) -> Result<()> {
    if pieces.is_empty() {
        return Err(Problem::Empty { what: "the part" }.at(Place::default()));
    }
    for (index, piece) in pieces.iter_mut().enumerate() {
        if piece.is_empty() {
            return Err(Problem::Empty { what: "the piece" }.at(Place::sequence(index)));
        }
        for (step, notes) in piece.iter_mut().enumerate() {
            for note in notes {
                let counted = note.checked_sub(lowest).filter(|&n| n < pitches);
                *note = counted.ok_or_else(|| {
                    let expected = format!("a pitch in {lowest}..{}", lowest.saturating_add(pitches));
                    Problem::format(expected, note.to_string()).at(Place::sequence(index).step(step))
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_sets_of_pitches() {
        let text = r#"{"train": [[[1, 3], [], [2]]], "valid": [[[4]]], "test": [[[1, 1]], [[2]]]}"#;
        let rolls = PianoRolls::parse(text, 1, 4).unwrap().sequences();
        assert_eq!(rolls.train[0].values(), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!((rolls.train[0].len(), rolls.test.len()), (3, 2));
        assert_eq!(rolls.test[0].values(), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn nonsense_is_named() {
        let error = |text: &str| PianoRolls::parse(text, 1, 4).unwrap_err().to_string();
        let range = error(r#"{"train": [[[1], [5]]], "valid": [[[4]]], "test": [[[1]]]}"#);
        assert_eq!(range, "field \"train\", sequence 0, step 1: expected a pitch in 1..5, got \"5\"");
        assert!(error(r#"{"train": [[[0]]], "valid": [[[4]]], "test": [[[1]]]}"#).contains("got \"0\""));
        assert!(
            error(r#"{"train": [[[1]]], "test": [[[1]]]}"#).contains("no field \"valid\" among test, train")
        );
        assert!(error(r#"{"train": [[]], "valid": [], "test": []}"#).contains("the piece is empty"));
        assert!(error("{\"train\":\n [[[1.5]]]}").starts_with("line 2, column "));
        assert!(error("[").starts_with("line 1"));
        let silent = r#"{"train": [[[]]], "valid": [[[]]], "test": [[[]]]}"#;
        assert!(PianoRolls::parse(silent, 0, 0).unwrap_err().to_string().contains("at least 1"));
    }
}
