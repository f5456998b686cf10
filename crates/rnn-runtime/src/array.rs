//! [`Array`]: a contiguous row-major block of numbers on a device, cheap to clone.

use crate::buffer::{Buffer, Data};
use crate::device::Device;
use rnn_base::error::{Error, Result};
use rnn_base::{DType, Shape, host_memory, words};
use rnn_cpu::{CpuArray, CpuBuffer};
#[cfg(feature = "gpu")]
use rnn_gpu::{GpuArray, GpuBuffer};
use std::fmt;
use std::sync::Arc;

/// A contiguous row-major array on a device.
///
/// Arrays are values: no op changes an array that another handle can see. The in-place ops (optimizer steps,
/// gradient accumulation) take `&mut Array` and copy shared memory first.
#[derive(Clone)]
pub struct Array {
    device: Device,
    data: Data,
    /// Host copy of u32 data, so that indices are range-checked without a readback.
    indices: Option<Arc<[u32]>>,
}

impl Array {
    pub(crate) fn from_buffer(
        device: &Device,
        shape: Shape,
        dtype: DType,
        buffer: impl Into<Buffer>,
    ) -> Self {
        Self::from_data(device, Data::new(shape, dtype, buffer.into()))
    }

    /// Wraps an array of the device's backend.
    pub(crate) fn from_data(device: &Device, data: impl Into<Data>) -> Self {
        Array { device: device.clone(), data: data.into(), indices: None }
    }

    /// An f32 array with unspecified contents, to be written by an op.
    pub(crate) fn alloc(device: &Device, op: &'static str, dims: &[usize]) -> Result<Self> {
        let shape = Shape::new(op, dims)?;
        let buffer = device.alloc(shape.len())?;
        Ok(Self::from_buffer(device, shape, DType::F32, buffer))
    }

    /// Whether two arrays share memory.
    pub fn shares_memory(&self, other: &Array) -> bool {
        match (&self.data, &other.data) {
            (Data::Cpu(own), Data::Cpu(other)) => own.buffer.shares_memory(&other.buffer),
            #[cfg(feature = "gpu")]
            (Data::Gpu(own), Data::Gpu(other)) => own.buffer.shares_memory(&other.buffer),
            #[cfg(feature = "gpu")]
            _ => false,
        }
    }

    /// An f32 array of zeros, for an op to write into.
    pub(crate) fn alloc_zeroed(device: &Device, op: &'static str, dims: &[usize]) -> Result<Self> {
        let shape = Shape::new(op, dims)?;
        let buffer = device.alloc_zeroed(shape.len())?;
        Ok(Self::from_buffer(device, shape, DType::F32, buffer))
    }

    /// Uploads f32 values.
    ///
    /// # Errors
    /// `values` must have as many elements as `shape`; see also [`Shape::new`].
    pub fn from_f32(device: &Device, values: &[f32], shape: &[usize]) -> Result<Self> {
        Self::upload(device, bytemuck::cast_slice(values), values.len(), DType::F32, shape)
    }

    /// Uploads half-precision values.
    ///
    /// # Errors
    /// As [`Array::from_f32`].
    pub fn from_f16(device: &Device, values: &[half::f16], shape: &[usize]) -> Result<Self> {
        Self::upload(device, bytemuck::cast_slice(values), values.len(), DType::F16, shape)
    }

    /// Uploads indices or labels; the array keeps a host copy for range checks.
    ///
    /// # Errors
    /// As [`Array::from_f32`].
    pub fn from_u32(device: &Device, values: &[u32], shape: &[usize]) -> Result<Self> {
        let mut array = Self::upload(device, bytemuck::cast_slice(values), values.len(), DType::U32, shape)?;
        array.indices = Some(values.into());
        Ok(array)
    }

    fn upload(device: &Device, bytes: &[u8], count: usize, dtype: DType, dims: &[usize]) -> Result<Self> {
        let shape = Shape::new("Array::upload", dims)?;
        if shape.len() != count {
            return Err(Error::Shape {
                op: "Array::upload",
                arg: "shape".into(),
                expected: format!("of {count} elements, as many as there are values"),
                got: dims.to_vec(),
            });
        }
        let buffer = device.upload(bytes)?;
        Ok(Self::from_buffer(device, shape, dtype, buffer))
    }

    /// Axis lengths.
    pub fn shape(&self) -> &Shape {
        self.data.shape()
    }

    /// Axis lengths as a slice.
    pub fn dims(&self) -> &[usize] {
        self.shape().dims()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape().len()
    }

    /// Never true: arrays have no zero-length axes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The device the memory is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Host copy of index data uploaded with [`Array::from_u32`].
    pub fn host_indices(&self) -> Option<&[u32]> {
        self.indices.as_deref()
    }

    /// The same memory with other axis lengths.
    ///
    /// # Errors
    /// The number of elements must stay the same.
    pub fn reshape(&self, dims: &[usize]) -> Result<Self> {
        let shape = Shape::new("reshape", dims)?;
        if shape.len() != self.len() {
            return Err(Error::Shape {
                op: "reshape",
                arg: "shape".into(),
                expected: format!("of {} elements, as {:?} has", self.len(), self.shape()),
                got: dims.to_vec(),
            });
        }
        Ok(Array {
            data: self.data.with_shape(shape),
            device: self.device.clone(),
            indices: self.indices.clone(),
        })
    }

    /// Copies the values to the host, waiting for the device. f16 is widened.
    ///
    /// # Errors
    /// u32 data (use [`Array::host_indices`]), a lost device, or a GPU error since the last wait.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        let mut bytes = self.host_bytes("to_vec")?;
        self.read_bytes(bytemuck::cast_slice_mut(&mut bytes))?;
        self.widen_bytes("to_vec", bytes)
    }

    /// As [`Array::to_vec`], without blocking the thread: the future completes when the device has
    /// finished everything enqueued before this call.
    pub async fn to_vec_async(&self) -> Result<Vec<f32>> {
        let mut words = self.host_bytes("to_vec_async")?;
        let bytes = &mut bytemuck::cast_slice_mut(&mut words)[..self.len() * self.dtype().size()];
        match &self.data {
            Data::Cpu(array) => bytes.copy_from_slice(&array.buffer.bytes()[..bytes.len()]),
            #[cfg(feature = "gpu")]
            Data::Gpu(array) => array.buffer.start_read(bytes.len())?.finish(bytes).await?,
        }
        self.widen_bytes("to_vec_async", words)
    }

    /// The single value of a one-element array.
    ///
    /// More than one element; also as [`Array::to_vec`].
    /// More than one element, or as [`Array::to_vec`].
    pub fn item(&self) -> Result<f32> {
        if self.len() != 1 {
            return Err(Error::Shape {
                op: "item",
                arg: "array".into(),
                expected: "one element".into(),
                got: self.dims().to_vec(),
            });
        }
        Ok(self.to_vec()?[0])
    }

    /// Copies f16 values to the host unwidened, waiting for the device.
    ///
    /// # Errors
    /// Any other type, or as [`Array::to_vec`].
    pub fn to_vec_f16(&self) -> Result<Vec<half::f16>> {
        self.expect_dtype("to_vec_f16", "array", DType::F16)?;
        let mut out = host_memory::filled("to_vec_f16", || self.host_copy(), self.len(), half::f16::ZERO)?;
        self.read_bytes(bytemuck::cast_slice_mut(&mut out))?;
        Ok(out)
    }

    /// Host memory for the array's bytes; allocated as words, so that f32 needs no second copy.
    fn host_bytes(&self, op: &'static str) -> Result<Vec<f32>> {
        if self.dtype() == DType::U32 {
            return Err(Error::DType { op, arg: "array", expected: "f32 or f16", got: DType::U32 });
        }
        host_memory::filled(op, || self.host_copy(), words(self.len(), self.dtype()), 0.0)
    }

    /// The copy's name in errors.
    fn host_copy(&self) -> String {
        format!("a copy of {:?} in host memory", self.shape())
    }

    fn widen_bytes(&self, op: &'static str, words: Vec<f32>) -> Result<Vec<f32>> {
        if self.dtype() == DType::F32 {
            return Ok(words);
        }
        let halves: &[half::f16] = bytemuck::cast_slice(&words);
        let mut values = host_memory::reserve(op, || self.host_copy(), self.len())?;
        values.extend(halves[..self.len()].iter().map(|x| x.to_f32()));
        Ok(values)
    }

    fn read_bytes(&self, out: &mut [u8]) -> Result<()> {
        let bytes = out.len().min(self.len() * self.dtype().size());
        let out = &mut out[..bytes];
        match &self.data {
            Data::Cpu(array) => out.copy_from_slice(&array.buffer.bytes()[..bytes]),
            #[cfg(feature = "gpu")]
            Data::Gpu(array) => array.buffer.read(out)?,
        }
        Ok(())
    }

    /// Copies the array to another device; a cheap clone if it is there already.
    ///
    /// # Errors
    /// As [`Array::to_vec`] and the uploads.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if self.device.same(device) {
            return Ok(self.clone());
        }
        if let Some(indices) = &self.indices {
            return Array::from_u32(device, indices, self.dims());
        }
        let size = self.len() * self.dtype().size();
        let mut bytes = host_memory::filled("to_device", || self.host_copy(), size, 0u8)?;
        self.read_bytes(&mut bytes)?;
        Self::upload(device, &bytes, self.len(), self.dtype(), self.dims())
    }

    /// Refuses other element types.
    pub(crate) fn expect_dtype(&self, op: &'static str, arg: &'static str, dtype: DType) -> Result<()> {
        if self.dtype() == dtype {
            return Ok(());
        }
        let expected = match dtype {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::U32 => "u32",
        };
        Err(Error::DType { op, arg, expected, got: self.dtype() })
    }

    /// Refuses other shapes; `names` spells the axes, e.g. `[T, B, H]`.
    pub(crate) fn expect_dims(
        &self,
        op: &'static str,
        arg: impl Into<String>,
        names: &str,
        dims: &[usize],
    ) -> Result<()> {
        if self.dims() == dims {
            return Ok(());
        }
        Err(Error::Shape {
            op,
            arg: arg.into(),
            expected: format!("{names} = {dims:?}"),
            got: self.dims().to_vec(),
        })
    }

    /// Refuses an array on another device than `device`; `op` and `arg` name it in the error.
    ///
    /// # Errors
    /// [`Error::DeviceMismatch`] with both devices.
    pub fn expect_device(&self, op: &'static str, arg: &'static str, device: &Device) -> Result<()> {
        if self.device.same(device) {
            return Ok(());
        }
        let [expected, got] = device.names_apart(&self.device);
        Err(Error::DeviceMismatch { op, arg, expected, got })
    }

    /// The array of the CPU backend. Call only after matching the device.
    pub(crate) fn cpu_array(&self) -> &CpuArray {
        match &self.data {
            Data::Cpu(array) => array,
            #[cfg(feature = "gpu")]
            Data::Gpu(_) => unreachable!("array on a GPU used by the CPU backend"),
        }
    }

    /// [`Array::cpu_array`] that consumes the handle.
    pub(crate) fn into_cpu_array(self) -> CpuArray {
        match self.data {
            Data::Cpu(array) => array,
            #[cfg(feature = "gpu")]
            Data::Gpu(_) => unreachable!("array on a GPU used by the CPU backend"),
        }
    }

    /// The CPU memory. Call only after matching the device.
    pub(crate) fn cpu(&self) -> &CpuBuffer {
        &self.cpu_array().buffer
    }

    /// The CPU memory for an in-place op.
    pub(crate) fn cpu_mut(&mut self) -> &mut CpuBuffer {
        match &mut self.data {
            Data::Cpu(array) => &mut array.buffer,
            #[cfg(feature = "gpu")]
            Data::Gpu(_) => unreachable!("array on a GPU used by the CPU backend"),
        }
    }

    /// Gives the array memory of its own where another handle shares it. An op in place asks for no memory afterwards.
    ///
    /// # Errors
    /// No memory, or a lost device.
    pub fn make_unique(&mut self) -> Result<()> {
        match &mut self.data {
            Data::Cpu(array) => array.buffer.make_mut().map(|_| ()),
            #[cfg(feature = "gpu")]
            Data::Gpu(array) => {
                let words = array.words();
                array.buffer.make_unique(words)
            }
        }
    }

    /// The array of the GPU backend. Call only after matching the device.
    #[cfg(feature = "gpu")]
    pub(crate) fn gpu_array(&self) -> &GpuArray {
        match &self.data {
            Data::Gpu(array) => array,
            Data::Cpu(_) => unreachable!("array on the CPU used by the GPU backend"),
        }
    }

    /// [`Array::gpu_array`] for a result.
    #[cfg(feature = "gpu")]
    pub(crate) fn gpu_array_mut(&mut self) -> &mut GpuArray {
        match &mut self.data {
            Data::Gpu(array) => array,
            Data::Cpu(_) => unreachable!("array on the CPU used by the GPU backend"),
        }
    }

    /// [`Array::gpu_array`] that consumes the handle.
    #[cfg(feature = "gpu")]
    pub(crate) fn into_gpu_array(self) -> GpuArray {
        match self.data {
            Data::Gpu(array) => array,
            Data::Cpu(_) => unreachable!("array on the CPU used by the GPU backend"),
        }
    }

    /// The GPU memory. Call only after matching the device.
    #[cfg(feature = "gpu")]
    pub(crate) fn gpu(&self) -> &GpuBuffer {
        &self.gpu_array().buffer
    }

    /// The GPU memory for an in-place op: call [`GpuBuffer::make_unique`] before writing.
    #[cfg(feature = "gpu")]
    pub(crate) fn gpu_mut(&mut self) -> &mut GpuBuffer {
        &mut self.gpu_array_mut().buffer
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({} {:?} on {})", self.dtype(), self.shape(), self.device.name())
    }
}
