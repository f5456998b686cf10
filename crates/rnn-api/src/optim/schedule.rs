//! [`Schedule`]: the learning rate as a function of the optimizer step.

use crate::error::Result;
use crate::optim::check::{check, check_lr, is_size};
use crate::optim::optimizer::Optimizer;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A learning rate that depends only on the number of steps taken. It has no state to save: a resumed run
/// asks for the rate of its current step. Serialization keeps the settings.
///
/// ```
/// use rnn_api::optim::Schedule;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let lstm = LstmConfig::new(3, 8).init(&Device::cpu(), 1)?;
/// # let x = Tensor::ones(&Device::cpu(), &[5, 2, 3])?;
/// let schedule = Schedule::cosine(1e-3, 1e-5, 1000)?.with_warm_up(99)?;
/// let mut adam = AdamConfig::new(1e-3).init(&lstm)?;
/// while adam.steps() < 2 {
///     schedule.apply(&mut adam);
///     adam.step(&lstm.forward(&x, None)?.y.mean_all()?.backward()?)?;
/// }
/// assert!((adam.lr() - 2e-5).abs() < 1e-12); // the second of 99 + 1 hundredths
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Schedule {
    curve: Curve,
    warm_up: u64,
}

/// [`Schedule`] before its check.
#[derive(Deserialize)]
#[serde(rename = "Schedule", deny_unknown_fields)]
struct Unchecked {
    curve: Curve,
    #[serde(default)]
    warm_up: u64,
}

impl TryFrom<Unchecked> for Schedule {
    type Error = crate::Error;

    fn try_from(from: Unchecked) -> Result<Self> {
        Schedule { curve: from.curve, warm_up: from.warm_up }.checked()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Curve {
    Constant { lr: f64 },
    Step { lr: f64, every: u64, gamma: f64 },
    Exponential { lr: f64, gamma: f64 },
    Cosine { lr: f64, min_lr: f64, steps: u64 },
    OneCycle(OneCycle),
    Noam { factor: f64, model_size: u64, warm_up: u64 },
}

/// Settings of [`Schedule::one_cycle`], with PyTorch's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OneCycle {
    /// The highest rate.
    pub max_lr: f64,
    /// Length of the cycle, at least 2.
    pub steps: u64,
    /// Share of the cycle in which the rate rises; 0.3 by default.
    pub rise: f64,
    /// The first rate is the highest divided by this; 25 by default.
    pub div_factor: f64,
    /// The last rate is the first divided by this; 1e4 by default.
    pub final_div_factor: f64,
}

impl OneCycle {
    /// A cycle of `steps` steps that rises to `max_lr` and falls again.
    pub fn new(max_lr: f64, steps: u64) -> Self {
        OneCycle { max_lr, steps, rise: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
    }

    /// Sets the share of the cycle in which the rate rises, in `[0, 1]`.
    #[must_use]
    pub fn with_rise(self, rise: f64) -> Self {
        OneCycle { rise, ..self }
    }

    /// Sets the ratio of the highest to the first rate.
    #[must_use]
    pub fn with_div_factor(self, div_factor: f64) -> Self {
        OneCycle { div_factor, ..self }
    }

    /// Sets the ratio of the first to the last rate.
    #[must_use]
    pub fn with_final_div_factor(self, final_div_factor: f64) -> Self {
        OneCycle { final_div_factor, ..self }
    }

    fn lr(&self, step: u64) -> f64 {
        let (first, last) = self.ends();
        let (step, end) = (step as f64, (self.steps - 1) as f64);
        let peak = self.rise * self.steps as f64 - 1.0;
        if step <= peak && peak > 0.0 {
            return cosine(first, self.max_lr, step / peak);
        }
        let peak = peak.max(0.0);
        // If the rise takes the whole cycle, the fall has no length.
        if step >= end || end <= peak {
            last
        } else {
            cosine(self.max_lr, last, (step - peak) / (end - peak))
        }
    }

    fn ends(&self) -> (f64, f64) {
        let first = self.max_lr / self.div_factor;
        (first, first / self.final_div_factor)
    }
}

/// Half a cosine from `from` at share 0 to `to` at share 1.
fn cosine(from: f64, to: f64, share: f64) -> f64 {
    to + 0.5 * (from - to) * (1.0 + (PI * share).cos())
}

const CONFIG: &str = "Schedule";

impl Schedule {
    /// The constant rate `lr`; useful with a warm-up.
    ///
    /// # Errors
    /// A rate that is negative or not finite; the same holds for every schedule.
    pub fn constant(lr: f64) -> Result<Self> {
        Self::new(Curve::Constant { lr })
    }

    /// `lr`, multiplied by `gamma` after every `every` steps.
    ///
    /// # Errors
    /// As [`Schedule::constant`]; `every` is zero, `gamma` not finite and positive.
    pub fn step(lr: f64, every: u64, gamma: f64) -> Result<Self> {
        Self::new(Curve::Step { lr, every, gamma })
    }

    /// `lr gamma^step`.
    ///
    /// # Errors
    /// As [`Schedule::constant`]; `gamma` not finite and positive.
    pub fn exponential(lr: f64, gamma: f64) -> Result<Self> {
        Self::new(Curve::Exponential { lr, gamma })
    }

    /// Falls from `lr` to `min_lr` along half a cosine within `steps` steps, which include those of a
    /// warm-up, and stays at `min_lr` (Loshchilov and Hutter 2017, equation 5, without restarts).
    ///
    /// # Errors
    /// As [`Schedule::constant`]; zero steps, `min_lr` above `lr`.
    pub fn cosine(lr: f64, min_lr: f64, steps: u64) -> Result<Self> {
        Self::new(Curve::Cosine { lr, min_lr, steps })
    }

    /// Rises to a high rate and falls to almost zero, each along half a cosine (Smith and Topin 2018), as in
    /// PyTorch's `OneCycleLR`; the momentum does not change. After the cycle the last rate stays.
    ///
    /// # Errors
    /// As [`Schedule::constant`]; fewer than 2 steps, a share outside `[0, 1]`, quotients that are not finite and
    /// positive.
    pub fn one_cycle(cycle: OneCycle) -> Result<Self> {
        Self::new(Curve::OneCycle(cycle))
    }

    /// `factor model_size^-1/2 min(t^-1/2, t warm_up^-3/2)` with t = step + 1 (Vaswani et al. 2017, equation 3).
    ///
    /// # Errors
    /// As [`Schedule::constant`] for `factor`; a size or a warm-up of zero.
    pub fn noam(factor: f64, model_size: u64, warm_up: u64) -> Result<Self> {
        Self::new(Curve::Noam { factor, model_size, warm_up })
    }

    /// Adds a linear warm-up of `steps` steps: its step t has `(t + 1) / (steps + 1)` of the first rate. The
    /// schedule starts after the warm-up.
    ///
    /// # Errors
    /// The schedule has its own rise, or the warm-up is at least as long as a cosine.
    pub fn with_warm_up(self, steps: u64) -> Result<Self> {
        Schedule { warm_up: steps, ..self }.checked()
    }

    fn new(curve: Curve) -> Result<Self> {
        Schedule { curve, warm_up: 0 }.checked()
    }

    /// The rate of the next step after `step` steps.
    pub fn lr(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.after_warm_up(0) * ((step as f64 + 1.0) / (self.warm_up as f64 + 1.0));
        }
        self.after_warm_up(step - self.warm_up)
    }

    /// Sets the rate for the optimizer's next step.
    pub fn apply(&self, optimizer: &mut (impl Optimizer + ?Sized)) {
        optimizer.set_lr(self.lr(optimizer.steps()));
    }

    /// Refuses a rate that grows until it overflows within this many steps.
    pub(crate) fn check_steps(&self, steps: u64) -> Result<()> {
        // Only a factor above 1 makes a rate grow without bound, so the last rate is then the highest.
        let last = self.lr(steps.saturating_sub(1));
        let expected = format!("such that the rate is finite in f32 for all {steps} steps");
        match self.curve {
            Curve::Step { gamma, .. } | Curve::Exponential { gamma, .. } if !is_size(last) => {
                check(CONFIG, "gamma", gamma, &expected, false)
            }
            _ => Ok(()),
        }
    }

    fn after_warm_up(&self, step: u64) -> f64 {
        match self.curve {
            Curve::Constant { lr } => lr,
            Curve::Step { lr, every, gamma } => lr * gamma.powf((step / every) as f64),
            Curve::Exponential { lr, gamma } => lr * gamma.powf(step as f64),
            Curve::Cosine { lr, min_lr, steps } => {
                let length = (steps - self.warm_up) as f64;
                cosine(lr, min_lr, (step as f64 / length).min(1.0))
            }
            Curve::OneCycle(ref cycle) => cycle.lr(step),
            Curve::Noam { factor, model_size, warm_up } => {
                let (t, warm_up) = (step as f64 + 1.0, warm_up as f64);
                factor * (model_size as f64).powf(-0.5) * t.powf(-0.5).min(t * warm_up.powf(-1.5))
            }
        }
    }

    fn checked(self) -> Result<Self> {
        let at_least = |field, value: u64, least: u64| {
            check(CONFIG, field, value as f64, &format!("at least {least}"), value >= least)
        };
        let positive = |field, value: f64| {
            check(CONFIG, field, value, "finite and positive", value.is_finite() && value > 0.0)
        };
        match self.curve {
            Curve::Constant { lr } => check_lr(CONFIG, lr)?,
            Curve::Step { lr, every, gamma } => {
                check_lr(CONFIG, lr)?;
                at_least("every", every, 1)?;
                positive("gamma", gamma)?;
            }
            Curve::Exponential { lr, gamma } => {
                check_lr(CONFIG, lr)?;
                positive("gamma", gamma)?;
            }
            Curve::Cosine { lr, min_lr, steps } => {
                check_lr(CONFIG, lr)?;
                let ok = (0.0..=lr).contains(&min_lr);
                check(CONFIG, "min_lr", min_lr, &format!("in [0, {lr}]"), ok)?;
                at_least("steps", steps, 1)?;
                let expected = format!("shorter than the {steps} steps of the cosine");
                check(CONFIG, "warm_up", self.warm_up as f64, &expected, self.warm_up < steps)?;
            }
            Curve::OneCycle(ref cycle) => {
                check_lr(CONFIG, cycle.max_lr)?;
                at_least("steps", cycle.steps, 2)?;
                check(CONFIG, "rise", cycle.rise, "in [0, 1]", (0.0..=1.0).contains(&cycle.rise))?;
                positive("div_factor", cycle.div_factor)?;
                positive("final_div_factor", cycle.final_div_factor)?;
                let (first, last) = cycle.ends();
                let expected = "such that the first rate is finite in f32";
                check(CONFIG, "div_factor", cycle.div_factor, expected, is_size(first))?;
                let expected = "such that the last rate is finite in f32";
                check(CONFIG, "final_div_factor", cycle.final_div_factor, expected, is_size(last))?;
            }
            Curve::Noam { factor, model_size, warm_up } => {
                check_lr(CONFIG, factor)?;
                at_least("model_size", model_size, 1)?;
                at_least("warm_up", warm_up, 1)?;
            }
        }
        let rises = matches!(self.curve, Curve::OneCycle(_) | Curve::Noam { .. });
        let expected = "0 for a schedule that has a rise of its own";
        check(CONFIG, "warm_up", self.warm_up as f64, expected, self.warm_up == 0 || !rises)?;
        Ok(self)
    }
}
