//! A layer of a file, and its place in a pipeline.

use crate::keras::config::{Recurrent, RecurrentKind};
use crate::keras::convert::{CellArrays, cell, dense};
use crate::keras::hdf5::Array;
use crate::keras::weights::Weight;
use rnn_api::live::PipelineBuilder;
use rnn_api::nn::AnyRnnConfig;
use rnn_api::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// A layer of a file.
pub(super) struct FileLayer {
    kind: LayerKind,
    width: usize,
    activation: Option<LayerActivation>,
}

enum LayerKind {
    Dense { weight: Vec<f32>, bias: Option<Vec<f32>> },
    Recurrent(RecurrentKind, CellArrays),
    Activation,
}

/// An activation.
#[derive(Clone, Copy)]
enum LayerActivation {
    Of(Activation),
    Softmax,
}

impl FileLayer {
    pub(super) fn parse(layer: &Value) -> Result<Self, String> {
        let text = |name: &str| layer.get(name).and_then(Value::as_str);
        let class = text("type").ok_or("`type` must be a text")?;
        let width = width(layer, "shape")?;
        let weights = layer.get("weights").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let weights: Vec<Weight> = weights.iter().map(weight).collect::<Result<_, _>>()?;
        let name = text("activation").unwrap_or_default();
        let recurrent = |kind| match name {
            "" | "tanh" => Ok(LayerKind::Recurrent(kind, cell(&settings(kind, width, &weights)?, &weights)?)),
            other => Err(format!("a {class} with the activation `{other}`; only tanh is known")),
        };
        let mut own = activation(name)?;
        let kind = match class {
            "dense" | "time-distributed-dense" => {
                let (weight, bias) = dense(width, weights.len() > 1, &weights)?;
                LayerKind::Dense { weight, bias }
            }
            "lstm" => recurrent(RecurrentKind::Lstm)?,
            "gru" => recurrent(RecurrentKind::Gru)?,
            "activation" => LayerKind::Activation,
            other => return Err(format!("layers of type `{other}` are not supported")),
        };
        if matches!(kind, LayerKind::Recurrent(..)) {
            own = None;
        }
        Ok(FileLayer { kind, width, activation: own })
    }

    pub(super) fn add_to(self, pipeline: PipelineBuilder) -> Result<PipelineBuilder, String> {
        let text = |error: rnn_api::Error| error.to_string();
        let input = pipeline.width();
        let pipeline = match self.kind {
            LayerKind::Dense { weight, bias } => {
                let inputs = weight.len() / self.width;
                expect(inputs, input)?;
                let config =
                    LinearConfig::new(inputs, self.width).with_bias(bias.is_some()).with_init(Init::Zeros);
                let linear = config.init(&Device::cpu(), 0).map_err(text)?;
                let mut values = vec![("weight", weight, vec![self.width, inputs])];
                values.extend(bias.map(|bias| ("bias", bias, vec![self.width])));
                fill(&linear, values).map_err(text)?;
                pipeline.linear(&linear).map_err(text)?
            }
            LayerKind::Recurrent(kind, cell) => {
                expect(cell.input, input)?;
                recurrent(kind, cell, pipeline).map_err(text)?
            }
            LayerKind::Activation if self.width == input => pipeline,
            LayerKind::Activation => {
                return Err(format!("`shape` ends with {}, the input has {input}", self.width));
            }
        };
        Ok(match self.activation {
            Some(LayerActivation::Of(activation)) => pipeline.activation(activation),
            Some(LayerActivation::Softmax) => pipeline.softmax(),
            None => pipeline,
        })
    }
}

/// The last number of a shape.
pub(super) fn width(of: &Value, name: &str) -> Result<usize, String> {
    let last = of.get(name).and_then(Value::as_array).and_then(|shape| shape.last());
    let width = last.and_then(Value::as_u64).and_then(|width| usize::try_from(width).ok());
    width.filter(|&width| width > 0).ok_or_else(|| format!("`{name}` must be a list that ends with a width"))
}

fn expect(inputs: usize, input: usize) -> Result<(), String> {
    if inputs == input { Ok(()) } else { Err(format!("its weights are for {inputs} inputs, it has {input}")) }
}

/// What the exporter does not write is what RTNeural computes.
fn settings(kind: RecurrentKind, units: usize, weights: &[Weight]) -> Result<Recurrent, String> {
    let two_rows = weights.get(2).is_some_and(|bias| bias.array.dims.len() == 2);
    if kind == RecurrentKind::Gru && weights.len() > 2 && !two_rows {
        return Err("a GRU with one bias, that is reset_after = false, is not supported".into());
    }
    Ok(Recurrent {
        kind,
        units,
        activation: "tanh".into(),
        recurrent_activation: "sigmoid".into(),
        use_bias: weights.len() > 2,
        reset_after: true,
        return_sequences: true,
        return_state: false,
        go_backwards: false,
        stateful: false,
        zero_output_for_mask: false,
        dropout: 0.0,
        recurrent_dropout: 0.0,
    })
}

fn activation(name: &str) -> Result<Option<LayerActivation>, String> {
    Ok(Some(match name {
        "" | "linear" => return Ok(None),
        "tanh" => LayerActivation::Of(Activation::Tanh),
        "relu" => LayerActivation::Of(Activation::Relu),
        "sigmoid" => LayerActivation::Of(Activation::Sigmoid),
        "elu" => LayerActivation::Of(Activation::Elu { alpha: 1.0 }),
        "softmax" => LayerActivation::Softmax,
        other => return Err(format!("the activation `{other}` is not supported")),
    }))
}

fn recurrent(
    kind: RecurrentKind,
    cell: CellArrays,
    pipeline: PipelineBuilder,
) -> rnn_api::Result<PipelineBuilder> {
    let CellArrays { input, hidden, weight_ih, weight_hh, bias_ih, bias_hh } = cell;
    let rows = bias_ih.len();
    let values = vec![
        ("weight_ih_l0", weight_ih, vec![rows, input]),
        ("weight_hh_l0", weight_hh, vec![rows, hidden]),
        ("bias_ih_l0", bias_ih, vec![rows]),
        ("bias_hh_l0", bias_hh, vec![rows]),
    ];
    let config: AnyRnnConfig = match kind {
        RecurrentKind::Gru => GruConfig::new(input, hidden).with_init(Init::Zeros).into(),
        _ => LstmConfig::new(input, hidden).with_init(Init::Zeros).into(),
    };
    let layer = config.init(&Device::cpu(), 0)?;
    fill(&layer, values)?;
    pipeline.recurrent(&layer)
}

/// Gives a layer its parameters.
fn fill(layer: &impl Module, values: Vec<(&str, Vec<f32>, Vec<usize>)>) -> rnn_api::Result<()> {
    let mut dict = BTreeMap::new();
    for (name, values, dims) in values {
        dict.insert(name.to_string(), Tensor::from_slice(&Device::cpu(), &values, &dims)?.into_array());
    }
    layer.load_state_dict(&dict)
}

/// Nested lists as an array.
fn weight(nested: &Value) -> Result<Weight, String> {
    let (mut dims, mut level) = (Vec::new(), nested);
    while let Value::Array(items) = level {
        dims.push(items.len());
        level = items.first().ok_or("`weights` has an empty list")?;
    }
    let mut values = Vec::new();
    collect(nested, &dims, &mut values)?;
    Ok(Weight { name: String::new(), array: Array { dims, values } })
}

/// The values of nested lists that have these lengths.
fn collect(nested: &Value, dims: &[usize], values: &mut Vec<f32>) -> Result<(), String> {
    match (nested, dims) {
        (Value::Number(number), []) => {
            let value = number.as_f64().map(|value| value as f32).filter(|value| value.is_finite());
            values.push(value.ok_or_else(|| format!("the weight {number} is beyond f32"))?);
            Ok(())
        }
        (Value::Array(items), [len, rest @ ..]) if items.len() == *len => {
            items.iter().try_for_each(|item| collect(item, rest, values))
        }
        _ => Err("`weights` must have nested lists of equal lengths, and numbers in them".into()),
    }
}
