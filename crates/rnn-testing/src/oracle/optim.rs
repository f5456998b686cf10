//! Optimizers with PyTorch's semantics. One value of these types holds the state of one
//! parameter tensor; `step` updates it from its gradient.

/// One of the optimizers below, behind one call.
#[derive(Clone, Debug)]
pub enum Optimizer {
    /// See [`Sgd`].
    Sgd(Sgd),
    /// See [`RmsProp`].
    RmsProp(RmsProp),
    /// See [`Adagrad`].
    Adagrad(Adagrad),
    /// See [`Adam`].
    Adam(Adam),
}

impl Optimizer {
    /// Updates the parameters `w` from their gradients `g`, in place.
    ///
    /// # Panics
    /// When the lengths differ from each other or from those of an earlier step.
    #[track_caller]
    pub fn step(&mut self, w: &mut [f64], g: &[f64]) {
        assert_eq!(w.len(), g.len(), "optimizer: w and g have different lengths");
        match self {
            Optimizer::Sgd(sgd) => sgd.step(w, g),
            Optimizer::RmsProp(rms_prop) => rms_prop.step(w, g),
            Optimizer::Adagrad(adagrad) => adagrad.step(w, g),
            Optimizer::Adam(adam) => adam.step(w, g),
        }
    }
}

/// Stochastic gradient descent with dampening 0. Set the options, leave the state empty:
/// `Sgd { lr: 0.1, momentum: 0.9, ..Sgd::default() }`.
#[derive(Clone, Debug, Default)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Factor of the velocity; 0 is plain gradient descent.
    pub momentum: f64,
    /// Whether the step looks ahead by one velocity (Nesterov, in PyTorch's form).
    pub nesterov: bool,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// State: v, empty before the first step.
    pub velocity: Vec<f64>,
}

impl Sgd {
    // g += decay w    v = momentum v + g (v = g at first, the same from v = 0)
    // w -= lr (g + momentum v) with Nesterov, else w -= lr v
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        ensure_state(&mut self.velocity, w.len());
        for k in 0..w.len() {
            let g = g[k] + self.weight_decay * w[k];
            self.velocity[k] = self.momentum * self.velocity[k] + g;
            let v = self.velocity[k];
            w[k] -= self.lr * if self.nesterov { g + self.momentum * v } else { v };
        }
    }
}

/// RMSprop (Hinton, lecture 6e), not centred, without momentum.
#[derive(Clone, Debug, Default)]
pub struct RmsProp {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean square.
    pub alpha: f64,
    /// Added outside the square root.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// State: mean of g^2, empty before the first step.
    pub mean_square: Vec<f64>,
}

impl RmsProp {
    // s = alpha s + (1 - alpha) g^2    w -= lr g / (sqrt(s) + eps)
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        ensure_state(&mut self.mean_square, w.len());
        for k in 0..w.len() {
            let g = g[k] + self.weight_decay * w[k];
            self.mean_square[k] = self.alpha * self.mean_square[k] + (1.0 - self.alpha) * g * g;
            w[k] -= self.lr * g / (self.mean_square[k].sqrt() + self.eps);
        }
    }
}

/// Adagrad (Duchi, Hazan, Singer 2011) with learning-rate decay 0 and initial sum 0.
#[derive(Clone, Debug, Default)]
pub struct Adagrad {
    /// Learning rate.
    pub lr: f64,
    /// Added outside the square root.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// State: sum of g^2, empty before the first step.
    pub sum: Vec<f64>,
}

impl Adagrad {
    // s += g^2    w -= lr g / (sqrt(s) + eps)
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        ensure_state(&mut self.sum, w.len());
        for k in 0..w.len() {
            let g = g[k] + self.weight_decay * w[k];
            self.sum[k] += g * g;
            w[k] -= self.lr * g / (self.sum[k].sqrt() + self.eps);
        }
    }
}

/// Adam (Kingma, Ba 2015) and AdamW (Loshchilov, Hutter 2019).
#[derive(Clone, Debug, Default)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added after the bias correction, outside the square root.
    pub eps: f64,
    /// Weight decay; what it means depends on `decoupled`.
    pub weight_decay: f64,
    /// False: Adam, an L2 penalty added to the gradient. True: AdamW, the weights shrink by
    /// `lr * weight_decay` first.
    pub decoupled: bool,
    /// State: steps taken.
    pub steps: i32,
    /// State: m, empty before the first step.
    pub mean: Vec<f64>,
    /// State: v, empty before the first step.
    pub mean_square: Vec<f64>,
}

impl Adam {
    // m = b1 m + (1 - b1) g    v = b2 v + (1 - b2) g^2
    // w -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        ensure_state(&mut self.mean, w.len());
        ensure_state(&mut self.mean_square, w.len());
        self.steps += 1;
        let correction1 = 1.0 - self.beta1.powi(self.steps);
        let correction2 = 1.0 - self.beta2.powi(self.steps);
        for k in 0..w.len() {
            let mut g = g[k];
            if self.decoupled {
                w[k] -= self.lr * self.weight_decay * w[k];
            } else {
                g += self.weight_decay * w[k];
            }
            self.mean[k] = self.beta1 * self.mean[k] + (1.0 - self.beta1) * g;
            self.mean_square[k] = self.beta2 * self.mean_square[k] + (1.0 - self.beta2) * g * g;
            let mean = self.mean[k] / correction1;
            let mean_square = self.mean_square[k] / correction2;
            w[k] -= self.lr * mean / (mean_square.sqrt() + self.eps);
        }
    }
}

#[track_caller]
fn ensure_state(state: &mut Vec<f64>, len: usize) {
    if state.is_empty() {
        state.resize(len, 0.0);
    }
    assert_eq!(state.len(), len, "optimizer: the parameter changed its length");
}
