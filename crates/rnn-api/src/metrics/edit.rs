//! Edit distance between sequences of different length, and decoding of CTC outputs.

use super::{ValidSteps, ratio};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The smallest number of insertions, deletions and replacements that turn `a` into `b` (Levenshtein 1966). Time
/// `a.len() * b.len()`, memory `b.len()`.
pub fn edit_distance<X: PartialEq>(a: &[X], b: &[X]) -> usize {
    // distances[j]: from the tokens of `a` processed so far to the first j tokens of `b`.
    let mut distances: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        distances[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = distances[j + 1];
            distances[j + 1] = replaced.min(diagonal + 1).min(distances[j] + 1);
        }
    }
    distances[b.len()]
}

/// Edits per token of the reference: character or word error rate. It can exceed 1 if outputs are too long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditRate {
    edits: u64,
    reference: u64,
}

impl EditRate {
    /// Without sequences yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sequence. Both may be empty.
    pub fn add<X: PartialEq>(&mut self, prediction: &[X], reference: &[X]) {
        self.edits += edit_distance(prediction, reference) as u64;
        self.reference += reference.len() as u64;
    }

    /// The number of edits.
    pub fn edits(&self) -> u64 {
        self.edits
    }

    /// The sum of all edits over the number of all reference tokens.
    ///
    /// # Errors
    /// The references have no token.
    pub fn value(&self) -> Result<f64> {
        ratio("EditRate", self.edits as f64, self.reference)
    }
}

/// Best path decoding of CTC outputs (Graves et al. 2006): the best class of each step, with repeats merged and
/// blanks removed. `scores` are logits or probabilities `[T, B, C]` with the shape `dims`. Of equal scores the
/// lower class wins.
///
/// ```
/// use rnn_api::metrics::{EditRate, ctc_best_path};
/// # fn main() -> rnn_api::Result<()> {
/// // Steps 1, 1, blank, 1, 2 of one sequence; class 0 is the blank.
/// let scores = [0., 9., 0., 0., 9., 0., 9., 0., 0., 0., 9., 0., 0., 0., 9.];
/// let labels = ctc_best_path(&scores, [5, 1, 3], &[5], 0)?;
/// assert_eq!(labels, [[1, 1, 2]]);
/// let mut rate = EditRate::new();
/// rate.add(&labels[0], &[1, 2]);
/// assert_eq!(rate.value()?, 0.5);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The number of scores differs from the shape; a valid score is NaN; the blank is not a class; or there are not B
/// lengths in `1..=T`.
pub fn ctc_best_path(
    scores: &[f32],
    dims: [usize; 3],
    lengths: &[usize],
    blank: u32,
) -> Result<Vec<Vec<u32>>> {
    const OP: &str = "ctc_best_path";
    let [steps, batch, classes] = dims;
    if blank as usize >= classes {
        return Err(Error::value(OP, "blank", format!("a class in 0..{classes}"), blank));
    }
    let sequences = ValidSteps::new(steps, batch, lengths)?.sequences(scores, classes)?;
    let mut labels = Vec::with_capacity(batch);
    for (row, scores) in sequences.iter().enumerate() {
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            let got = format!("NaN for class {} at step {} of sequence {row}", at % classes, at / classes);
            return Err(Error::value(OP, "scores", "numbers", got));
        }
        let best = |scores: &[f32]| {
            (1..classes).fold(0, |best, class| if scores[class] > scores[best] { class } else { best }) as u32
        };
        let mut path: Vec<u32> = scores.chunks_exact(classes).map(best).collect();
        path.dedup();
        path.retain(|&class| class != blank);
        labels.push(path);
    }
    Ok(labels)
}
