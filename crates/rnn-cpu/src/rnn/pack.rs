//! The weights of one layer in the order in which its passes read them.

use super::super::memory::{CpuArray, CpuBuffer, CpuDevice};
use super::super::panels::{Bf16Panels, Panels};
use super::super::simd;
use super::phases::{PhaseWeights, in_phases};
use rnn_base::error::Result;
use rnn_kernels::cell::{CellSpec, Parameter, PerParameter};
use std::sync::{Arc, Mutex, PoisonError};

/// Vectors of products in a panel of the forward pass: all gates of as many groups of units as fit into four.
pub(super) const fn panel_products(gates: usize) -> usize {
    4 / gates * gates
}

/// Vectors in a row of a tile: the products, and in each group of units the recurrent product of a last gate that
/// stays `apart`, after the input's share of it.
pub(super) const fn panel_slots(gates: usize, apart: bool) -> usize {
    panel_products(gates) / gates * (gates + apart as usize)
}

/// A buffer of its own with the same contents, or an empty one.
pub(super) fn copy(device: &CpuDevice, array: Option<&CpuArray>) -> Result<CpuBuffer> {
    let values = array.map_or(&[][..], |array| &array.buffer[..]);
    let mut copy = device.alloc(values.len())?;
    copy.make_mut()?.copy_from_slice(values);
    Ok(copy)
}

/// Weights of one direction as they are given, in PyTorch's layout.
pub type CellWeights = PerParameter<CpuArray>;

/// I, H and P.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// I
    pub inputs: usize,
    /// H
    pub hidden: usize,
    /// P of a projection, else H
    pub state: usize,
}

/// The weights of a layer, packed once per version.
pub struct LayerWeights {
    spec: CellSpec,
    sizes: Sizes,
    /// Of the fused loop, per direction; empty for cells that run in phases.
    pub(super) forward: Vec<ForwardWeights>,
    /// Of the loop in phases; empty for cells that are fused.
    pub(super) phases: Vec<PhaseWeights>,
    /// Packed at the first backward pass, because inference never needs it. Packing lets go of the
    /// weights as given, so that the optimizer's step that follows finds them unshared and need not
    /// copy them.
    backward: Mutex<BackwardPack>,
    /// Rounded panels per direction, made at first use.
    bf16: Mutex<Option<Arc<Vec<Bf16Panels>>>>,
}

enum BackwardPack {
    Given(Vec<CellWeights>),
    Packed(Arc<BackwardWeights>),
}

/// One direction's weights for the forward pass.
pub(super) struct ForwardWeights {
    /// Per panel of units: first the I rows of W, then the H rows of U. All gates of a group of units lie
    /// together, so that a cell finds its pre-activations in one tile.
    pub(super) panels: Panels,
    /// [panel][slot][lane]: what a tile starts from. Slots as [`panel_slots`] has them, with
    /// b_hn where the recurrent product of a last gate stays apart.
    pub(super) bias: CpuBuffer,
    /// Weights that a cell multiplies unit by unit: peepholes, or U of an independent recurrence. A copy, for
    /// the reason at `LayerWeights::backward`.
    pub(super) per_unit: CpuBuffer,
}

/// Both directions' weights for the backward pass.
pub(crate) struct BackwardWeights {
    /// U per direction, for `dh = dgates U`; none of an independent recurrence
    pub(super) recurrent: Vec<Panels>,
    /// U_n per direction of a GRU that resets first; `recurrent` is without it
    pub(super) candidate: Vec<Panels>,
    /// `weight_hr` per direction, for `dh = dy weight_hr`
    pub(super) projection: Vec<Panels>,
    /// W of both directions below each other, for `dx = dgates W`
    pub(super) input: Panels,
    /// As in [`ForwardWeights`], per direction
    pub(super) per_unit: Vec<CpuBuffer>,
}

impl LayerWeights {
    /// Packs for the forward pass; one set of weights per direction.
    ///
    /// # Errors
    /// No memory.
    pub fn new(device: &CpuDevice, spec: &CellSpec, sizes: Sizes, given: Vec<CellWeights>) -> Result<Self> {
        let (mut forward, mut phases) = (Vec::new(), Vec::new());
        for given in &given {
            if in_phases(spec, &sizes) {
                phases.push(PhaseWeights::new(device, spec, sizes, given)?);
            } else {
                forward.push(ForwardWeights::new(device, spec, [sizes.inputs, sizes.hidden], given)?);
            }
        }
        Ok(LayerWeights {
            spec: *spec,
            sizes,
            forward,
            phases,
            backward: Mutex::new(BackwardPack::Given(given)),
            bf16: Mutex::new(None),
        })
    }

    /// Floats of the weights for the forward pass.
    #[expect(clippy::len_without_is_empty, reason = "a layer has weights")]
    pub fn len(&self) -> usize {
        let fused = self.forward.iter().map(|of| of.panels.len() + of.bias.len() + of.per_unit.len());
        fused.sum::<usize>() + self.phases.iter().map(PhaseWeights::len).sum::<usize>()
    }

    /// What [`LayerWeights::len`] will be for every direction of a layer.
    pub fn len_of(spec: &CellSpec, sizes: Sizes) -> usize {
        let Sizes { inputs, hidden, .. } = sizes;
        let per_unit = match (spec.independent, spec.peephole) {
            (true, _) => hidden,
            (false, true) => spec.peepholes() * hidden,
            _ => 0,
        };
        if in_phases(spec, &sizes) {
            return PhaseWeights::len_of(spec, sizes) + per_unit;
        }
        let (gates, lanes) = (spec.gates(), simd::lanes(simd::isa()));
        let products = panel_products(gates);
        let count = hidden.div_ceil(products / gates * lanes);
        let slots = panel_slots(gates, spec.linear_before_reset());
        let depth = if spec.independent { inputs } else { inputs + hidden };
        count * lanes * (products * depth + slots) + per_unit
    }

    /// Whether the layer's steps come in phases, with weights in f32 only.
    pub(crate) fn in_phases(&self) -> bool {
        !self.phases.is_empty()
    }

    /// The weights of the forward pass in bfloat16, made at first use.
    pub(crate) fn bf16(&self, device: &CpuDevice) -> Result<Arc<Vec<Bf16Panels>>> {
        // A panic while rounding leaves nothing behind.
        let mut bf16 = self.bf16.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = &*bf16 {
            return Ok(ready.clone());
        }
        let rounded =
            self.forward.iter().map(|weights| weights.panels.to_bf16(device)).collect::<Result<_>>()?;
        Ok(bf16.insert(Arc::new(rounded)).clone())
    }

    /// The weights for the backward pass, packed at first use.
    pub(crate) fn backward(&self, device: &CpuDevice) -> Result<Arc<BackwardWeights>> {
        // A panic while packing leaves the weights as given: nothing is lost.
        let mut later = self.backward.lock().unwrap_or_else(PoisonError::into_inner);
        let given = match &*later {
            BackwardPack::Packed(ready) => return Ok(ready.clone()),
            BackwardPack::Given(given) => given,
        };
        let Sizes { inputs, hidden, state } = self.sizes;
        let rows = self.spec.gates() * hidden;
        // The last gate of a GRU that resets first has a product of its own.
        let recurrent_rows = if self.spec.reset_after { rows } else { rows - hidden };
        let panels = |matrix: &CpuArray, first: usize, rows: usize, cols: usize| {
            Panels::from_rows(device, rows, cols, |k| &matrix.buffer[(first + k) * cols..][..cols])
        };
        let (mut recurrent, mut candidate, mut projection) = (Vec::new(), Vec::new(), Vec::new());
        for given in given {
            if !self.spec.independent {
                recurrent.push(panels(&given[Parameter::WeightHh], 0, recurrent_rows, state)?);
            }
            if !self.spec.reset_after {
                candidate.push(panels(&given[Parameter::WeightHh], recurrent_rows, hidden, state)?);
            }
            if let Some(w_hr) = given.get(Parameter::WeightHr) {
                projection.push(panels(w_hr, 0, state, hidden)?);
            }
        }
        let input = Panels::from_rows(device, given.len() * rows, inputs, |k| {
            &given[k / rows][Parameter::WeightIh].buffer[k % rows * inputs..][..inputs]
        })?;
        let per_unit = (self.forward.iter().map(|weights| weights.per_unit.clone()))
            .chain(self.phases.iter().map(|weights| weights.per_unit.clone()))
            .collect();
        let packed = Arc::new(BackwardWeights { recurrent, candidate, projection, input, per_unit });
        *later = BackwardPack::Packed(packed.clone());
        Ok(packed)
    }
}

impl ForwardWeights {
    fn new(
        device: &CpuDevice,
        spec: &CellSpec,
        [inputs, hidden]: [usize; 2],
        given: &CellWeights,
    ) -> Result<Self> {
        let (w_ih, w_hh) = (&given[Parameter::WeightIh].buffer, &given[Parameter::WeightHh].buffer);
        let gates = spec.gates();
        let lanes = simd::lanes(simd::isa());
        let products = panel_products(gates);
        let units = products / gates * lanes;
        let count = hidden.div_ceil(units);
        // First unit and row of the matrices of a vector, and how many of its lanes are units.
        let lanes_of = |panel: usize, vector: usize| {
            let unit = panel * units + vector / gates * lanes;
            let used = lanes.min(hidden.saturating_sub(unit));
            (vector % gates * hidden + unit.min(hidden - 1), used)
        };
        let depth = if spec.independent { 0 } else { hidden };
        let panels = Panels::from_lanes(device, [count, products], [inputs, depth], |panel, vector| {
            let (row, used) = lanes_of(panel, vector);
            [(&w_ih[row * inputs..], used), (&w_hh[row * depth..], used)]
        })?;
        let per_unit = if spec.independent { Parameter::WeightHh } else { Parameter::Peephole };
        let per_unit = copy(device, given.get(per_unit))?;
        let slots = panel_slots(gates, spec.linear_before_reset());
        let group = gates + usize::from(spec.linear_before_reset());
        let mut bias = device.alloc_zeroed(count * slots * lanes)?;
        let biases = given.get(Parameter::BiasIh).zip(given.get(Parameter::BiasHh));
        if let Some((b_ih, b_hh)) = biases {
            let (b_ih, b_hh) = (&b_ih.buffer, &b_hh.buffer);
            let out = bias.make_mut()?;
            for (panel, out) in out.chunks_exact_mut(slots * lanes).enumerate() {
                for vector in 0..products {
                    let (row, used) = lanes_of(panel, vector);
                    let slot = vector / gates * group + vector % gates;
                    let apart = spec.linear_before_reset() && vector % gates + 1 == gates;
                    for lane in 0..used {
                        let recurrent = b_hh[row + lane];
                        let sum = if apart { b_ih[row + lane] } else { b_ih[row + lane] + recurrent };
                        out[slot * lanes + lane] = sum;
                        if apart {
                            out[(slot + 1) * lanes + lane] = recurrent;
                        }
                    }
                }
            }
        }
        Ok(ForwardWeights { panels, bias, per_unit })
    }
}
