//! Uniform parameter structs, one per kernel, with WGSL's memory layout.
//!
//! Every struct has a `LAYOUT`: names and byte offsets of its fields, which `tests/validate.rs` compares with
//! naga's reflection of the shader. Fields are 4-byte scalars and nested structs of them. Named fields pad a
//! struct with axes to a multiple of 16 bytes.

mod axes;
mod calibration;
mod embed;
pub mod gemm;
mod loss;
mod pointwise;
mod reduce;
pub mod rnn;

pub use axes::{Axes, MAX_AXES};
pub use calibration::CalibrationParams;
pub use embed::{GatherParams, ScatterAddParams};
pub use loss::{
    CrossEntropyBackwardParams, CrossEntropyParams, CtcBackwardParams, CtcParams, ElementwiseBackwardParams,
    ElementwiseCost, ElementwiseParams, GaussianBackwardParams, GaussianParams,
};
pub use pointwise::{
    AccumulateParams, AffineParams, BinaryOp, BinaryParams, CastParams, CopyParams, DropoutParams,
    FillParams, UnaryOp, UnaryParams,
};
pub use reduce::{LayerNormParams, LayerNormWeightsParams, MaxAxisParams, RowsParams, SumAxisParams};

/// Memory layout of a parameter struct.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Names and byte offsets of the fields.
    pub fields: &'static [(&'static str, usize)],
    /// Bytes of the struct.
    pub size: usize,
}

/// Declares parameter structs with their `LAYOUT`.
macro_rules! params {
    ($($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl $name {
                /// Memory layout of the struct.
                pub const LAYOUT: $crate::params::Layout = $crate::params::Layout {
                    fields: &[$((stringify!($field), std::mem::offset_of!($name, $field)),)*],
                    size: size_of::<$name>(),
                };
            }
        )*
    };
}
pub(crate) use params;
