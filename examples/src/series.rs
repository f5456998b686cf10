//! Classification of sequences of measured values.

use crate::classifier::{Classifier, ClassifierConfig};
use crate::labelled::Task;
use anyhow::Result;
use rnn_api::data::{Sequence, pad};
use rnn_api::io::ModelFile;
use rnn_api::nn::ModelConfig;
use rnn_api::prelude::*;
use serde_json::Value;

/// A network and its inputs.
pub struct Series {
    config: ClassifierConfig,
    model: Classifier,
    kept: Vec<(&'static str, Value)>,
    sequences: Vec<Sequence>,
    device: Device,
}

impl Series {
    /// A new network for these sequences, which are normalised; `kept` is what normalises new ones.
    ///
    /// # Errors
    /// Sizes that a layer refuses.
    pub fn new(
        config: ClassifierConfig,
        sequences: Vec<Sequence>,
        kept: Vec<(&'static str, Value)>,
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        let model = ModelConfig::init(&config, device, seed)?;
        Ok(Series { config, model, kept, sequences, device: device.clone() })
    }

    /// The network of a file, for these sequences.
    ///
    /// # Errors
    /// A file of another kind of model.
    pub fn load(saved: &ModelFile, sequences: Vec<Sequence>, device: &Device) -> Result<Self> {
        let (config, model) = (saved.config()?, saved.model::<ClassifierConfig>(device)?);
        Ok(Series { config, model, kept: Vec::new(), sequences, device: device.clone() })
    }
}

impl Task for Series {
    type Config = ClassifierConfig;

    fn config(&self) -> &ClassifierConfig {
        &self.config
    }

    fn model(&self) -> &Classifier {
        &self.model
    }

    fn kept(&self) -> &[(&'static str, Value)] {
        &self.kept
    }

    fn steps(&self, item: usize) -> usize {
        self.sequences[item].len()
    }

    fn logits(&self, items: &[usize]) -> rnn_api::Result<Tensor> {
        let chosen: Vec<&Sequence> = items.iter().map(|&item| &self.sequences[item]).collect();
        let padded = pad(&chosen, None)?;
        self.model.forward(&padded.values.to_tensor(&self.device)?, padded.lengths)
    }
}
