//! State of layers besides parameters: the training switch and the position of their random draws.

use rnn_runtime::RngKey;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Whether a layer is being trained. Layers start in training mode, as in PyTorch;
/// [`Module::eval`](crate::nn::Module::eval) switches a whole model.
#[derive(Debug)]
pub struct Mode(AtomicBool);

impl Mode {
    /// A switch in training mode.
    pub fn new() -> Self {
        Mode(AtomicBool::new(true))
    }

    /// Whether dropout is active.
    pub fn is_training(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Switches to training (`true`) or evaluation.
    pub fn set(&self, training: bool) {
        self.0.store(training, Ordering::Relaxed);
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::new()
    }
}

/// A source of random draws: a key and the number of steps drawn so far.
///
/// A draw is a pure function of key, step and element. The position counts time steps. A sequence processed
/// in chunks therefore gets the masks of the whole sequence, and a run resumed at a stored position gets the
/// masks of the uninterrupted run.
#[derive(Debug)]
pub struct Draws {
    key: RngKey,
    position: AtomicU64,
}

impl Draws {
    /// Draws from `key`, starting at step 0.
    pub fn new(key: RngKey) -> Self {
        Draws { key, position: AtomicU64::new(0) }
    }

    /// Number of steps drawn so far.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Continues at another step.
    pub fn set_position(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Takes the next `steps` steps: returns a key, and the index of the first step under it.
    pub fn take(&self, steps: usize) -> (RngKey, u32) {
        let first = self.position.fetch_add(steps as u64, Ordering::Relaxed);
        // Kernels count steps in 32 bits; the upper half goes into the key.
        (self.key.derive(0, (first >> 32) as u32), first as u32)
    }
}
