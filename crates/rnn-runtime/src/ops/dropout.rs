//! Inverted dropout (Srivastava et al. 2014): kept values are scaled up in training, so that inference needs
//! no scaling.

use super::{f32_array, widen};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::on_device;
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;

pub use rnn_base::args::dropout::DropoutMask;

/// Zeroes each element with the mask's probability and scales the others by `1 / (1 - p)`. Element k stays if
/// and only if the top 24 bits of the draw at (`first_step + k / row`, `first + k % row`) are at least
/// `p 2^24`; a shared mask draws at (`first_step`, `first + k % row`). The op is linear and self-adjoint, so
/// the backward pass is the same call on dy.
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
