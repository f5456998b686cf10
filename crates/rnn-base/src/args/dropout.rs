//! Dropout masks (Srivastava et al. 2014).

use crate::rng::RngKey;

/// Selects the dropped elements: a pure function of these values, the same on every device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutMask {
    /// Share of elements that become zero, in `[0, 1)`.
    pub probability: f32,
    /// Key of the draws.
    pub key: RngKey,
    /// Step of the first row; row `r` draws at `first_step + r`, so that a sequence processed in
    /// chunks has the mask of the whole one.
    pub first_step: u32,
    /// Elements per step: `B * features` for a sequence `[T, B, features]`.
    pub row: usize,
    /// Draw of a step's first element: `b * features` where the first row is row `b` of a larger batch, so
    /// that a part of a batch has the mask of the whole one.
    pub first: u32,
    /// Whether all steps share the first one's mask: variational dropout (Gal and Ghahramani 2016).
    pub shared: bool,
}

impl DropoutMask {
    /// Factor of the elements that stay: `1 / (1 - p)`.
    pub fn scale(&self) -> f32 {
        1.0 / (1.0 - self.probability)
    }
}
