//! Recurrent stacks: one node for each layer.

use super::exporter::{Edge, Exporter, RecurrentEdges};
use super::nodes::{float, floats, int, ints, text, texts};
use crate::error::{Error, Result};
use rnn_api::nn::{Gru, Lstm, Module, Rnn};
use rnn_api::{Activation, CellKind, CellSpec, Direction, Merge, Regularization, StackSpec, Tensor};
use std::collections::BTreeMap;

/// The values of a stack's outputs.
struct Values {
    y: Tensor,
    h: Tensor,
    c: Option<Tensor>,
}

impl Exporter {
    /// A stack of LSTM layers from a zero state.
    ///
    /// # Errors
    /// As the layer's forward pass; or the layer has an option that ONNX lacks.
    pub fn lstm(&mut self, name: &str, layer: &Lstm, x: &Edge) -> Result<RecurrentEdges> {
        let out = layer.forward(x.tensor()?, None)?;
        self.stack(name, layer.spec(), layer, x, Values { y: out.y, h: out.state.h, c: Some(out.state.c) })
    }

    /// A stack of GRU layers; as [`Exporter::lstm`].
    ///
    /// # Errors
    /// As [`Exporter::lstm`].
    pub fn gru(&mut self, name: &str, layer: &Gru, x: &Edge) -> Result<RecurrentEdges> {
        let out = layer.forward(x.tensor()?, None)?;
        self.stack(name, layer.spec(), layer, x, Values { y: out.y, h: out.state.h, c: None })
    }

    /// A stack of Elman layers; as [`Exporter::lstm`].
    ///
    /// # Errors
    /// As [`Exporter::lstm`].
    pub fn rnn(&mut self, name: &str, layer: &Rnn, x: &Edge) -> Result<RecurrentEdges> {
        let out = layer.forward(x.tensor()?, None)?;
        self.stack(name, layer.spec(), layer, x, Values { y: out.y, h: out.state.h, c: None })
    }

    fn stack(
        &mut self,
        name: &str,
        spec: &StackSpec,
        layer: &dyn Module,
        x: &Edge,
        values: Values,
    ) -> Result<RecurrentEdges> {
        let params: BTreeMap<String, Tensor> =
            layer.named_parameters().into_iter().map(|(name, param)| (name, param.value())).collect();
        if let Some(option) = missing_in_onnx(spec, &params) {
            return Err(missing(name, option));
        }
        let operator = Operator::of(&spec.cell).map_err(|option| missing(name, option))?;
        let (mut from, mut hs, mut cs) = (x.name.clone(), Vec::new(), Vec::new());
        for n in 0..spec.num_layers {
            let inputs = self.weights_of(name, spec, &params, n)?;
            let [y, h, c] = ["y", "h", "c"].map(|what| self.fresh(&format!("{name}_{what}_l{n}")));
            let read = [vec![from], inputs].concat();
            let mut outputs = vec![y.clone(), h.clone()];
            outputs.extend(values.c.is_some().then(|| c.clone()));
            // A reader that makes one stack of them names it after the first.
            let node = if n == 0 { name.to_string() } else { format!("{name}_l{n}") };
            let node = if self.has_node(&node) { self.fresh(&node) } else { node };
            self.named_node(node, operator.name, read, outputs, attributes(&[spec])?);
            from = self.joined(&y);
            hs.push(h);
            cs.push(c);
        }
        let y = Edge { name: from, value: values.y.into() };
        let mut all = |names: &[String], value: Tensor| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            self.edge("Concat", &names, vec![int("axis", 0)], value.into())
        };
        let h = all(&hs, values.h);
        let c = values.c.map(|value| all(&cs, value));
        Ok(RecurrentEdges { y, h, c })
    }

    /// `[T, D, B, H]` to `[T, B, D*H]`.
    fn joined(&mut self, y: &str) -> String {
        let (turned, joined) = (self.fresh("transpose"), self.fresh("reshape"));
        self.node("Transpose", &[y], &[&turned], vec![ints("perm", &[0, 2, 1, 3])]);
        let sizes = self.integers(&[0, 0, -1]);
        self.node("Reshape", &[&turned, &sizes], &[&joined], vec![]);
        joined
    }

    /// W, R, B, and of peepholes the empty inputs before P, then P.
    pub(super) fn weights_of(
        &mut self,
        name: &str,
        spec: &StackSpec,
        params: &BTreeMap<String, Tensor>,
        layer: usize,
    ) -> Result<Vec<String>> {
        let order = Operator::of(&spec.cell).map_err(|option| missing(name, option))?.blocks;
        let directions = spec.num_directions();
        let of = |parameter: &str, order: &[Option<usize>]| -> Result<Vec<f32>> {
            let mut all = Vec::new();
            for direction in 0..directions {
                let suffix = if direction == 1 { "_reverse" } else { "" };
                let values = params[&format!("{parameter}_l{layer}{suffix}")].to_vec()?;
                let own = order.iter().flatten().count();
                let length = values.len() / own;
                for block in order {
                    match block {
                        Some(block) => all.extend_from_slice(&values[block * length..(block + 1) * length]),
                        // The forget gate of a coupled cell has no weights.
                        None => all.resize(all.len() + length, 0.0),
                    }
                }
            }
            Ok(all)
        };
        let (w, r) = (of("weight_ih", order)?, of("weight_hh", order)?);
        let rows = order.len() * spec.hidden_size;
        let title = |what: &str| format!("{name}.l{layer}.{what}");
        let columns = w.len() / (directions * rows);
        let mut inputs = vec![
            self.weight(&title("W"), &[directions, rows, columns], &w),
            self.weight(&title("R"), &[directions, rows, spec.hidden_size], &r),
        ];
        if spec.bias {
            let (input, recurrent) = (of("bias_ih", order)?, of("bias_hh", order)?);
            let each = input.chunks(rows).zip(recurrent.chunks(rows));
            let b: Vec<f32> = each.flat_map(|(input, recurrent)| [input, recurrent].concat()).collect();
            inputs.push(self.weight(&title("B"), &[directions, 2 * rows], &b));
        }
        if spec.cell.peephole {
            let order: &[Option<usize>] =
                if spec.cell.coupled { &[Some(0), Some(1), None] } else { &[Some(0), Some(2), Some(1)] };
            let p = of("weight_peephole", order)?;
            inputs.resize(6, String::new());
            inputs.push(self.weight(&title("P"), &[directions, 3 * spec.hidden_size], &p));
        }
        Ok(inputs)
    }
}

/// ONNX's operator for a cell.
pub(super) struct Operator {
    pub(super) name: &'static str,
    /// The gates of this library in ONNX's order of blocks; `None` where a coupled cell has no forget gate.
    blocks: &'static [Option<usize>],
    /// In ONNX's order.
    activations: Vec<Activation>,
}

impl Operator {
    /// # Errors
    /// The name of a cell that ONNX lacks.
    pub(super) fn of(cell: &CellSpec) -> Result<Self, &'static str> {
        let &CellSpec {
            gate_activation: gate,
            candidate_activation: candidate,
            output_activation: output,
            ..
        } = cell;
        Ok(match cell.kind {
            CellKind::Lstm => Operator {
                name: "LSTM",
                blocks: match cell.coupled {
                    true => &[Some(0), Some(2), None, Some(1)],
                    false => &[Some(0), Some(3), Some(1), Some(2)],
                },
                activations: vec![gate, candidate, output],
            },
            CellKind::Gru => Operator {
                name: "GRU",
                blocks: &[Some(1), Some(0), Some(2)],
                activations: vec![gate, candidate],
            },
            CellKind::Rnn => Operator { name: "RNN", blocks: &[Some(0)], activations: vec![candidate] },
            CellKind::Mgu => return Err("minimal gated unit"),
        })
    }
}

fn missing(name: &str, option: &str) -> Error {
    Error::Missing { name: name.to_string(), why: format!("ONNX has no {option}") }
}

/// An option of the layer that changes its results and that ONNX lacks.
pub(super) fn missing_in_onnx(spec: &StackSpec, params: &BTreeMap<String, Tensor>) -> Option<&'static str> {
    // Every option by name, so that a new one does not compile before it is written to the file or refused.
    let &StackSpec {
        cell,
        proj_size,
        merge,
        regularization,
        // They are shapes, numbers of nodes, and attributes.
        input_size: _,
        hidden_size: _,
        num_layers: _,
        direction: _,
        bias: _,
        // It acts in training alone.
        dropout: _,
    } = spec;
    let CellSpec {
        kind: _,
        layer_norm,
        cell_clip,
        independent,
        // Operators and their attributes have these.
        gate_activation: _,
        candidate_activation: _,
        output_activation: _,
        peephole: _,
        coupled: _,
        reset_after: _,
        clip: _,
    } = cell;
    let Regularization {
        zoneout_h,
        zoneout_c,
        // They act in training alone.
        input_dropout: _,
        output_dropout: _,
        recurrent_dropout: _,
        candidate_dropout: _,
        weight_dropout: _,
    } = regularization;
    let missing = [
        (proj_size > 0, "projection"),
        (layer_norm, "layer normalisation within a cell"),
        (cell_clip.is_some(), "bound of the cell state"),
        (independent, "independent units"),
        (zoneout_h > 0.0 || zoneout_c > 0.0, "zoneout"),
        (merge != Merge::Concat, "merged directions"),
        (params.keys().any(|name| !name.contains("_l")), "learnt initial state"),
    ];
    let option = missing.into_iter().find_map(|(has, option)| has.then_some(option));
    Operator::of(&cell).err().or(option)
}

/// Of one layer, or of two that are the directions of one node.
pub(super) fn attributes(specs: &[&StackSpec]) -> Result<Vec<super::super::proto::AttributeProto>> {
    let [spec, ..] = specs else { return Ok(Vec::new()) };
    let (mut names, mut alphas, mut betas) = (Vec::new(), Vec::new(), Vec::new());
    for spec in specs {
        let operator = Operator::of(&spec.cell).map_err(|option| missing("activations", option))?;
        for activation in operator.activations.repeat(spec.num_directions()) {
            let (name, alpha, beta) = named(activation)?;
            names.push(name);
            alphas.extend(alpha);
            betas.extend(beta);
        }
    }
    let cell = &spec.cell;
    let direction = match spec.direction {
        _ if specs.len() == 2 => "bidirectional",
        Direction::Forward => "forward",
        Direction::Reverse => "reverse",
        Direction::Bidirectional => "bidirectional",
    };
    let mut all = vec![
        int("hidden_size", spec.hidden_size as i64),
        text("direction", direction),
        texts("activations", &names),
    ];
    if !alphas.is_empty() {
        all.push(floats("activation_alpha", alphas));
    }
    if !betas.is_empty() {
        all.push(floats("activation_beta", betas));
    }
    all.extend(cell.clip.map(|clip| float("clip", clip)));
    if cell.coupled {
        all.push(int("input_forget", 1));
    }
    if cell.kind == CellKind::Gru {
        all.push(int("linear_before_reset", cell.reset_after.into()));
    }
    Ok(all)
}

/// ONNX's name of an activation, alpha and beta.
fn named(activation: Activation) -> Result<(&'static str, Option<f32>, Option<f32>)> {
    Ok(match activation {
        Activation::Sigmoid => ("Sigmoid", None, None),
        Activation::Tanh => ("Tanh", None, None),
        Activation::Relu => ("Relu", None, None),
        Activation::Identity => ("Affine", Some(1.0), Some(0.0)),
        Activation::HardSigmoid { alpha, beta } => ("HardSigmoid", Some(alpha), Some(beta)),
        Activation::ScaledTanh { alpha, beta } => ("ScaledTanh", Some(alpha), Some(beta)),
        Activation::Softsign => ("Softsign", None, None),
        Activation::LeakyRelu { alpha } => ("LeakyRelu", Some(alpha), None),
        Activation::Elu { alpha } => ("Elu", Some(alpha), None),
        Activation::ThresholdedRelu { alpha } => ("ThresholdedRelu", Some(alpha), None),
        Activation::Softplus => ("Softplus", None, None),
        Activation::Affine { alpha, beta } => ("Affine", Some(alpha), Some(beta)),
        other => {
            return Err(missing("activations", &format!("{other:?}")));
        }
    })
}
