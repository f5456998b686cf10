//! Parameters of `shaders/embed/*.wgsl`.

use super::params;

params! {
    /// `embed/gather.wgsl` and `embed/scatter.wgsl`
    pub struct GatherParams {
        /// Elements of the rows by index: gather's result, scatter's argument.
        pub n: u32,
        /// Elements of a table row.
        pub width: u32,
        /// Rows of the table.
        pub rows: u32,
    }

    /// `embed/scatter_add.wgsl`
    pub struct ScatterAddParams {
        /// Number of indices.
        pub count: u32,
        /// Elements of a table row.
        pub width: u32,
        /// Rows of the table.
        pub rows: u32,
        /// Column tiles of a row.
        pub tiles: u32,
        /// First of the rows' tiles that a dispatch has.
        pub first: u32,
    }
}
