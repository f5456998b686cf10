//! [`GpuArray`]: an array in a GPU's memory, and its constructors.

use super::pointwise::{narrow, widen};
use super::{GpuBuffer, GpuDevice};
use rnn_base::dims::Shape;
use rnn_base::error::Result;
use rnn_base::{ArrayOf, DType, words};

/// An array in the memory of a GPU.
pub type GpuArray = ArrayOf<GpuBuffer>;

impl GpuDevice {
    /// An f32 array with unspecified contents.
    ///
    /// # Errors
    /// An invalid shape, or no memory.
    pub fn array(&self, op: &'static str, dims: &[usize]) -> Result<GpuArray> {
        self.array_in(op, dims, DType::F32)
    }

    /// An array with unspecified contents.
    ///
    /// # Errors
    /// As [`GpuDevice::array`].
    pub fn array_in(&self, op: &'static str, dims: &[usize], dtype: DType) -> Result<GpuArray> {
        let shape = Shape::new(op, dims)?;
        let buffer = self.alloc(words(shape.len(), dtype))?;
        Ok(ArrayOf { shape, dtype, buffer })
    }

    /// An f32 array of zeros.
    ///
    /// # Errors
    /// As [`GpuDevice::array`].
    pub fn zeroed_array(&self, op: &'static str, dims: &[usize]) -> Result<GpuArray> {
        let shape = Shape::new(op, dims)?;
        let buffer = self.alloc_zeroed(shape.len())?;
        Ok(ArrayOf { shape, dtype: DType::F32, buffer })
    }

    /// An f32 array of these values.
    ///
    /// # Errors
    /// As [`GpuDevice::array`]. The caller must pass as many values as `dims` have elements.
    pub(crate) fn array_of(&self, op: &'static str, values: &[f32], dims: &[usize]) -> Result<GpuArray> {
        let shape = Shape::new(op, dims)?;
        debug_assert_eq!(shape.len(), values.len());
        let buffer = self.upload(bytemuck::cast_slice(values))?;
        Ok(ArrayOf { shape, dtype: DType::F32, buffer })
    }
}

/// The array with its values in f32 or f16; a cheap clone when it has that type already.
pub(crate) fn cast(x: &GpuArray, dtype: DType) -> Result<GpuArray> {
    let (device, n) = (x.buffer.device(), x.len());
    let buffer = match (x.dtype, dtype) {
        (from, to) if from == to => return Ok(x.clone()),
        (DType::F16, DType::F32) => widen(device, &x.buffer, n)?,
        (DType::F32, DType::F16) => narrow(device, &x.buffer, n)?,
        other => unreachable!("recurrent layers hold no {other:?}"),
    };
    Ok(ArrayOf { shape: x.shape.clone(), dtype, buffer })
}

/// The values on the host, as f32; waits for the device.
pub(crate) fn to_vec(x: &GpuArray) -> Result<Vec<f32>> {
    let x = cast(x, DType::F32)?;
    let mut values = vec![0.0; x.len()];
    x.buffer.read(bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}
