//! Scenes as features and as sentences.

use rnn_api::RngKey;

const SIZES: [&str; 4] = ["tiny", "small", "large", "huge"];
const COLOURS: [&str; 6] = ["red", "green", "blue", "yellow", "black", "white"];
const SHAPES: [&str; 5] = ["circle", "square", "triangle", "star", "cross"];
/// Features of a scene: one-hot size, colour, shape and number, and the position x, y.
pub(crate) const FEATURES: usize = 4 + 6 + 5 + 3 + 2;

/// All scenes with their sentences. The position is a random point in one ninth of the picture.
pub(crate) fn scenes(seed: u64) -> Vec<(Vec<f32>, String)> {
    let key = RngKey::new(seed).derive(0x7363_656e, 0);
    let mut all = Vec::new();
    for n in 0..(4 * 6 * 5 * 3 * 9) as u32 {
        let mut rest = n as usize;
        let mut digit = |base: usize| {
            let digit = rest % base;
            rest /= base;
            digit
        };
        let (size, colour, shape, number, row, column) =
            (digit(4), digit(6), digit(5), digit(3), digit(3), digit(3));
        let mut features = vec![0.0; FEATURES];
        [size, 4 + colour, 10 + shape, 15 + number].into_iter().for_each(|feature| features[feature] = 1.0);
        features[18] = column as f32 - 1.0 + 0.8 * (key.uniform(n, 0) - 0.5);
        features[19] = row as f32 - 1.0 + 0.8 * (key.uniform(n, 1) - 0.5);
        let place = match (["top", "middle", "bottom"][row], ["left", "centre", "right"][column]) {
            ("middle", "centre") => "in the centre".to_string(),
            ("middle", side) => format!("on the {side}"),
            (edge, "centre") => format!("at the {edge}"),
            (edge, side) => format!("at the {edge} on the {side}"),
        };
        let number = ["a", "two", "three"][number];
        let plural = if number == "a" { "" } else { "s" };
        all.push((
            features,
            format!("{number} {} {} {}{plural} {place}", SIZES[size], COLOURS[colour], SHAPES[shape]),
        ));
    }
    all
}
