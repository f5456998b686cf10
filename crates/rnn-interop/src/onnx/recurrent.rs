//! LSTM, GRU and RNN nodes as layers with PyTorch's parameters.

use super::attributes::Attributes;
use super::proto::NodeProto;
use super::weights::Weights;
use crate::graph::{Layer, Make, Recurrent};
use crate::value::Value;
use rnn_api::nn::{GruConfig, LstmConfig, Module, RecurrentConfig, RnnConfig};
use rnn_api::{Activation, Array, Device, Direction, Init, Tensor};
use std::collections::BTreeMap;

/// What an op has in common for all of its nodes.
struct OperatorShape {
    /// The gates of this crate in ONNX's order of blocks.
    blocks: &'static [usize],
    /// ONNX's number of gates.
    gates: usize,
    activations: &'static [&'static str],
}

const LSTM: OperatorShape =
    OperatorShape { blocks: &[0, 2, 3, 1], gates: 4, activations: &["Sigmoid", "Tanh", "Tanh"] };
/// f = 1 - i: the forget gate's block has no meaning.
const COUPLED: OperatorShape = OperatorShape { blocks: &[0, 3, 1], ..LSTM };
const GRU: OperatorShape = OperatorShape { blocks: &[1, 0, 2], gates: 3, activations: &["Sigmoid", "Tanh"] };
const RNN: OperatorShape = OperatorShape { blocks: &[0], gates: 1, activations: &["Tanh"] };

/// A node whose weights are inputs of the run.
pub(super) struct OfInputs {
    pub(super) node: NodeProto,
}

impl Make for OfInputs {
    fn make(&self, device: &Device, values: &[Option<Value>]) -> Result<Recurrent, String> {
        layer(&self.node, &Weights::of(&self.node, values)?, device)
    }
}

/// The layer of a node.
///
/// # Errors
/// In words: weights of the wrong shape, or an attribute that is not supported.
pub(super) fn layer(node: &NodeProto, weights: &Weights, device: &Device) -> Result<Recurrent, String> {
    let attributes = Attributes::of(node);
    let coupled = attributes.flag("input_forget", false);
    let kind = match node.op_type.as_str() {
        "GRU" => GRU,
        "RNN" => RNN,
        _ if coupled => COUPLED,
        _ => LSTM,
    };
    let direction = attributes.text("direction").unwrap_or_else(|| "forward".into());
    let directions = match direction.as_str() {
        "forward" | "reverse" => 1,
        "bidirectional" => 2,
        other => return Err(format!("direction must be forward, reverse or bidirectional, got {other}")),
    };
    let sizes = Sizes::of(weights, &kind, directions, attributes.maybe_int("hidden_size"))?;
    let activations = activations(&attributes, &kind, directions)?;
    let settings = Settings {
        sizes,
        coupled,
        clip: attributes.maybe_float("clip").filter(|clip| *clip > 0.0),
        reset_after: attributes.flag("linear_before_reset", false),
        bias: weights.b.is_some(),
        peephole: weights.p.is_some(),
    };
    let batch_first = attributes.flag("layout", false);
    attributes.ignore(&["output_sequence"]);
    attributes.expect_all_read()?;
    // Directions with different activations are layers of their own.
    let passes: Vec<(Direction, Vec<usize>)> = match (directions, direction.as_str()) {
        (1, "reverse") => vec![(Direction::Reverse, vec![0])],
        (1, _) => vec![(Direction::Forward, vec![0])],
        _ if activations[0] == activations[1] => vec![(Direction::Bidirectional, vec![0, 1])],
        _ => vec![(Direction::Forward, vec![0]), (Direction::Reverse, vec![1])],
    };
    let passes = passes.into_iter().map(|(direction, parts)| {
        let layer = settings.layer(node, &activations[parts[0]], direction, device)?;
        fill(&layer, weights, &kind, &settings, &parts, device)?;
        Ok(layer)
    });
    Ok(Recurrent { passes: passes.collect::<Result<_, String>>()?, batch_first, above: Vec::new() })
}

#[derive(Clone, Copy)]
struct Sizes {
    input: usize,
    hidden: usize,
}

impl Sizes {
    fn of(
        weights: &Weights,
        kind: &OperatorShape,
        directions: usize,
        hidden: Option<i64>,
    ) -> Result<Self, String> {
        let [_, rows, input] = weights.w.dims[..] else {
            return Err(format!("W must have three axes, got {:?}", weights.w.dims));
        };
        let h = rows / kind.gates;
        if hidden.is_some_and(|hidden| usize::try_from(hidden) != Ok(h)) {
            return Err(format!("hidden_size {} does not fit W {:?}", hidden.unwrap_or(0), weights.w.dims));
        }
        let expect = |name: &str, dims: Option<&Vec<usize>>, expected: Vec<usize>| match dims {
            Some(dims) if *dims != expected => Err(format!("{name} must be {expected:?}, got {dims:?}")),
            _ => Ok(()),
        };
        let rows = kind.gates * h;
        expect("W", Some(&weights.w.dims), vec![directions, rows, input])?;
        expect("R", Some(&weights.r.dims), vec![directions, rows, h])?;
        expect("B", weights.b.as_ref().map(|b| &b.dims), vec![directions, 2 * rows])?;
        expect("P", weights.p.as_ref().map(|p| &p.dims), vec![directions, 3 * h])?;
        Ok(Sizes { input, hidden: h })
    }
}

struct Settings {
    sizes: Sizes,
    coupled: bool,
    clip: Option<f32>,
    reset_after: bool,
    bias: bool,
    peephole: bool,
}

impl Settings {
    fn layer(
        &self,
        node: &NodeProto,
        activations: &[Activation],
        direction: Direction,
        device: &Device,
    ) -> Result<Layer, String> {
        let Sizes { input, hidden } = self.sizes;
        let layer = match node.op_type.as_str() {
            "GRU" => {
                let config = GruConfig::new(input, hidden)
                    .with_gate_activation(activations[0])
                    .with_candidate_activation(activations[1])
                    .with_reset_after(self.reset_after);
                self.common(config, direction).init(device, 0).map(Layer::Gru)
            }
            "RNN" => {
                let config = RnnConfig::new(input, hidden).with_activation(activations[0]);
                self.common(config, direction).init(device, 0).map(Layer::Rnn)
            }
            _ => {
                let config = LstmConfig::new(input, hidden)
                    .with_gate_activation(activations[0])
                    .with_candidate_activation(activations[1])
                    .with_output_activation(activations[2])
                    .with_peephole(self.peephole)
                    .with_coupled_gates(self.coupled);
                self.common(config, direction).init(device, 0).map(Layer::Lstm)
            }
        };
        layer.map_err(|error| error.to_string())
    }

    fn common<C>(&self, config: RecurrentConfig<C>, direction: Direction) -> RecurrentConfig<C> {
        // All values are replaced: an orthogonal matrix would be made for nothing.
        let config = config.with_bias(self.bias).with_direction(direction).with_recurrent_init(Init::Zeros);
        if let Some(clip) = self.clip { config.with_clip(clip) } else { config }
    }
}

/// Blocks of rows in another order.
fn blocks(values: &[f32], order: &[usize], gates: usize) -> Vec<f32> {
    let length = values.len() / gates;
    order.iter().flat_map(|&block| &values[block * length..(block + 1) * length]).copied().collect()
}

/// Gives a layer the weights of the given directions.
fn fill(
    layer: &Layer,
    weights: &Weights,
    kind: &OperatorShape,
    settings: &Settings,
    directions: &[usize],
    device: &Device,
) -> Result<(), String> {
    let mut values: BTreeMap<String, Array> = BTreeMap::new();
    let mut put = |name: &str, n: usize, data: Vec<f32>, columns: Option<usize>| {
        let suffix = if n == 1 { "_reverse" } else { "" };
        let dims = columns.map_or(vec![data.len()], |columns| vec![data.len() / columns.max(1), columns]);
        let tensor = Tensor::from_slice(device, &data, &dims).map_err(|error| error.to_string())?;
        values.insert(format!("{name}_l0{suffix}"), tensor.into_array());
        Ok::<_, String>(())
    };
    let Sizes { input, hidden } = settings.sizes;
    for (n, &part) in directions.iter().enumerate() {
        put("weight_ih", n, blocks(weights.w.part(part), kind.blocks, kind.gates), Some(input))?;
        put("weight_hh", n, blocks(weights.r.part(part), kind.blocks, kind.gates), Some(hidden))?;
        if let Some(b) = &weights.b {
            let (input_bias, recurrent_bias) = b.part(part).split_at(kind.gates * hidden);
            put("bias_ih", n, blocks(input_bias, kind.blocks, kind.gates), None)?;
            put("bias_hh", n, blocks(recurrent_bias, kind.blocks, kind.gates), None)?;
        }
        if let Some(p) = &weights.p {
            // ONNX's order is i, o, f.
            let order: &[usize] = if settings.coupled { &[0, 1] } else { &[0, 2, 1] };
            put("weight_peephole", n, blocks(p.part(part), order, 3), None)?;
        }
    }
    layer.load_state_dict(&values).map_err(|error| error.to_string())
}

/// The activations of each direction. The lists of alpha and beta have values for those alone that take one, in order.
fn activations(
    attributes: &Attributes<'_>,
    kind: &OperatorShape,
    directions: usize,
) -> Result<Vec<Vec<Activation>>, String> {
    let default = || kind.activations.repeat(directions).iter().map(ToString::to_string).collect();
    let names: Vec<String> =
        attributes.texts("activations").filter(|names| !names.is_empty()).unwrap_or_else(default);
    let count = kind.activations.len();
    if names.len() != count * directions {
        return Err(format!("activations must be {} names, got {names:?}", count * directions));
    }
    let mut alpha = attributes.floats("activation_alpha").unwrap_or_default().into_iter();
    let mut beta = attributes.floats("activation_beta").unwrap_or_default().into_iter();
    let all: Vec<Activation> =
        names.iter().map(|name| activation(name, &mut alpha, &mut beta)).collect::<Result<_, _>>()?;
    if alpha.next().is_some() || beta.next().is_some() {
        return Err(format!("more values of activation_alpha or activation_beta than {names:?} take"));
    }
    Ok(all.chunks(count).map(<[_]>::to_vec).collect())
}

fn activation(
    name: &str,
    alpha: &mut impl Iterator<Item = f32>,
    beta: &mut impl Iterator<Item = f32>,
) -> Result<Activation, String> {
    let need =
        |value: Option<f32>, which: &str| value.ok_or_else(|| format!("{name} needs an activation_{which}"));
    Ok(match name.to_ascii_lowercase().as_str() {
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "relu" => Activation::Relu,
        "softsign" => Activation::Softsign,
        "softplus" => Activation::Softplus,
        "leakyrelu" => Activation::LeakyRelu { alpha: alpha.next().unwrap_or(0.01) },
        "thresholdedrelu" => Activation::ThresholdedRelu { alpha: alpha.next().unwrap_or(1.0) },
        "elu" => Activation::Elu { alpha: alpha.next().unwrap_or(1.0) },
        "hardsigmoid" => {
            Activation::HardSigmoid { alpha: alpha.next().unwrap_or(0.2), beta: beta.next().unwrap_or(0.5) }
        }
        "affine" => {
            Activation::Affine { alpha: need(alpha.next(), "alpha")?, beta: need(beta.next(), "beta")? }
        }
        "scaledtanh" => {
            Activation::ScaledTanh { alpha: need(alpha.next(), "alpha")?, beta: need(beta.next(), "beta")? }
        }
        _ => return Err(format!("activation {name} is not supported")),
    })
}
