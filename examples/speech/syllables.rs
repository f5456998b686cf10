//! Synthesised syllables: a glide between two vowels, made by a buzzing voice through two formants, in any pitch
//! and tempo, with noise. Classes differ in the order of the same vowels, so no single moment identifies a class.

use rnn_api::data::Labels;
use rnn_api::data::audio::Sound;
use rnn_api::{Result, RngKey};
use std::f32::consts::TAU;

const RATE: u32 = 8000;
/// First and second formant of a, i, u (Peterson and Barney 1952, rounded), in Hz.
const VOWELS: [[f32; 2]; 3] = [[730.0, 1090.0], [270.0, 2290.0], [300.0, 870.0]];
const CLASSES: [(&str, usize, usize); 6] =
    [("ai", 0, 1), ("ia", 1, 0), ("au", 0, 2), ("ua", 2, 0), ("iu", 1, 2), ("ui", 2, 1)];

/// `count` sounds, and the class of each.
pub(crate) fn sounds(count: u32, seed: u64) -> Result<(Vec<Sound>, Labels)> {
    let key = RngKey::new(seed).derive(0x7379_6c6c, 0);
    let mut sounds = Vec::new();
    let mut labels = Vec::new();
    for n in 0..count {
        let uniform = |draw: u32| key.uniform(n, draw);
        let (name, from, to) = CLASSES[n as usize % CLASSES.len()];
        let samples = (RATE as f32 * (0.25 + 0.3 * uniform(0))) as usize;
        let (pitch, turn, tract) =
            (90.0 + 120.0 * uniform(1), 0.35 + 0.3 * uniform(2), 0.9 + 0.2 * uniform(3));
        let value = |k: usize| {
            let (time, along) = (k as f32 / RATE as f32, k as f32 / samples as f32);
            let blend = ((along - turn) / 0.2).clamp(0.0, 1.0);
            // Harmonics of the voice, amplified near a formant.
            let harmonic = |h: usize| {
                let frequency = pitch * h as f32;
                let resonance = |f: usize| {
                    let formant = tract * (VOWELS[from][f] * (1.0 - blend) + VOWELS[to][f] * blend);
                    1.0 / (1.0 + ((frequency - formant) / 120.0).powi(2))
                };
                (resonance(0) + 0.5 * resonance(1)) * (TAU * frequency * time).sin()
            };
            let voice: f32 = (1..=(3500.0 / pitch) as usize).map(harmonic).sum();
            0.1 * voice + 0.02 * (key.uniform(n, 10 + k as u32) - 0.5)
        };
        sounds.push(Sound::new((0..samples).map(value).collect(), RATE)?);
        labels.push(name);
    }
    Ok((sounds, Labels::new(labels)))
}
