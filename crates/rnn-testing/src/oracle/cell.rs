//! One step of one cell for one row of the batch, forward and backward.

use rnn_kernels::cell::{Activation, CellKind, CellSpec};

use super::stack::CellWeights;

/// What one step computed and what its backward reads.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The state before the step, `[H]`; `c_prev` is empty for cells without one.
    h_prev: Vec<f64>,
    c_prev: Vec<f64>,
    /// The gates after their activation, `[G*H]`; for [`CellKind::Rnn`] this is h.
    gates: Vec<f64>,
    /// `U_n h + b_hn` of a GRU, `[H]`; else empty.
    recurrent_candidate: Vec<f64>,
    /// The state after the step, `[H]`.
    pub(super) h: Vec<f64>,
    pub(super) c: Vec<f64>,
}

/// Gradients of one step with respect to what came in.
pub(super) struct StepGrads {
    pub(super) dx: Vec<f64>,
    pub(super) dh_prev: Vec<f64>,
    pub(super) dc_prev: Vec<f64>,
}

/// `x` `[I]`, `h` `[H]`, `c` `[H]` or empty.
pub(super) fn forward(spec: &CellSpec, w: &CellWeights, x: &[f64], h: &[f64], c: &[f64]) -> Step {
    let rows = spec.gates() * h.len();
    let ax = affine(&w.w_ih, w.b_ih.as_deref(), x, rows);
    let ah = affine(&w.w_hh, w.b_hh.as_deref(), h, rows);
    match spec.kind {
        CellKind::Lstm => lstm_forward(spec, &ax, &ah, h, c),
        CellKind::Gru => gru_forward(spec, &ax, &ah, h),
        CellKind::Rnn => rnn_forward(spec, &ax, &ah, h),
    }
}

/// `dh` `[H]` and `dc` `[H]` (or empty) are the gradients of everything after the step. Adds to the
/// parameter gradients `dw`.
pub(super) fn backward(
    spec: &CellSpec,
    w: &CellWeights,
    x: &[f64],
    step: &Step,
    (dh, dc): (&[f64], &[f64]),
    dw: &mut CellWeights,
) -> StepGrads {
    let local = match spec.kind {
        CellKind::Lstm => lstm_backward(spec, step, dh, dc),
        CellKind::Gru => gru_backward(spec, step, dh),
        CellKind::Rnn => rnn_backward(spec, step, dh),
    };
    let dx = affine_backward(&w.w_ih, x, &local.dax, &mut dw.w_ih, dw.b_ih.as_deref_mut());
    let through_product =
        affine_backward(&w.w_hh, &step.h_prev, &local.dah, &mut dw.w_hh, dw.b_hh.as_deref_mut());
    let dh_prev = (0..dh.len()).map(|k| through_product[k] + local.dh_direct[k]).collect();
    StepGrads { dx, dh_prev, dc_prev: local.dc_prev }
}

/// The pointwise part of a backward step.
struct LocalGrads {
    /// Gradient of `W_ih x + b_ih` and of `W_hh h + b_hh`, `[G*H]`.
    dax: Vec<f64>,
    dah: Vec<f64>,
    /// The part of the gradient of the old h that does not pass through `W_hh`, `[H]`.
    dh_direct: Vec<f64>,
    dc_prev: Vec<f64>,
}

// i, f, o = gate(a)    g = candidate(a)    c' = f c + i g    h' = o output(c')
fn lstm_forward(spec: &CellSpec, ax: &[f64], ah: &[f64], h: &[f64], c: &[f64]) -> Step {
    let hidden = h.len();
    let mut gates = vec![0.0; 4 * hidden];
    let (mut h_next, mut c_next) = (vec![0.0; hidden], vec![0.0; hidden]);
    for k in 0..hidden {
        let a = |gate: usize| ax[gate * hidden + k] + ah[gate * hidden + k];
        let i = activate(spec.gate_activation, a(0));
        let f = activate(spec.gate_activation, a(1));
        let g = activate(spec.candidate_activation, a(2));
        let o = activate(spec.gate_activation, a(3));
        c_next[k] = f * c[k] + i * g;
        h_next[k] = o * activate(spec.output_activation, c_next[k]);
        for (gate, value) in [i, f, g, o].into_iter().enumerate() {
            gates[gate * hidden + k] = value;
        }
    }
    Step {
        h_prev: h.to_vec(),
        c_prev: c.to_vec(),
        gates,
        recurrent_candidate: Vec::new(),
        h: h_next,
        c: c_next,
    }
}

fn lstm_backward(spec: &CellSpec, step: &Step, dh: &[f64], dc: &[f64]) -> LocalGrads {
    let hidden = dh.len();
    let mut da = vec![0.0; 4 * hidden];
    let mut dc_prev = vec![0.0; hidden];
    for k in 0..hidden {
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| step.gates[gate * hidden + k]);
        let out = activate(spec.output_activation, step.c[k]);
        let d_o = dh[k] * out;
        let dc_total = dc[k] + dh[k] * o * derivative(spec.output_activation, out);
        let d_i = dc_total * g;
        let d_f = dc_total * step.c_prev[k];
        let d_g = dc_total * i;
        dc_prev[k] = dc_total * f;
        da[k] = d_i * derivative(spec.gate_activation, i);
        da[hidden + k] = d_f * derivative(spec.gate_activation, f);
        da[2 * hidden + k] = d_g * derivative(spec.candidate_activation, g);
        da[3 * hidden + k] = d_o * derivative(spec.gate_activation, o);
    }
    LocalGrads { dax: da.clone(), dah: da, dh_direct: vec![0.0; hidden], dc_prev }
}

// r, z = gate(a)    n = candidate(ax_n + r ah_n)    h' = (1 - z) n + z h
fn gru_forward(spec: &CellSpec, ax: &[f64], ah: &[f64], h: &[f64]) -> Step {
    let hidden = h.len();
    let mut gates = vec![0.0; 3 * hidden];
    let mut h_next = vec![0.0; hidden];
    for k in 0..hidden {
        let r = activate(spec.gate_activation, ax[k] + ah[k]);
        let z = activate(spec.gate_activation, ax[hidden + k] + ah[hidden + k]);
        let n = activate(spec.candidate_activation, ax[2 * hidden + k] + r * ah[2 * hidden + k]);
        h_next[k] = (1.0 - z) * n + z * h[k];
        for (gate, value) in [r, z, n].into_iter().enumerate() {
            gates[gate * hidden + k] = value;
        }
    }
    Step {
        h_prev: h.to_vec(),
        c_prev: Vec::new(),
        gates,
        recurrent_candidate: ah[2 * hidden..].to_vec(),
        h: h_next,
        c: Vec::new(),
    }
}

fn gru_backward(spec: &CellSpec, step: &Step, dh: &[f64]) -> LocalGrads {
    let hidden = dh.len();
    let (mut dax, mut dah) = (vec![0.0; 3 * hidden], vec![0.0; 3 * hidden]);
    let mut dh_direct = vec![0.0; hidden];
    for k in 0..hidden {
        let [r, z, n] = [0, 1, 2].map(|gate| step.gates[gate * hidden + k]);
        let dn = dh[k] * (1.0 - z) * derivative(spec.candidate_activation, n);
        let dz = dh[k] * (step.h_prev[k] - n) * derivative(spec.gate_activation, z);
        let dr = dn * step.recurrent_candidate[k] * derivative(spec.gate_activation, r);
        dh_direct[k] = dh[k] * z;
        for (gate, (from_x, from_h)) in [(dr, dr), (dz, dz), (dn, dn * r)].into_iter().enumerate() {
            dax[gate * hidden + k] = from_x;
            dah[gate * hidden + k] = from_h;
        }
    }
    LocalGrads { dax, dah, dh_direct, dc_prev: Vec::new() }
}

// h' = candidate(ax + ah)
fn rnn_forward(spec: &CellSpec, ax: &[f64], ah: &[f64], h: &[f64]) -> Step {
    let h_next: Vec<f64> =
        ax.iter().zip(ah).map(|(x, h)| activate(spec.candidate_activation, x + h)).collect();
    Step {
        h_prev: h.to_vec(),
        c_prev: Vec::new(),
        gates: h_next.clone(),
        recurrent_candidate: Vec::new(),
        h: h_next,
        c: Vec::new(),
    }
}

fn rnn_backward(spec: &CellSpec, step: &Step, dh: &[f64]) -> LocalGrads {
    let da: Vec<f64> =
        dh.iter().zip(&step.gates).map(|(d, y)| d * derivative(spec.candidate_activation, *y)).collect();
    LocalGrads { dax: da.clone(), dah: da, dh_direct: vec![0.0; dh.len()], dc_prev: Vec::new() }
}

fn activate(activation: Activation, x: f64) -> f64 {
    let [alpha, beta] = activation.parameters().map(f64::from);
    match activation {
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Relu => x.max(0.0),
        Activation::Identity => x,
        Activation::HardSigmoid { .. } => (alpha * x + beta).clamp(0.0, 1.0),
        Activation::HardTanh => x.clamp(-1.0, 1.0),
        Activation::ScaledTanh { .. } => alpha * (beta * x).tanh(),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::LeakyRelu { .. } if x < 0.0 => alpha * x,
        Activation::Elu { .. } if x < 0.0 => alpha * x.exp_m1(),
        Activation::ThresholdedRelu { .. } if x <= alpha => 0.0,
        Activation::LeakyRelu { .. } | Activation::Elu { .. } | Activation::ThresholdedRelu { .. } => x,
        Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Activation::Affine { .. } => alpha * x + beta,
    }
}

/// The derivative from the output `y` of [`activate`].
fn derivative(activation: Activation, y: f64) -> f64 {
    let [alpha, beta] = activation.parameters().map(f64::from);
    let when = |inside: bool, slope: f64| if inside { slope } else { 0.0 };
    match activation {
        Activation::Sigmoid => y * (1.0 - y),
        Activation::Tanh => 1.0 - y * y,
        Activation::Relu | Activation::ThresholdedRelu { .. } => when(y > 0.0, 1.0),
        Activation::Identity => 1.0,
        Activation::HardSigmoid { .. } => when(y > 0.0 && y < 1.0, alpha),
        Activation::HardTanh => when(y.abs() < 1.0, 1.0),
        Activation::ScaledTanh { .. } => beta * (alpha - y * y / alpha),
        Activation::Softsign => (1.0 - y.abs()).powi(2),
        Activation::LeakyRelu { .. } => {
            if y > 0.0 {
                1.0
            } else {
                alpha
            }
        }
        Activation::Elu { .. } => {
            if y > 0.0 {
                1.0
            } else {
                y + alpha
            }
        }
        Activation::Softplus => -(-y).exp_m1(),
        Activation::Affine { .. } => alpha,
    }
}

/// `W x + b`, `W` `[rows, len(x)]`.
fn affine(w: &[f64], bias: Option<&[f64]>, x: &[f64], rows: usize) -> Vec<f64> {
    (0..rows)
        .map(|row| {
            let product: f64 = (0..x.len()).map(|k| w[row * x.len() + k] * x[k]).sum();
            product + bias.map_or(0.0, |bias| bias[row])
        })
        .collect()
}

/// `dW += d x^T`, `db += d`; returns `dx = W^T d`.
fn affine_backward(w: &[f64], x: &[f64], d: &[f64], dw: &mut [f64], dbias: Option<&mut [f64]>) -> Vec<f64> {
    let mut dx = vec![0.0; x.len()];
    for row in 0..d.len() {
        for k in 0..x.len() {
            dw[row * x.len() + k] += d[row] * x[k];
            dx[k] += d[row] * w[row * x.len() + k];
        }
    }
    if let Some(dbias) = dbias {
        for row in 0..d.len() {
            dbias[row] += d[row];
        }
    }
    dx
}
