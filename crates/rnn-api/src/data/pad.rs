//! Ragged sequences as one padded time-major array with lengths.

use super::error::{Place, Problem};
use super::host::HostArray;
use super::reserve::{filled, room};
use super::sequence::{Missing, Sequence};
use crate::{Error, Result};
use std::borrow::Cow;

/// Ragged sequences `[T, B, features]` or ragged indices `[T, B]`, where T is the longest length. Values beyond a
/// length are padding.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Padded<T> {
    /// The values.
    pub values: HostArray<T>,
    /// The number of valid steps of each batch row, at least 1.
    pub lengths: Vec<usize>,
}

/// What [`pad`](pad()) takes as a sequence: a [`Sequence`], a list of numbers (one feature), or a list of steps, each of
/// which is a list of its features. References to all of them, too.
pub trait AsSequence {
    /// The sequence, checked.
    ///
    /// # Errors
    /// It is empty, steps differ in their number of features, or a value is infinite or NaN.
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>>;
}

impl AsSequence for Sequence {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        self.check(Missing::Error)?;
        Ok(Cow::Borrowed(self))
    }
}

impl<S: AsSequence + ?Sized> AsSequence for &S {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        (**self).as_sequence()
    }
}

impl AsSequence for [f32] {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        Sequence::new(self.to_vec(), 1).map(Cow::Owned)
    }
}

impl AsSequence for Vec<f32> {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        self.as_slice().as_sequence()
    }
}

impl<const T: usize> AsSequence for [f32; T] {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        self.as_slice().as_sequence()
    }
}

impl AsSequence for [Vec<f32>] {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        from_steps(self).map(Cow::Owned)
    }
}

impl AsSequence for Vec<Vec<f32>> {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        from_steps(self).map(Cow::Owned)
    }
}

impl<const FEATURES: usize> AsSequence for [[f32; FEATURES]] {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        from_steps(self).map(Cow::Owned)
    }
}

impl<const FEATURES: usize> AsSequence for Vec<[f32; FEATURES]> {
    fn as_sequence(&self) -> Result<Cow<'_, Sequence>> {
        from_steps(self).map(Cow::Owned)
    }
}

/// A sequence of steps with equally many features.
fn from_steps(steps: &[impl AsRef<[f32]>]) -> Result<Sequence> {
    let features = steps.first().map_or(0, |step| step.as_ref().len());
    let mut values = room("pad", "the values [T, features] =", &[steps.len(), features])?;
    for (t, step) in steps.iter().enumerate() {
        let got = step.as_ref().len();
        if got != features {
            return Err(
                Problem::Ragged { what: "features", expected: features, got }.at(Place::default().step(t))
            );
        }
        values.extend_from_slice(step.as_ref());
    }
    Sequence::new(values, features)
}

/// Puts sequences side by side and fills the shorter ones with zeros. The result has `steps` steps, by default as
/// many as the longest sequence. A fixed number gives all batches of a bucket the same shape.
///
/// ```
/// use rnn_api::data::{Sequence, pad};
/// # fn main() -> rnn_api::Result<()> {
/// let padded = pad(&[vec![1.0, 2.0, 3.0], vec![4.0]], None)?;
/// assert_eq!((padded.values.dims(), &padded.lengths[..]), (&[3, 2, 1][..], &[3, 1][..]));
///
/// let sequences = vec![Sequence::new(vec![1.0, 2.0], 2)?, Sequence::new(vec![3.0, 4.0, 5.0, 6.0], 2)?];
/// assert_eq!(pad(&sequences, None)?.values.dims(), [2, 2, 2]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// There are no sequences, one is empty, their numbers of features differ, a value is missing, a sequence is longer than
/// `steps`, or the array does not fit into memory.
pub fn pad<S: AsSequence>(sequences: &[S], steps: Option<usize>) -> Result<Padded<f32>> {
    // Borrowed, unless the caller has no sequences.
    let mut checked = Vec::with_capacity(sequences.len());
    for (index, sequence) in sequences.iter().enumerate() {
        let named = |place| Place { sequence: Some(index), ..place };
        checked.push(sequence.as_sequence().map_err(|error| error.located(named))?);
    }
    let sequences = checked;
    let features = sequences.first().map_or(0, |sequence| sequence.features());
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
    let steps = padded_steps(&lengths, steps)?;
    for (index, sequence) in sequences.iter().enumerate() {
        if sequence.features() != features {
            let (expected, got) = (features, sequence.features());
            return Err(Problem::Ragged { what: "features", expected, got }.at(Place::sequence(index)));
        }
    }
    let mut values =
        filled("pad", "the values [T, B, features] =", &[steps, sequences.len(), features], 0.0)?;
    for (b, sequence) in sequences.iter().enumerate() {
        for (t, step) in sequence.steps().enumerate() {
            let at = (t * sequences.len() + b) * features;
            values[at..at + features].copy_from_slice(step);
        }
    }
    let values = HostArray::from_parts(values, &[steps, sequences.len(), features]);
    Ok(Padded { values, lengths })
}

/// As [`pad`], for indices: the symbols of a vocabulary, or one label per step. `filler` has to be an index that
/// the embedding or the loss accepts, although it never counts.
///
/// # Errors
/// There are no rows, a row is empty, a row is longer than `steps`, or the array does not fit into memory.
pub fn pad_indices<R: AsRef<[u32]>>(rows: &[R], filler: u32, steps: Option<usize>) -> Result<Padded<u32>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
    let steps = padded_steps(&lengths, steps)?;
    let mut values = filled("pad_indices", "the values [T, B] =", &[steps, rows.len()], filler)?;
    for (b, row) in rows.iter().enumerate() {
        for (t, &value) in row.as_ref().iter().enumerate() {
            values[t * rows.len() + b] = value;
        }
    }
    Ok(Padded { values: HostArray::from_parts(values, &[steps, rows.len()]), lengths })
}

fn padded_steps(lengths: &[usize], steps: Option<usize>) -> Result<usize> {
    if let Some(index) = lengths.iter().position(|&length| length == 0) {
        return Err(Problem::Empty { what: "the sequence" }.at(Place::sequence(index)));
    }
    let Some(&longest) = lengths.iter().max() else {
        return Err(Problem::Empty { what: "the list of sequences" }.at(Place::default()));
    };
    match steps {
        Some(steps) if steps < longest => {
            Err(Error::value("pad", "steps", format!("at least the longest length {longest}"), steps))
        }
        steps => Ok(steps.unwrap_or(longest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_time_major_and_end_in_zeros() {
        let a = Sequence::new(vec![1.0, 2.0], 2).unwrap();
        let b = Sequence::new(vec![3.0, 4.0, 5.0, 6.0], 2).unwrap();
        let padded = pad(&[&a, &b], None).unwrap();
        assert_eq!((padded.values.dims(), padded.lengths.as_slice()), (&[2, 2, 2][..], &[1, 2][..]));
        assert_eq!(padded.values.values(), [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 5.0, 6.0]);
        assert_eq!(pad(&[&a], Some(3)).unwrap().values.values(), [1.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
        let padded = pad_indices(&[vec![1], vec![2, 3, 4]], 9, None).unwrap();
        assert_eq!(padded.values.values(), [1, 2, 9, 3, 9, 4]);
    }

    #[test]
    fn sequences_come_in_any_form() {
        let (a, b) =
            (Sequence::new(vec![1.0, 2.0, 3.0, 4.0], 2).unwrap(), Sequence::new(vec![5.0, 6.0], 2).unwrap());
        let expected = pad(&[&a, &b], None).unwrap();
        assert_eq!(pad(&[a.clone(), b.clone()], None).unwrap(), expected);
        let references: Vec<&Sequence> = [&a, &b].into();
        assert_eq!(pad(&references, None).unwrap(), expected);
        assert_eq!(
            pad(&[vec![vec![1.0, 2.0], vec![3.0, 4.0]], vec![vec![5.0, 6.0]]], None).unwrap(),
            expected
        );
        assert_eq!(pad(&[vec![[1.0, 2.0], [3.0, 4.0]], vec![[5.0, 6.0]]], None).unwrap(), expected);
        let steps: [&[[f32; 2]]; 2] = [&[[1.0, 2.0], [3.0, 4.0]], &[[5.0, 6.0]]];
        assert_eq!(pad(&steps, None).unwrap(), expected);

        let numbers = pad(&[vec![1.0, 2.0], vec![3.0]], Some(3)).unwrap();
        assert_eq!((numbers.values.dims(), &numbers.lengths[..]), (&[3, 2, 1][..], &[2, 1][..]));
        assert_eq!(pad(&[&[1.0, 2.0][..], &[3.0]], Some(3)).unwrap(), numbers);

        let error = |sequences: &[Vec<Vec<f32>>]| pad(sequences, None).unwrap_err().to_string();
        assert_eq!(
            error(&[vec![vec![1.0]], vec![vec![1.0], vec![]]]),
            "sequence 1, step 1: expected 1 features, got 0"
        );
        assert_eq!(error(&[vec![vec![1.0]], vec![]]), "sequence 1: the sequence is empty");
        assert_eq!(error(&[vec![vec![]]]), "sequence 0: the sequence is empty");
        assert_eq!(error(&[vec![vec![1.0]], vec![vec![1.0, 2.0]]]), "sequence 1: expected 1 features, got 2");
        assert!(pad(&[vec![1.0, f32::NAN]], None).unwrap_err().to_string().starts_with("sequence 0, step 1"));
        assert!(pad(&[vec![f32::INFINITY]], None).unwrap_err().to_string().contains("expected a finite"));
    }

    #[test]
    fn nonsense_is_refused() {
        let one = Sequence::new(vec![1.0], 1).unwrap();
        let two = Sequence::new(vec![1.0, 2.0], 2).unwrap();
        let missing = Sequence::with_missing(vec![f32::NAN], 1).unwrap();
        assert!(pad::<Sequence>(&[], None).unwrap_err().to_string().contains("list of sequences is empty"));
        assert!(
            pad(&[&one, &two], None).unwrap_err().to_string().starts_with("sequence 1: expected 1 features")
        );
        assert!(
            pad(&[&one, &missing], None)
                .unwrap_err()
                .to_string()
                .starts_with("sequence 1, step 0, feature 0")
        );
        assert!(pad(&[&two.column_pair()], Some(1)).unwrap_err().to_string().contains("longest length 2"));
        let error = pad_indices(&[vec![1], vec![]], 0, None).unwrap_err().to_string();
        assert_eq!(error, "sequence 1: the sequence is empty");
    }

    /// In release builds the product of the sizes wrapped around to a small array.
    #[test]
    fn sizes_beyond_the_memory_are_errors() {
        let sequence = Sequence::new(vec![1.0; 4], 4).unwrap();
        for steps in [(1 << 62) + 1, 1 << 61, usize::MAX] {
            let error = pad(&[&sequence], Some(steps)).unwrap_err().to_string();
            assert!(error.starts_with("pad: the values [T, B, features]"), "{error}");
            let error = pad_indices(&[[1], [2], [3], [4]], 0, Some(steps)).unwrap_err().to_string();
            assert!(error.starts_with("pad_indices: the values [T, B]"), "{error}");
        }
    }

    impl Sequence {
        /// The two features of a step as two steps.
        fn column_pair(&self) -> Sequence {
            Sequence::new(self.values().to_vec(), 1).unwrap()
        }
    }
}
