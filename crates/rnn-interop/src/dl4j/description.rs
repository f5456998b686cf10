//! Networks as plain data: layers, their settings and their values.

use super::normalizer::Normalizer;
use std::collections::BTreeMap;

/// What a file of a model holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// In an order in which every layer comes after its inputs. The coefficients lie in the same order.
    pub layers: Vec<Layer>,
    /// Names of the network's inputs: `input` unless the model is a graph.
    pub inputs: Vec<String>,
    /// Names of the layers whose values the network returns.
    pub outputs: Vec<String>,
    /// Steps of truncated backpropagation, forward and backward; `None` if sequences are not cut.
    pub truncated: Option<(usize, usize)>,
    /// The seed of the random numbers.
    pub seed: Option<i64>,
    /// How the data were scaled, if the file says so.
    pub normalizer: Option<Normalizer>,
    /// The updater's state as it lies in the file, if it is there.
    pub updater_state: Option<Vec<f32>>,
}

/// A layer, or a vertex of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name; its number from 0 where it has none.
    pub name: String,
    /// What it computes.
    pub kind: Kind,
    /// Names of layers or inputs of the network.
    pub inputs: Vec<String>,
    /// Sizes and other settings.
    pub settings: Settings,
    /// Weights and biases. Empty if the layer has none.
    pub parameters: Parameters,
}

/// The parameters of a layer by PyTorch's names: the shape, and the values in row-major order.
pub type Parameters = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A recurrent layer.
    Recurrent {
        /// What it computes in one step.
        cell: Cell,
        /// How it goes through the steps.
        direction: Direction,
        /// Whether it returns the last step alone.
        last_step: bool,
    },
    /// Reduces the steps to one.
    GlobalPooling(Pooling),
    /// A linear map and an activation.
    Dense,
    /// As dense, with a loss.
    Output,
    /// As output, at each step.
    RnnOutput,
    /// A row of a table for a number.
    Embedding,
    /// As embedding, at each step.
    EmbeddingSequence,
    /// An activation alone.
    Activation,
    /// Dropout alone.
    Dropout,
    /// A loss, and an activation before it.
    Loss,
    /// As loss, at each step.
    RnnLoss,
    /// A vertex of a graph that joins its inputs along the features.
    MergeVertex,
    /// A vertex of a graph that takes the last step.
    LastTimeStepVertex,
}

/// What a recurrent layer computes in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// An LSTM.
    Lstm,
    /// An LSTM whose gates see the cell: the output gate the new one, the others the one before.
    GravesLstm,
    /// An Elman cell.
    SimpleRnn,
}

/// How a recurrent layer goes through the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From first to last.
    Forward,
    /// Both ways; the results are joined.
    Both(Merge),
}

/// How the results of two directions are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Their sum.
    Add,
    /// Their product.
    Mul,
    /// Their mean.
    Average,
    /// One behind the other.
    Concat,
}

/// How steps are reduced to one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pooling {
    /// Their mean.
    Avg,
    /// The greatest.
    Max,
    /// Their sum.
    Sum,
    /// The root of the sum of absolute values, each to the power of this number.
    PNorm(f64),
}

/// Settings of a layer. Those that its class does not have are absent or 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Features of the input.
    pub n_in: usize,
    /// Features of the result, of one direction.
    pub n_out: usize,
    /// Of the result; of a recurrent layer, of the candidate and the cell.
    pub activation: Option<Named>,
    /// Of the gates. Versions before 0.8 have the sigmoid alone, and do not write it.
    pub gate_activation: Option<Named>,
    /// Whether a linear map has a bias.
    pub has_bias: bool,
    /// The loss, in small letters, such as `mcxent`.
    pub loss: Option<Named>,
    /// The updater, in small letters, such as `adam`.
    pub updater: Option<Named>,
    /// Factor of the sum of the absolute weights.
    pub l1: f64,
    /// Half of it is the factor of the sum of the squared weights.
    pub l2: f64,
    /// As `l1`, of the biases.
    pub l1_bias: f64,
    /// As `l2`, of the biases.
    pub l2_bias: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The chance that dropout keeps a value of the input; `None` without dropout.
    pub keep: Option<f64>,
    /// The class that reshapes the input.
    pub preprocessor: Option<String>,
}

/// A name in small letters, and numbers that belong to it by the names in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    /// The class without package, `Activation` and `Loss`.
    pub name: String,
    /// Only those that are numbers, and not NaN.
    pub numbers: BTreeMap<String, f64>,
}
