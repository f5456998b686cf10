//! Waves of three shapes, of any length, pitch and phase, with noise.

use rnn_api::RngKey;
use rnn_api::data::{Labels, Sequence};

const SHAPES: [&str; 3] = ["sine", "square", "triangle"];

/// `count` waves with their shapes; different values of `part` give independent sets.
pub(crate) fn waves(count: u32, part: u32) -> rnn_api::Result<(Vec<Sequence>, Labels)> {
    let wave = |index: u32| {
        let key = RngKey::new(0x7761_7665).derive(part, index);
        let between = |element, low: f32, high: f32| low + (high - low) * key.uniform(0, element);
        let length = between(0, 30.0, 70.0) as u32;
        let (period, phase) = (between(1, 8.0, 20.0), between(2, 0.0, 1.0));
        let value = |t: u32| {
            let turn = (t as f32 / period + phase).fract();
            let clean = match index as usize % SHAPES.len() {
                0 => (std::f32::consts::TAU * turn).sin(),
                1 => f32::from(i8::from(turn < 0.5) * 2 - 1),
                _ => 4.0 * (turn - 0.5).abs() - 1.0,
            };
            clean + 0.2 * key.normal(1, t)
        };
        Sequence::new((0..length).map(value).collect(), 1)
    };
    let labels = Labels::new((0..count as usize).map(|index| SHAPES[index % SHAPES.len()]));
    Ok(((0..count).map(wave).collect::<rnn_api::Result<_>>()?, labels))
}
