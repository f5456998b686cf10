//! Pieces that a network continues. Its symbols are whole chords: those of the training part, which a network of sigmoids
//! gives the probabilities of.

use crate::{Chords, KEYS};
use rnn_api::data::Sequence;
use rnn_api::generate::Generation;
use rnn_api::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The keys of a chord.
pub(crate) type Chord = Vec<usize>;

fn chord(step: &[f32]) -> Chord {
    (0..step.len()).filter(|&key| step[key] > 0.5).collect()
}

/// The different chords of some pieces.
pub(crate) fn chords<'a>(pieces: impl Iterator<Item = &'a Sequence>) -> Vec<Chord> {
    pieces.flat_map(Sequence::steps).map(chord).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Continues each piece by chords that are `known`, or of the pieces themselves.
pub(crate) fn compose(
    model: &Chords,
    mut known: Vec<Chord>,
    pieces: &[Sequence],
    generation: &Generation,
    device: &Device,
) -> rnn_api::Result<Vec<Vec<Chord>>> {
    known.extend(chords(pieces.iter()));
    let mut symbols = BTreeMap::new();
    for chord in known {
        let next = symbols.len() as u32;
        symbols.entry(chord).or_insert(next);
    }
    let mut in_order: Vec<&Chord> = symbols.keys().collect();
    in_order.sort_by_key(|chord| symbols[*chord]);
    let mut on = vec![0.0; in_order.len() * KEYS];
    for (row, chord) in on.chunks_mut(KEYS).zip(&in_order) {
        chord.iter().for_each(|&key| row[key] = 1.0);
    }
    let table = Tensor::from_vec(device, on, &[in_order.len(), KEYS])?;
    let step = |chords: &Tensor, state: &AnyRnnState| {
        let out = model.rnn.forward(&table.gather(chords)?, Some(state))?;
        // With the logits z of the keys, the log-probability of a chord is the sum of z over its keys, less the sum of
        // ln(1 + e^z) over all keys, which is the same for all chords.
        Ok((model.head.forward(&out.y)?.linear(&table, None)?, out.state))
    };
    let prompts: Vec<Vec<u32>> =
        pieces.iter().map(|piece| piece.steps().map(|step| symbols[&chord(step)]).collect()).collect();
    model.eval();
    let rows = generation.generate(device, &prompts, model.rnn.zero_state(prompts.len())?, step)?;
    let chords = |row: &[u32]| row.iter().map(|&symbol| in_order[symbol as usize].clone()).collect();
    Ok(rows.iter().map(|row| chords(&row.symbols)).collect())
}

/// Pieces and what follows them, a line per piece. `lowest` is the number of the lowest key.
pub(crate) fn json(pieces: &[Sequence], more: &[Vec<Chord>], lowest: usize) -> String {
    let pitches = |chord: Chord| chord.into_iter().map(|key| key + lowest).collect();
    let whole = pieces.iter().zip(more).map(|(piece, more)| {
        let all: Vec<Chord> = piece.steps().map(chord).chain(more.iter().cloned()).map(pitches).collect();
        serde_json::json!(all).to_string()
    });
    format!("[{}]\n", whole.collect::<Vec<_>>().join(",\n"))
}
