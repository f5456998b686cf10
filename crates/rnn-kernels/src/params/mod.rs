//! Uniform parameter structs, one per kernel, with WGSL's memory layout.
//!
//! Every struct has a `LAYOUT`: names and byte offsets of its fields, which `tests/validate.rs` compares with
//! naga's reflection of the shader. Fields are 4-byte scalars, [`Axes`] and [`BaseParams`]. Named fields pad
//! a struct with axes to a multiple of 16 bytes.

mod axes;
mod embed;
pub mod gemm;
mod loss;
mod optim;
mod pointwise;
mod reduce;
pub mod rnn;

pub use axes::{Axes, MAX_AXES};
pub use embed::{GatherParams, ScatterAddParams};
pub use loss::{
    CrossEntropyBackwardParams, CrossEntropyParams, CtcBackwardParams, CtcParams, ElementwiseBackwardParams,
    ElementwiseCost, ElementwiseParams, GaussianBackwardParams, GaussianParams,
};
pub use optim::{
    AdaDeltaParams, AdaGradParams, AdamParams, BaseParams, ClipValueParams, EmaParams, LionParams,
    NormFinishParams, NormParams, RmsPropParams, ScaleParams, SgdParams,
};
pub use pointwise::{
    AccumulateParams, AffineParams, BinaryOp, BinaryParams, CastParams, CopyParams, DropoutParams,
    FillParams, UnaryOp, UnaryParams,
};
pub use reduce::{LayerNormParams, LayerNormWeightsParams, MaxAxisParams, RowsParams, SumAxisParams};

/// Names and byte offsets of the fields of a parameter struct.
pub type Layout = &'static [(&'static str, usize)];

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
                /// Names and byte offsets of the fields.
                pub const LAYOUT: $crate::params::Layout =
                    &[$((stringify!($field), std::mem::offset_of!($name, $field)),)*];
            }
        )*
    };
}
pub(crate) use params;
