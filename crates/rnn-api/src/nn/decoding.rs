//! The decoder of an encoder-decoder: what it sees before each symbol in training.

use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::{Device, RngKey};

/// Training of a decoder, a network of your own: `step(before, &state)` maps symbols `[S, B]` to the logits `[S, B, V]` of
/// the symbol after each, and returns the state after them. The network is any function; the state is any type. In use,
/// [`Generation`](crate::generate::Generation) runs the same function.
///
/// ```
/// use rnn_api::generate::Generation;
/// use rnn_api::nn::Decoding;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let device = Device::cpu();
/// let embedding = EmbeddingConfig::new(6, 8).init(&device, 1)?;
/// let gru = GruConfig::new(8, 16).init(&device, 2)?;
/// let head = LinearConfig::new(16, 6).init(&device, 3)?;
/// let step = |before: &Tensor, state: &GruState| {
///     let out = gru.forward(&embedding.forward(before)?, Some(state))?;
///     Ok((head.forward(&out.y)?, out.state))
/// };
/// let encoded = gru.zero_state(2)?; // the state of an encoder, for two rows
/// let decoding = Decoding::new(0); // symbol 0 starts a target, and ends it
///
/// let targets = [3, 1, 2, 0, 0, 0]; // [T, B] = [3, 2]: rows 3 2 0 and 1 0 0
/// let logits = decoding.forced(&device, &targets, 2, &encoded, step)?;
/// let loss = logits.cross_entropy(&Tensor::from_indices(&device, &targets, &[3, 2])?)?;
/// # let _ = loss;
/// let rows = Generation::greedy(10).with_stop([0]).generate(&device, &[[0], [0]], encoded, step)?;
/// # assert_eq!(rows.len(), 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoding {
    /// The symbol before the first.
    pub start: u32,
}

impl Decoding {
    /// With this symbol at the start.
    pub fn new(start: u32) -> Self {
        Decoding { start }
    }

    /// Teacher forcing: the logits `[T, B, V]` of targets `[T, B]`, where the network sees the true symbol before each. It is
    /// called once.
    ///
    /// # Errors
    /// `rows` is 0 or does not divide the targets; any error of `step`.
    pub fn forced<S>(
        &self,
        device: &Device,
        targets: &[u32],
        rows: usize,
        state: &S,
        mut step: impl FnMut(&Tensor, &S) -> Result<(Tensor, S)>,
    ) -> Result<Tensor> {
        let steps = steps("Decoding::forced", targets, rows)?;
        let mut before = vec![self.start; rows];
        before.extend(&targets[..(steps - 1) * rows]);
        Ok(step(&Tensor::from_indices(device, &before, &[steps, rows])?, state)?.0)
    }

    /// Scheduled sampling (Bengio et al. 2015): as [`Decoding::forced`], but before each symbol a row sees the true one with
    /// probability `truth` only, and otherwise the one that it found likeliest. Lower `truth` from 1 on while training goes
    /// on. `key` decides; give another one to each step of training. The network is called T times.
    ///
    /// # Errors
    /// As [`Decoding::forced`]; `truth` is not in `[0, 1]`.
    #[allow(clippy::too_many_arguments, reason = "those of `forced`, and the two of the draws")]
    pub fn scheduled<S>(
        &self,
        device: &Device,
        targets: &[u32],
        rows: usize,
        truth: f32,
        key: RngKey,
        state: &S,
        mut step: impl FnMut(&Tensor, &S) -> Result<(Tensor, S)>,
    ) -> Result<Tensor> {
        const OP: &str = "Decoding::scheduled";
        if !(0.0..=1.0).contains(&truth) {
            return Err(Error::value(OP, "truth", "in [0, 1]", truth));
        }
        let steps = steps(OP, targets, rows)?;
        let mut before = vec![self.start; rows];
        let (mut all, mut reached) = (Vec::with_capacity(steps), None);
        for t in 0..steps {
            let symbols = Tensor::from_indices(device, &before, &[1, rows])?;
            let (logits, next) = step(&symbols, reached.as_ref().unwrap_or(state))?;
            if t + 1 < steps {
                let own = logits.argmax(2)?;
                for (row, seen) in before.iter_mut().enumerate() {
                    let is_true = key.uniform(t as u32, row as u32) < truth;
                    *seen = if is_true { targets[t * rows + row] } else { own[row] };
                }
            }
            all.push(logits);
            reached = Some(next);
        }
        Tensor::concat(&all.iter().collect::<Vec<_>>(), 0)
    }
}

/// T of targets `[T, B]`.
fn steps(op: &'static str, targets: &[u32], rows: usize) -> Result<usize> {
    if rows == 0 || targets.is_empty() || !targets.len().is_multiple_of(rows) {
        let got = format!("{} symbols in {rows} rows", targets.len());
        return Err(Error::value(op, "targets", "[T, B] of whole steps", got));
    }
    Ok(targets.len() / rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: usize = 7;

    /// The symbols of a tensor of indices.
    fn symbols(tensor: &Tensor) -> Result<Vec<u32>> {
        // Row k of this table is k.
        let table = Tensor::from_vec(tensor.device(), (0..V).map(|v| v as f32).collect(), &[V, 1])?;
        Ok(table.gather(tensor)?.to_vec()?.into_iter().map(|v| v as u32).collect())
    }

    /// A network that adds: the likeliest symbol is the sum of all symbols seen so far, modulo V. Its state is that sum.
    fn adding(device: &Device) -> impl Fn(&Tensor, &Vec<u32>) -> Result<(Tensor, Vec<u32>)> {
        let device = device.clone();
        move |before: &Tensor, sums: &Vec<u32>| {
            let [steps, rows] = *before.dims() else { panic!("[S, B]") };
            let (mut sums, mut logits) = (sums.clone(), Vec::new());
            for step in symbols(before)?.chunks(rows) {
                for (sum, symbol) in sums.iter_mut().zip(step) {
                    *sum = (*sum + symbol) % V as u32;
                    logits.extend((0..V as u32).map(|v| f32::from(u8::from(v == *sum))));
                }
            }
            Ok((Tensor::from_vec(&device, logits, &[steps, rows, V])?, sums))
        }
    }

    const START: u32 = 1;
    const TARGETS: [u32; 8] = [3, 5, 2, 2, 4, 1, 6, 0];

    #[test]
    fn teacher_forcing_sees_the_truth() {
        let device = Device::cpu();
        let decoding = Decoding::new(START);
        let logits = decoding.forced(&device, &TARGETS, 2, &vec![0, 2], adding(&device)).unwrap();
        // Row 0 sees 1 3 2 4 from 0 on, row 1 sees 1 5 2 1 from 2 on.
        assert_eq!(logits.argmax(2).unwrap(), [1, 3, 4, 1, 6, 3, 3, 4]);
        assert_eq!(logits.dims(), [4, 2, V]);
    }

    #[test]
    fn scheduled_sampling_lies_between_truth_and_own_symbols() {
        let device = Device::cpu();
        let decoding = Decoding::new(START);
        let scheduled = |truth: f32, key: u64| {
            let (state, step) = (vec![0, 2], adding(&device));
            let logits = decoding.scheduled(&device, &TARGETS, 2, truth, RngKey::new(key), &state, step);
            logits.unwrap().argmax(2).unwrap()
        };
        assert_eq!(scheduled(1.0, 5), [1, 3, 4, 1, 6, 3, 3, 4], "as forced");
        // Its own sum again and again: 1 2 4 1 from 0 on, 3 6 5 3 from 2 on.
        assert_eq!(scheduled(0.0, 5), [1, 3, 2, 6, 4, 5, 1, 3]);
        let between: std::collections::HashSet<_> = (0..20).map(|key| scheduled(0.5, key)).collect();
        assert!(between.len() > 4 && scheduled(0.5, 3) == scheduled(0.5, 3));
    }

    #[test]
    fn targets_are_whole_steps() {
        let device = Device::cpu();
        let decoding = Decoding::new(START);
        for (targets, rows) in [(&TARGETS[..7], 2), (&TARGETS, 0), (&[], 2)] {
            let error = decoding.forced(&device, targets, rows, &vec![0, 0], adding(&device)).unwrap_err();
            assert!(error.to_string().contains("targets must be [T, B] of whole steps"), "{error}");
        }
        for truth in [-0.1, 1.1, f32::NAN] {
            let (state, key) = (vec![0, 0], RngKey::new(1));
            let result = decoding.scheduled(&device, &TARGETS, 2, truth, key, &state, adding(&device));
            assert!(result.unwrap_err().to_string().contains("truth must be in [0, 1]"));
        }
    }
}
