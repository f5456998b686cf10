//! Gates and states of a training pass in PyTorch's order.

use super::sequences::Path;
use super::types::Saved;
use crate::array::Array;
use crate::device::{Device, on_device};
use crate::ops::copy::{concat, copy_into, slice};
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::layer::{Dims, SavedLayer};
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::{CellKind, StackSpec};

const OP: &str = "rnn::trace";

/// Every gate and state of one layer; zero past the end of a row.
#[derive(Clone, Debug)]
pub struct LayerTrace {
    /// `[T, B, D, G, H]`: the activated gates, in PyTorch's order: i, f, g, o of an LSTM (i, g, o when
    /// coupled); r, z, n of a GRU; f, n of an MGU; the one activation of an Elman network. Candidate dropout
    /// comes after them.
    pub gates: Array,
    /// `[T, B, D, P]`: h after every step
    pub h: Array,
    /// `[T, B, D, H]`: c after every step; LSTM only
    pub c: Option<Array>,
}

/// The order of a backend's arrays: padded units of a row, and whether the gates of a unit lie side by side.
struct Layout {
    hidden: usize,
    state: usize,
    interleaved: bool,
}

impl Layout {
    fn new(device: &Device, dims: Dims) -> Self {
        on_device!(
            device,
            Cpu(_) => Layout { hidden: dims.h, state: dims.p, interleaved: false },
            Gpu(_) => {
                let padded = rnn_gpu::rnn::padded;
                Layout { hidden: padded(dims.h), state: padded(dims.p), interleaved: true }
            },
        )
    }
}

impl Saved {
    /// The gates and states of one layer of the pass that saved this. The arrays are copied; the backward
    /// pass is not affected.
    ///
    /// # Errors
    /// No such layer, or no memory.
    pub fn trace(&self, spec: &StackSpec, layer: usize) -> Result<LayerTrace> {
        if layer >= spec.num_layers {
            return Err(Error::Value {
                op: OP,
                arg: "layer",
                expected: format!("below the number of layers, {}", spec.num_layers),
                got: layer.to_string(),
            });
        }
        let mut parts = Vec::new();
        #[cfg(feature = "gpu")]
        if let Some(wave) = &self.wavefront {
            let device = Device::from(wave.kept.gates.buffer.device().clone());
            let kept = wave.kept.clone().map(|array| Array::from_data(&device, array));
            parts.push(trace_pass(spec, self.dims, &kept, (layer, spec.num_layers), None)?);
        }
        let paths = self.paths.as_deref();
        let passes = self.layers.get(layer).map_or(&[][..], |layer| &layer.passes);
        for (n, pass) in passes.iter().enumerate() {
            let path = paths.map(|paths| &paths[n]);
            let dims = path.map_or(self.dims, |path| self.dims.of_ragged(&path.ragged));
            parts.push(trace_pass(spec, dims, &pass.kept, (0, dims.d), path)?);
        }
        let Dims { t, b, h, p, d, g, .. } = self.dims;
        let together = |of: &dyn Fn(&LayerTrace) -> Option<&Array>, dims: &[usize]| {
            let parts: Vec<&Array> = parts.iter().filter_map(of).collect();
            match parts[..] {
                [] => Ok(None),
                [one] => one.reshape(dims).map(Some),
                _ => concat(&parts, 2)?.reshape(dims).map(Some),
            }
        };
        let gates = together(&|part| Some(&part.gates), &[t, b, d, g, h])?;
        let states = together(&|part| Some(&part.h), &[t, b, d, p])?;
        let c = together(&|part| part.c.as_ref(), &[t, b, d, h])?;
        let (Some(gates), Some(h)) = (gates, states) else { unreachable!("a layer has a pass") };
        Ok(LayerTrace { gates, h, c })
    }
}

/// The arrays of one pass as `[T, B, ..]` without padding; axis 2 holds all other axes. The arrays have `of`
/// directions (or layers) per row, of which those from `first` on belong to the pass.
fn trace_pass(
    spec: &StackSpec,
    dims: Dims,
    kept: &SavedLayer<Array>,
    (first, of): (usize, usize),
    path: Option<&Path>,
) -> Result<LayerTrace> {
    let pass = PassView { dims, layout: Layout::new(kept.gates.device(), dims), first, of, path };
    let c = match (&kept.aux, spec.cell.kind) {
        (Some(aux), CellKind::Lstm) => Some(pass.units(aux)?),
        _ => None,
    };
    let h = pass.rows(&kept.y, dims.p, pass.layout.state)?;
    Ok(LayerTrace { gates: pass.gates(&kept.gates)?, h, c })
}

/// Gradients of the recurrent product of one pass after its backward pass, `[T, B, D*G*H]`.
pub(super) fn product_gradients(
    spec: &StackSpec,
    dims: Dims,
    kept: &SavedLayer<Array>,
    path: Option<&Path>,
) -> Result<Array> {
    let Dims { t, b, h, d, g, .. } = dims;
    let pass = PassView { dims, layout: Layout::new(kept.gates.device(), dims), first: 0, of: d, path };
    let gates = pass.gates(&kept.gates)?;
    match &kept.aux {
        Some(aux) if spec.cell.linear_before_reset() => {
            let others = slice(&gates.reshape(&[t * b * d, g * h])?, 1, 0, (g - 1) * h)?;
            let last = pass.units(aux)?.reshape(&[t * b * d, h])?;
            concat(&[&others, &last], 1)?.reshape(&[t, b, d * g * h])
        }
        _ => Ok(gates),
    }
}

/// The arrays of one pass.
struct PassView<'a> {
    dims: Dims,
    layout: Layout,
    first: usize,
    of: usize,
    path: Option<&'a Path>,
}

impl PassView<'_> {
    /// `[T, B, D*G*H]`
    fn gates(&self, gates: &Array) -> Result<Array> {
        let Dims { h, d, g, n, .. } = self.dims;
        let (gate, unit) = if self.layout.interleaved { (1, g) } else { (self.layout.hidden, 1) };
        let own = self.layout.hidden * g;
        self.unpacked(view(gates, &[n, d, g, h], &[self.of * own, own, gate, unit], self.first * own)?)
    }

    /// `[T, B, D*H]` of an array with a value per unit.
    fn units(&self, array: &Array) -> Result<Array> {
        self.rows(array, self.dims.h, self.layout.hidden)
    }

    /// `[T, B, D*width]`
    fn rows(&self, array: &Array, width: usize, padded: usize) -> Result<Array> {
        let Dims { d, n, .. } = self.dims;
        self.unpacked(view(array, &[n, d, width], &[self.of * padded, padded, 1], self.first * padded)?)
    }

    fn unpacked(&self, array: Array) -> Result<Array> {
        let Dims { t, b, n, .. } = self.dims;
        match self.path {
            Some(path) => path.unpack(OP, &array, self.dims),
            None => array.reshape(&[t, b, array.len() / n]),
        }
    }
}

/// A contiguous copy of a strided view.
fn view(of: &Array, dims: &[usize], strides: &[usize], offset: usize) -> Result<Array> {
    let mut out = Array::alloc(of.device(), OP, dims)?;
    let mut own = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        own[axis - 1] = own[axis] * dims[axis];
    }
    let copy = StridedCopy {
        dims: dims.to_vec(),
        src_strides: strides.to_vec(),
        src_offset: offset,
        dst_strides: own,
        dst_offset: 0,
    };
    copy_into(&copy, of, &mut out)?;
    Ok(out)
}
