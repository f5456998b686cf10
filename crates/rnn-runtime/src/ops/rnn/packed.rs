//! [`Packed`]: the weights of a stack as a backend's kernels take them.

use crate::array::Array;
use crate::device::Device;
use rnn_base::error::Result;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The weights of a stack, rearranged for the kernels. Make it once per weight version and keep it.
#[derive(Clone)]
pub struct Packed {
    pub(super) device: Device,
    layers: Arc<Layers>,
    /// The last initial states of zeros, for passes that are given none.
    zeros: Arc<Mutex<Vec<Array>>>,
}

/// The weights of all layers in a backend's own order.
pub(super) enum Layers {
    Cpu(Vec<rnn_cpu::rnn::LayerWeights>),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuLayers>),
}

/// The weights of all layers on a GPU.
#[cfg(feature = "gpu")]
pub(super) struct GpuLayers {
    pub(super) each: Vec<rnn_gpu::rnn::LayerWeights>,
    /// Recurrent weights of all layers together, for layers side by side.
    pub(super) together: Mutex<rnn_gpu::rnn::wavefront::SharedWeights>,
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} layers on {})", self.num_layers(), self.device.name())
    }
}

impl Packed {
    pub(super) fn new(device: &Device, layers: Layers) -> Self {
        Packed { device: device.clone(), layers: Arc::new(layers), zeros: Arc::default() }
    }

    /// L
    pub(super) fn num_layers(&self) -> usize {
        match &*self.layers {
            Layers::Cpu(layers) => layers.len(),
            #[cfg(feature = "gpu")]
            Layers::Gpu(layers) => layers.each.len(),
        }
    }

    /// Bytes of the weights for the forward pass; those for the backward pass are packed when the first comes.
    pub fn bytes(&self) -> u64 {
        let floats: usize = match &*self.layers {
            Layers::Cpu(layers) => layers.iter().map(rnn_cpu::rnn::LayerWeights::len).sum(),
            #[cfg(feature = "gpu")]
            Layers::Gpu(layers) => layers.each.iter().map(rnn_gpu::rnn::LayerWeights::len).sum(),
        };
        4 * floats as u64
    }

    /// Only called after the device was matched.
    pub(super) fn cpu(&self) -> &[rnn_cpu::rnn::LayerWeights] {
        match &*self.layers {
            Layers::Cpu(layers) => layers,
            #[cfg(feature = "gpu")]
            Layers::Gpu(_) => unreachable!("packed for a GPU, used by the CPU backend"),
        }
    }

    /// Only called after the device was matched.
    #[cfg(feature = "gpu")]
    pub(super) fn gpu(&self) -> &GpuLayers {
        match &*self.layers {
            Layers::Gpu(layers) => layers,
            Layers::Cpu(_) => unreachable!("packed for the CPU, used by the GPU backend"),
        }
    }

    /// Zeros of this shape; nobody writes to them.
    pub(super) fn zeros(&self, op: &'static str, dims: &[usize]) -> Result<Array> {
        // An array is whole or absent, whatever happened to another thread.
        let mut zeros = self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(array) = zeros.iter().find(|array| array.dims() == dims) {
            return Ok(array.clone());
        }
        let array = Array::alloc_zeroed(&self.device, op, dims)?;
        // h and c may differ in width: two are kept.
        if zeros.len() == 2 {
            zeros.clear();
        }
        zeros.push(array.clone());
        Ok(array)
    }
}
