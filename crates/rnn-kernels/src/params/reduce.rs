//! Parameters of `shaders/reduce/*.wgsl`.

use super::params;

params! {
    /// `reduce/sum_axis.wgsl`: x is `[outer, n, inner]`.
    pub struct SumAxisParams {
        /// `outer * inner`
        pub outputs: u32,
        /// Length of the summed axis.
        pub n: u32,
        /// Product of the axes after.
        pub inner: u32,
        /// Terms of a chunk.
        pub chunk: u32,
        /// Chunks per output.
        pub chunks: u32,
        /// Factor of the result.
        pub scale: f32,
        /// Groups of neighbouring outputs, which are written one group after the other; else 1.
        pub groups: u32,
    }

    /// `reduce/max_axis.wgsl`, `reduce/max_axis_backward.wgsl`: x is `[outer, n, inner]`.
    pub struct MaxAxisParams {
        /// `outer * inner`
        pub outputs: u32,
        /// Length of the axis.
        pub n: u32,
        /// Product of the axes after.
        pub inner: u32,
    }

    /// `reduce/softmax.wgsl`, `reduce/softmax_backward.wgsl`, `reduce/layer_norm_backward.wgsl`
    pub struct RowsParams {
        /// Rows.
        pub rows: u32,
        /// Elements of a row.
        pub cols: u32,
    }

    /// `reduce/layer_norm.wgsl`
    pub struct LayerNormParams {
        /// Rows.
        pub rows: u32,
        /// Elements of a row.
        pub cols: u32,
        /// Added to the variance.
        pub eps: f32,
    }

    /// `reduce/layer_norm_weights.wgsl`
    pub struct LayerNormWeightsParams {
        /// Rows.
        pub rows: u32,
        /// Elements of a row.
        pub cols: u32,
        /// Rows of a chunk.
        pub chunk: u32,
        /// Chunks.
        pub chunks: u32,
    }
}
