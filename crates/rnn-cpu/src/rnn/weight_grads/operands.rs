//! What the products of the weights' gradients multiply: the gradients of the gates by x, and by h one step earlier.

use super::super::super::team::Shared;
use super::super::pass::Layer;
use rnn_base::args::recurrence::LayerDims;

/// The right side of a product: rows of x, of h one step earlier, or of `r*h`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Recurrent,
    Reset,
}

/// The left side of a product: gradients `[N, D, width]`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Gates,
    Aux,
    Products,
}

/// The arrays of a pass, of which each product reads and writes a part.
pub(super) struct LayerPass<'a> {
    pub(super) layer: Layer<'a>,
    pub(super) d: usize,
    pub(super) gate_rows: usize,
    /// Whether there is no product with the state.
    pub(super) independent: bool,
    pub(super) x: &'a [f32],
    pub(super) y: &'a [f32],
    pub(super) h0: &'a [f32],
    pub(super) gates: &'a [f32],
    pub(super) aux: &'a [f32],
    pub(super) products: &'a [f32],
    pub(super) dw_ih: Shared,
    pub(super) dw_hh: Shared,
    pub(super) dbiases: Option<[Shared; 2]>,
    /// [N]: the step of every row of a packed sequence, else empty
    pub(super) steps_of_rows: Vec<u32>,
    /// [B, P]: factors of h before the recurrent product, or empty
    pub(super) masks: Vec<f32>,
    /// A cleared state.
    pub(super) zeros: Vec<f32>,
}

impl LayerPass<'_> {
    pub(super) fn columns(&self, side: Side) -> usize {
        match side {
            Side::Input => self.layer.dims.inputs,
            Side::Recurrent => self.layer.dims.state,
            Side::Reset => self.layer.dims.hidden,
        }
    }

    /// Step and batch row of row `k`.
    #[inline(always)]
    fn place(&self, k: usize) -> (usize, usize) {
        let LayerDims { batch, .. } = self.layer.dims;
        match self.layer.ragged {
            Some(ragged) => {
                let s = self.steps_of_rows[k] as usize;
                (s, k - ragged.offsets[s] as usize)
            }
            None => (self.layer.time(self.d, k / batch), k % batch),
        }
    }

    /// Row `k` of a side: x at (t, b), or h one step earlier in the direction's own time.
    #[inline(always)]
    pub(super) fn row(&self, side: Side, k: usize) -> *const f32 {
        let LayerDims { batch, inputs, hidden, state, directions, .. } = self.layer.dims;
        match side {
            Side::Input => self.x[k * inputs..].as_ptr(),
            Side::Reset => self.aux[(k * directions + self.d) * hidden..].as_ptr(),
            Side::Recurrent if !self.layer.keeps(k) => self.zeros.as_ptr(),
            Side::Recurrent => {
                let (s, b) = self.place(k);
                if s == 0 {
                    return self.h0[(self.d * batch + b) * state..].as_ptr();
                }
                let earlier = self.layer.first_row(self.d, s - 1) + b;
                self.y[(earlier * directions + self.d) * state..].as_ptr()
            }
        }
    }

    /// Factors of row `k` of a side, if there are any.
    #[inline(always)]
    pub(super) fn mask(&self, side: Side, k: usize) -> Option<&[f32]> {
        if side != Side::Recurrent || self.masks.is_empty() {
            return None;
        }
        let (_, b) = self.place(k);
        Some(&self.masks[b * self.layer.dims.state..])
    }
}
