//! Attention: for each query a mean of the steps of a memory, weighted by how well they match it.

use crate::error::{Error, Result};
use crate::nn::linear::{Linear, LinearConfig};
use crate::nn::part_seed::part_seed;
use crate::nn::sequences::Lengths;
use crate::tensor::Tensor;
use rnn_runtime::Device;
use serde::{Deserialize, Serialize};

/// Added to the score of a step that does not exist: its weight is exactly 0, and no sum overflows.
const ABSENT: f32 = -1e30;

/// How a query q is compared with a step m of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub enum AttentionScore {
    /// `q . m` (Luong et al. 2015); both have the same size.
    Dot,
    /// `q . m / sqrt(size)` (Vaswani et al. 2017).
    ScaledDot,
    /// `v . tanh(W q + U m + b)` (Bahdanau et al. 2015).
    Additive {
        /// Q, the size of a query.
        query_size: usize,
        /// M, the size of a step of the memory.
        memory_size: usize,
        /// A, the size of the compared values.
        attention_size: usize,
    },
}

/// Configuration of [`Attention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AttentionConfig {
    /// How queries are compared with the memory.
    pub score: AttentionScore,
}

impl AttentionConfig {
    /// `q . m`, without parameters.
    pub fn dot() -> Self {
        AttentionConfig { score: AttentionScore::Dot }
    }

    /// `q . m / sqrt(size)`, without parameters.
    pub fn scaled_dot() -> Self {
        AttentionConfig { score: AttentionScore::ScaledDot }
    }

    /// `v . tanh(W q + U m + b)`, for queries and memories of these sizes.
    pub fn additive(query_size: usize, memory_size: usize, attention_size: usize) -> Self {
        AttentionConfig { score: AttentionScore::Additive { query_size, memory_size, attention_size } }
    }

    /// Draws the parameters.
    ///
    /// # Errors
    /// A size of zero, or no memory for the weights.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Attention> {
        let additive = match self.score {
            AttentionScore::Additive { query_size, memory_size, attention_size } => {
                for (field, size) in [
                    ("query_size", query_size),
                    ("memory_size", memory_size),
                    ("attention_size", attention_size),
                ] {
                    if size == 0 {
                        return Err(Error::config("AttentionConfig", field, "at least 1", size));
                    }
                }
                let linear = |part, inputs, outputs, bias| {
                    LinearConfig::new(inputs, outputs).with_bias(bias).init(device, part_seed(seed, part))
                };
                Some(Additive {
                    query: linear(0, query_size, attention_size, false)?,
                    memory: linear(1, memory_size, attention_size, true)?,
                    score: linear(2, attention_size, 1, false)?,
                })
            }
            AttentionScore::Dot | AttentionScore::ScaledDot => None,
        };
        Ok(Attention { additive, scaled: self.score == AttentionScore::ScaledDot })
    }
}

/// The parameters of additive scores.
#[derive(Clone, Debug)]
struct Additive {
    /// W
    query: Linear,
    /// U and b
    memory: Linear,
    /// v
    score: Linear,
}

crate::module!(Additive { query, memory, score });

/// Attention over a memory, such as the outputs of an encoder. Its parameters, if there are any, are
/// `additive.query.weight` `[A, Q]`, `additive.memory.weight` `[A, M]`, `additive.memory.bias` `[A]` and
/// `additive.score.weight` `[1, A]`.
///
/// ```
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let device = Device::cpu();
/// let encoder = GruConfig::new(3, 8).init(&device, 1)?;
/// let attention = AttentionConfig::additive(8, 8, 16).init(&device, 2)?;
///
/// let lengths = Lengths::new([5, 2])?;
/// let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
/// let encoded = encoder.forward_with(&Tensor::ones(&device, &[5, 2, 3])?, args)?;
/// let memory = attention.memory(&encoded.y, Some(&lengths))?;   // once for all queries
///
/// let query = Tensor::ones(&device, &[4, 2, 8])?;                // states of a decoder, one step or many
/// let attended = attention.forward(&query, &memory)?;
/// assert_eq!(attended.context.dims(), [4, 2, 8]);
/// assert_eq!(attended.weights.dims(), [4, 2, 5]);                // the second row's last three are 0
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Attention {
    additive: Option<Additive>,
    scaled: bool,
}

crate::module!(Attention { additive });

/// A memory that is ready for queries.
#[derive(Clone, Debug)]
pub struct AttentionMemory {
    /// What is averaged, `[B, T, M]`.
    values: Tensor,
    /// What queries are compared with: the values, or `U m + b`, `[B, 1, T, A]`.
    keys: Tensor,
    /// `[B, 1, T]`: 0, and [`ABSENT`] past the end of a row.
    mask: Option<Tensor>,
}

/// What queries found.
#[derive(Clone, Debug)]
pub struct Attended {
    /// The weighted means, `[S, B, M]`.
    pub context: Tensor,
    /// The weights of the steps of the memory, `[S, B, T]`; their sum over T is 1.
    pub weights: Tensor,
}

impl Attention {
    /// Prepares a memory `[T, B, M]` with as many valid steps per row as `lengths` says, by default T.
    ///
    /// # Errors
    /// Another rank or size, lengths that do not fit, another device.
    pub fn memory(&self, memory: &Tensor, lengths: Option<&Lengths>) -> Result<AttentionMemory> {
        const OP: &str = "Attention::memory";
        let [steps, rows, _] = *memory.dims() else {
            return Err(Error::shape(OP, "memory", "[T, B, M]", memory.shape()));
        };
        let values = memory.transpose(0, 1)?;
        let keys = match &self.additive {
            Some(additive) => {
                let keys = additive.memory.forward(&values)?;
                keys.reshape(&[rows, 1, steps, keys.dims()[2]])?
            }
            None => values.clone(),
        };
        let mask = lengths.map(|lengths| {
            if lengths.as_slice().len() != rows || lengths.max() > steps {
                let got = format!("{} lengths of up to {}", lengths.as_slice().len(), lengths.max());
                return Err(Error::value(OP, "lengths", format!("{rows} lengths of up to {steps}"), got));
            }
            let of_row = |&length: &usize| (0..steps).map(move |t| if t < length { 0.0 } else { ABSENT });
            let mask = lengths.as_slice().iter().flat_map(of_row).collect();
            Tensor::from_vec(memory.device(), mask, &[rows, 1, steps])
        });
        Ok(AttentionMemory { values, keys, mask: mask.transpose()? })
    }

    /// Attends to a memory with queries `[S, B, Q]`.
    ///
    /// # Errors
    /// Another rank, batch or size, another device.
    pub fn forward(&self, query: &Tensor, memory: &AttentionMemory) -> Result<Attended> {
        const OP: &str = "Attention::forward";
        let (rows, size) = (memory.values.dims()[0], memory.values.dims()[2]);
        let fits = matches!(*query.dims(), [_, b, q] if b == rows && (self.additive.is_some() || q == size));
        if !fits {
            let q = if self.additive.is_some() { "Q".into() } else { size.to_string() };
            return Err(Error::shape(OP, "query", format!("[S, {rows}, {q}]"), query.shape()));
        }
        let query = query.transpose(0, 1)?; // [B, S, Q]
        let scores = self.scores(&query, memory)?;
        let scores = match &memory.mask {
            Some(mask) => scores.add(mask)?,
            None => scores,
        };
        let weights = scores.softmax()?; // [B, S, T]
        let context = weights.matmul(&memory.values)?; // [B, S, M]
        Ok(Attended { context: context.transpose(0, 1)?, weights: weights.transpose(0, 1)? })
    }

    /// Scores `[B, S, T]` of queries `[B, S, Q]`.
    fn scores(&self, query: &Tensor, memory: &AttentionMemory) -> Result<Tensor> {
        let Some(additive) = &self.additive else {
            let scores = query.matmul(&memory.keys.transpose(1, 2)?)?;
            let size = query.dims()[2] as f32;
            return if self.scaled { scores.scale(1.0 / size.sqrt()) } else { Ok(scores) };
        };
        let query = additive.query.forward(query)?; // [B, S, A]
        let [rows, queries, size] = *query.dims() else { unreachable!("of rank 3") };
        let both = query.reshape(&[rows, queries, 1, size])?.add(&memory.keys)?.tanh()?; // [B, S, T, A]
        let scores = additive.score.forward(&both)?; // [B, S, T, 1]
        scores.reshape(&[rows, queries, both.dims()[2]])
    }
}
