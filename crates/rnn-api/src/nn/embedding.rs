//! Embedding table.

use crate::error::Result;
use crate::init::{Init, InitShape};
use crate::nn::builder::{Builder, Planned};
use crate::nn::kind::sides;
use crate::nn::{Layer, LayerKind, Module, Visitor, calls};
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
    /// Init of the table; standard normal by default, as in PyTorch.
    #[serde(default = "standard_normal")]
    pub init: Init,
}

fn standard_normal() -> Init {
    Init::Normal(1.0)
}

impl EmbeddingConfig {
    /// A table of V rows of length E.
    pub fn new(num_embeddings: usize, embedding_size: usize) -> Self {
        EmbeddingConfig { num_embeddings, embedding_size, init: standard_normal() }
    }

    /// Sets the init of the table.
    #[must_use]
    pub fn with_init(self, init: Init) -> Self {
        EmbeddingConfig { init, ..self }
    }

    /// Draws the table.
    ///
    /// # Errors
    /// A size of zero, an invalid init, a table that the device or the machine has no memory for.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Embedding> {
        let mut builder = Builder::new(device, seed, "EmbeddingConfig");
        let (rows, cols) = (self.num_embeddings, self.embedding_size);
        builder.positive("num_embeddings", rows)?;
        builder.positive("embedding_size", cols)?;
        let dims = [rows, cols];
        let sizes = [("num_embeddings", rows), ("embedding_size", cols)];
        builder.expect_room(&sizes, &[Planned::one("weight", &dims)])?;
        let shape = InitShape { blocks: 1, rows, cols, pytorch_fan: cols };
        let weight = builder.draw(self.init, shape, "init")?;
        Ok(Embedding { weight: builder.param(&weight, &dims)? })
    }
}

/// Looks up rows of a table by index.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[V, E]`
    pub weight: Param,
}

impl Module for Embedding {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.layer(self.kind());
        visitor.module("weight", &self.weight);
    }
}

impl Embedding {
    /// Maps indices of any shape (see [`Tensor::from_indices`]) to `[.., E]`.
    ///
    /// # Errors
    /// An index outside `0..V`, values that are not indices, another device.
    pub fn forward(&self, indices: &Tensor) -> Result<Tensor> {
        let rows = self.weight.value().gather(indices)?;
        calls::note(&self.weight, self.kind(), indices, &rows);
        Ok(rows)
    }

    fn kind(&self) -> LayerKind {
        let [num_embeddings, embedding_size] = sides(&self.weight);
        LayerKind::Embedding { num_embeddings, embedding_size }
    }
}

impl Layer for Embedding {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x)
    }
}
