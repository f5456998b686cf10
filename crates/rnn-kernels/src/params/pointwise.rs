//! Parameters of `shaders/pointwise/*.wgsl`.

use super::{Axes, params};

/// A function of one variable; the numbers are those of `pointwise/unary.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum UnaryOp {
    /// `-x`
    Neg = 0,
    /// `e^x`
    Exp = 1,
    /// natural logarithm
    Log = 2,
    /// square root
    Sqrt = 3,
    /// `tanh x`
    Tanh = 4,
    /// `1 / (1 + e^-x)`
    Sigmoid = 5,
    /// `x / (1 + |x|)`
    Softsign = 6,
    /// `max(x, 0)`
    Relu = 7,
    /// `log(1 + e^x)`
    Softplus = 8,
}

/// A function of two variables; the numbers are those of `pointwise/binary.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum BinaryOp {
    /// `a + b`
    Add = 0,
    /// `a - b`
    Sub = 1,
    /// `a * b`
    Mul = 2,
    /// `a / b`
    Div = 3,
}

params! {
    /// `pointwise/unary.wgsl`, `pointwise/unary_backward.wgsl`
    pub struct UnaryParams {
        /// Elements.
        pub n: u32,
    }

    /// `pointwise/affine.wgsl`
    pub struct AffineParams {
        /// Elements.
        pub n: u32,
        /// Factor.
        pub scale: f32,
        /// Summand.
        pub shift: f32,
    }

    /// `pointwise/binary.wgsl`; axes from the last to the first.
    pub struct BinaryParams {
        /// Axis lengths, 1 beyond the rank.
        pub dims: Axes,
        /// Strides of a in elements, 0 along broadcast axes.
        pub a_strides: Axes,
        /// Strides of b.
        pub b_strides: Axes,
        /// Elements of the result.
        pub n: u32,
        /// Axes in use.
        pub rank: u32,
        /// Padding to a multiple of 16 bytes.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }

    /// `pointwise/accumulate.wgsl`
    pub struct AccumulateParams {
        /// Elements.
        pub n: u32,
    }

    /// `pointwise/fill.wgsl`
    pub struct FillParams {
        /// Elements.
        pub n: u32,
        /// Bits of the value.
        pub bits: u32,
    }

    /// `pointwise/cast.wgsl`
    pub struct CastParams {
        /// Elements.
        pub n: u32,
    }

    /// `pointwise/copy.wgsl`; axes from the last to the first.
    pub struct CopyParams {
        /// Axis lengths, 1 beyond the rank.
        pub dims: Axes,
        /// Strides of the source in elements.
        pub src_strides: Axes,
        /// Strides of the destination.
        pub dst_strides: Axes,
        /// Elements to copy.
        pub n: u32,
        /// Axes in use.
        pub rank: u32,
        /// First element of the source.
        pub src_offset: u32,
        /// First element of the destination.
        pub dst_offset: u32,
    }

    /// `pointwise/dropout.wgsl`
    pub struct DropoutParams {
        /// Elements.
        pub n: u32,
        /// Elements that share a step.
        pub row: u32,
        /// Step of the first row.
        pub first_step: u32,
        /// Draw of a step's first element.
        pub first: u32,
        /// First word of the key.
        pub key0: u32,
        /// Second word of the key.
        pub key1: u32,
        /// Draws of 24 bits below this drop the element.
        pub threshold: u32,
        /// Factor of the elements that stay.
        pub scale: f32,
        /// 1 when all steps share the first one's mask.
        pub one_mask: u32,
    }
}
