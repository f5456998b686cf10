//! Pointwise activations.

use super::problem::Problem;
use serde::{Deserialize, Serialize};

/// A pointwise activation. Its derivative is a function of its output, because the forward pass keeps only
/// the output.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// `1 / (1 + exp(-x))`, derivative `y (1 - y)`
    Sigmoid,
    /// `tanh x`, derivative `1 - y^2`
    Tanh,
    /// `max(x, 0)`, derivative `y > 0`
    Relu,
    /// `x`, derivative 1. Makes a cell exactly computable in integers, which the tests use.
    Identity,
    /// `clamp(alpha x + beta, 0, 1)`, derivative `alpha` inside; see [`Activation::HARD_SIGMOID`].
    HardSigmoid {
        /// Slope, not 0.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// `clamp(x, -1, 1)`, derivative 1 inside
    HardTanh,
    /// `alpha tanh(beta x)` (LeCun 1998: 1.7159 and 2/3), derivative `beta (alpha - y^2 / alpha)`
    ScaledTanh {
        /// Largest value, not 0.
        alpha: f32,
        /// Scale of the argument.
        beta: f32,
    },
    /// `x / (1 + |x|)` (Turian 2009), derivative `(1 - |y|)^2`
    Softsign,
    /// `x` above 0, else `alpha x`
    LeakyRelu {
        /// Slope below 0, not negative.
        alpha: f32,
    },
    /// `x` above 0, else `alpha (exp(x) - 1)` (Clevert 2016), derivative `y + alpha` there
    Elu {
        /// Minus the limit at minus infinity, not negative.
        alpha: f32,
    },
    /// `x` above alpha, else 0 (Konda 2015)
    ThresholdedRelu {
        /// Threshold, not negative.
        alpha: f32,
    },
    /// `ln(1 + exp(x))`, derivative `1 - exp(-y)`
    Softplus,
    /// `alpha x + beta`, derivative `alpha`
    Affine {
        /// Slope.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
}

impl Activation {
    /// `clamp(x/6 + 1/2, 0, 1)`: PyTorch and Keras 3.
    pub const HARD_SIGMOID: Activation = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

    /// `clamp(x/5 + 1/2, 0, 1)`: ONNX, Keras 1 and 2, Theano.
    pub const HARD_SIGMOID_ONNX: Activation = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };

    /// The activation's number in shaders (`shaders/lib/activation.wgsl`).
    pub const fn code(self) -> u32 {
        match self {
            Activation::Sigmoid => 0,
            Activation::Tanh => 1,
            Activation::Relu => 2,
            Activation::Identity => 3,
            Activation::HardSigmoid { .. } => 4,
            Activation::HardTanh => 5,
            Activation::ScaledTanh { .. } => 6,
            Activation::Softsign => 7,
            Activation::LeakyRelu { .. } => 8,
            Activation::Elu { .. } => 9,
            Activation::ThresholdedRelu { .. } => 10,
            Activation::Softplus => 11,
            Activation::Affine { .. } => 12,
        }
    }

    /// `[alpha, beta]`; 0 for a parameter that the activation does not have.
    pub const fn parameters(self) -> [f32; 2] {
        match self {
            Activation::HardSigmoid { alpha, beta }
            | Activation::ScaledTanh { alpha, beta }
            | Activation::Affine { alpha, beta } => [alpha, beta],
            Activation::LeakyRelu { alpha }
            | Activation::Elu { alpha }
            | Activation::ThresholdedRelu { alpha } => [alpha, 0.0],
            _ => [0.0, 0.0],
        }
    }

    /// The value at `x`.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.max(0.0),
            Activation::Identity => x,
            Activation::HardSigmoid { alpha, beta } => {
                (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
            }
            Activation::HardTanh => x.clamp(-1.0, 1.0),
            Activation::ScaledTanh { alpha, beta } => f64::from(alpha) * (f64::from(beta) * x).tanh(),
            Activation::Softsign => x / (1.0 + x.abs()),
            Activation::LeakyRelu { alpha } if x < 0.0 => f64::from(alpha) * x,
            Activation::Elu { alpha } if x < 0.0 => f64::from(alpha) * x.exp_m1(),
            Activation::LeakyRelu { .. } | Activation::Elu { .. } => x,
            Activation::ThresholdedRelu { alpha } => {
                if x > f64::from(alpha) {
                    x
                } else {
                    0.0
                }
            }
            Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Activation::Affine { alpha, beta } => f64::from(alpha) * x + f64::from(beta),
        }
    }

    /// The derivative where the value is `y`.
    pub fn slope(self, y: f64) -> f64 {
        let inside = |is: bool, slope: f64| if is { slope } else { 0.0 };
        match self {
            Activation::Sigmoid => y * (1.0 - y),
            Activation::Tanh => 1.0 - y * y,
            Activation::Relu | Activation::ThresholdedRelu { .. } => inside(y > 0.0, 1.0),
            Activation::Identity => 1.0,
            Activation::HardSigmoid { alpha, .. } => inside(y > 0.0 && y < 1.0, f64::from(alpha)),
            Activation::HardTanh => inside(y.abs() < 1.0, 1.0),
            Activation::ScaledTanh { alpha, beta } => {
                let alpha = f64::from(alpha);
                f64::from(beta) * (alpha - y * y / alpha)
            }
            Activation::Softsign => (1.0 - y.abs()).powi(2),
            Activation::LeakyRelu { alpha } => {
                if y > 0.0 {
                    1.0
                } else {
                    f64::from(alpha)
                }
            }
            Activation::Elu { alpha } => {
                if y > 0.0 {
                    1.0
                } else {
                    y + f64::from(alpha)
                }
            }
            Activation::Softplus => -(-y).exp_m1(),
            Activation::Affine { alpha, .. } => f64::from(alpha),
        }
    }

    /// The least and the greatest value; `None` for an activation without either.
    pub fn range(self) -> Option<[f64; 2]> {
        match self {
            Activation::Sigmoid | Activation::HardSigmoid { .. } => Some([0.0, 1.0]),
            Activation::Tanh | Activation::HardTanh | Activation::Softsign => Some([-1.0, 1.0]),
            Activation::ScaledTanh { alpha, .. } => {
                let alpha = f64::from(alpha).abs();
                Some([-alpha, alpha])
            }
            _ => None,
        }
    }

    /// The first problem of the parameters, if any.
    pub(super) fn problem(self, option: &'static str) -> Option<Problem> {
        let [alpha, beta] = self.parameters();
        let expected = match self {
            _ if !alpha.is_finite() || !beta.is_finite() => "finite alpha and beta",
            Activation::HardSigmoid { .. } | Activation::ScaledTanh { .. } if alpha == 0.0 => {
                "alpha other than 0"
            }
            Activation::LeakyRelu { .. } | Activation::Elu { .. } | Activation::ThresholdedRelu { .. }
                if alpha < 0.0 =>
            {
                "alpha not below 0, or the derivative is not a function of the output"
            }
            _ => return None,
        };
        Some(Problem::new(option, expected, format!("{self:?}")))
    }
}
