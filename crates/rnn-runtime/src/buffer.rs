//! Memory on either backend: without a shape ([`Buffer`]), and with a shape and a type ([`Data`]).

use rnn_base::{ArrayOf, DType, Shape};
use rnn_cpu::{CpuArray, CpuBuffer};
#[cfg(feature = "gpu")]
use rnn_gpu::{GpuArray, GpuBuffer};

/// Memory of one array on its device. It is a handle: clones share the memory, and dropping the last one
/// returns it to the device's pool.
#[derive(Clone, Debug)]
pub(crate) enum Buffer {
    Cpu(CpuBuffer),
    #[cfg(feature = "gpu")]
    Gpu(GpuBuffer),
}

impl From<CpuBuffer> for Buffer {
    fn from(buffer: CpuBuffer) -> Self {
        Buffer::Cpu(buffer)
    }
}

#[cfg(feature = "gpu")]
impl From<GpuBuffer> for Buffer {
    fn from(buffer: GpuBuffer) -> Self {
        Buffer::Gpu(buffer)
    }
}

/// An array of one backend.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Cpu(CpuArray),
    #[cfg(feature = "gpu")]
    Gpu(GpuArray),
}

impl From<CpuArray> for Data {
    fn from(array: CpuArray) -> Self {
        Data::Cpu(array)
    }
}

#[cfg(feature = "gpu")]
impl From<GpuArray> for Data {
    fn from(array: GpuArray) -> Self {
        Data::Gpu(array)
    }
}

impl Data {
    /// Wraps memory as an array.
    pub(crate) fn new(shape: Shape, dtype: DType, buffer: Buffer) -> Self {
        match buffer {
            Buffer::Cpu(buffer) => Data::Cpu(ArrayOf { shape, dtype, buffer }),
            #[cfg(feature = "gpu")]
            Buffer::Gpu(buffer) => Data::Gpu(ArrayOf { shape, dtype, buffer }),
        }
    }

    pub(crate) fn shape(&self) -> &Shape {
        match self {
            Data::Cpu(array) => &array.shape,
            #[cfg(feature = "gpu")]
            Data::Gpu(array) => &array.shape,
        }
    }

    pub(crate) fn dtype(&self) -> DType {
        match self {
            Data::Cpu(array) => array.dtype,
            #[cfg(feature = "gpu")]
            Data::Gpu(array) => array.dtype,
        }
    }

    /// The same memory with other axis lengths of as many elements.
    pub(crate) fn with_shape(&self, shape: Shape) -> Self {
        match self {
            Data::Cpu(array) => {
                Data::Cpu(ArrayOf { shape, dtype: array.dtype, buffer: array.buffer.clone() })
            }
            #[cfg(feature = "gpu")]
            Data::Gpu(array) => {
                Data::Gpu(ArrayOf { shape, dtype: array.dtype, buffer: array.buffer.clone() })
            }
        }
    }
}
