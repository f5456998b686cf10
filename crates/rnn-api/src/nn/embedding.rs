//! A table of vectors.

use crate::error::Result;
use crate::init::{Init, InitShape};
use crate::nn::{Builder, Layer};
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::Device;
use serde::{Deserialize, Serialize};

/// Sizes of an [`Embedding`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EmbeddingConfig {
    /// V: number of rows.
    pub num_embeddings: usize,
    /// E: length of a row.
    pub embedding_size: usize,
    /// First value; standard normal at first, as in PyTorch.
    #[serde(default = "standard_normal")]
    pub init: Init,
}

fn standard_normal() -> Init {
    Init::Normal(1.0)
}

impl EmbeddingConfig {
    /// V rows of length E.
    pub fn new(num_embeddings: usize, embedding_size: usize) -> Self {
        EmbeddingConfig { num_embeddings, embedding_size, init: standard_normal() }
    }

    /// How the table is drawn.
    #[must_use]
    pub fn with_init(self, init: Init) -> Self {
        EmbeddingConfig { init, ..self }
    }

    /// Draws the table.
    ///
    /// # Errors
    /// A size of zero, an init that makes no sense, no memory.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Embedding> {
        let mut builder = Builder::new(device, seed, "EmbeddingConfig");
        let (rows, cols) = (self.num_embeddings, self.embedding_size);
        builder.positive("num_embeddings", rows)?;
        builder.positive("embedding_size", cols)?;
        let shape = InitShape { blocks: 1, rows, cols, pytorch_fan: cols };
        let weight = self.init.draw(shape, builder.key(), (builder.config, "init"))?;
        Ok(Embedding { weight: builder.param(weight, &[rows, cols])? })
    }
}

/// Rows of a table by index.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[V, E]`
    pub weight: Param,
}

crate::module!(Embedding { weight });

impl Embedding {
    /// Indices of any shape (see [`Tensor::from_indices`]) give `[.., E]`.
    ///
    /// # Errors
    /// An index that is not in `0..V`, values that are not indices, another device.
    pub fn forward(&self, indices: &Tensor) -> Result<Tensor> {
        self.weight.value().gather(indices)
    }
}

impl Layer for Embedding {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }
}
