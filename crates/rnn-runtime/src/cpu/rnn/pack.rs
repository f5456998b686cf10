//! Weights in the order in which the recurrence reads them.

use super::super::simd::{self, Isa};
use rnn_kernels::cell::{CellKind, CellSpec};

/// Vectors that a panel of packed weights is wide, for cells with G gates: whole units, at most 4.
const fn panel_vectors(gates: usize) -> usize {
    if gates == 3 { 3 } else { 4 }
}

/// Recurrent weights `[K, N]` in panels `[panel][k][vector][lane]`, padded with zeros.
pub(crate) struct Panels {
    pub(super) data: Vec<f32>,
    pub(super) isa: Isa,
}

impl Panels {
    /// U of one direction, `[G*H, H]`, for the product `h U^T`: a panel holds all gates of a group
    /// of units, so that the cell finds its pre-activations in one set of accumulators.
    pub(crate) fn forward(spec: &CellSpec, u: &[f32], hidden: usize) -> Self {
        let gates = spec.kind.gates();
        let isa = simd::isa();
        let lanes = simd::lanes(isa);
        let vectors = panel_vectors(gates);
        let units = vectors / gates * lanes; // units per panel
        let panels = hidden.div_ceil(units);
        let mut data = vec![0.0; panels * hidden * vectors * lanes];
        for (unit, gate) in (0..hidden).flat_map(|unit| (0..gates).map(move |gate| (unit, gate))) {
            let (panel, in_panel) = (unit / units, unit % units);
            let vector = in_panel / lanes * gates + gate;
            let at = panel * hidden * vectors * lanes + vector * lanes + in_panel % lanes;
            let row = &u[(gate * hidden + unit) * hidden..][..hidden];
            for (k, &weight) in row.iter().enumerate() {
                data[at + k * vectors * lanes] = weight;
            }
        }
        Panels { data, isa }
    }

    /// The same U for the product `dgates U` of the backward recurrence.
    pub(crate) fn backward(u: &[f32], gate_rows: usize, hidden: usize) -> Self {
        let isa = simd::isa();
        let width = 4 * simd::lanes(isa);
        let panels = hidden.div_ceil(width);
        let mut data = vec![0.0; panels * gate_rows * width];
        for panel in 0..panels {
            let first = panel * width;
            let used = width.min(hidden - first);
            for k in 0..gate_rows {
                let at = (panel * gate_rows + k) * width;
                data[at..at + used].copy_from_slice(&u[k * hidden + first..][..used]);
            }
        }
        Panels { data, isa }
    }
}

/// The two biases of one direction, `[G*H]` each: their sum where both enter a gate alike goes to
/// `bias` `[G*H]`; the recurrent bias of a GRU's last gate goes to `params` `[H]`, because the reset
/// gate multiplies it.
pub(crate) fn pack_bias(spec: &CellSpec, b_ih: &[f32], b_hh: &[f32], bias: &mut [f32], params: &mut [f32]) {
    let apart = if spec.kind == CellKind::Gru { params.len() } else { 0 };
    let shared = b_ih.len() - apart;
    bias.copy_from_slice(b_ih);
    for (sum, recurrent) in bias[..shared].iter_mut().zip(b_hh) {
        *sum += recurrent;
    }
    params[..apart].copy_from_slice(&b_hh[shared..]);
}
