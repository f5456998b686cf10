//! [`Packed`]: the weights of a stack in the order of a backend's kernels.

use crate::array::Array;
use crate::device::Device;
use rnn_base::error::Result;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The weights of a stack, packed for the kernels. Pack them once per weight version and keep the result.
#[derive(Clone)]
pub struct Packed {
    pub(super) device: Device,
    layers: Arc<Layers>,
    /// The latest zero initial states, for passes without given ones.
    zeros: Arc<Mutex<Vec<Array>>>,
}

/// The weights of all layers in the backend's own order.
pub(super) enum Layers {
    Cpu(Vec<rnn_cpu::rnn::LayerWeights>),
    #[cfg(feature = "gpu")]
    Gpu(Box<GpuLayers>),
}

/// The weights of all layers on a GPU.
#[cfg(feature = "gpu")]
pub(super) struct GpuLayers {
    pub(super) each: Vec<rnn_gpu::rnn::LayerWeights>,
    /// Recurrent weights of all layers in one array, for a wavefront.
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

    /// Bytes of the weights for the forward pass; those for the backward pass are packed at the first
    /// backward pass.
    pub fn bytes(&self) -> u64 {
        let floats: usize = match &*self.layers {
            Layers::Cpu(layers) => layers.iter().map(rnn_cpu::rnn::LayerWeights::len).sum(),
            #[cfg(feature = "gpu")]
            Layers::Gpu(layers) => layers.each.iter().map(rnn_gpu::rnn::LayerWeights::len).sum(),
        };
        4 * floats as u64
    }

    /// The layers on the CPU. Call only after matching the device.
    pub(super) fn cpu(&self) -> &[rnn_cpu::rnn::LayerWeights] {
        match &*self.layers {
            Layers::Cpu(layers) => layers,
            #[cfg(feature = "gpu")]
            Layers::Gpu(_) => unreachable!("packed for a GPU, used by the CPU backend"),
        }
    }

    /// The layers on the GPU. Call only after matching the device.
    #[cfg(feature = "gpu")]
    pub(super) fn gpu(&self) -> &GpuLayers {
        match &*self.layers {
            Layers::Gpu(layers) => layers,
            Layers::Cpu(_) => unreachable!("packed for the CPU, used by the GPU backend"),
        }
    }

    /// Zeros of this shape; no op writes to them.
    pub(super) fn zeros(&self, op: &'static str, dims: &[usize]) -> Result<Array> {
        // A panic in another thread leaves each array either complete or absent.
        let mut zeros = self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(array) = zeros.iter().find(|array| array.dims() == dims) {
            return Ok(array.clone());
        }
        let array = Array::alloc_zeroed(&self.device, op, dims)?;
        // h and c may differ in width, so two arrays are kept.
        if zeros.len() == 2 {
            zeros.clear();
        }
        zeros.push(array.clone());
        Ok(array)
    }
}
