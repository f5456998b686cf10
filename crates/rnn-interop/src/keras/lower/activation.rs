//! Activations by their names in Keras.

use super::Lowering;
use crate::graph::{Binary, Op, Slot, Unary};
use rnn_api::{Activation, UnaryOp};

/// Slope and value at 0. Keras 3 took PyTorch's definition.
fn hard_sigmoid(keras: u32) -> Activation {
    if keras < 3 { Activation::HARD_SIGMOID_ONNX } else { Activation::HARD_SIGMOID }
}

/// The activation of a cell, whose option has this name.
pub(super) fn of_cell(option: &str, name: &str, keras: u32) -> Result<Activation, String> {
    Ok(match name {
        "linear" => Activation::Identity,
        "tanh" => Activation::Tanh,
        "sigmoid" => Activation::Sigmoid,
        "relu" => Activation::Relu,
        "softsign" => Activation::Softsign,
        "softplus" => Activation::Softplus,
        "hard_sigmoid" => hard_sigmoid(keras),
        "hard_tanh" => Activation::HardTanh,
        "leaky_relu" => Activation::LeakyRelu { alpha: 0.2 },
        "elu" => Activation::Elu { alpha: 1.0 },
        _ => return Err(format!("`{option}` `{name}` is not supported in a cell")),
    })
}

/// alpha and scale of Klambauer 2017.
const SELU: [f32; 2] = [1.673_263_2, 1.050_701];

impl Lowering<'_> {
    pub(super) fn activation(&mut self, name: &str, x: Slot) -> Result<Slot, String> {
        let unary = |op| Op::Unary(Unary::Engine(op));
        let softmax = |log| Op::Softmax { axis: -1, log, flatten: false };
        let op = match name {
            "linear" => return Ok(x),
            "softmax" => softmax(false),
            "log_softmax" => softmax(true),
            "tanh" => unary(UnaryOp::Tanh),
            "sigmoid" => unary(UnaryOp::Sigmoid),
            "relu" => unary(UnaryOp::Relu),
            "softsign" => unary(UnaryOp::Softsign),
            "softplus" => unary(UnaryOp::Softplus),
            "exponential" => unary(UnaryOp::Exp),
            "relu6" => Op::Clip { min: Some(0.0), max: Some(6.0) },
            "hard_tanh" => Op::Clip { min: Some(-1.0), max: Some(1.0) },
            "leaky_relu" => Op::Unary(Unary::LeakyRelu(0.2)),
            "elu" => Op::Unary(Unary::Elu(1.0)),
            "gelu" => Op::Unary(Unary::Gelu { tanh: false }),
            "hard_sigmoid" => {
                let [slope, zero] = hard_sigmoid(self.model.keras).parameters();
                Op::Unary(Unary::HardSigmoid(slope, zero))
            }
            "selu" => {
                let elu = self.graph.node(Op::Unary(Unary::Elu(SELU[0])), &[x]);
                return self.graph.scaled(elu, SELU[1]);
            }
            "swish" | "silu" => {
                let gate = self.graph.node(unary(UnaryOp::Sigmoid), &[x]);
                return Ok(self.graph.node(Op::Binary(Binary::Mul), &[x, gate]));
            }
            _ => return Err(format!("`activation` `{name}` is not supported")),
        };
        Ok(self.graph.node(op, &[x]))
    }
}
