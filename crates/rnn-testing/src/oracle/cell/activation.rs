//! Activations and clipping, with their derivatives.

use rnn_kernels::cell::Activation;

pub(super) fn activate(activation: Activation, x: f64) -> f64 {
    let [alpha, beta] = activation.parameters().map(f64::from);
    match activation {
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::Relu if x < 0.0 => 0.0, // not `max`, which drops NaN
        Activation::Identity => x,
        Activation::HardSigmoid { .. } => (alpha * x + beta).clamp(0.0, 1.0),
        Activation::HardTanh => x.clamp(-1.0, 1.0),
        Activation::ScaledTanh { .. } => alpha * (beta * x).tanh(),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::LeakyRelu { .. } if x < 0.0 => alpha * x,
        Activation::Elu { .. } if x < 0.0 => alpha * x.exp_m1(),
        Activation::ThresholdedRelu { .. } if x <= alpha => 0.0,
        Activation::Relu
        | Activation::LeakyRelu { .. }
        | Activation::Elu { .. }
        | Activation::ThresholdedRelu { .. } => x,
        Activation::Softplus => (if x < 0.0 { 0.0 } else { x }) + (-x.abs()).exp().ln_1p(),
        Activation::Affine { .. } => alpha * x + beta,
    }
}

/// The derivative, as a function of the output `y` of [`activate`].
pub(super) fn derivative(activation: Activation, y: f64) -> f64 {
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

/// A pre-activation bounded to `[-clip, clip]`.
pub(super) fn bounded(x: f64, clip: Option<f32>) -> f64 {
    clip.map_or(x, |clip| x.clamp(-f64::from(clip), f64::from(clip)))
}

/// The derivative of [`bounded`].
pub(super) fn within(x: f64, clip: Option<f32>) -> f64 {
    match clip {
        Some(clip) if x.abs() >= f64::from(clip) => 0.0,
        _ => 1.0,
    }
}
