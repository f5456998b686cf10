//! The whole recurrent stack over the whole sequence, forward and backward.

use rnn_kernels::cell::StackSpec;

use super::cell::{self, Step};

/// The parameters of one layer and direction, or their gradients. Gate order and rows as in
/// PyTorch (LSTM i, f, g, o; GRU r, z, n).
#[derive(Clone, Debug, PartialEq)]
pub struct CellWeights {
    /// `[G*H, I]`, where I is the layer's input size.
    pub w_ih: Vec<f64>,
    /// `[G*H, H]`
    pub w_hh: Vec<f64>,
    /// `[G*H]`, when the stack has biases.
    pub b_ih: Option<Vec<f64>>,
    /// `[G*H]`, when the stack has biases.
    pub b_hh: Option<Vec<f64>>,
}

impl CellWeights {
    fn zeros_like(other: &CellWeights) -> Self {
        let zeros = |values: &Vec<f64>| vec![0.0; values.len()];
        CellWeights {
            w_ih: zeros(&other.w_ih),
            w_hh: zeros(&other.w_hh),
            b_ih: other.b_ih.as_ref().map(zeros),
            b_hh: other.b_hh.as_ref().map(zeros),
        }
    }
}

/// The parameters of a stack: L*D entries, layer-major, then direction.
pub type StackWeights = Vec<CellWeights>;

/// Input of a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct StackInput {
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// `[T, B, I]`
    pub x: Vec<f64>,
    /// `[L*D, B, H]`; `None` is zero.
    pub h0: Option<Vec<f64>>,
    /// `[L*D, B, H]`; `None` is zero. Must be `None` for a cell without a cell state.
    pub c0: Option<Vec<f64>>,
}

/// Output of a stack and what [`backward`] needs.
#[derive(Clone, Debug)]
pub struct Forward {
    /// `[T, B, D*H]`
    pub y: Vec<f64>,
    /// `[L*D, B, H]`
    pub h_n: Vec<f64>,
    /// `[L*D, B, H]`, for cells with a cell state.
    pub c_n: Option<Vec<f64>>,
    /// Input of every layer, after dropout, `[T, B, I or D*H]`.
    layer_inputs: Vec<Vec<f64>>,
    /// The steps of every state and row in the order of computation: `[L*D]`[B][T].
    steps: Vec<Vec<Vec<Step>>>,
    masks: Option<Vec<Vec<f64>>>,
}

/// Gradients of a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Grads {
    /// `[T, B, I]`
    pub dx: Vec<f64>,
    /// `[L*D, B, H]`, also when the initial state was implied.
    pub dh0: Vec<f64>,
    /// `[L*D, B, H]`, for cells with a cell state.
    pub dc0: Option<Vec<f64>>,
    /// As [`StackWeights`]; biases exactly where the weights have them.
    pub weights: StackWeights,
}

/// Runs the stack without dropout; `spec.dropout` is ignored.
///
/// # Panics
/// When a length does not fit `spec`.
#[track_caller]
pub fn forward(spec: &StackSpec, weights: &[CellWeights], input: &StackInput) -> Forward {
    forward_with_masks(spec, weights, input, None)
}

/// [`forward`] with dropout between the layers: `masks` holds one `[T, B, D*H]` tensor for every
/// layer but the last, already scaled by 1/(1-p), which multiplies that layer's output on its
/// way to the next layer. [`backward`] uses the same masks.
///
/// # Panics
/// When a length does not fit `spec`.
#[track_caller]
pub fn forward_with_masks(
    spec: &StackSpec,
    weights: &[CellWeights],
    input: &StackInput,
    masks: Option<&[Vec<f64>]>,
) -> Forward {
    check_sizes(spec, weights, input, masks);
    let mut result = Forward {
        y: input.x.clone(),
        h_n: vec![0.0; spec.num_states() * input.b * spec.hidden_size],
        c_n: has_c(spec).then(|| vec![0.0; spec.num_states() * input.b * spec.hidden_size]),
        layer_inputs: Vec::new(),
        steps: Vec::new(),
        masks: masks.map(<[_]>::to_vec),
    };
    for layer in 0..spec.num_layers {
        let x = match masks {
            Some(masks) if layer > 0 => multiply(&result.y, &masks[layer - 1]),
            _ => result.y.clone(),
        };
        result.y = vec![0.0; input.t * input.b * spec.output_size()];
        for direction in 0..spec.num_directions() {
            run_direction(spec, weights, input, (layer, direction), &x, &mut result);
        }
        result.layer_inputs.push(x);
    }
    result
}

/// One layer in one direction; writes its half of `result.y`, its final state and its steps.
fn run_direction(
    spec: &StackSpec,
    weights: &[CellWeights],
    input: &StackInput,
    (layer, direction): (usize, usize),
    x: &[f64],
    result: &mut Forward,
) {
    let (hidden, features) = (spec.hidden_size, spec.layer_input_size(layer));
    let state = layer * spec.num_directions() + direction;
    let zeros = vec![0.0; hidden];
    let mut rows = Vec::with_capacity(input.b);
    for b in 0..input.b {
        let at = (state * input.b + b) * hidden;
        let mut h = input.h0.as_ref().map_or(zeros.clone(), |h0| h0[at..at + hidden].to_vec());
        let mut c = input.c0.as_ref().map_or(zeros.clone(), |c0| c0[at..at + hidden].to_vec());
        let mut steps = Vec::with_capacity(input.t);
        for order in 0..input.t {
            let row = time(order, input.t, direction) * input.b + b;
            let x_t = &x[row * features..][..features];
            let step = cell::forward(&spec.cell, &weights[state], x_t, &h, &c);
            result.y[row * spec.output_size() + direction * hidden..][..hidden].copy_from_slice(&step.h);
            h.clone_from(&step.h);
            c.clone_from(&step.c);
            steps.push(step);
        }
        result.h_n[at..at + hidden].copy_from_slice(&h);
        if let Some(c_n) = &mut result.c_n {
            c_n[at..at + hidden].copy_from_slice(&c);
        }
        rows.push(steps);
    }
    result.steps.push(rows);
}

/// The gradients of `sum(y dy) + sum(h_n dh_n) + sum(c_n dc_n)`; `None` for `dc_n` is zero.
///
/// # Panics
/// When a length does not fit `spec` or `result` did not come from the same arguments.
#[track_caller]
pub fn backward(
    spec: &StackSpec,
    weights: &[CellWeights],
    input: &StackInput,
    result: &Forward,
    dy: &[f64],
    dh_n: &[f64],
    dc_n: Option<&[f64]>,
) -> Grads {
    check_sizes(spec, weights, input, result.masks.as_deref());
    assert_eq!(dy.len(), result.y.len(), "oracle: dy must be [T, B, D*H]");
    assert_eq!(dh_n.len(), result.h_n.len(), "oracle: dh_n must be [L*D, B, H]");
    if let Some(dc_n) = dc_n {
        assert!(has_c(spec), "oracle: dc_n given for a cell without a cell state");
        assert_eq!(dc_n.len(), dh_n.len(), "oracle: dc_n must be [L*D, B, H]");
    }
    let mut grads = Grads {
        dx: dy.to_vec(),
        dh0: dh_n.to_vec(),
        dc0: has_c(spec).then(|| dc_n.map_or(vec![0.0; dh_n.len()], <[_]>::to_vec)),
        weights: weights.iter().map(CellWeights::zeros_like).collect(),
    };
    for layer in (0..spec.num_layers).rev() {
        let d_out = match &result.masks {
            Some(masks) if layer + 1 < spec.num_layers => multiply(&grads.dx, &masks[layer]),
            _ => grads.dx.clone(),
        };
        grads.dx = vec![0.0; result.layer_inputs[layer].len()];
        for direction in 0..spec.num_directions() {
            run_direction_backward(spec, weights, input, (layer, direction), result, &d_out, &mut grads);
        }
    }
    grads
}

/// `grads.dh0` and `grads.dc0` hold the cotangents of the final state on entry and the gradients
/// of the initial state on return; adds to `grads.dx` and `grads.weights`.
fn run_direction_backward(
    spec: &StackSpec,
    weights: &[CellWeights],
    input: &StackInput,
    (layer, direction): (usize, usize),
    result: &Forward,
    d_out: &[f64],
    grads: &mut Grads,
) {
    let (hidden, features) = (spec.hidden_size, spec.layer_input_size(layer));
    let state = layer * spec.num_directions() + direction;
    for b in 0..input.b {
        let at = (state * input.b + b) * hidden;
        let mut dh = grads.dh0[at..at + hidden].to_vec();
        let mut dc = grads.dc0.as_ref().map_or(Vec::new(), |dc| dc[at..at + hidden].to_vec());
        for order in (0..input.t).rev() {
            let row = time(order, input.t, direction) * input.b + b;
            let x_t = &result.layer_inputs[layer][row * features..][..features];
            for k in 0..hidden {
                dh[k] += d_out[row * spec.output_size() + direction * hidden + k];
            }
            let step = &result.steps[state][b][order];
            let dw = &mut grads.weights[state];
            let d = cell::backward(&spec.cell, &weights[state], x_t, step, (&dh, &dc), dw);
            for k in 0..features {
                grads.dx[row * features + k] += d.dx[k];
            }
            (dh, dc) = (d.dh_prev, d.dc_prev);
        }
        grads.dh0[at..at + hidden].copy_from_slice(&dh);
        if let Some(dc0) = &mut grads.dc0 {
            dc0[at..at + hidden].copy_from_slice(&dc);
        }
    }
}

/// The time step that is computed as number `order`: direction 1 runs from the end.
fn time(order: usize, t: usize, direction: usize) -> usize {
    if direction == 0 { order } else { t - 1 - order }
}

fn has_c(spec: &StackSpec) -> bool {
    spec.cell.kind.has_cell_state()
}

fn multiply(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(x, y)| x * y).collect()
}

#[track_caller]
fn check_sizes(spec: &StackSpec, weights: &[CellWeights], input: &StackInput, masks: Option<&[Vec<f64>]>) {
    let states = spec.num_states() * input.b * spec.hidden_size;
    assert_eq!(input.x.len(), input.t * input.b * spec.input_size, "oracle: x must be [T, B, I]");
    assert!(input.h0.as_ref().is_none_or(|h| h.len() == states), "oracle: h0 must be [L*D, B, H]");
    assert!(input.c0.as_ref().is_none_or(|c| c.len() == states), "oracle: c0 must be [L*D, B, H]");
    assert!(input.c0.is_none() || has_c(spec), "oracle: c0 given for a cell without a cell state");
    assert_eq!(weights.len(), spec.num_states(), "oracle: weights must have L*D entries");
    for (state, w) in weights.iter().enumerate() {
        let features = spec.layer_input_size(state / spec.num_directions());
        let rows = spec.gate_rows();
        assert_eq!(w.w_ih.len(), rows * features, "oracle: w_ih {state} must be [G*H, I]");
        assert_eq!(w.w_hh.len(), rows * spec.hidden_size, "oracle: w_hh {state} must be [G*H, H]");
        for bias in [&w.b_ih, &w.b_hh] {
            let len = bias.as_ref().map(Vec::len);
            assert_eq!(len, spec.bias.then_some(rows), "oracle: bias {state} must be [G*H]");
        }
    }
    if let Some(masks) = masks {
        let len = input.t * input.b * spec.output_size();
        assert_eq!(masks.len() + 1, spec.num_layers, "oracle: one mask per layer but the last");
        assert!(masks.iter().all(|m| m.len() == len), "oracle: masks must be [T, B, D*H]");
    }
}

/// Builds the weights of a stack from PyTorch's parameter names (`weight_ih_l0`,
/// `bias_hh_l1_reverse`, ...); `get` returns the values of one.
pub fn weights_by_name<E>(
    spec: &StackSpec,
    mut get: impl FnMut(&str) -> Result<Vec<f64>, E>,
) -> Result<StackWeights, E> {
    let mut weights = Vec::with_capacity(spec.num_states());
    for state in 0..spec.num_states() {
        let suffix = name_suffix(spec, state);
        let mut get = |part: &str| get(&format!("{part}{suffix}"));
        weights.push(CellWeights {
            w_ih: get("weight_ih")?,
            w_hh: get("weight_hh")?,
            b_ih: if spec.bias { Some(get("bias_ih")?) } else { None },
            b_hh: if spec.bias { Some(get("bias_hh")?) } else { None },
        });
    }
    Ok(weights)
}

/// The tensors of a stack, or their gradients, with PyTorch's parameter names.
pub fn named_weights<'a>(spec: &StackSpec, weights: &'a [CellWeights]) -> Vec<(String, &'a Vec<f64>)> {
    let mut named = Vec::with_capacity(4 * weights.len());
    for (state, w) in weights.iter().enumerate() {
        let suffix = name_suffix(spec, state);
        let parts = [
            ("weight_ih", Some(&w.w_ih)),
            ("weight_hh", Some(&w.w_hh)),
            ("bias_ih", w.b_ih.as_ref()),
            ("bias_hh", w.b_hh.as_ref()),
        ];
        for (part, values) in parts {
            named.extend(values.map(|values| (format!("{part}{suffix}"), values)));
        }
    }
    named
}

fn name_suffix(spec: &StackSpec, state: usize) -> String {
    let (layer, direction) = (state / spec.num_directions(), state % spec.num_directions());
    format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" })
}
