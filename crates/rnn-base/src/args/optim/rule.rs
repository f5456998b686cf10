//! The update rules as plain data, and the f32 factors that the kernels take: an optimizer adds both here.
//! Settings are f64, because `1 - beta2` of an f32 0.999 would be off by 5e-5.

use crate::error::{Error, Result};

/// The rule by which an optimizer updates a parameter p with its gradient g. The state between steps is in
/// arrays of the parameter's shape, zero before the first step, in the order given here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpdateRule {
    /// Stochastic gradient descent with dampening 0: `v = momentum v + g` (`v = g` in the first step);
    /// `p -= lr v`. Nesterov momentum as in PyTorch: `p -= lr (g + momentum v)`. State: v; none when the
    /// momentum is 0.
    Sgd {
        /// Factor of the velocity; 0 is plain gradient descent.
        momentum: f64,
        /// Whether to use Nesterov momentum; needs momentum.
        nesterov: bool,
        /// Whether this is the first step, which writes the velocity without reading it.
        first: bool,
    },
    /// RMSprop (Hinton's lecture 6e), not centred: `s = alpha s + (1 - alpha) g^2; u = g / (sqrt(s) + eps); p -= lr u`,
    /// with momentum `v = momentum v + u; p -= lr v`. States: s, and v when the momentum is not 0.
    RmsProp {
        /// Decay of the mean square, in `[0, 1]`.
        alpha: f64,
        /// Added outside the square root.
        eps: f64,
        /// Factor of the velocity; 0 for none.
        momentum: f64,
    },
    /// AdaGrad (Duchi, Hazan and Singer 2011) without learning-rate decay: `s += g^2; p -= lr g / (sqrt(s) + eps)`.
    /// State: s.
    AdaGrad {
        /// Added outside the square root.
        eps: f64,
    },
    /// AdaDelta (Zeiler 2012, algorithm 1): `s = rho s + (1 - rho) g^2; u = sqrt(d + eps) / sqrt(s + eps) g;
    /// d = rho d + (1 - rho) u^2; p -= lr u`. States: s, d.
    AdaDelta {
        /// Decay of both mean squares, in `[0, 1]`.
        rho: f64,
        /// Added inside the square roots.
        eps: f64,
    },
    /// Adam (Kingma and Ba 2015): `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    /// p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`. AdamW with decoupled penalties. States: m, v.
    Adam {
        /// Decay of the mean gradient, in `[0, 1)`.
        beta1: f64,
        /// Decay of the mean squared gradient, in `[0, 1)`.
        beta2: f64,
        /// Added after the bias correction, outside the square root.
        eps: f64,
        /// t, the number of this step, from 1.
        step: u64,
    },
    /// Nadam (Dozat 2016) as in PyTorch: Adam's m and v; `mu_t` is [`nadam_momentum`], and `M_t` the product
    /// of `mu_1` to `mu_t`;
    /// `p -= lr (mu_(t+1) m / (1 - M_(t+1)) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v / (1 - b2^t)) + eps)`.
    /// States: m, v.
    Nadam {
        /// Decay of the mean gradient, in `[0, 1)`.
        beta1: f64,
        /// Decay of the mean squared gradient, in `[0, 1)`.
        beta2: f64,
        /// Added after the bias correction, outside the square root.
        eps: f64,
        /// Rate at which the momentum rises to beta1.
        momentum_decay: f64,
        /// t, the number of this step, from 1.
        step: u64,
        /// `M_t`, in `[0, 1)`.
        momentum_product: f64,
    },
    /// Lion (Chen et al. 2023, algorithm 2): `p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g`. State: m.
    Lion {
        /// Weight of the mean gradient in the direction, in `[0, 1)`.
        beta1: f64,
        /// Decay of the mean gradient, in `[0, 1)`.
        beta2: f64,
    },
}

/// The momentum of step `step` of Nadam: `beta1 (1 - 0.96^(step momentum_decay) / 2)` (Dozat 2016, section 3.2).
pub fn nadam_momentum(beta1: f64, momentum_decay: f64, step: u64) -> f64 {
    beta1 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * momentum_decay))
}

/// An update rule with its learning rate: one variant per kernel. The rules' equations are at
/// [`UpdateRule`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are the letters of the equations")]
pub enum Factors {
    /// Stochastic gradient descent.
    Sgd { lr: f32, momentum: Option<f32>, nesterov: bool, first: bool },
    /// RMSprop.
    RmsProp { lr: f32, alpha: f32, one_minus_alpha: f32, eps: f32, momentum: Option<f32> },
    /// AdaGrad.
    AdaGrad { lr: f32, eps: f32 },
    /// AdaDelta.
    AdaDelta { lr: f32, rho: f32, one_minus_rho: f32, eps: f32 },
    /// Adam and Nadam.
    Adam(AdamFactors),
    /// Lion.
    Lion { lr: f32, beta1: f32, one_minus_beta1: f32, beta2: f32, one_minus_beta2: f32 },
}

/// `p -= (step_size m + look_ahead g) / (sqrt(v) inv_sqrt_correction2 + eps)`
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are the letters of the equation")]
pub struct AdamFactors {
    pub beta1: f32,
    pub one_minus_beta1: f32,
    pub beta2: f32,
    pub one_minus_beta2: f32,
    pub eps: f32,
    pub step_size: f32,
    pub look_ahead: f32,
    pub inv_sqrt_correction2: f32,
}

impl UpdateRule {
    /// Name of the op in errors.
    pub fn op(&self) -> &'static str {
        match self {
            UpdateRule::Sgd { .. } => "sgd_step",
            UpdateRule::RmsProp { .. } => "rmsprop_step",
            UpdateRule::AdaGrad { .. } => "adagrad_step",
            UpdateRule::AdaDelta { .. } => "adadelta_step",
            UpdateRule::Adam { .. } => "adam_step",
            UpdateRule::Nadam { .. } => "nadam_step",
            UpdateRule::Lion { .. } => "lion_step",
        }
    }

    /// Names of the states, in order.
    pub fn states(&self) -> &'static [&'static str] {
        match self {
            UpdateRule::Sgd { momentum: 0.0, .. } => &[],
            UpdateRule::Sgd { .. } => &["momentum_buffer"],
            UpdateRule::RmsProp { momentum: 0.0, .. } => &["square_avg"],
            UpdateRule::RmsProp { .. } => &["square_avg", "momentum_buffer"],
            UpdateRule::AdaGrad { .. } => &["sum"],
            UpdateRule::AdaDelta { .. } => &["square_avg", "acc_delta"],
            UpdateRule::Adam { .. } | UpdateRule::Nadam { .. } => &["exp_avg", "exp_avg_sq"],
            UpdateRule::Lion { .. } => &["exp_avg"],
        }
    }

    /// Refuses invalid settings.
    ///
    /// # Errors
    /// The first invalid setting.
    pub fn check(&self) -> Result<()> {
        let op = self.op();
        let below_1 = |arg, value| within(op, arg, value, "in [0, 1)", (0.0..1.0).contains(&value));
        let up_to_1 = |arg, value| within(op, arg, value, "in [0, 1]", (0.0..=1.0).contains(&value));
        match *self {
            UpdateRule::Sgd { momentum, nesterov, .. } => {
                finite(op, "momentum", momentum)?;
                within(op, "momentum", momentum, "not 0 with nesterov", !nesterov || momentum != 0.0)
            }
            UpdateRule::RmsProp { alpha, eps, momentum } => {
                up_to_1("alpha", alpha)?;
                finite(op, "momentum", momentum)?;
                finite(op, "eps", eps)
            }
            UpdateRule::AdaGrad { eps } => finite(op, "eps", eps),
            UpdateRule::AdaDelta { rho, eps } => {
                up_to_1("rho", rho)?;
                within(op, "eps", eps, "finite and positive", eps.is_finite() && eps > 0.0)
            }
            UpdateRule::Adam { beta1, beta2, eps, step } => {
                below_1("beta1", beta1)?;
                below_1("beta2", beta2)?;
                finite(op, "eps", eps)?;
                within(op, "step", step as f64, "at least 1", step > 0)
            }
            UpdateRule::Nadam { beta1, beta2, eps, momentum_decay, step, momentum_product } => {
                below_1("beta1", beta1)?;
                below_1("beta2", beta2)?;
                finite(op, "eps", eps)?;
                finite(op, "momentum_decay", momentum_decay)?;
                within(op, "step", step as f64, "at least 1", step > 0)?;
                below_1("momentum_product", momentum_product)
            }
            UpdateRule::Lion { beta1, beta2 } => {
                below_1("beta1", beta1)?;
                below_1("beta2", beta2)
            }
        }
    }

    /// Whether the factors of a step with this learning rate are finite in f32.
    pub fn has_finite_factors(&self, lr: f64) -> bool {
        match self.factors(lr) {
            Factors::Sgd { lr, .. }
            | Factors::RmsProp { lr, .. }
            | Factors::AdaGrad { lr, .. }
            | Factors::AdaDelta { lr, .. }
            | Factors::Lion { lr, .. } => lr.is_finite(),
            Factors::Adam(adam) => {
                adam.step_size.is_finite()
                    && adam.look_ahead.is_finite()
                    && adam.inv_sqrt_correction2.is_finite()
            }
        }
    }

    /// The factors of a step with this learning rate.
    pub fn factors(&self, lr: f64) -> Factors {
        let used = |momentum: f64| (momentum != 0.0).then_some(momentum as f32);
        match *self {
            UpdateRule::Sgd { momentum, nesterov, first } => {
                Factors::Sgd { lr: lr as f32, momentum: used(momentum), nesterov, first }
            }
            UpdateRule::RmsProp { alpha, eps, momentum } => Factors::RmsProp {
                lr: lr as f32,
                alpha: alpha as f32,
                one_minus_alpha: (1.0 - alpha) as f32,
                eps: eps as f32,
                momentum: used(momentum),
            },
            UpdateRule::AdaGrad { eps } => Factors::AdaGrad { lr: lr as f32, eps: eps as f32 },
            UpdateRule::AdaDelta { rho, eps } => Factors::AdaDelta {
                lr: lr as f32,
                rho: rho as f32,
                one_minus_rho: (1.0 - rho) as f32,
                eps: eps as f32,
            },
            UpdateRule::Adam { beta1, beta2, eps, step } => {
                let step_size = lr / (1.0 - beta1.powf(step as f64));
                Factors::Adam(adam(beta1, beta2, eps, step, step_size, 0.0))
            }
            UpdateRule::Nadam { beta1, beta2, eps, momentum_decay, step, momentum_product } => {
                let mu = nadam_momentum(beta1, momentum_decay, step);
                let next = nadam_momentum(beta1, momentum_decay, step + 1);
                let step_size = lr * next / (1.0 - momentum_product * next);
                let look_ahead = lr * (1.0 - mu) / (1.0 - momentum_product);
                Factors::Adam(adam(beta1, beta2, eps, step, step_size, look_ahead))
            }
            UpdateRule::Lion { beta1, beta2 } => Factors::Lion {
                lr: lr as f32,
                beta1: beta1 as f32,
                one_minus_beta1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                one_minus_beta2: (1.0 - beta2) as f32,
            },
        }
    }
}

fn adam(beta1: f64, beta2: f64, eps: f64, step: u64, step_size: f64, look_ahead: f64) -> AdamFactors {
    AdamFactors {
        beta1: beta1 as f32,
        one_minus_beta1: (1.0 - beta1) as f32,
        beta2: beta2 as f32,
        one_minus_beta2: (1.0 - beta2) as f32,
        eps: eps as f32,
        step_size: step_size as f32,
        look_ahead: look_ahead as f32,
        inv_sqrt_correction2: (1.0 / (1.0 - beta2.powf(step as f64)).sqrt()) as f32,
    }
}

fn within(op: &'static str, arg: &'static str, value: f64, expected: &str, ok: bool) -> Result<()> {
    if ok { Ok(()) } else { Err(Error::value(op, arg, expected, value)) }
}

fn finite(op: &'static str, arg: &'static str, value: f64) -> Result<()> {
    within(op, arg, value, "finite", value.is_finite())
}
