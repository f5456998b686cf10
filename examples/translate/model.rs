//! Encoder and decoder with attention (Bahdanau et al. 2015, in the multiplicative form of Luong et al. 2015).

use rnn_api::data::pad_indices;
use rnn_api::prelude::*;

/// Symbol 0 marks the start and the end of a target.
pub(crate) const END: u32 = 0;

pub(crate) struct Translator {
    source: Embedding,
    encoder: Gru,
    target: Embedding,
    decoder: Gru,
    combine: Linear,
    head: Linear,
}
module!(Translator { source, encoder, target, decoder, combine, head });

/// The encodings of a batch of sources.
pub(crate) struct Encoded {
    /// `[1, B, T, H]`
    memory: Tensor,
    /// `[1, B, T]`: 0, and a large negative number after the end of a source.
    mask: Tensor,
    pub(crate) state: GruState,
}

impl Translator {
    pub(crate) fn new(
        sources: usize,
        targets: usize,
        hidden: usize,
        device: &Device,
        seed: u64,
    ) -> rnn_api::Result<Self> {
        Ok(Translator {
            source: EmbeddingConfig::new(sources, hidden).init(device, seed)?,
            encoder: GruConfig::new(hidden, hidden)
                .with_bidirectional(true)
                .with_merge(Merge::Sum)
                .init(device, seed + 1)?,
            target: EmbeddingConfig::new(targets, hidden).init(device, seed + 2)?,
            decoder: GruConfig::new(hidden, hidden).init(device, seed + 3)?,
            combine: LinearConfig::new(2 * hidden, hidden).init(device, seed + 4)?,
            head: LinearConfig::new(hidden, targets).init(device, seed + 5)?,
        })
    }

    pub(crate) fn encode(&self, sources: &[&[u32]], device: &Device) -> rnn_api::Result<Encoded> {
        let padded = pad_indices(sources, 0, None)?;
        let lengths = Lengths::new(padded.lengths)?;
        let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
        let out =
            self.encoder.forward_with(&self.source.forward(&padded.values.to_tensor(device)?)?, args)?;
        let (steps, rows, hidden) = (out.y.dims()[0], out.y.dims()[1], out.y.dims()[2]);
        let past = |k: usize| if k % steps < lengths.as_slice()[k / steps] { 0.0 } else { -1e9 };
        let mask = (0..rows * steps).map(past).collect();
        let last = out.last()?.reshape(&[1, rows, hidden])?;
        Ok(Encoded {
            memory: out.y.transpose(0, 1)?.reshape(&[1, rows, steps, hidden])?,
            mask: Tensor::from_vec(device, mask, &[1, rows, steps])?,
            state: GruState::new(last, 1),
        })
    }

    /// Logits `[S, B, V]` of the symbol after each of `before` `[S, B]`, and the state after them. Attention runs
    /// for all steps at once, because the decoder's states do not depend on it.
    pub(crate) fn decode(
        &self,
        before: &Tensor,
        of: &Encoded,
        state: &GruState,
    ) -> rnn_api::Result<(Tensor, GruState)> {
        let out = self.decoder.forward(&self.target.forward(before)?, Some(state))?;
        let dims = out.y.dims().to_vec();
        let query = out.y.reshape(&[dims[0], dims[1], 1, dims[2]])?;
        let scores = query.mul(&of.memory)?.sum_axis(3)?.scale(1.0 / (dims[2] as f32).sqrt())?;
        let weights = scores.add(&of.mask)?.softmax()?; // [S, B, T]
        let (steps, rows, length) = (weights.dims()[0], weights.dims()[1], weights.dims()[2]);
        let context = weights.reshape(&[steps, rows, length, 1])?.mul(&of.memory)?.sum_axis(2)?;
        let both = Tensor::concat(&[&out.y, &context], 2)?;
        Ok((self.head.forward(&self.combine.forward(&both)?.tanh()?)?, out.state))
    }

    /// Generates the likeliest symbols, one after the other, for all sources at once.
    pub(crate) fn greedy(
        &self,
        sources: &[&[u32]],
        longest: usize,
        device: &Device,
    ) -> rnn_api::Result<Vec<Vec<u32>>> {
        let of = self.encode(sources, device)?;
        let mut state = of.state.clone();
        let (mut last, mut all) = (vec![END; sources.len()], vec![Vec::new(); sources.len()]);
        for _ in 0..longest {
            let (logits, next) =
                self.decode(&Tensor::from_indices(device, &last, &[1, last.len()])?, &of, &state)?;
            (last, state) = (logits.argmax(2)?, next);
            all.iter_mut().zip(&last).for_each(|(all, &symbol)| all.push(symbol));
        }
        Ok(all.into_iter().map(|all| all.into_iter().take_while(|&symbol| symbol != END).collect()).collect())
    }

    /// Beam search: at every step the `width` likeliest beginnings are kept.
    pub(crate) fn beam(
        &self,
        source: &[u32],
        width: usize,
        longest: usize,
        device: &Device,
    ) -> rnn_api::Result<Vec<u32>> {
        let of = self.encode(&[source], device)?;
        let mut beams: Vec<(f32, Vec<u32>, GruState)> = vec![(0.0, Vec::new(), of.state.clone())];
        let mut best: Option<(f32, Vec<u32>)> = None;
        for _ in 0..=longest {
            let mut grown = Vec::new();
            for (total, symbols, state) in &beams {
                let last = symbols.last().copied().unwrap_or(END);
                let (logits, next) =
                    self.decode(&Tensor::from_indices(device, &[last], &[1, 1])?, &of, state)?;
                let logs = logits.log_softmax()?.to_vec()?;
                grown.extend(
                    (0u32..)
                        .zip(logs)
                        .map(|(symbol, log)| (total + log, symbols.clone(), symbol, next.clone())),
                );
            }
            grown.sort_by(|a, b| b.0.total_cmp(&a.0));
            beams.clear();
            for (total, mut symbols, symbol, state) in grown.into_iter().take(width) {
                if symbol != END {
                    symbols.push(symbol);
                    beams.push((total, symbols, state));
                } else if best.as_ref().is_none_or(|(other, _)| total > *other) {
                    best = Some((total, symbols));
                }
            }
            // Scores only fall, so beginnings that are worse than the best complete result cannot overtake it.
            beams.retain(|(total, ..)| best.as_ref().is_none_or(|(other, _)| total > other));
        }
        Ok(best.map(|(_, symbols)| symbols).unwrap_or_default())
    }
}
