//! Polyphonic music: the set of notes that sound at each step.

use super::error::{Place, Problem};
use super::sequence::Sequence;
use super::split::Parts;
use super::text::{TextOptions, read_text_with};
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;

/// Pieces as sets of pitches per step, in the published training, validation and test parts (Boulanger-Lewandowski
/// et al. 2012, "Modeling temporal dependencies in high-dimensional sequences"): `{"train": [[[60, 64], [60], []],
/// ...], "valid": ..., "test": ...}`. Other keys are passed over.
///
/// Pitches are whole numbers, also written as `74.0`. -1 and `null` are rests: no note at this step in this voice.
/// The validation part may be called `valid`, `validation`, `val` or `dev`.
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
    /// As [`PianoRolls::read_with`].
    pub fn read(path: impl AsRef<Path>, lowest: usize, pitches: usize) -> Result<Self> {
        Self::read_with(path, lowest, pitches, &TextOptions::new())
    }

    /// As [`PianoRolls::read`], with another encoding or limit of unpacked text.
    ///
    /// # Errors
    /// As [`read_text_with`] and [`PianoRolls::parse`].
    pub fn read_with(
        path: impl AsRef<Path>,
        lowest: usize,
        pitches: usize,
        options: &TextOptions,
    ) -> Result<Self> {
        let path = path.as_ref();
        let named = |error: Error| error.located(|place| Place { file: Some(path.to_path_buf()), ..place });
        Self::parse(&read_text_with(path, options)?, lowest, pitches).map_err(named)
    }

    /// Reads text.
    ///
    /// # Errors
    /// The text is not JSON of this form; a part is missing or empty; a piece has no steps; a pitch is not a whole
    /// number or outside the range; or the range is empty or has more than 1024 pitches.
    pub fn parse(text: &str, lowest: usize, pitches: usize) -> Result<Self> {
        if !(1..=MOST_PITCHES).contains(&pitches) {
            let expected = format!("from 1 to {MOST_PITCHES}");
            return Err(Error::value("PianoRolls::parse", "pitches", expected, pitches));
        }
        let parts: Written = serde_json::from_str(text).map_err(|error| {
            let place = Place::default().line(error.line()).column(error.column());
            let expected = "parts of pieces of steps of pitches, as JSON".into();
            Problem::Format { expected, got: error.to_string() }.at(place)
        })?;
        let part = |name: &str, pieces: Option<Vec<Piece<Option<f64>>>>| {
            let known = || ["train", "valid", "test"].iter().filter(|known| **known != name);
            let missing =
                || Problem::UnknownField { name: name.into(), known: known().map(|&n| n.into()).collect() };
            let pieces = pieces.ok_or_else(|| missing().at(Place::default()))?;
            from_lowest(pieces, lowest, pitches).map_err(|error| error.located(|place| place.field(name)))
        };
        let train = part("train", parts.train)?;
        let validation = part("valid", parts.valid)?;
        let test = part("test", parts.test)?;
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

/// The largest range, eight times that of MIDI: a step of a sequence takes four bytes for each of its pitches.
const MOST_PITCHES: usize = 1024;

type Piece<T> = Vec<Vec<T>>;

/// The parts as they are written.
#[derive(Deserialize)]
struct Written {
    train: Option<Vec<Piece<Option<f64>>>>,
    #[serde(alias = "validation", alias = "val", alias = "dev")]
    valid: Option<Vec<Piece<Option<f64>>>>,
    test: Option<Vec<Piece<Option<f64>>>>,
}

/// Counts pitches from the lowest one, checks the range, and leaves out rests.
fn from_lowest(pieces: Vec<Piece<Option<f64>>>, lowest: usize, pitches: usize) -> Result<Vec<Piece<usize>>> {
    if pieces.is_empty() {
        return Err(Problem::Empty { what: "the part" }.at(Place::default()));
    }
    let piece = |(index, piece): (usize, Piece<Option<f64>>)| {
        if piece.is_empty() {
            return Err(Problem::Empty { what: "the piece" }.at(Place::sequence(index)));
        }
        let step = |(step, notes): (usize, Vec<Option<f64>>)| {
            let sounding = notes.into_iter().flatten().filter(|note| *note != REST);
            sounding
                .map(|note| pitch(note, lowest, pitches))
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(|problem| problem.at(Place::sequence(index).step(step)))
        };
        piece.into_iter().enumerate().map(step).collect()
    };
    pieces.into_iter().enumerate().map(piece).collect()
}

const REST: f64 = -1.0;

fn pitch(note: f64, lowest: usize, pitches: usize) -> std::result::Result<usize, Problem> {
    // Exact: whole numbers up to 2^53, beyond which no range begins in practice.
    let whole = (note.fract() == 0.0 && (0.0..9e15).contains(&note)).then_some(note as usize);
    let counted = whole.and_then(|note| note.checked_sub(lowest)).filter(|&note| note < pitches);
    counted.ok_or_else(|| {
        let expected = format!("a pitch in {lowest}..{}, or -1 for a rest", lowest.saturating_add(pitches));
        Problem::format(expected, note.to_string())
    })
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
    fn rests_whole_floats_and_other_keys() {
        let text = r#"{"license": "none", "train": [[[2.0, -1, 4], [-1, -1.0, null]]], "dev": [[[1]]],
                      "test": [[[1]]], "tempo": {"train": 120}}"#;
        let rolls = PianoRolls::parse(text, 1, 4).unwrap();
        assert_eq!(rolls.pieces().train, [vec![vec![1, 3], vec![]]]);
        assert_eq!(rolls.sequences().train[0].values(), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn nonsense_is_named() {
        let error = |text: &str| PianoRolls::parse(text, 1, 4).unwrap_err().to_string();
        let range = error(r#"{"train": [[[1], [5]]], "valid": [[[4]]], "test": [[[1]]]}"#);
        assert_eq!(
            range,
            "field \"train\", sequence 0, step 1: expected a pitch in 1..5, or -1 for a rest, got \"5\""
        );
        assert!(error(r#"{"train": [[[0]]], "valid": [[[4]]], "test": [[[1]]]}"#).contains("got \"0\""));
        assert!(
            error(r#"{"train": [[[1]]], "test": [[[1]]]}"#).contains("no field \"valid\" among train, test")
        );
        assert!(error(r#"{"train": [[]], "valid": [], "test": []}"#).contains("the piece is empty"));
        assert!(error("{\"train\":\n [[[\"a\"]]]}").starts_with("line 2, column "));
        for pitch in ["1.5", "-2", "1e300", "-0.5"] {
            let text = format!(r#"{{"train": [[[{pitch}]]], "valid": [[[4]]], "test": [[[1]]]}}"#);
            assert!(error(&text).contains("expected a pitch in 1..5"), "{pitch}");
        }
        let twice = r#"{"train": [[[1]]], "valid": [[[1]]], "val": [[[1]]], "test": [[[1]]]}"#;
        assert!(error(twice).contains("duplicate field"));
        assert!(error("[").starts_with("line 1"));
        let silent = r#"{"train": [[[]]], "valid": [[[]]], "test": [[[]]]}"#;
        for pitches in [0, 1025, usize::MAX] {
            assert!(
                PianoRolls::parse(silent, 0, pitches).unwrap_err().to_string().contains("from 1 to 1024")
            );
        }
    }
}
