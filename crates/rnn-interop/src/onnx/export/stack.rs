//! Recurrent stacks: one node for each layer.

use super::nodes::{float, floats, int, ints, text, texts};
use super::{Edge, Exporter, RecurrentEdges};
use crate::error::{Error, Result};
use rnn_api::nn::{Gru, Lstm, Module, Rnn};
use rnn_api::{Activation, CellKind, CellSpec, Direction, Merge, StackSpec, Tensor};
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
            return Err(Error::Missing { name: name.to_string(), why: format!("ONNX has no {option}") });
        }
        let (mut from, mut hs, mut cs) = (x.name.clone(), Vec::new(), Vec::new());
        for n in 0..spec.num_layers {
            let inputs = self.weights_of(name, spec, &params, n)?;
            let [y, h, c] = ["y", "h", "c"].map(|what| self.fresh(&format!("{name}_{what}_l{n}")));
            let read = [vec![from], inputs].concat();
            let mut outputs = vec![y.clone(), h.clone()];
            outputs.extend(values.c.is_some().then(|| c.clone()));
            let node = if spec.num_layers == 1 { name.to_string() } else { format!("{name}_l{n}") };
            let node = if self.has_node(&node) { self.fresh(&node) } else { node };
            self.named_node(node, op(spec.cell.kind), read, outputs, attributes(spec)?);
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
    fn weights_of(
        &mut self,
        name: &str,
        spec: &StackSpec,
        params: &BTreeMap<String, Tensor>,
        layer: usize,
    ) -> Result<Vec<String>> {
        let order = blocks(&spec.cell);
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

fn op(kind: CellKind) -> &'static str {
    match kind {
        CellKind::Gru => "GRU",
        CellKind::Rnn => "RNN",
        _ => "LSTM",
    }
}

/// The gates of this library in ONNX's order of blocks.
fn blocks(cell: &CellSpec) -> &'static [Option<usize>] {
    match cell.kind {
        CellKind::Gru => &[Some(1), Some(0), Some(2)],
        CellKind::Rnn => &[Some(0)],
        _ if cell.coupled => &[Some(0), Some(2), None, Some(1)],
        _ => &[Some(0), Some(3), Some(1), Some(2)],
    }
}

/// An option of the layer that changes its results and that ONNX cannot say.
fn missing_in_onnx(spec: &StackSpec, params: &BTreeMap<String, Tensor>) -> Option<&'static str> {
    let cell = &spec.cell;
    [
        (cell.kind == CellKind::Mgu, "minimal gated unit"),
        (spec.proj_size > 0, "projection"),
        (cell.layer_norm, "layer normalisation within a cell"),
        (cell.cell_clip.is_some(), "bound of the cell state"),
        (cell.independent, "independent units"),
        (spec.regularization.zoneout_h > 0.0 || spec.regularization.zoneout_c > 0.0, "zoneout"),
        (spec.merge != Merge::Concat, "merged directions"),
        (params.keys().any(|name| !name.contains("_l")), "learnt initial state"),
    ]
    .into_iter()
    .find_map(|(has, option)| has.then_some(option))
}

fn attributes(spec: &StackSpec) -> Result<Vec<super::super::proto::AttributeProto>> {
    let cell = &spec.cell;
    let own = match cell.kind {
        CellKind::Gru => vec![cell.gate_activation, cell.candidate_activation],
        CellKind::Rnn => vec![cell.candidate_activation],
        _ => vec![cell.gate_activation, cell.candidate_activation, cell.output_activation],
    };
    let (mut names, mut alphas, mut betas) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..spec.num_directions() {
        for activation in &own {
            let (name, alpha, beta) = named(*activation)?;
            names.push(name);
            alphas.extend(alpha);
            betas.extend(beta);
        }
    }
    let direction = match spec.direction {
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
            return Err(Error::Missing { name: "activations".into(), why: format!("ONNX has no {other:?}") });
        }
    })
}
