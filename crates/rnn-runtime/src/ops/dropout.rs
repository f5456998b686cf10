//! Dropout (Srivastava et al. 2014), inverted: kept values are scaled up, so that nothing has to
//! change at inference.

use super::{f32_array, widen};
use crate::array::{Array, Buffer};
use crate::cpu;
use crate::device::on_device;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::rng::RngKey;

/// Which elements are dropped: a pure function of these values, the same on every device.
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
    /// Draw of a step's first element: `b * features` where row `b` of a batch comes first, so that some rows of a
    /// batch have the mask of the whole one.
    pub first: u32,
    /// Whether all steps share the first one's mask: variational dropout (Gal and Ghahramani 2016).
    pub shared: bool,
}

impl DropoutMask {
    /// Factor of the elements that stay: `1 / (1 - p)`.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (1.0 - self.probability)
    }
}

/// Zeroes each element with the mask's probability and scales the rest by `1 / (1 - p)`. Element k
/// stays iff the top 24 bits of the draw at (`first_step + k / row`, `first + k % row`) are at least `p 2^24`; a
/// shared mask draws at (`first_step`, `first + k % row`). Linear and self-adjoint: the backward is the same call on
/// dy.
///
/// # Errors
/// u32 data, a probability outside `[0, 1)`, or a `row` that is 0 or does not divide the number of
/// elements.
pub fn dropout(x: &Array, mask: &DropoutMask) -> Result<Array> {
    const OP: &str = "dropout";
    if !(0.0..1.0).contains(&mask.probability) {
        return Err(Error::Value {
            op: OP,
            arg: "probability",
            expected: "in [0, 1)".into(),
            got: mask.probability.to_string(),
        });
    }
    if mask.row == 0 || !x.len().is_multiple_of(mask.row) {
        return Err(Error::Value {
            op: OP,
            arg: "row",
            expected: format!("a divisor of the {} elements of x {:?}", x.len(), x.shape()),
            got: mask.row.to_string(),
        });
    }
    let x = widen(OP, "x", x)?;
    let (device, shape, n) = (x.device(), x.shape().clone(), x.len());
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::dropout::dropout(dev, x.cpu(), n, mask)?.into(),
        Gpu(dev) => gpu::dropout::dropout(dev, x.gpu(), n, mask)?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}
