//! A case of a grid, and its layer.

use anyhow::{Context, Result, ensure};
use rnn_api::prelude::*;
use rnn_api::{StackSpec, backward};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The default grid: single layers.
pub(crate) const GRID: &str = include_str!("../grid.json");

/// Stacks and layers of two directions.
#[allow(dead_code, reason = "only the report on a GPU runs both grids")]
pub(crate) const STACKS: &str = include_str!("../stacks.json");

/// A path from the command line, relative to the root of the repository. Cargo runs a bench in its package's
/// directory, which is not what a user expects.
pub(crate) fn from_root(path: &Path) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The cases of a grid file, or of the embedded text.
pub(crate) fn read_grid(path: Option<&Path>, default: &str) -> Result<Vec<Case>> {
    let text = match path.map(from_root) {
        Some(path) => {
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?
        }
        None => default.to_string(),
    };
    serde_json::from_str(&text).context("the grid file")
}

/// Recurrent layers and the size of their input.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(non_snake_case, reason = "the letters of docs/notation.md, as grid files have them")]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) cell: String,
    pub(crate) T: usize,
    pub(crate) B: usize,
    pub(crate) I: usize,
    pub(crate) H: usize,
    /// Layers; 1 where the file does not say.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) L: usize,
    /// Directions, likewise.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) D: usize,
}

fn one() -> usize {
    1
}

fn is_one(n: &usize) -> bool {
    *n == 1
}

impl Case {
    /// Floating-point operations of the products of a forward pass; training has three times as many.
    pub(crate) fn flops(&self) -> f64 {
        let inputs = self.I + (self.L - 1) * self.outputs();
        (2 * self.gates() * self.H * self.D * (inputs + self.L * self.H) * self.T * self.B) as f64
    }

    #[allow(dead_code, reason = "not every program has a part for single layers only")]
    pub(crate) fn is_stack(&self) -> bool {
        self.L * self.D != 1
    }

    /// Features of y.
    pub(crate) fn outputs(&self) -> usize {
        self.D * self.H
    }

    pub(crate) fn gates(&self) -> usize {
        match self.cell.as_str() {
            "lstm" => 4,
            "gru" => 3,
            _ => 1,
        }
    }

    /// Input, `[T, B, I]`: normal values, the same on every device.
    pub(crate) fn x(&self) -> Vec<f32> {
        let key = RngKey::new(7);
        (0..self.T * self.B * self.I).map(|i| key.normal(0, i as u32)).collect()
    }
}

/// The layers of a case.
pub(crate) enum Layer {
    Lstm(Lstm),
    Gru(Gru),
    Rnn(Rnn),
}

impl Layer {
    pub(crate) fn new(case: &Case, format: WeightFormat, device: &Device) -> Result<Self> {
        Layer::stored(case, format, Storage::F32, device)
    }

    /// With a storage format for training, too.
    pub(crate) fn stored(
        case: &Case,
        format: WeightFormat,
        storage: Storage,
        device: &Device,
    ) -> Result<Self> {
        ensure!((1..=2).contains(&case.D), "{} directions in case {}", case.D, case.name);
        macro_rules! layer {
            ($config:ident) => {
                $config::new(case.I, case.H)
                    .with_num_layers(case.L)
                    .with_bidirectional(case.D == 2)
                    .with_inference_weights(format)
                    .with_storage(storage)
                    .init(device, 1)?
            };
        }
        Ok(match case.cell.as_str() {
            "lstm" => Layer::Lstm(layer!(LstmConfig)),
            "gru" => Layer::Gru(layer!(GruConfig)),
            "rnn" => Layer::Rnn(layer!(RnnConfig)),
            other => anyhow::bail!("unknown cell {other:?} in case {}", case.name),
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Layer::Lstm(layer) => layer.forward(x, None)?.y,
            Layer::Gru(layer) => layer.forward(x, None)?.y,
            Layer::Rnn(layer) => layer.forward(x, None)?.y,
        })
    }

    /// Runs forward, and backward from the cotangent `dy` to input and weights: y, dx and the gradients of the
    /// parameters by name.
    pub(crate) fn train(&self, x: &Tensor, dy: &Tensor) -> Result<Trained> {
        let y = self.forward(x)?;
        let grads = backward(&[(y.clone(), dy.array().clone())])?;
        let dx = grads.get(x);
        let weights =
            self.parameters().into_iter().filter_map(|(name, param)| Some((name, grads.get(&param)?)));
        Ok(Trained { weights: weights.collect(), y, dx })
    }

    pub(crate) fn parameters(&self) -> Vec<(String, Param)> {
        match self {
            Layer::Lstm(layer) => layer.named_parameters(),
            Layer::Gru(layer) => layer.named_parameters(),
            Layer::Rnn(layer) => layer.named_parameters(),
        }
    }

    pub(crate) fn spec(&self) -> &StackSpec {
        match self {
            Layer::Lstm(layer) => layer.spec(),
            Layer::Gru(layer) => layer.spec(),
            Layer::Rnn(layer) => layer.spec(),
        }
    }
}

/// The results of a training step.
pub(crate) struct Trained {
    pub(crate) y: Tensor,
    pub(crate) dx: Option<Tensor>,
    pub(crate) weights: BTreeMap<String, Tensor>,
}
