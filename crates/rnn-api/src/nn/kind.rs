//! [`LayerKind`]: what a layer is.

use crate::param::Param;
use rnn_kernels::cell::{Direction, StackSpec};
use rnn_runtime::ops::pointwise::UnaryOp;
use std::fmt;

/// What a layer is, as [`summary`](super::summary) shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum LayerKind {
    /// A struct of layers, by the name of its type.
    Struct(&'static str),
    /// A stack of recurrent layers.
    Recurrent(StackSpec),
    /// A [`Linear`](super::Linear) layer.
    Linear {
        /// I
        input_size: usize,
        /// O
        output_size: usize,
    },
    /// An [`Embedding`](super::Embedding).
    Embedding {
        /// V
        num_embeddings: usize,
        /// E
        embedding_size: usize,
    },
    /// A [`LayerNorm`](super::LayerNorm).
    LayerNorm {
        /// C
        size: usize,
    },
    /// A [`Dropout`](super::Dropout) layer.
    Dropout {
        /// Probability that an element becomes zero.
        probability: f32,
    },
    /// An activation function.
    Unary(UnaryOp),
}

/// Rows and columns of a weight. A field that a program has filled with something else has none.
pub(super) fn sides(weight: &Param) -> [usize; 2] {
    match *weight.shape().dims() {
        [rows, columns] => [rows, columns],
        _ => [0, 0],
    }
}

impl LayerKind {
    /// The layer's type, without its sizes: `Lstm`, `Linear`, `Relu`.
    pub fn name(&self) -> String {
        match self {
            LayerKind::Struct(name) => (*name).into(),
            LayerKind::Recurrent(spec) => format!("{:?}", spec.cell.kind),
            LayerKind::Linear { .. } => "Linear".into(),
            LayerKind::Embedding { .. } => "Embedding".into(),
            LayerKind::LayerNorm { .. } => "LayerNorm".into(),
            LayerKind::Dropout { .. } => "Dropout".into(),
            LayerKind::Unary(op) => format!("{op:?}"),
        }
    }

    /// The length of the last axis of the input, unless it is free; 0 for symbols.
    pub(super) fn input_size(&self) -> Option<usize> {
        match *self {
            LayerKind::Recurrent(spec) => Some(spec.input_size),
            LayerKind::Linear { input_size, .. } => Some(input_size),
            LayerKind::Embedding { .. } => Some(0),
            LayerKind::LayerNorm { size } => Some(size),
            LayerKind::Struct(_) | LayerKind::Dropout { .. } | LayerKind::Unary(_) => None,
        }
    }

    /// The length of the last axis of the output, unless it is that of the input.
    pub(super) fn output_size(&self) -> Option<usize> {
        match *self {
            LayerKind::Recurrent(spec) => Some(spec.output_size()),
            LayerKind::Linear { output_size, .. } => Some(output_size),
            LayerKind::Embedding { embedding_size, .. } => Some(embedding_size),
            LayerKind::LayerNorm { .. }
            | LayerKind::Struct(_)
            | LayerKind::Dropout { .. }
            | LayerKind::Unary(_) => None,
        }
    }

    /// Whether each weight of a matrix is one multiplication and one addition for every row of the input.
    pub(super) fn multiplies(&self) -> bool {
        matches!(self, LayerKind::Recurrent(_) | LayerKind::Linear { .. })
    }
}

/// The type and the sizes: `Lstm 24 -> 128, 2 layers`.
impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match *self {
            LayerKind::Struct(_) | LayerKind::Unary(_) => Ok(()),
            LayerKind::Linear { input_size, output_size } => write!(f, " {input_size} -> {output_size}"),
            LayerKind::Embedding { num_embeddings, embedding_size } => {
                write!(f, " {num_embeddings} -> {embedding_size}")
            }
            LayerKind::LayerNorm { size } => write!(f, " {size}"),
            LayerKind::Dropout { probability } => write!(f, " {probability}"),
            LayerKind::Recurrent(spec) => {
                write!(f, " {} -> {}", spec.input_size, spec.hidden_size)?;
                if spec.proj_size > 0 {
                    write!(f, " -> {}", spec.proj_size)?;
                }
                if spec.num_layers > 1 {
                    write!(f, ", {} layers", spec.num_layers)?;
                }
                f.write_str(match spec.direction {
                    Direction::Forward => "",
                    Direction::Reverse => ", reverse",
                    Direction::Bidirectional => ", both directions",
                })
            }
        }
    }
}
