//! Conversion between element types.

use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::on_device;
use rnn_base::DType;
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;
use std::borrow::Cow;

/// The array as f32: borrowed if it is f32, converted if it is f16.
///
/// # Errors
/// u32 data.
pub(crate) fn widen<'a>(op: &'static str, arg: &'static str, x: &'a Array) -> Result<Cow<'a, Array>> {
    match x.dtype() {
        DType::F32 => Ok(Cow::Borrowed(x)),
        DType::F16 => cast(x, DType::F32).map(Cow::Owned),
        DType::U32 => Err(Error::DType { op, arg, expected: "f32 or f16", got: DType::U32 }),
    }
}

/// Converts between f32 and f16; a cheap clone if the type is the same. Narrowing rounds to the nearest f16
/// (ties to even), keeps subnormals, and turns values beyond 65504 into infinity.
///
/// # Errors
/// u32 on either side.
pub fn cast(x: &Array, dtype: DType) -> Result<Array> {
    const OP: &str = "cast";
    let (device, n) = (x.device(), x.len());
    let buffer: Buffer = match (x.dtype(), dtype) {
        (from, to) if from == to => return Ok(x.clone()),
        (DType::F16, DType::F32) => on_device!(
            device,
            Cpu(dev) => cpu::pointwise::widen(dev, x.cpu(), n)?.into(),
            Gpu(dev) => gpu::pointwise::widen(dev, x.gpu(), n)?.into(),
        ),
        (DType::F32, DType::F16) => on_device!(
            device,
            Cpu(dev) => cpu::pointwise::narrow(dev, x.cpu(), n)?.into(),
            Gpu(dev) => gpu::pointwise::narrow(dev, x.gpu(), n)?.into(),
        ),
        (DType::U32, _) => {
            return Err(Error::DType { op: OP, arg: "x", expected: "f32 or f16", got: DType::U32 });
        }
        (_, _) => {
            return Err(Error::DType { op: OP, arg: "dtype", expected: "f32 or f16", got: dtype });
        }
    };
    Ok(Array::from_buffer(device, x.shape().clone(), dtype, buffer))
}
