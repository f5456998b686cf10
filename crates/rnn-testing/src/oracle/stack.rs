//! The whole recurrent stack over the whole sequence, forward and backward.

use rnn_kernels::cell::{Direction, Merge, StackSpec};

use super::cell::{CellStep, Step};
use super::masks::Masks;
use super::weights::{CellWeights, StackWeights, zeros_like};

/// Input of a stack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StackInput {
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// `[T, B, I]`
    pub x: Vec<f64>,
    /// `[L*D, B, P]`; `None` is zero.
    pub h0: Option<Vec<f64>>,
    /// `[L*D, B, H]`; `None` is zero. Must be `None` for a cell without a cell state.
    pub c0: Option<Vec<f64>>,
    /// `[B]`: the number of steps of each row; `None` is T for all. A direction that runs backwards in time
    /// starts at a row's last step.
    pub lengths: Option<Vec<usize>>,
    /// `[T, B]`: where the state is cleared between t - 1 and t, in both directions of time.
    pub resets: Option<Vec<bool>>,
    /// Noise of a training pass.
    pub masks: Masks,
}

impl StackInput {
    fn length(&self, b: usize) -> usize {
        self.lengths.as_ref().map_or(self.t, |lengths| lengths[b])
    }

    /// The time of step number `order` of a row; `backwards` in time, the first one is the row's last.
    fn time(&self, order: usize, b: usize, backwards: bool) -> usize {
        if backwards { self.length(b) - 1 - order } else { order }
    }

    /// Whether the state is cleared before step number `order` of a row.
    fn cleared(&self, order: usize, b: usize, backwards: bool) -> bool {
        let Some(resets) = &self.resets else { return false };
        let t = self.time(order, b, backwards);
        match backwards {
            false => resets[t * self.b + b],
            true => order > 0 && resets[(t + 1) * self.b + b],
        }
    }
}

/// The output of a stack, and the values that [`backward`] needs.
#[derive(Clone, Debug)]
pub struct Forward {
    /// `[T, B, D*P]`, or `[T, B, P]` with merged directions; zero after a row's end
    pub y: Vec<f64>,
    /// `[L*D, B, P]`
    pub h_n: Vec<f64>,
    /// `[L*D, B, H]`, for cells with a cell state.
    pub c_n: Option<Vec<f64>>,
    /// Input of every layer, after dropout, `[T, B, in]`.
    layer_inputs: Vec<Vec<f64>>,
    /// Outputs of both directions of every layer, `[D][T, B, P]`.
    outputs: Vec<Vec<Vec<f64>>>,
    /// The steps of every state and row in the order of computation: `[L*D][B][T]`.
    steps: Vec<Vec<Vec<Step>>>,
}

impl Forward {
    /// The activated gates of one state (layer-major, then direction) for an input of T steps and B rows: `[T, B,
    /// G*H]`, zero after a row's end.
    pub fn gates(&self, input: &StackInput, state: usize, direction: Direction) -> Vec<f64> {
        self.trace(input, state, direction, |step| &step.gates)
    }

    /// c after every step of one state, `[T, B, H]`.
    pub fn cells(&self, input: &StackInput, state: usize, direction: Direction) -> Vec<f64> {
        self.trace(input, state, direction, |step| &step.c)
    }

    fn trace(
        &self,
        input: &StackInput,
        state: usize,
        direction: Direction,
        what: impl Fn(&Step) -> &Vec<f64>,
    ) -> Vec<f64> {
        // A row without steps has no values.
        let width = self.steps[state].iter().flatten().next().map_or(0, |step| what(step).len());
        let mut out = vec![0.0; input.t * input.b * width];
        for (b, row) in self.steps[state].iter().enumerate() {
            for (order, step) in row.iter().enumerate() {
                let t = input.time(order, b, direction.runs_backwards(state % direction.count()));
                out[(t * input.b + b) * width..][..width].copy_from_slice(what(step));
            }
        }
        out
    }
}

/// Gradients of a stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Grads {
    /// `[T, B, I]`
    pub dx: Vec<f64>,
    /// `[L*D, B, P]`, also if the initial state was `None`.
    pub dh0: Vec<f64>,
    /// `[L*D, B, H]`, for cells with a cell state.
    pub dc0: Option<Vec<f64>>,
    /// As [`StackWeights`], with the same parameters.
    pub weights: StackWeights,
    /// `[L*D][T, B, P]`: of h after each step, with that of y; zero after a row's end.
    pub dh: Vec<Vec<f64>>,
    /// `[L*D][T, B, H]`: of c after each step, where h of that step is fixed; empty for cells without a cell state.
    pub dc: Vec<Vec<f64>>,
}

/// Runs the stack. The rates in `spec` matter only for zoneout without masks. The caller applies DropConnect, which
/// is a factor on the weights.
///
/// # Panics
/// A length does not fit `spec`.
#[track_caller]
pub fn forward(spec: &StackSpec, weights: &[CellWeights], input: &StackInput) -> Forward {
    check_sizes(spec, weights, input);
    let mut result = Forward {
        y: input.x.clone(),
        h_n: vec![0.0; spec.num_states() * input.b * spec.state_size()],
        c_n: has_c(spec).then(|| vec![0.0; spec.num_states() * input.b * spec.hidden_size]),
        layer_inputs: Vec::new(),
        outputs: Vec::new(),
        steps: Vec::new(),
    };
    for layer in 0..spec.num_layers {
        let x = input_dropout(input, layer, &result.y);
        let outputs: Vec<_> = (0..spec.num_directions())
            .map(|direction| run_direction(spec, weights, input, (layer, direction), &x, &mut result))
            .collect();
        result.y = merge(spec, &outputs);
        result.layer_inputs.push(x);
        result.outputs.push(outputs);
    }
    if let Some(mask) = &input.masks.output {
        result.y = multiply(&result.y, mask);
    }
    result
}

/// Dropout on the input of a layer. It is linear and its own adjoint.
fn input_dropout(input: &StackInput, layer: usize, x: &[f64]) -> Vec<f64> {
    let mut x = x.to_vec();
    if let Some(masks) = input.masks.between.as_ref().filter(|_| layer > 0) {
        x = multiply(&x, &masks[layer - 1]);
    }
    if let Some(masks) = &input.masks.input {
        x = multiply(&x, &masks[layer]);
    }
    x
}

/// Merges `[T, B, P]` of both directions into one tensor.
fn merge(spec: &StackSpec, outputs: &[Vec<f64>]) -> Vec<f64> {
    let [forward, backward] = outputs else { return outputs[0].clone() };
    let both = forward.iter().zip(backward);
    match spec.merge {
        Merge::Concat => {
            let rows = forward.chunks(spec.state_size()).zip(backward.chunks(spec.state_size()));
            rows.flat_map(|(f, b)| [f, b].concat()).collect()
        }
        Merge::Sum => both.map(|(f, b)| f + b).collect(),
        Merge::Mean => both.map(|(f, b)| (f + b) / 2.0).collect(),
        Merge::Mul => both.map(|(f, b)| f * b).collect(),
    }
}

/// The gradients of every direction's output.
fn merge_backward(spec: &StackSpec, outputs: &[Vec<f64>], d: &[f64]) -> Vec<Vec<f64>> {
    let [forward, backward] = outputs else { return vec![d.to_vec()] };
    match spec.merge {
        Merge::Concat => {
            let width = spec.state_size();
            let half =
                |n: usize| d.chunks(2 * width).flat_map(|row| row[n * width..][..width].to_vec()).collect();
            vec![half(0), half(1)]
        }
        Merge::Sum => vec![d.to_vec(); 2],
        Merge::Mean => vec![d.iter().map(|d| d / 2.0).collect(); 2],
        Merge::Mul => vec![multiply(d, backward), multiply(d, forward)],
    }
}

/// The factors of step number `order` of row b in one state.
fn cell_of<'a>(
    spec: &'a StackSpec,
    w: &'a CellWeights,
    input: &'a StackInput,
    (state, b, order): (usize, usize, usize),
    rates: &'a [Vec<f64>; 2],
) -> CellStep<'a> {
    let at = |masks: &'a Option<Vec<Vec<f64>>>, row: usize, width: usize| {
        masks.as_ref().map(|masks| &masks[state][row * width..][..width])
    };
    let (step, masks) = (order * input.b + b, &input.masks);
    CellStep {
        spec,
        w,
        candidate: at(&masks.candidate, step, spec.hidden_size),
        recurrent: at(&masks.recurrent, b, spec.state_size()),
        zoned_h: at(&masks.zoneout_h, step, spec.state_size()).unwrap_or(&rates[0]),
        zoned_c: at(&masks.zoneout_c, step, spec.hidden_size).unwrap_or(&rates[1]),
    }
}

/// Zoneout with its rates in place of masks.
fn rates(spec: &StackSpec) -> [Vec<f64>; 2] {
    let noise = &spec.regularization;
    [vec![f64::from(noise.zoneout_h); spec.state_size()], vec![f64::from(noise.zoneout_c); spec.hidden_size]]
}

/// One layer in one direction: returns its output `[T, B, P]` and writes its final state and its steps.
fn run_direction(
    spec: &StackSpec,
    weights: &[CellWeights],
    input: &StackInput,
    (layer, direction): (usize, usize),
    x: &[f64],
    result: &mut Forward,
) -> Vec<f64> {
    let (width, features) = (spec.state_size(), spec.layer_input_size(layer));
    let cells = if has_c(spec) { spec.hidden_size } else { 0 };
    let (state, backwards) =
        (layer * spec.num_directions() + direction, spec.direction.runs_backwards(direction));
    let mut y = vec![0.0; input.t * input.b * width];
    let mut rows = Vec::with_capacity(input.b);
    let rates = rates(spec);
    for b in 0..input.b {
        let row_of = |states: &Option<Vec<f64>>, width: usize| match states {
            Some(states) => states[(state * input.b + b) * width..][..width].to_vec(),
            None => vec![0.0; width],
        };
        let (mut h, mut c) = (row_of(&input.h0, width), row_of(&input.c0, cells));
        let mut steps = Vec::with_capacity(input.t);
        for order in 0..input.length(b) {
            if input.cleared(order, b, backwards) {
                h.fill(0.0);
                c.fill(0.0);
            }
            let row = input.time(order, b, backwards) * input.b + b;
            let x_t = &x[row * features..][..features];
            let cell = cell_of(spec, &weights[state], input, (state, b, order), &rates);
            let step = cell.forward(x_t, &h, &c);
            y[row * width..][..width].copy_from_slice(&step.h);
            h.clone_from(&step.h);
            c.clone_from(&step.c);
            steps.push(step);
        }
        result.h_n[(state * input.b + b) * width..][..width].copy_from_slice(&h);
        if let Some(c_n) = &mut result.c_n {
            c_n[(state * input.b + b) * cells..][..cells].copy_from_slice(&c);
        }
        rows.push(steps);
    }
    result.steps.push(rows);
    y
}

/// The gradients of `sum(y dy) + sum(h_n dh_n) + sum(c_n dc_n)`; `None` for `dc_n` is zero.
///
/// # Panics
/// A length does not fit `spec`, or `result` comes from other arguments.
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
    check_sizes(spec, weights, input);
    assert_eq!(dy.len(), result.y.len(), "oracle: dy must be [T, B, D*P]");
    assert_eq!(dh_n.len(), result.h_n.len(), "oracle: dh_n must be [L*D, B, P]");
    if let Some(dc_n) = dc_n {
        assert!(has_c(spec), "oracle: dc_n given for a cell without a cell state");
        assert_eq!(Some(dc_n.len()), result.c_n.as_ref().map(Vec::len), "oracle: dc_n must be [L*D, B, H]");
    }
    let mut grads = Grads {
        dx: match &input.masks.output {
            Some(mask) => multiply(dy, mask),
            None => dy.to_vec(),
        },
        dh0: dh_n.to_vec(),
        dc0: result.c_n.as_ref().map(|c_n| dc_n.map_or(vec![0.0; c_n.len()], <[_]>::to_vec)),
        weights: weights.iter().map(zeros_like).collect(),
        dh: vec![vec![0.0; input.t * input.b * spec.state_size()]; spec.num_states()],
        dc: match has_c(spec) {
            true => vec![vec![0.0; input.t * input.b * spec.hidden_size]; spec.num_states()],
            false => Vec::new(),
        },
    };
    for layer in (0..spec.num_layers).rev() {
        let d_out = merge_backward(spec, &result.outputs[layer], &grads.dx);
        grads.dx = vec![0.0; result.layer_inputs[layer].len()];
        for (direction, d_out) in d_out.iter().enumerate() {
            run_direction_backward(spec, weights, input, (layer, direction), result, d_out, &mut grads);
        }
        grads.dx = input_dropout(input, layer, &grads.dx);
    }
    grads
}

/// On entry `grads.dh0` and `grads.dc0` hold the cotangents of the final state, on return the gradients of the
/// initial state. Adds to `grads.dx` and `grads.weights`.
fn run_direction_backward(
    spec: &StackSpec,
    weights: &[CellWeights],
    input: &StackInput,
    (layer, direction): (usize, usize),
    result: &Forward,
    d_out: &[f64],
    grads: &mut Grads,
) {
    let (width, features) = (spec.state_size(), spec.layer_input_size(layer));
    let cells = if has_c(spec) { spec.hidden_size } else { 0 };
    let (state, backwards) =
        (layer * spec.num_directions() + direction, spec.direction.runs_backwards(direction));
    let rates = rates(spec);
    for b in 0..input.b {
        let (at, at_c) = ((state * input.b + b) * width, (state * input.b + b) * cells);
        let mut dh = grads.dh0[at..at + width].to_vec();
        let mut dc = grads.dc0.as_ref().map_or(Vec::new(), |dc| dc[at_c..at_c + cells].to_vec());
        for order in (0..input.length(b)).rev() {
            let row = input.time(order, b, backwards) * input.b + b;
            let x_t = &result.layer_inputs[layer][row * features..][..features];
            for k in 0..width {
                dh[k] += d_out[row * width + k];
            }
            grads.dh[state][row * width..][..width].copy_from_slice(&dh);
            if let Some(all) = grads.dc.get_mut(state) {
                all[row * cells..][..cells].copy_from_slice(&dc);
            }
            let step = &result.steps[state][b][order];
            let dw = &mut grads.weights[state];
            let cell = cell_of(spec, &weights[state], input, (state, b, order), &rates);
            let d = cell.backward(x_t, step, (&dh, &dc), dw);
            for k in 0..features {
                grads.dx[row * features + k] += d.dx[k];
            }
            (dh, dc) = (d.dh_prev, d.dc_prev);
            if input.cleared(order, b, backwards) {
                dh.fill(0.0);
                dc.fill(0.0);
            }
        }
        grads.dh0[at..at + width].copy_from_slice(&dh);
        if let Some(dc0) = &mut grads.dc0 {
            dc0[at_c..at_c + cells].copy_from_slice(&dc);
        }
    }
}

fn has_c(spec: &StackSpec) -> bool {
    spec.cell.kind.has_cell_state()
}

/// `a * b`, with b repeated over the leading axis.
fn multiply(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b.iter().cycle()).map(|(x, y)| x * y).collect()
}

#[track_caller]
fn check_sizes(spec: &StackSpec, weights: &[CellWeights], input: &StackInput) {
    let states = spec.num_states() * input.b;
    let is = |state: &Option<Vec<f64>>, len: usize| state.as_ref().is_none_or(|state| state.len() == len);
    assert_eq!(input.x.len(), input.t * input.b * spec.input_size, "oracle: x must be [T, B, I]");
    assert!(is(&input.h0, states * spec.state_size()), "oracle: h0 must be [L*D, B, P]");
    assert!(is(&input.c0, states * spec.hidden_size), "oracle: c0 must be [L*D, B, H]");
    assert!(input.c0.is_none() || has_c(spec), "oracle: c0 given for a cell without a cell state");
    assert_eq!(weights.len(), spec.num_states(), "oracle: weights must have L*D entries");
    for (state, w) in weights.iter().enumerate() {
        for parameter in rnn_kernels::cell::Parameter::ALL {
            let dims = spec.parameter_dims(state / spec.num_directions(), parameter);
            let len = dims.map(|dims| dims.iter().product());
            let name = parameter.name();
            assert_eq!(w.get(parameter).map(Vec::len), len, "oracle: {name} of state {state}");
        }
    }
    let steps = input.t * input.b;
    if let Some(lengths) = &input.lengths {
        assert_eq!(lengths.len(), input.b, "oracle: lengths must be [B]");
        assert!(lengths.iter().all(|&length| length <= input.t), "oracle: a length is above T");
    }
    assert!(input.resets.as_ref().is_none_or(|r| r.len() == steps), "oracle: resets must be [T, B]");
    input.masks.check(spec, [input.t, input.b]);
}
