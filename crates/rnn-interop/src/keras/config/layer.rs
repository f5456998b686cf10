//! Layers and their settings.

use super::links::Call;

/// A layer of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The name of its class, as in the file.
    pub class: String,
    /// Its own name.
    pub name: String,
    /// What enters it, for each time that it is called.
    pub inbound: Vec<Call>,
    /// The shape of its input with the batch, where the config says it.
    pub input_shape: Option<Vec<Option<usize>>>,
    /// What its class means.
    pub settings: Settings,
}

impl Layer {
    /// A problem, with the layer that has it.
    pub(crate) fn problem(&self, why: &str) -> String {
        format!("layer `{}` ({}): {why}", self.name, self.class)
    }
}

/// The settings of a layer by its class.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub enum Settings {
    Input,
    Recurrent(Recurrent),
    Bidirectional(Box<Bidirectional>),
    Embedding {
        input_dim: usize,
        output_dim: usize,
        mask_zero: bool,
    },
    Dense {
        units: usize,
        activation: String,
        use_bias: bool,
    },
    TimeDistributed(Box<Layer>),
    Dropout {
        rate: f64,
    },
    Masking {
        mask_value: f64,
    },
    Activation(String),
    Flatten,
    /// Without the batch; -1 is what is left.
    Reshape(Vec<i64>),
    RepeatVector(usize),
    /// Without the batch, from 1 on.
    Permute(Vec<usize>),
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Combine(Combine),
    Operation(Operation),
    /// Why: the class, or an option, is not supported.
    Unsupported(String),
}

/// What makes one array of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub enum Combine {
    Add,
    Subtract,
    Multiply,
    Average,
    Maximum,
    Minimum,
    /// Along this axis.
    Concatenate(i64),
}

/// An operation on masks, which Keras 3 writes into functional models beside the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub enum Operation {
    NotEqual,
    /// Along this axis.
    Any(i64),
    LogicalOr,
    LogicalAnd,
    LogicalNot,
    /// Of this axis.
    ExpandDims(i64),
    ZerosLike,
    OnesLike,
}

/// The cell of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub enum RecurrentKind {
    Lstm,
    Gru,
    SimpleRnn,
}

/// A recurrent layer.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub struct Recurrent {
    pub kind: RecurrentKind,
    pub units: usize,
    pub activation: String,
    /// Of the gates; that of a SimpleRNN means nothing.
    pub recurrent_activation: String,
    pub use_bias: bool,
    /// Of a GRU: whether the reset gate applies after the recurrent product.
    pub reset_after: bool,
    pub return_sequences: bool,
    pub return_state: bool,
    pub go_backwards: bool,
    pub stateful: bool,
    /// Whether masked steps of a sequence give zeros instead of the output before them.
    pub zero_output_for_mask: bool,
    pub dropout: f64,
    pub recurrent_dropout: f64,
}

/// How the outputs of both directions become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub enum Merge {
    Concat,
    Sum,
    Mul,
    Ave,
    /// `None` in Keras: two outputs.
    Separate,
}

/// A layer in both directions.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub struct Bidirectional {
    pub merge: Merge,
    pub forward: Recurrent,
    /// It goes backwards.
    pub backward: Recurrent,
}
