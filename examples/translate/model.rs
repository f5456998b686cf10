//! Encoder and decoder with attention (Bahdanau et al. 2015, in the multiplicative form of Luong et al. 2015).

use rnn_api::data::pad_indices;
use rnn_api::generate::{BeamSearch, Generation};
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

    /// The likeliest symbols, one after the other, or by beam search if `beam` is above 1; for all sources at once.
    pub(crate) fn translate(
        &self,
        sources: &[&[u32]],
        beam: usize,
        longest: usize,
        device: &Device,
    ) -> rnn_api::Result<Vec<Vec<u32>>> {
        // Each beginning of a beam has its row of the encodings.
        let rows: Vec<&[u32]> = sources.iter().flat_map(|&source| vec![source; beam]).collect();
        let of = no_grad(|| self.encode(&rows, device))?;
        let step = |before: &Tensor, state: &GruState| self.decode(before, &of, state);
        let prompts = vec![[END]; sources.len()];
        if beam == 1 {
            let greedy = Generation::greedy(longest).with_stop([END]);
            let found = greedy.generate(device, &prompts, of.state.clone(), step)?;
            return Ok(found.into_iter().map(|row| row.symbols).collect());
        }
        let search = BeamSearch::new(beam, longest).with_stop([END]);
        let found = search.search(device, &prompts, &of.state, step)?;
        Ok(found.into_iter().map(|mut best| best.swap_remove(0).symbols).collect())
    }
}
