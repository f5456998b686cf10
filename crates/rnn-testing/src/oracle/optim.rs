//! Optimizers with PyTorch's semantics. A value of these types holds the state of one parameter tensor; `step`
//! updates the tensor from its gradient.

/// One of the optimizers below, behind a common `step`.
#[derive(Clone, Debug)]
pub enum Optimizer {
    /// See [`Sgd`].
    Sgd(Sgd),
    /// See [`RmsProp`].
    RmsProp(RmsProp),
    /// See [`Adagrad`].
    Adagrad(Adagrad),
    /// See [`AdaDelta`].
    AdaDelta(AdaDelta),
    /// See [`Adam`].
    Adam(Adam),
    /// See [`Nadam`].
    Nadam(Nadam),
    /// See [`Lion`].
    Lion(Lion),
    /// See [`Penalized`].
    Penalized(Box<Penalized>),
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
            Optimizer::AdaDelta(adadelta) => adadelta.step(w, g),
            Optimizer::Adam(adam) => adam.step(w, g),
            Optimizer::Nadam(nadam) => nadam.step(w, g),
            Optimizer::Lion(lion) => lion.step(w, g),
            Optimizer::Penalized(penalized) => penalized.step(w, g),
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
    // g += decay w    v = momentum v + g (v = g in the first step, the same as from v = 0)
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

/// RMSprop (Hinton, lecture 6e), not centred.
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
    /// Factor of the velocity; 0 for none.
    pub momentum: f64,
    /// State: mean of g^2, empty before the first step.
    pub mean_square: Vec<f64>,
    /// State: v, empty before the first step.
    pub velocity: Vec<f64>,
}

impl RmsProp {
    // s = alpha s + (1 - alpha) g^2    v = momentum v + g / (sqrt(s) + eps)    w -= lr v
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        ensure_state(&mut self.mean_square, w.len());
        ensure_state(&mut self.velocity, w.len());
        for k in 0..w.len() {
            let g = g[k] + self.weight_decay * w[k];
            self.mean_square[k] = self.alpha * self.mean_square[k] + (1.0 - self.alpha) * g * g;
            self.velocity[k] = self.momentum * self.velocity[k] + g / (self.mean_square[k].sqrt() + self.eps);
            w[k] -= self.lr * self.velocity[k];
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
    /// Weight decay; its meaning depends on `decoupled`.
    pub weight_decay: f64,
    /// False: Adam with an L2 penalty added to the gradient. True: AdamW, which first shrinks the weights by `lr *
    /// weight_decay`.
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

/// AdaDelta (Zeiler 2012, algorithm 1).
#[derive(Clone, Debug, Default)]
pub struct AdaDelta {
    /// Factor of the updates; 1 in the paper.
    pub lr: f64,
    /// Decay of both means.
    pub rho: f64,
    /// Added inside both square roots.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// State: mean of g^2, empty before the first step.
    pub mean_square: Vec<f64>,
    /// State: mean of the squared updates, empty before the first step.
    pub mean_square_update: Vec<f64>,
}

impl AdaDelta {
    // RMS[x] = sqrt(E[x^2] + eps)    update = RMS[update] / RMS[g] g    w -= lr update
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        ensure_state(&mut self.mean_square, w.len());
        ensure_state(&mut self.mean_square_update, w.len());
        let mean = |mean: f64, x: f64| self.rho * mean + (1.0 - self.rho) * x * x;
        for k in 0..w.len() {
            let g = g[k] + self.weight_decay * w[k];
            self.mean_square[k] = mean(self.mean_square[k], g);
            let rms_update = (self.mean_square_update[k] + self.eps).sqrt();
            let update = rms_update / (self.mean_square[k] + self.eps).sqrt() * g;
            self.mean_square_update[k] = mean(self.mean_square_update[k], update);
            w[k] -= self.lr * update;
        }
    }
}

/// Nadam (Dozat 2016, algorithm 8 with the momentum schedule of section 3.2), as in PyTorch.
#[derive(Clone, Debug, Default)]
pub struct Nadam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added after the bias correction, outside the square root.
    pub eps: f64,
    /// How fast the momentum rises to beta1.
    pub momentum_decay: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// State: the momenta of all steps so far.
    pub momenta: Vec<f64>,
    /// State: m, empty before the first step.
    pub mean: Vec<f64>,
    /// State: v, empty before the first step.
    pub mean_square: Vec<f64>,
}

impl Nadam {
    // mu_t = b1 (1 - 0.96^(t psi) / 2)
    // m_hat = mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
    // w -= lr m_hat / (sqrt(v / (1 - b2^t)) + eps)
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        ensure_state(&mut self.mean, w.len());
        ensure_state(&mut self.mean_square, w.len());
        let mu = |t: usize| self.beta1 * (1.0 - 0.96f64.powf(t as f64 * self.momentum_decay) / 2.0);
        let t = self.momenta.len() + 1;
        let (now, next) = (mu(t), mu(t + 1));
        self.momenta.push(now);
        let product: f64 = self.momenta.iter().product();
        for k in 0..w.len() {
            let g = g[k] + self.weight_decay * w[k];
            self.mean[k] = self.beta1 * self.mean[k] + (1.0 - self.beta1) * g;
            self.mean_square[k] = self.beta2 * self.mean_square[k] + (1.0 - self.beta2) * g * g;
            let mean = next * self.mean[k] / (1.0 - product * next) + (1.0 - now) * g / (1.0 - product);
            let mean_square = self.mean_square[k] / (1.0 - self.beta2.powi(t as i32));
            w[k] -= self.lr * mean / (mean_square.sqrt() + self.eps);
        }
    }
}

/// Lion (Chen et al. 2023, algorithm 2), without its weight decay: see [`Penalized`].
#[derive(Clone, Debug, Default)]
pub struct Lion {
    /// Learning rate.
    pub lr: f64,
    /// Share of the mean gradient in the direction.
    pub beta1: f64,
    /// Decay of the mean gradient.
    pub beta2: f64,
    /// State: m, empty before the first step.
    pub mean: Vec<f64>,
}

impl Lion {
    // c = b1 m + (1 - b1) g    w -= lr sign(c)    m = b2 m + (1 - b2) g
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        ensure_state(&mut self.mean, w.len());
        for k in 0..w.len() {
            w[k] -= self.lr * sign(self.beta1 * self.mean[k] + (1.0 - self.beta1) * g[k]);
            self.mean[k] = self.beta2 * self.mean[k] + (1.0 - self.beta2) * g[k];
        }
    }
}

/// Penalties around an optimizer without penalties of its own.
#[derive(Clone, Debug)]
pub struct Penalized {
    /// The optimizer, without weight decay.
    pub inner: Optimizer,
    /// Its learning rate.
    pub lr: f64,
    /// Weight of `|w|`.
    pub l1: f64,
    /// Weight of `w^2 / 2`.
    pub l2: f64,
    /// False: the gradient of the penalties is added to that of the objective. True: a separate step of size lr on
    /// the penalties alone (for l1 the proximal step, Parikh and Boyd 2014, section 6.5.2), from the weights that
    /// the optimizer saw.
    pub decoupled: bool,
}

impl Penalized {
    fn step(&mut self, w: &mut [f64], g: &[f64]) {
        if !self.decoupled {
            let penalty = w.iter().map(|&w| self.l1 * sign(w) + self.l2 * w);
            let g: Vec<f64> = g.iter().zip(penalty).map(|(g, penalty)| g + penalty).collect();
            return self.inner.step(w, &g);
        }
        let before = w.to_vec();
        self.inner.step(w, g);
        for (w, before) in w.iter_mut().zip(before) {
            let small = before - self.lr * self.l2 * before;
            let soft = sign(small) * (small.abs() - self.lr * self.l1).max(0.0);
            *w += soft - before;
        }
    }
}

/// 0 at 0.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

#[track_caller]
fn ensure_state(state: &mut Vec<f64>, len: usize) {
    if state.is_empty() {
        state.resize(len, 0.0);
    }
    assert_eq!(state.len(), len, "optimizer: the parameter changed its length");
}
