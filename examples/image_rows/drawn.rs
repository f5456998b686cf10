//! Small noisy drawings.

use anyhow::Result;
use rnn_api::RngKey;
use rnn_api::data::{Image, Labels};

const SIDE: usize = 8;
const SHAPES: [&str; 4] = ["bar", "beam", "box", "cross"];

/// Images of four shapes at random positions, with noise.
pub(crate) fn images(count: u32, seed: u64) -> Result<(Vec<Image>, Labels)> {
    let key = RngKey::new(seed).derive(0x6472_6177, 0);
    let mut images = Vec::new();
    let mut labels = Vec::new();
    for n in 0..count {
        let uniform = |draw: u32| key.uniform(n, draw);
        let below = |draw: u32, bound: f32| (uniform(draw) * bound) as usize;
        let shape = below(0, SHAPES.len() as f32);
        let (top, left) = (1 + below(1, 3.0), 1 + below(2, 3.0));
        let inked = |y: usize, x: usize| {
            let (dy, dx) = (y.wrapping_sub(top), x.wrapping_sub(left));
            let inside = dy < 4 && dx < 4;
            inside
                && match shape {
                    0 => dx == 1,
                    1 => dy == 1,
                    2 => dy == 0 || dy == 3 || dx == 0 || dx == 3,
                    _ => dy == dx || dy + dx == 3,
                }
        };
        let pixel = |k: usize| {
            let ink = if inked(k / SIDE, k % SIDE) { 1.0 } else { 0.0 };
            ink + 0.6 * (uniform(10 + k as u32) - 0.5)
        };
        images.push(Image::new((0..SIDE * SIDE).map(pixel).collect(), SIDE, SIDE, 1)?);
        labels.push(SHAPES[shape]);
    }
    Ok((images, Labels::new(labels)))
}
