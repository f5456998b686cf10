//! A model as a list of nodes in the order in which they run. Values are in numbered slots. The readers of every file format
//! lower to it.

#[cfg(any(feature = "dl4j", feature = "keras"))]
mod builder;
mod convolve;
mod embedding;
mod fuse;
mod host;
mod inputs;
mod mask;
mod model;
mod op;
mod parts;
mod pointwise;
mod product;
mod recurrent;
mod reduce;
mod shape;
mod take;

#[cfg(any(feature = "dl4j", feature = "keras"))]
pub(crate) use builder::Builder;
pub(crate) use convolve::Window;
pub(crate) use host::{Compare, ValueType};
pub(crate) use mask::Mask;
pub use model::{Model, Outputs};
pub(crate) use op::{Branch, Make, Node, Op, Slot};
pub use parts::Port;
pub(crate) use parts::{ModelParts, Stored};
pub(crate) use pointwise::{Binary, Unary};
pub(crate) use product::Gemm;
pub(crate) use recurrent::Recurrent;
pub use recurrent::{Layer, LayerType};
pub(crate) use reduce::{Reduce, ReduceKind};
pub(crate) use take::Slice;
