//! Layer normalisation along the last axis.

/// Sizes and constants of a forward pass.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormArgs {
    /// Rows, each normalised on its own.
    pub rows: usize,
    /// C: elements of a row.
    pub cols: usize,
    /// Added to the variance.
    pub eps: f32,
}

/// Inputs of a backward pass besides dy, in buffers of either backend.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormSaved<'a, B> {
    /// Rows, each normalised on its own.
    pub rows: usize,
    /// C: elements of a row.
    pub cols: usize,
    /// `[rows, C]`
    pub x: &'a B,
    /// `[C]`
    pub gamma: &'a B,
    /// `[rows]`
    pub mean: &'a B,
    /// `1 / sqrt(variance + eps)` `[rows]`
    pub rstd: &'a B,
}
