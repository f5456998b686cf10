//! Deterministic pseudo-random values. Tests need no random-number crate, and a failure can be repeated from its
//! seed.

/// SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state, passes BigCrush, four lines.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator whose sequence depends only on `seed`.
    pub const fn new(seed: u64) -> Self {
        SplitMix64 { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1), a multiple of 2^-23, so that f32 holds it exactly.
    pub fn next_uniform(&mut self) -> f32 {
        let bits = self.next_u64() >> 40; // 24 bits: exact in f32
        bits as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// Uniform in `0..bound`. The modulo bias is below 2^-32 for the bounds that tests use.
    ///
    /// Panics when `bound` is 0.
    pub const fn next_below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound as u64) as usize
    }
}

/// `len` values uniform in [-1, 1).
pub fn uniform(seed: u64, len: usize) -> Vec<f32> {
    scaled(seed, len, 1.0)
}

/// `len` values uniform in [-scale, scale).
pub fn scaled(seed: u64, len: usize, scale: f32) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    (0..len).map(|_| scale * rng.next_uniform()).collect()
}

/// `len` values uniform in [low, high].
pub fn in_range(seed: u64, len: usize, low: f32, high: f32) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    (0..len).map(|_| low + (high - low) * 0.5 * (rng.next_uniform() + 1.0)).collect()
}

/// `len` whole numbers in -bound..=bound, as f32. Sums of their products are exact, so tests with linear
/// activations can require equal bits.
pub fn small_integers(seed: u64, len: usize, bound: u32) -> Vec<f32> {
    let mut rng = SplitMix64::new(seed);
    let count = 2 * bound as usize + 1;
    (0..len).map(|_| rng.next_below(count) as f32 - bound as f32).collect()
}

/// `len` indices in `0..bound`: labels, tokens, lengths.
pub fn indices(seed: u64, len: usize, bound: usize) -> Vec<usize> {
    let mut rng = SplitMix64::new(seed);
    (0..len).map(|_| rng.next_below(bound)).collect()
}

/// Widens values for the oracle; exact.
pub fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Narrows values for a backend; exact for values made by [`to_f64`].
pub fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// How many changed files a test gives to a parser: `RNN_FUZZ`, else `few`. `tools/fuzz` sets it.
///
/// # Panics
/// `RNN_FUZZ` is no number.
pub fn changed_files(few: usize) -> usize {
    match std::env::var("RNN_FUZZ") {
        Ok(count) => count.parse().unwrap_or_else(|_| panic!("RNN_FUZZ must be a number, got `{count}`")),
        Err(_) => few,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_matches_the_published_sequence() {
        // First outputs for seed 1234567 in the reference implementation (Vigna, splitmix64.c).
        let mut rng = SplitMix64::new(1_234_567);
        let want = [6457827717110365317, 3203168211198807973, 9817491932198370423];
        assert_eq!(want, [rng.next_u64(), rng.next_u64(), rng.next_u64()]);
    }

    #[test]
    fn values_stay_in_their_range_and_fill_it() {
        let values = uniform(3, 10_000);
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
        assert!(values.iter().any(|&v| v < -0.99) && values.iter().any(|&v| v > 0.99));
        let mean: f32 = values.iter().sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.03, "five standard deviations of the mean, got {mean}");
        assert!(in_range(4, 1000, 2.0, 5.0).iter().all(|v| (2.0..=5.0).contains(v)));
        let integers = small_integers(5, 1000, 2);
        for want in [-2.0, -1.0, 0.0, 1.0, 2.0] {
            assert!(integers.contains(&want));
        }
        assert!(integers.iter().all(|v| v.abs() <= 2.0));
        assert!(indices(6, 1000, 7).iter().all(|&i| i < 7));
    }

    #[test]
    fn widening_and_narrowing_is_exact() {
        let values = scaled(7, 100, 0.3);
        assert_eq!(values, to_f32(&to_f64(&values)));
    }
}
