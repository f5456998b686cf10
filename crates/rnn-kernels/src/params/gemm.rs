//! Parameters of `shaders/gemm/*.wgsl`.

use super::params;

params! {
    /// `gemm/params.wgsl`: `c[m, n] (+)= a[m, k] b[k, n] (+ bias[n])` for a batch of strided matrices.
    pub struct GemmParams {
        /// Rows of c that this dispatch computes.
        pub m: u32,
        /// Columns of c.
        pub n: u32,
        /// Columns of a, rows of b.
        pub k: u32,
        /// Elements between rows of c.
        pub ldc: u32,
        /// First element of a.
        pub a_offset: u32,
        /// Elements between rows of a.
        pub a_row_stride: u32,
        /// Elements between columns of a.
        pub a_col_stride: u32,
        /// Elements between matrices of a.
        pub a_batch_stride: u32,
        /// First element of b.
        pub b_offset: u32,
        /// Elements between rows of b.
        pub b_row_stride: u32,
        /// Elements between columns of b.
        pub b_col_stride: u32,
        /// Elements between matrices of b.
        pub b_batch_stride: u32,
        /// First element of c.
        pub c_offset: u32,
        /// Elements between matrices of c.
        pub c_batch_stride: u32,
        /// Whether to add to c rather than overwrite it.
        pub accumulate: u32,
        /// Whether the bias is read.
        pub has_bias: u32,
        /// First row of this dispatch: large products are split by rows.
        pub first_row: u32,
        /// Number of parts that the sum over k is divided into.
        pub parts: u32,
        /// Values of k per part.
        pub part_depth: u32,
        /// Elements of c from one part to the next.
        pub part_stride: u32,
        /// G where row `j*G + g` of the product becomes row `g * group_rows + j` of c, else 1.
        pub row_groups: u32,
        /// Rows per group.
        pub group_rows: u32,
    }

    /// `gemm/sum_parts.wgsl`
    pub struct SumPartsParams {
        /// M * N
        pub count: u32,
        /// Columns of c.
        pub n: u32,
        /// Elements between rows of c.
        pub ldc: u32,
        /// First element of c.
        pub offset: u32,
        /// Number of parts.
        pub parts: u32,
        /// Whether to add to c rather than overwrite it.
        pub accumulate: u32,
        /// Whether the bias is read.
        pub has_bias: u32,
        /// As in [`GemmParams`].
        pub row_groups: u32,
        /// As in [`GemmParams`].
        pub group_rows: u32,
    }
}
