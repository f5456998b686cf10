//! [`Sampling`]: one symbol from logits.

use super::logits::{check, wide};
use crate::error::{Error, Result};
use rnn_runtime::RngKey;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// How a symbol is drawn from the logits of a network. The steps are those of `transformers`, in its order: repetition
/// penalty, temperature, top-k, top-p, min-p.
///
/// ```
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let logits = [0.5f32.ln(), 0.3f32.ln(), 0.15f32.ln(), 0.05f32.ln()];
/// let sampling = Sampling::new().with_top_k(3).with_top_p(0.8);
/// // Of 0.5, 0.3 and 0.15 the first two reach 0.8 of the sum.
/// assert!((sampling.probabilities(&logits, &[])?[0] - 0.625).abs() < 1e-6);
/// let symbol = sampling.sample(&logits, &[], RngKey::new(1), 0)?;
/// assert!(symbol < 2);
/// # Ok(()) }
/// ```
///
/// Everything is computed on the host in f64, and classes are drawn in the order of their indices. So the same logits give
/// the same symbol everywhere, and logits that differ by rounding, as those of two devices do, give another symbol only
/// where a draw or a threshold lies between the two. Subnormal numbers, below 1.2e-38, are refused as settings and count as
/// zero among logits, so that the floating-point mode of the thread does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Sampling {
    /// Temperature: the logits are divided by it. Values below 1 favour likely classes; 0 always takes the most
    /// likely class; 1 by default. Not negative, finite.
    pub temperature: f32,
    /// Top-k: only this many of the most likely classes can be drawn. Of equal ones the first count.
    pub top_k: Option<usize>,
    /// Top-p: only the most likely classes that together reach this probability can be drawn (Holtzman et al.
    /// 2020). In `(0, 1]`.
    pub top_p: Option<f32>,
    /// Min-p: only classes at least this many times as likely as the most likely one can be drawn (Nguyen et al.
    /// 2024). In `[0, 1]`.
    pub min_p: Option<f32>,
    /// Repetition penalty: positive logits of symbols that occurred are divided by it, negative ones multiplied
    /// (Keskar et al. 2019). Above 0, finite; values above 1 make repetitions less likely.
    pub repetition_penalty: Option<f32>,
    /// How many of the latest symbols the penalty concerns; all by default.
    pub repetition_window: Option<usize>,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: None,
            repetition_window: None,
        }
    }
}

impl Sampling {
    /// Samples from the whole softmax at temperature 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// Always takes the most likely class; of equal ones the first.
    pub fn greedy() -> Self {
        Self::default().with_temperature(0.0)
    }

    /// Sets the temperature.
    #[must_use]
    pub fn with_temperature(self, temperature: f32) -> Self {
        Sampling { temperature, ..self }
    }

    /// Samples among the k most likely classes.
    #[must_use]
    pub fn with_top_k(self, top_k: usize) -> Self {
        Sampling { top_k: Some(top_k), ..self }
    }

    /// Samples among the most likely classes that together reach probability p.
    #[must_use]
    pub fn with_top_p(self, top_p: f32) -> Self {
        Sampling { top_p: Some(top_p), ..self }
    }

    /// Samples among the classes at least `min_p` times as likely as the most likely one.
    #[must_use]
    pub fn with_min_p(self, min_p: f32) -> Self {
        Sampling { min_p: Some(min_p), ..self }
    }

    /// Makes symbols that occurred less likely.
    #[must_use]
    pub fn with_repetition_penalty(self, penalty: f32) -> Self {
        Sampling { repetition_penalty: Some(penalty), ..self }
    }

    /// Limits the repetition penalty to the latest symbols.
    #[must_use]
    pub fn with_repetition_window(self, symbols: usize) -> Self {
        Sampling { repetition_window: Some(symbols), ..self }
    }

    /// Checks the settings, whatever the logits.
    ///
    /// # Errors
    /// A setting out of its range, or subnormal.
    pub fn check(&self) -> Result<()> {
        let bad = |arg, expected: &str, got: String| Err(Error::value(OP, arg, expected, got));
        self.expect_normal()?;
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return bad("temperature", "finite and not negative", self.temperature.to_string());
        }
        if self.top_k == Some(0) {
            return bad("top_k", "at least 1", "0".into());
        }
        if let Some(p) = self.top_p.filter(|&p| !(p > 0.0 && p <= 1.0)) {
            return bad("top_p", "in (0, 1]", p.to_string());
        }
        if let Some(p) = self.min_p.filter(|p| !(0.0..=1.0).contains(p)) {
            return bad("min_p", "in [0, 1]", p.to_string());
        }
        match self.repetition_penalty {
            Some(p) if !(p.is_finite() && p > 0.0) => {
                bad("repetition_penalty", "finite and above 0", p.to_string())
            }
            _ => Ok(()),
        }
    }

    /// Refuses subnormal numbers by their bits: a comparison would depend on the mode of the thread.
    fn expect_normal(&self) -> Result<()> {
        let settings = [
            ("temperature", Some(self.temperature)),
            ("top_p", self.top_p),
            ("min_p", self.min_p),
            ("repetition_penalty", self.repetition_penalty),
        ];
        match settings.into_iter().find(|(_, value)| value.is_some_and(f32::is_subnormal)) {
            Some((arg, Some(got))) => Err(Error::value(OP, arg, "no subnormal number", format!("{got:e}"))),
            _ => Ok(()),
        }
    }

    /// The probability of every class of `logits` `[V]` to be drawn; `before` are the symbols so far, for the repetition
    /// penalty.
    ///
    /// # Errors
    /// There are no logits; a logit is NaN or plus infinity; no class is possible; a symbol is no class; or a setting is out
    /// of range. Minus infinity marks a class that was ruled out.
    pub fn probabilities(&self, logits: &[f32], before: &[u32]) -> Result<Vec<f64>> {
        let mut weights = self.weights(logits, before)?;
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Ok(weights)
    }

    /// Draws the index of a class. The same key and step give the same class for the same arguments.
    ///
    /// # Errors
    /// As [`probabilities`](Self::probabilities).
    pub fn sample(&self, logits: &[f32], before: &[u32], key: RngKey, step: u64) -> Result<usize> {
        let weights = self.weights(logits, before)?;
        let mut rest = uniform(key, step) * weights.iter().sum::<f64>();
        for (class, &weight) in weights.iter().enumerate() {
            if rest < weight {
                return Ok(class);
            }
            rest -= weight;
        }
        // Rounding can leave a remainder; it goes to the last possible class.
        Ok(weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0))
    }

    /// The probabilities times a constant.
    fn weights(&self, logits: &[f32], before: &[u32]) -> Result<Vec<f64>> {
        self.check()?;
        check(OP, logits)?;
        let logits = self.penalised(logits, before)?;
        let best = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.temperature == 0.0 {
            let first = logits.iter().position(|&logit| logit == best);
            return Ok((0..logits.len()).map(|class| f64::from(u8::from(Some(class) == first))).collect());
        }
        let temperature = f64::from(self.temperature);
        let weight = |logit: &f64| normal(((logit - best) / temperature).exp());
        let mut weights: Vec<f64> = logits.iter().map(weight).collect();
        if self.top_k.is_some_and(|k| k < logits.len()) || self.top_p.is_some_and(|p| p < 1.0) {
            self.keep_likeliest(&logits, &mut weights);
        }
        if let Some(p) = self.min_p {
            // The weight of the most likely class is 1.
            weights.iter_mut().filter(|weight| **weight < f64::from(p)).for_each(|weight| *weight = 0.0);
        }
        Ok(weights)
    }

    /// The logits with the repetition penalty.
    fn penalised(&self, logits: &[f32], before: &[u32]) -> Result<Vec<f64>> {
        if let Some(&symbol) = before.iter().find(|&&symbol| symbol as usize >= logits.len()) {
            return Err(Error::value(OP, "before", format!("below {}", logits.len()), symbol));
        }
        let mut all: Vec<f64> = logits.iter().copied().map(wide).collect();
        if let Some(penalty) = self.repetition_penalty.map(f64::from) {
            let window = self.repetition_window.unwrap_or(usize::MAX);
            for &symbol in &before[before.len().saturating_sub(window)..] {
                // From the logit, so that a symbol that occurred twice is not penalised twice.
                let logit = wide(logits[symbol as usize]);
                all[symbol as usize] = if logit < 0.0 { logit * penalty } else { logit / penalty };
            }
        }
        Ok(all)
    }

    /// Top-k and top-p: sets the weights of other classes to 0.
    fn keep_likeliest(&self, logits: &[f64], weights: &mut [f64]) {
        // `partial_cmp`, for which 0.0 and -0.0 are equal; there is no NaN.
        let likelier = |&a: &usize, &b: &usize| {
            logits[b].partial_cmp(&logits[a]).unwrap_or(Ordering::Equal).then(a.cmp(&b))
        };
        let mut order: Vec<usize> = (0..logits.len()).collect();
        if let Some(k) = self.top_k.filter(|&k| k < order.len()) {
            order.select_nth_unstable_by(k, likelier);
            order.drain(k..).for_each(|class| weights[class] = 0.0);
        }
        if let Some(p) = self.top_p.filter(|&p| p < 1.0) {
            order.sort_unstable_by(likelier);
            let wanted = f64::from(p) * order.iter().map(|&class| weights[class]).sum::<f64>();
            let mut reached = 0.0;
            for class in order {
                let weight = weights[class];
                if reached >= wanted {
                    weights[class] = 0.0;
                }
                reached += weight;
            }
        }
    }
}

const OP: &str = "sample";

/// 0 in place of a subnormal number, which some threads would flush.
fn normal(weight: f64) -> f64 {
    if weight.is_subnormal() { 0.0 } else { weight }
}

/// The draw of a step in `[0, 1)`, a multiple of 2^-53.
fn uniform(key: RngKey, step: u64) -> f64 {
    // Steps have 64 bits; the upper half goes into the key.
    let [high, low] = key.derive(0, (step >> 32) as u32).pair(step as u32, 0);
    (u64::from(high) << 21 | u64::from(low >> 11)) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests;
