//! How far back the output depends on the input.

use serde::{Deserialize, Serialize};

/// The effect of a small change of the input on the output at the end, by the number of steps in between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryHorizon {
    /// Steps before the last one at which the input was changed, ascending from 0.
    pub lags: Vec<usize>,
    /// For each of them the norm of the change of the output over that of the input.
    pub effect: Vec<f64>,
    /// T: the number of steps of the sequences.
    pub steps: usize,
}

impl MemoryHorizon {
    /// The smallest lag from which on the effect stays below `fraction` of the largest one. `None` if it does not fall so
    /// far within the sequence, or the output does not depend on the input at all.
    pub fn horizon(&self, fraction: f64) -> Option<usize> {
        let largest = self.effect.iter().copied().fold(0.0, f64::max);
        let last = self.effect.iter().rposition(|&effect| effect >= fraction * largest && effect > 0.0)?;
        self.lags.get(last + 1).copied()
    }
}
