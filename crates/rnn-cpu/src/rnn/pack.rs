//! The weights of one layer in the order in which its passes read them.

use super::super::cells::CellMath;
use super::super::memory::{CpuArray, CpuBuffer, CpuDevice};
use super::super::panels::{Bf16Panels, Panels};
use super::super::simd;
use super::phases::weights::{PhaseWeights, in_phases};
use super::weights::{CellWeights, Sizes, own_parameter, own_weights};
use rnn_base::error::Result;
use rnn_kernels::cell::{CellSpec, Parameter};
use std::sync::{Arc, Mutex, PoisonError};

/// Vectors of products in a panel of the forward pass. A panel has all gates of a vector of units, and as many such
/// groups as fit into four vectors.
pub(super) const fn panel_products(gates: usize) -> usize {
    4 / gates * gates
}

/// Vectors in a row of a tile: one per product, and one more per group of units if the last gate's two products stay
/// `apart`, as those of a GRU do: first the input's, then the recurrent one.
pub(super) const fn panel_slots(gates: usize, apart: bool) -> usize {
    panel_products(gates) / gates * (gates + apart as usize)
}

/// [`panel_products`] of a cell.
pub(super) const fn products_of<C: CellMath>() -> usize {
    panel_products(C::GATES)
}

/// [`panel_slots`] of a cell.
pub(super) const fn slots_of<C: CellMath>() -> usize {
    panel_slots(C::GATES, C::LAST_GATE_IN_AUX)
}

/// Where the products of a panel stand in a row of a tile: `NV` products in `SLOTS` vectors.
pub(super) struct PanelRow<const NV: usize, const SLOTS: usize>;

impl<const NV: usize, const SLOTS: usize> PanelRow<NV, SLOTS> {
    /// Number of products whose two parts, the input's and the recurrent one, have slots of their own. It is one per group
    /// of units: the last gate.
    const APART: usize = SLOTS - NV;
    /// Products of a group of units. The groups do not matter if every product has one slot.
    const GROUP: usize = match NV.checked_div(Self::APART) {
        Some(products) => products,
        None => NV,
    };

    /// Whether the two parts of product `v`, the input's and the recurrent one, stay apart.
    #[inline(always)]
    pub(super) fn apart(v: usize) -> bool {
        Self::APART > 0 && (v + 1).is_multiple_of(Self::GROUP)
    }

    /// Where the input's part of product `v` stands in a tile's row.
    #[inline(always)]
    pub(super) fn input_slot(v: usize) -> usize {
        v + if Self::APART > 0 { v / Self::GROUP } else { 0 }
    }

    /// Where its recurrent part stands: with the input's, or after it.
    #[inline(always)]
    pub(super) fn slot(v: usize) -> usize {
        Self::input_slot(v) + usize::from(Self::apart(v))
    }
}

/// The weights of a layer, packed once per version.
pub struct LayerWeights {
    spec: CellSpec,
    sizes: Sizes,
    pub(super) forward: DriverWeights,
    /// Packed at the first backward pass, because inference never needs it. Packing drops the handles to the given
    /// weights, so the optimizer's step that follows finds them unshared and need not copy them.
    backward: Mutex<BackwardPack>,
    /// Rounded panels per direction, made at first use.
    bf16: Mutex<Option<Arc<Vec<Bf16Panels>>>>,
}

/// The weights of the forward pass, one per direction, for the driver that runs the layer. The choice of the driver is
/// made where they are packed; both passes match on it.
pub(super) enum DriverWeights {
    /// One product per step, and the cells from its tiles.
    Fused(Vec<ForwardWeights>),
    /// Several phases per step; see [`super::phases`].
    Phased(Vec<PhaseWeights>),
}

enum BackwardPack {
    Unpacked(Vec<CellWeights>),
    Packed(Arc<BackwardWeights>),
}

/// One direction's weights for the forward pass.
pub(super) struct ForwardWeights {
    /// Per panel of units: first the I rows of W, then the H rows of U. All gates of a group of units lie
    /// together, so that a cell finds its pre-activations in one tile.
    pub(super) panels: Panels,
    /// [panel][slot][lane]: the start values of a tile, with the slots of [`panel_slots`]. The slot of a recurrent
    /// product that stays apart starts from b_hn, all others from b_ih + b_hh.
    pub(super) bias: CpuBuffer,
    /// Weights that a cell multiplies unit by unit: peepholes, or U of an independent recurrence. A copy, so that the
    /// given weights stay unshared (see `LayerWeights::backward`).
    pub(super) per_unit: CpuBuffer,
}

/// Both directions' weights for the backward pass.
pub struct BackwardWeights {
    /// U per direction, for `dh = dgates U`; empty for an independent recurrence
    pub(super) recurrent: Vec<Panels>,
    /// U_n per direction for a GRU with the reset gate before the product; then `recurrent` is without its rows
    pub(super) candidate: Vec<Panels>,
    /// `weight_hr` per direction, for `dh = dy weight_hr`
    pub(super) projection: Vec<Panels>,
    /// W of both directions, one below the other, for `dx = dgates W`
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
        let all = given.iter();
        let forward = if in_phases(spec, &sizes) {
            let pack = |given| PhaseWeights::new(device, spec, sizes, given);
            DriverWeights::Phased(all.map(pack).collect::<Result<_>>()?)
        } else {
            let pack = |given| ForwardWeights::new(device, spec, [sizes.inputs, sizes.hidden], given);
            DriverWeights::Fused(all.map(pack).collect::<Result<_>>()?)
        };
        Ok(LayerWeights {
            spec: *spec,
            sizes,
            forward,
            backward: Mutex::new(BackwardPack::Unpacked(given)),
            bf16: Mutex::new(None),
        })
    }

    /// The cell.
    pub(super) fn spec(&self) -> CellSpec {
        self.spec
    }

    pub(super) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Floats of the weights for the forward pass.
    #[expect(clippy::len_without_is_empty, reason = "a layer has weights")]
    pub fn len(&self) -> usize {
        match &self.forward {
            DriverWeights::Fused(all) => {
                all.iter().map(|of| of.panels.len() + of.bias.len() + of.per_unit.len()).sum()
            }
            DriverWeights::Phased(all) => all.iter().map(PhaseWeights::len).sum(),
        }
    }

    /// [`LayerWeights::len`] of one direction of a layer, known before packing.
    pub fn len_of(spec: &CellSpec, sizes: Sizes) -> usize {
        let Sizes { inputs, hidden, .. } = sizes;
        let per_unit = own_parameter(spec).map_or(0, |(_, blocks)| blocks * hidden);
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

    /// The weights of the forward pass in bfloat16, rounded at first use. Absent for a layer in phases: only the fused
    /// driver reads rounded weights.
    pub(crate) fn bf16(&self, device: &CpuDevice) -> Result<Option<Arc<Vec<Bf16Panels>>>> {
        let DriverWeights::Fused(all) = &self.forward else { return Ok(None) };
        // A panic while rounding leaves nothing behind.
        let mut bf16 = self.bf16.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = &*bf16 {
            return Ok(Some(ready.clone()));
        }
        let rounded = all.iter().map(|weights| weights.panels.to_bf16(device)).collect::<Result<_>>()?;
        Ok(Some(bf16.insert(Arc::new(rounded)).clone()))
    }

    /// The weights for the backward pass, packed at first use.
    ///
    /// # Errors
    /// No memory.
    pub fn backward(&self, device: &CpuDevice) -> Result<Arc<BackwardWeights>> {
        // A panic while packing leaves the weights as given: nothing is lost.
        let mut later = self.backward.lock().unwrap_or_else(PoisonError::into_inner);
        let given = match &*later {
            BackwardPack::Packed(ready) => return Ok(ready.clone()),
            BackwardPack::Unpacked(given) => given,
        };
        let Sizes { inputs, hidden, state } = self.sizes;
        let rows = self.spec.gates() * hidden;
        // With the reset gate before the product, the last gate has a product of its own.
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
        let per_unit = match &self.forward {
            DriverWeights::Fused(all) => all.iter().map(|weights| weights.per_unit.clone()).collect(),
            DriverWeights::Phased(all) => all.iter().map(|weights| weights.per_unit.clone()).collect(),
        };
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
        // The row of both matrices where a vector begins, and how many of its lanes are units.
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
        let per_unit = own_weights(device, spec, given)?;
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
