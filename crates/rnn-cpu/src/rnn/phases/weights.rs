//! The weights of a layer in phases, and which layers that are.

use super::super::super::memory::{CpuBuffer, CpuDevice};
use super::super::super::panels::Panels;
use super::super::weights::{CellWeights, Sizes, copy, own_weights};
use rnn_base::error::Result;
use rnn_kernels::cell::{CellSpec, Parameter};

/// Whether a layer needs the driver in phases rather than the fused one.
pub(crate) fn in_phases(spec: &CellSpec, sizes: &Sizes) -> bool {
    spec.layer_norm || !spec.reset_after || sizes.state != sizes.hidden
}

/// One direction's weights for the forward pass.
pub(crate) struct PhaseWeights {
    /// W^T `[I, G*H]`
    pub(super) input: Panels,
    /// U^T `[P, G*H]`; without the last gate of a GRU with the reset gate before the product
    pub(super) recurrent: Panels,
    /// U_n^T `[H, H]` of such a GRU
    pub(super) candidate: Option<Panels>,
    /// `weight_hr`^T `[H, P]`
    pub(super) projection: Option<Panels>,
    /// `[G*H]` each, zeros if there are none
    pub(super) biases: [CpuBuffer; 2],
    /// As in `ForwardWeights`
    pub(crate) per_unit: CpuBuffer,
    /// Gains `[G*H]` of the input's and of the recurrent product's normalisation
    pub(super) norms: Option<[CpuBuffer; 2]>,
    /// Gain and offset `[H]` of the cell state's
    pub(super) norm_c: Option<[CpuBuffer; 2]>,
}

impl PhaseWeights {
    pub(crate) fn new(
        device: &CpuDevice,
        spec: &CellSpec,
        sizes: Sizes,
        given: &CellWeights,
    ) -> Result<Self> {
        let Sizes { inputs, hidden, state } = sizes;
        let rows = spec.gates() * hidden;
        let first = if spec.reset_after { rows } else { rows - hidden };
        let w_hh = &given[Parameter::WeightHh].buffer;
        let candidate = match spec.reset_after {
            true => None,
            false => Some(Panels::from_columns(device, [hidden, hidden], &w_hh[first * hidden..])?),
        };
        let projection = match given.get(Parameter::WeightHr) {
            None => None,
            Some(w_hr) => Some(Panels::from_columns(device, [hidden, state], &w_hr.buffer)?),
        };
        let pair = |first, second| match (given.get(first), given.get(second)) {
            (None, _) | (_, None) => Ok(None),
            pair => Ok(Some([copy(device, pair.0)?, copy(device, pair.1)?])),
        };
        let biases = match pair(Parameter::BiasIh, Parameter::BiasHh)? {
            Some(biases) => biases,
            None => [device.alloc_zeroed(rows)?, device.alloc_zeroed(rows)?],
        };
        Ok(PhaseWeights {
            input: Panels::from_columns(device, [inputs, rows], &given[Parameter::WeightIh].buffer)?,
            recurrent: Panels::from_columns(device, [state, first], w_hh)?,
            candidate,
            projection,
            biases,
            per_unit: own_weights(device, spec, given)?,
            norms: pair(Parameter::NormIh, Parameter::NormHh)?,
            norm_c: pair(Parameter::NormC, Parameter::NormCBias)?,
        })
    }

    /// Floats.
    pub(crate) fn len(&self) -> usize {
        let Self { input, recurrent, candidate, projection, biases, per_unit, norms, norm_c } = self;
        let panels = [Some(input), Some(recurrent), candidate.as_ref(), projection.as_ref()];
        let pairs = [Some(biases), norms.as_ref(), norm_c.as_ref()];
        let pair = |[first, second]: &[CpuBuffer; 2]| first.len() + second.len();
        per_unit.len()
            + panels.into_iter().flatten().map(Panels::len).sum::<usize>()
            + pairs.into_iter().flatten().map(pair).sum::<usize>()
    }

    /// [`PhaseWeights::len`] without the weights per unit, known before packing.
    pub(crate) fn len_of(spec: &CellSpec, Sizes { inputs, hidden, state }: Sizes) -> usize {
        let rows = spec.gates() * hidden;
        let mut len = Panels::len_of(inputs, rows) + 2 * rows;
        len += match spec.reset_after {
            true => Panels::len_of(state, rows),
            false => Panels::len_of(state, rows - hidden) + Panels::len_of(hidden, hidden),
        };
        if state != hidden {
            len += Panels::len_of(hidden, state);
        }
        if spec.layer_norm {
            len += 2 * rows + if spec.kind.has_cell_state() { 2 * hidden } else { 0 };
        }
        len
    }

    /// Gain and offset of the cell state's normalisation.
    pub(super) fn norm_c(&self) -> Option<[&[f32]; 2]> {
        self.norm_c.as_ref().map(|[gain, offset]| [&gain[..], &offset[..]])
    }
}
