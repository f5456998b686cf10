//! An imported model as a classifier of sequences.

use super::samples::Samples;
use anyhow::{Result, bail, ensure};
use rnn_api::prelude::*;
use rnn_interop::{Model, Value};

/// A model with one input of sequences and one output of classes.
pub(crate) struct Imported<'a> {
    model: &'a Model,
    batch_first: bool,
    probabilities: bool,
}

impl<'a> Imported<'a> {
    /// Runs the model on the first group, and learns from the output what the axes and the numbers are.
    pub(crate) fn new(model: &'a Model, data: &Samples) -> Result<Self> {
        let (inputs, outputs) = (model.inputs(), model.outputs());
        ensure!(
            inputs.len() == 1 && !outputs.is_empty(),
            "the model must have one input, got {}: {}",
            inputs.len(),
            inputs.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ")
        );
        // Three steps of two sequences: axes of different sizes tell the batch.
        let x = Tensor::zeros(model.device(), &[3, 2, data.features()])?;
        let classes = data.classes.len();
        for batch_first in [true, false] {
            let mut imported = Imported { model, batch_first, probabilities: false };
            match no_grad(|| imported.output(&x)) {
                Ok(y) if y.dims() == [2, classes] => {
                    imported.probabilities = y.to_vec()?.chunks(classes).all(sums_to_one);
                    return Ok(imported);
                }
                Ok(_) if batch_first => {}
                Ok(y) => bail!("`{}` must be [B, {classes}], got {:?} for B = 2", outputs[0].name, y.dims()),
                Err(_) if batch_first => {}
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the second order of axes ends the loop")
    }

    /// The model's first output for x `[T, B, features]`.
    fn output(&self, x: &Tensor) -> rnn_api::Result<Tensor> {
        let x = if self.batch_first { x.transpose(0, 1)? } else { x.clone() };
        let outputs = self.model.run(&[(&self.model.inputs()[0].name, Value::from(&x))])?;
        Ok(outputs.tensor(&self.model.outputs()[0].name)?.clone())
    }

    /// Logits `[B, classes]` for x `[T, B, features]`. The logarithms of probabilities are logits, too.
    pub(crate) fn logits(&self, x: &Tensor) -> rnn_api::Result<Tensor> {
        let y = self.output(x)?;
        // Far below the precision of f32 at 1, so that a probability of zero has a finite logarithm.
        let smallest = 1e-30;
        if self.probabilities { y.shift(smallest)?.log() } else { Ok(y) }
    }
}

fn sums_to_one(row: &[f32]) -> bool {
    row.iter().all(|value| (0.0..=1.0).contains(value)) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-4
}
