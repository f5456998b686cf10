//! Calls of the network, whose rows may be at different places of their prompts.

use super::logits;
use crate::autograd::no_grad;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::{Device, host_memory};

/// A network that is fed with rows of symbols. All rows have seen equally many.
pub(super) struct Feed<S, F> {
    op: &'static str,
    device: Device,
    step: F,
    pub(super) state: S,
    /// Symbols that the network has seen, of every row.
    seen: usize,
}

/// The prompts as rows of their own.
///
/// # Errors
/// No prompt, or one without symbols; 2^32 prompts or more; no memory for them.
pub(super) fn rows_of<P: AsRef<[u32]>>(op: &'static str, prompts: &[P]) -> Result<Vec<Vec<u32>>> {
    if prompts.is_empty() {
        return Err(Error::value(op, "prompts", "at least one", "none"));
    }
    if let Some(row) = prompts.iter().position(|prompt| prompt.as_ref().is_empty()) {
        return Err(Error::value(op, "prompts", "of at least one symbol each", format!("none in row {row}")));
    }
    if u32::try_from(prompts.len()).is_err() {
        return Err(Error::value(op, "prompts", "fewer than 2^32", prompts.len()));
    }
    let symbols: u128 = prompts.iter().map(|prompt| prompt.as_ref().len() as u128).sum();
    let bytes = symbols.saturating_mul(size_of::<u32>() as u128);
    host_memory::expect_room(op, || format!("prompts of {symbols} symbols"), bytes)?;
    Ok(prompts.iter().map(|prompt| prompt.as_ref().to_vec()).collect())
}

/// The logits of the symbol after the last one that the network has seen, `[B, V]`.
pub(super) struct LastLogits {
    values: Vec<f32>,
    pub(super) classes: usize,
}

impl LastLogits {
    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.classes..][..self.classes]
    }

    /// The logits of a row, of which a symbol can be taken when `banned` ones are not.
    ///
    /// # Errors
    /// A logit is NaN or plus infinity, or no symbol is possible.
    pub(super) fn checked_row(&mut self, op: &'static str, row: usize, banned: &[u32]) -> Result<&[f32]> {
        let values = &mut self.values[row * self.classes..][..self.classes];
        logits::check(op, values).map_err(|error| logits::of_row(error, row))?;
        banned.iter().for_each(|&symbol| values[symbol as usize] = f32::NEG_INFINITY);
        if values.iter().all(|&value| value == f32::NEG_INFINITY) {
            let got = format!("none in row {row} beside the banned ones");
            return Err(Error::value(op, "logits", "of at least one possible symbol", got));
        }
        Ok(values)
    }
}

impl<S, F: FnMut(&Tensor, &S) -> Result<(Tensor, S)>> Feed<S, F> {
    pub(super) fn new(op: &'static str, device: &Device, state: S, step: F) -> Self {
        Feed { op, device: device.clone(), step, state, seen: 0 }
    }

    /// Symbols of every row that the network has seen.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Feeds as many symbols as all rows have that count; `rows` has the symbols of all rows and whether a row counts.
    /// Another row may be shorter: the network sees its last symbol again, and what it says of that row is not used.
    pub(super) fn advance(&mut self, rows: &[(&[u32], bool)]) -> Result<LastLogits> {
        let counting = rows.iter().filter(|(_, counts)| *counts);
        let until = counting.map(|(symbols, _)| symbols.len()).min().unwrap_or(self.seen + 1);
        let steps = until.saturating_sub(self.seen).max(1);
        let what = || format!("symbols [T, B] = [{steps}, {}]", rows.len());
        let mut all = host_memory::reserve(self.op, what, steps.saturating_mul(rows.len()))?;
        for at in self.seen..self.seen + steps {
            let of = |(symbols, _): &(&[u32], bool)| symbols.get(at).or(symbols.last()).copied().unwrap_or(0);
            all.extend(rows.iter().map(of));
        }
        let symbols = Tensor::from_indices(&self.device, &all, &[steps, rows.len()])?;
        let (op, step, state) = (self.op, &mut self.step, &self.state);
        let (values, classes, state) = no_grad(|| {
            let (logits, state) = step(&symbols, state)?;
            let classes = match *logits.dims() {
                [t, b, v] if t == steps && b == rows.len() && v > 0 => v,
                _ => {
                    let expected = format!("[T, B, V] = [{steps}, {}, V]", rows.len());
                    return Err(Error::shape(op, "logits", expected, logits.shape()));
                }
            };
            let last = if steps > 1 { logits.slice(0, steps - 1..steps)? } else { logits };
            Ok((last.to_vec()?, classes, state))
        })?;
        (self.state, self.seen) = (state, self.seen + steps);
        Ok(LastLogits { values, classes })
    }
}

/// Refuses symbols of the settings that the network does not have.
pub(super) fn check_symbols(
    op: &'static str,
    classes: usize,
    (stop, banned): (&[u32], &[u32]),
) -> Result<()> {
    for (arg, symbols) in [("stop", stop), ("banned", banned)] {
        if let Some(symbol) = symbols.iter().find(|&&symbol| symbol as usize >= classes) {
            return Err(Error::value(op, arg, format!("below V = {classes}"), symbol));
        }
    }
    Ok(())
}
