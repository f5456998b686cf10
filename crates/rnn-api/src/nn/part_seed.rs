//! Seeds of the parts of a model.

use rnn_runtime::RngKey;

/// Separates the seeds of parts from other draws.
const PARTS_STREAM: u32 = 0x7061_7274;

/// The seed of part `index` of a model. With the model's own seed, layers of equal shape would start equal.
#[doc(hidden)]
pub fn part_seed(seed: u64, index: u32) -> u64 {
    let [low, high] = RngKey::new(seed).derive(PARTS_STREAM, index).pair(0, 0);
    u64::from(high) << 32 | u64::from(low)
}
