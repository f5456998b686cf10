//! Encoder and decoder with attention (Bahdanau et al. 2015, in the multiplicative form of Luong et al. 2015).

use rnn_api::data::pad_indices;
use rnn_api::nn::Decoding;
use rnn_api::prelude::*;

/// Symbol 0 marks the start and the end of a target.
pub(crate) const END: u32 = 0;

model!(
    pub(crate) struct Translator, TranslatorConfig {
        source: EmbeddingConfig,
        encoder: GruConfig,
        target: EmbeddingConfig,
        decoder: GruConfig,
        attention: AttentionConfig,
        combine: LinearConfig,
        head: LinearConfig,
    }
);

impl TranslatorConfig {
    pub(crate) fn new(sources: usize, targets: usize, hidden: usize) -> Self {
        TranslatorConfig {
            source: EmbeddingConfig::new(sources, hidden),
            encoder: GruConfig::new(hidden, hidden).with_bidirectional(true).with_merge(Merge::Sum),
            target: EmbeddingConfig::new(targets, hidden),
            decoder: GruConfig::new(hidden, hidden),
            attention: AttentionConfig::scaled_dot(),
            combine: LinearConfig::new(2 * hidden, hidden),
            head: LinearConfig::new(hidden, targets),
        }
    }
}

/// The encodings of a batch of sources.
pub(crate) struct Encoded {
    memory: AttentionMemory,
    pub(crate) state: GruState,
}

impl Translator {
    pub(crate) fn encode(&self, sources: &[&[u32]], device: &Device) -> rnn_api::Result<Encoded> {
        let padded = pad_indices(sources, 0, None)?;
        let lengths = Lengths::new(padded.lengths)?;
        let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
        let out =
            self.encoder.forward_with(&self.source.forward(&padded.values.to_tensor(device)?)?, args)?;
        let (rows, hidden) = (out.y.dims()[1], out.y.dims()[2]);
        let last = out.last()?.reshape(&[1, rows, hidden])?;
        let memory = self.attention.memory(&out.y, Some(&lengths))?;
        Ok(Encoded { memory, state: GruState::new(last, 1) })
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
        let context = self.attention.forward(&out.y, &of.memory)?.context;
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
        let step = |before: &Tensor, state: &GruState| self.decode(before, &of, state);
        Decoding::new(END, END).greedy(device, sources.len(), longest, &of.state, step)
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
