//! The arguments of a layer's passes, which both drivers take.

use super::super::panels::Bf16Panels;
use super::pack::{BackwardWeights, LayerWeights};
use super::pass::Layer;
use rnn_kernels::cell::CellSpec;

/// Arrays of the forward pass. Rows are [T, B], or N of a packed sequence.
pub struct ForwardArgs<'a> {
    /// Which pass
    pub layer: Layer<'a>,
    /// The cell
    pub spec: &'a CellSpec,
    /// As packed for this cell
    pub weights: &'a LayerWeights,
    /// Rounded panels per direction, to be used in place of those in `weights`.
    pub bf16: Option<&'a [Bf16Panels]>,
    /// [T, B, I]
    pub x: &'a [f32],
    /// [T, B, D, G, H]: activated gates, for the backward pass; empty in inference
    pub gates: &'a mut [f32],
    /// [T, B, D, H] in training, else [B, D, H]; empty for cells without `aux`
    pub aux: &'a mut [f32],
    /// [T, B, D, H]
    pub y: &'a mut [f32],
    /// [D, B, H]
    pub h0: &'a [f32],
    /// [D, B, H] or empty
    pub c0: &'a [f32],
    /// Whether a backward pass will follow
    pub training: bool,
}

/// Arrays of the backward recurrence. Rows are [T, B], or N of a packed sequence.
pub struct BackwardArgs<'a> {
    /// Which pass
    pub layer: Layer<'a>,
    /// The cell
    pub spec: &'a CellSpec,
    /// As packed for this cell
    pub weights: &'a BackwardWeights,
    /// Those of the forward pass.
    pub forward: &'a LayerWeights,
    /// [T, B, D, G, H]: activated gates; gradients of the pre-activations afterwards
    pub gates: &'a mut [f32],
    /// [T, B, D, H]: cell state (LSTM); `U_n h + b_hn`, afterwards its gradient (GRU)
    pub aux: &'a mut [f32],
    /// [T, B, D, H]
    pub y: &'a [f32],
    /// [T, B, D, H]
    pub dy: &'a [f32],
    /// [D, B, H]
    pub h0: &'a [f32],
    /// [D, B, H] or empty
    pub c0: &'a [f32],
    /// [D, B, H]: cotangent of h_n; gradient of h0 afterwards
    pub dh: &'a mut [f32],
    /// [D, B, H]: cotangent of c_n (LSTM) or zeros (GRU); gradient of c0 afterwards (LSTM)
    pub carry: &'a mut [f32],
    /// [D, B, S, H], zeros: gradients of the S blocks of weights per unit ([`unit_blocks`](super::weights::unit_blocks)), apart for every row
    pub sums: &'a mut [f32],
    /// [T, B, D, P] with a projection: gradient of projected h
    pub projected: &'a mut [f32],
    /// [T, B, D, G, H] with layer normalisation: gradient of `U h`
    pub products: &'a mut [f32],
}
