//! From the layers of a file to the nodes of a graph.

use super::description::{Cell, Description, Direction as Ways, Kind, Layer, Merge, Named, Pooling};
use crate::graph::{
    Binary, Builder, Layer as Recurrence, ModelParts, Op, Port, Recurrent, Reduce, ReduceKind, Slot, Unary,
};
use rnn_api::nn::{LstmConfig, RnnConfig};
use rnn_api::{Activation, Array, Device, Tensor, UnaryOp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The graph of a network. Sequences are `[T, B, features]`, as everywhere in this library.
///
/// # Errors
/// Every layer that is not supported, or an engine that fails, in words.
pub(super) fn parts(network: &Description, device: &Device) -> Result<ModelParts, Vec<String>> {
    let mut lowering = Lowering { graph: Builder::new(device), names: HashMap::new() };
    let port = |name: &String| {
        let port = lowering.graph.port(name, Some(["T", "B", "features"].map(String::from).to_vec()));
        lowering.names.insert(name.clone(), port.slot);
        port
    };
    let inputs: Vec<Port> = network.inputs.iter().map(port).collect();
    let mut problems = Vec::new();
    for layer in &network.layers {
        let kind = format!("{:?}", layer.kind);
        lowering.graph.begin(&layer.name, &kind);
        let slot = lowering.layer(layer).unwrap_or_else(|why| {
            problems.push(format!("layer `{}` ({kind}): {why}", layer.name));
            lowering.graph.slot()
        });
        lowering.names.insert(layer.name.clone(), slot);
    }
    let output = |name: &String| {
        let slot = lowering.names.get(name).copied();
        Port::new(name, slot.unwrap_or(0))
    };
    let outputs = network.outputs.iter().map(output).collect();
    if problems.is_empty() { Ok(lowering.graph.finish(inputs, outputs)) } else { Err(problems) }
}

/// The graph so far, and the slots of the layers' results by name.
struct Lowering<'a> {
    graph: Builder<'a>,
    names: HashMap<String, Slot>,
}

impl Lowering<'_> {
    fn param(&mut self, layer: &Layer, name: &str) -> Result<Option<Slot>, String> {
        let Some((dims, values)) = layer.parameters.get(name) else { return Ok(None) };
        let tensor =
            Tensor::from_slice(self.graph.device, values, dims).map_err(|error| error.to_string())?;
        self.graph.param(name, tensor.into_array()).map(Some)
    }

    /// The slot of a layer's result.
    fn layer(&mut self, layer: &Layer) -> Result<Slot, String> {
        let inputs: Option<Vec<Slot>> =
            layer.inputs.iter().map(|name| self.names.get(name).copied()).collect();
        let inputs = inputs.ok_or_else(|| format!("nothing before it computes {:?}", layer.inputs))?;
        let x = *inputs.first().ok_or("no input")?;
        match layer.kind {
            Kind::Recurrent { cell, direction, last_step } => {
                let y = self.recurrent(layer, cell, direction, x)?;
                Ok(if last_step { self.graph.at(y, 0, -1) } else { y })
            }
            Kind::GlobalPooling(pooling) => self.pooling(pooling, x),
            Kind::Dense | Kind::Output | Kind::RnnOutput => {
                let weight = self.param(layer, "weight")?.ok_or("no weight")?;
                let bias = self.param(layer, "bias")?;
                let y = self.graph.nodes(Op::Linear, vec![Some(x), Some(weight), bias], 1)[0];
                self.activation(layer, y)
            }
            Kind::Embedding | Kind::EmbeddingSequence => {
                let weight = self.param(layer, "weight")?.ok_or("no weight")?;
                let mut y = self.graph.node(Op::Embedding, &[weight, x]);
                if let Some(bias) = self.param(layer, "bias")? {
                    y = self.graph.node(Op::Binary(Binary::Add), &[y, bias]);
                }
                self.activation(layer, y)
            }
            Kind::Activation | Kind::Loss | Kind::RnnLoss => self.activation(layer, x),
            // Inference: nothing is dropped.
            Kind::Dropout => Ok(x),
            Kind::MergeVertex => Ok(self.graph.node(Op::Concat { axis: -1 }, &inputs)),
            // `[T, B, F]` to `[B, F]`.
            Kind::LastTimeStepVertex => Ok(self.graph.at(x, 0, -1)),
        }
    }

    fn pooling(&mut self, pooling: Pooling, x: Slot) -> Result<Slot, String> {
        let kind = match pooling {
            Pooling::Avg => ReduceKind::Mean,
            Pooling::Max => ReduceKind::Max,
            Pooling::Sum => ReduceKind::Sum,
            Pooling::PNorm(2.0) => ReduceKind::L2,
            Pooling::PNorm(power) => return Err(format!("a norm of power {power} is not supported")),
        };
        let reduce = Reduce { kind, axes: Some(vec![0]), keep: false, none_is_identity: false };
        Ok(self.graph.node(Op::Reduce(reduce), &[x]))
    }

    fn activation(&mut self, layer: &Layer, x: Slot) -> Result<Slot, String> {
        let Some(Named { name, numbers }) = &layer.settings.activation else { return Ok(x) };
        let alpha = |default: f32| numbers.get("alpha").map_or(default, |&alpha| alpha as f32);
        let unary = |op| Op::Unary(Unary::Engine(op));
        let op = match name.as_str() {
            "identity" => return Ok(x),
            "softmax" => Op::Softmax { axis: -1, log: false, flatten: false },
            "tanh" => unary(UnaryOp::Tanh),
            "sigmoid" => unary(UnaryOp::Sigmoid),
            "relu" => unary(UnaryOp::Relu),
            "softsign" => unary(UnaryOp::Softsign),
            "softplus" => unary(UnaryOp::Softplus),
            "hardsigmoid" => Op::Unary(Unary::HardSigmoid(0.2, 0.5)),
            "hardtanh" => Op::Clip { min: Some(-1.0), max: Some(1.0) },
            "lrelu" => Op::Unary(Unary::LeakyRelu(alpha(0.01))),
            "elu" => Op::Unary(Unary::Elu(alpha(1.0))),
            other => return Err(format!("activation {other} is not supported")),
        };
        Ok(self.graph.node(op, &[x]))
    }

    fn recurrent(&mut self, layer: &Layer, cell: Cell, ways: Ways, x: Slot) -> Result<Slot, String> {
        let both = matches!(ways, Ways::Both(_));
        let made = recurrence(layer, cell, both, self.graph.device)?;
        let passes = vec![made];
        // [T, D, B, H]
        let y = self
            .graph
            .node(Op::Recurrent(Arc::new(Recurrent { passes, batch_first: false, above: Vec::new() })), &[x]);
        let reduce =
            |kind| Op::Reduce(Reduce { kind, axes: Some(vec![1]), keep: false, none_is_identity: false });
        Ok(match ways {
            Ways::Forward => self.graph.node(Op::Squeeze { axes: Some(vec![1]) }, &[y]),
            Ways::Both(Merge::Add) => self.graph.node(reduce(ReduceKind::Sum), &[y]),
            Ways::Both(Merge::Average) => self.graph.node(reduce(ReduceKind::Mean), &[y]),
            Ways::Both(Merge::Concat) => {
                let turned = self.graph.node(Op::Transpose { perm: Some(vec![0, 2, 1, 3]) }, &[y]);
                let sizes = self.graph.integers(vec![0, 0, -1]);
                self.graph.node(Op::Reshape { allow_zero: false }, &[turned, sizes])
            }
            Ways::Both(Merge::Mul) => {
                let parts = [self.graph.at(y, 1, 0), self.graph.at(y, 1, 1)];
                self.graph.node(Op::Binary(Binary::Mul), &parts)
            }
        })
    }
}

/// A recurrent layer with the weights of the file.
fn recurrence(layer: &Layer, cell: Cell, both: bool, device: &Device) -> Result<Recurrence, String> {
    let settings = &layer.settings;
    let (inputs, hidden) = (settings.n_in, settings.n_out);
    let main = of_cell(settings.activation.as_ref(), Activation::Tanh)?;
    let gates = of_cell(settings.gate_activation.as_ref(), Activation::Sigmoid)?;
    let made = match cell {
        Cell::Lstm | Cell::GravesLstm => {
            let config = LstmConfig::new(inputs, hidden)
                .with_gate_activation(gates)
                .with_candidate_activation(main)
                .with_output_activation(main)
                .with_peephole(cell == Cell::GravesLstm)
                .with_bidirectional(both);
            config.init(device, 0).map(Recurrence::Lstm)
        }
        Cell::SimpleRnn => {
            let config = RnnConfig::new(inputs, hidden).with_activation(main).with_bidirectional(both);
            config.init(device, 0).map(Recurrence::Rnn)
        }
    };
    let made = made.map_err(|error| error.to_string())?;
    let mut values: BTreeMap<String, Array> = BTreeMap::new();
    for (name, param) in made.module().named_parameters() {
        let array = match layer.parameters.get(&name) {
            Some((dims, values)) => Tensor::from_slice(device, values, dims),
            // DL4J has one bias: the second is zero and stays it.
            None if name.starts_with("bias_hh") => {
                param.set_trainable(false);
                Tensor::zeros(device, param.dims())
            }
            None => return Err(format!("the file has no {name}")),
        };
        values.insert(name, array.map_err(|error| error.to_string())?.into_array());
    }
    made.module().load_state_dict(&values).map_err(|error| error.to_string())?;
    Ok(made)
}

/// The activation of a cell.
fn of_cell(named: Option<&Named>, default: Activation) -> Result<Activation, String> {
    let Some(Named { name, numbers }) = named else { return Ok(default) };
    let alpha = |default: f32| numbers.get("alpha").map_or(default, |&alpha| alpha as f32);
    Ok(match name.as_str() {
        "identity" => Activation::Identity,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "relu" => Activation::Relu,
        "softsign" => Activation::Softsign,
        "softplus" => Activation::Softplus,
        "hardsigmoid" => Activation::HARD_SIGMOID_ONNX,
        "hardtanh" => Activation::HardTanh,
        "lrelu" => Activation::LeakyRelu { alpha: alpha(0.01) },
        "elu" => Activation::Elu { alpha: alpha(1.0) },
        other => return Err(format!("activation {other} is not supported in a cell")),
    })
}
