//! Generated music: a cadence of four chords in any key, each for two or three steps, with a moving upper voice.

use rnn_api::RngKey;

/// The scale degrees of the chords: I, IV, V, I or I, vi, IV, V.
const CADENCES: [[usize; 4]; 2] = [[0, 3, 4, 0], [0, 5, 3, 4]];
const SCALE: [usize; 7] = [0, 2, 4, 5, 7, 9, 11];

/// Pieces as sets of pitches per step, in three parts, as JSON.
pub(crate) fn json(pieces: u32, seed: u64) -> String {
    let key = RngKey::new(seed).derive(0x6d75_7369, 0);
    let pitch = |tonic: usize, degree: usize| 30 + tonic + SCALE[degree % 7] + 12 * (degree / 7);
    let piece = |n: u32| {
        let below = |draw: u32, bound: usize| (key.uniform(n, draw) * bound as f32) as usize;
        let (tonic, cadence) = (below(0, 12), CADENCES[below(1, 2)]);
        let mut steps = Vec::new();
        for bar in 0..16u32 {
            let root = cadence[bar as usize % 4];
            for step in 0..2 + below(2 + bar, 2) {
                let voice = root + 7 + 2 * (step % 3);
                let chord = [root, root + 2, root + 4, voice].map(|degree| pitch(tonic, degree).to_string());
                steps.push(format!("[{}]", chord.join(",")));
            }
        }
        format!("[{}]", steps.join(","))
    };
    let part = |from: u32, to: u32| (from..to).map(piece).collect::<Vec<_>>().join(",");
    let (train, validation) = (pieces * 6 / 10, pieces * 8 / 10);
    let (a, b, c) = (part(0, train), part(train, validation), part(validation, pieces));
    format!("{{\"train\":[{a}],\"valid\":[{b}],\"test\":[{c}]}}")
}
