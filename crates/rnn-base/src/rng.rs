//! Counter-based random numbers: Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw,
//! "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! A draw is a pure function of (seed, stream, layer, direction, step, element), so masks agree between CPU
//! and GPU, between whole and chunked sequences, and after a resume.
//! Threefry is used rather than Philox because WGSL has no 32x32 -> 64 bit multiplication.

/// A key for any number of draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RngKey(pub [u32; 2]);

impl RngKey {
    /// The root key of a seed.
    pub fn new(seed: u64) -> Self {
        RngKey([seed as u32, (seed >> 32) as u32])
    }

    /// A key that is independent of this one and of every other (`stream`, `index`).
    pub fn derive(self, stream: u32, index: u32) -> Self {
        RngKey(threefry2x32(self.0, [stream, index]))
    }

    /// The draw of (`step`, `element`): 32 uniform bits.
    pub fn bits(self, step: u32, element: u32) -> u32 {
        threefry2x32(self.0, [step, element])[0]
    }

    /// Both words of the draw of (`step`, `element`).
    pub fn pair(self, step: u32, element: u32) -> [u32; 2] {
        threefry2x32(self.0, [step, element])
    }

    /// The draw of (`step`, `element`) in `[0, 1)`, a multiple of 2^-24.
    pub fn uniform(self, step: u32, element: u32) -> f32 {
        (self.bits(step, element) >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// A standard normal draw of (`step`, `element`), by Box and Muller from both words.
    pub fn normal(self, step: u32, element: u32) -> f32 {
        let [a, b] = threefry2x32(self.0, [step, element]);
        let u = (f64::from(a) + 0.5) / 4_294_967_296.0;
        let v = f64::from(b) / 4_294_967_296.0;
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }
}

/// Draws below this many 2^-24ths are dropped; exact, so that CPU and GPU agree.
pub fn drop_threshold(probability: f32) -> u32 {
    (f64::from(probability) * 16_777_216.0).round() as u32
}

/// The block function: 20 rounds, key injection every four.
#[inline(always)]
pub fn threefry2x32(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
    let keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1BD1_1BDA];
    let mut x = counter[0].wrapping_add(keys[0]);
    let mut y = counter[1].wrapping_add(keys[1]);
    for block in 0..5u32 {
        for rotation in ROTATIONS[block as usize % 2] {
            x = x.wrapping_add(y);
            y = y.rotate_left(rotation) ^ x;
        }
        x = x.wrapping_add(keys[(block as usize + 1) % 3]);
        y = y.wrapping_add(keys[(block as usize + 2) % 3]).wrapping_add(block + 1);
    }
    [x, y]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (`kat_vectors`, threefry2x32 20 rounds).
    #[test]
    fn threefry_matches_the_published_vectors() {
        assert_eq!(threefry2x32([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry2x32([!0, !0], [!0, !0]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(
            threefry2x32([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]),
            [0xc492_3a9c, 0x483d_f7a0]
        );
    }

    #[test]
    fn uniform_draws_are_in_range_and_average_a_half() {
        let key = RngKey::new(7).derive(1, 2);
        let n = 100_000;
        let mut sum = 0.0f64;
        for element in 0..n {
            let u = key.uniform(3, element);
            assert!((0.0..1.0).contains(&u));
            sum += f64::from(u);
        }
        // Standard error of the mean is 0.289 / sqrt(n) = 0.0009.
        assert!((sum / f64::from(n) - 0.5).abs() < 0.004);
    }

    #[test]
    fn normal_draws_have_unit_variance() {
        let key = RngKey::new(9);
        let n = 100_000;
        let draws: Vec<f64> = (0..n).map(|i| f64::from(key.normal(0, i))).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02);
    }
}
