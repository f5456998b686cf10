//! Parameters of `shaders/loss/*.wgsl`.

use super::params;

params! {
    /// `loss/cross_entropy.wgsl`, `loss/cross_entropy_backward.wgsl`
    pub struct CrossEntropyParams {
        /// Rows.
        pub rows: u32,
        /// Classes.
        pub cols: u32,
        /// Label of rows that do not count.
        pub ignore_index: u32,
        /// Whether `ignore_index` means anything.
        pub has_ignore: u32,
        /// Label smoothing.
        pub smoothing: f32,
        /// 1 / number of rows that count.
        pub inv_count: f32,
    }

    /// `loss/elementwise.wgsl`
    pub struct ElementwiseParams {
        /// Elements.
        pub n: u32,
        /// Elements of a chunk.
        pub chunk: u32,
    }

    /// `loss/elementwise_backward.wgsl`
    pub struct ElementwiseBackwardParams {
        /// Elements.
        pub n: u32,
        /// Factor of the gradient.
        pub scale: f32,
    }
}
