//! Samples a class from logits, for text generation.

use crate::error::{Error, Result};
use rnn_runtime::RngKey;
use serde::{Deserialize, Serialize};

/// Settings of [`Sampling::sample`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Sampling {
    /// Temperature: the logits are divided by it. Values below 1 favour likely classes; 0 always takes the most
    /// likely class; 1 by default.
    pub temperature: f32,
    /// Top-k: only this many of the most likely classes can be drawn.
    pub top_k: Option<usize>,
    /// Top-p: only the most likely classes that together reach this probability can be drawn (Holtzman et al.
    /// 2020).
    pub top_p: Option<f32>,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 1.0, top_k: None, top_p: None }
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

    fn check(&self, logits: &[f32]) -> Result<()> {
        const OP: &str = "sample";
        if logits.is_empty() {
            return Err(Error::value(OP, "logits", "at least one", "none"));
        }
        // Minus infinity marks a class that was ruled out.
        let bad = |x: &f32| x.is_nan() || *x == f32::INFINITY;
        if let Some(at) = logits.iter().position(bad) {
            let got = format!("{} at {at}", logits[at]);
            return Err(Error::value(OP, "logits", "finite or minus infinity", got));
        }
        if logits.iter().all(|x| *x == f32::NEG_INFINITY) {
            return Err(Error::value(OP, "logits", "of one possible class", "minus infinity only"));
        }
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            let expected = "finite and not negative";
            return Err(Error::value(OP, "temperature", expected, self.temperature));
        }
        if self.top_k == Some(0) {
            return Err(Error::value(OP, "top_k", "at least 1", 0));
        }
        match self.top_p {
            Some(p) if !(p > 0.0 && p <= 1.0) => Err(Error::value(OP, "top_p", "in (0, 1]", p)),
            _ => Ok(()),
        }
    }

    /// Draws the index of a class. The same key and step give the same class.
    ///
    /// # Errors
    /// There are no logits; a logit is NaN or plus infinity; no class is possible; or a setting is out of range.
    pub fn sample(&self, logits: &[f32], key: RngKey, step: u64) -> Result<usize> {
        self.check(logits)?;
        let mut order: Vec<usize> = (0..logits.len()).collect();
        // The sort is stable, so equal logits keep their order.
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        if self.temperature == 0.0 {
            // In this descending order 0.0 comes before -0.0, although they are equal.
            let best = logits[order[0]];
            return Ok(logits.iter().position(|&x| x == best).unwrap_or(order[0]));
        }
        order.truncate(self.top_k.unwrap_or(usize::MAX));
        let (best, temperature) = (f64::from(logits[order[0]]), f64::from(self.temperature));
        let weight = |&class: &usize| ((f64::from(logits[class]) - best) / temperature).exp();
        let mut weights: Vec<f64> = order.iter().map(weight).collect();
        if let Some(p) = self.top_p {
            let wanted = f64::from(p) * weights.iter().sum::<f64>();
            let mut reached = 0.0;
            let before = weights.iter().take_while(|&&w| {
                let more = reached < wanted;
                reached += w;
                more
            });
            let kept = before.count();
            weights.truncate(kept.max(1));
        }
        // Steps have 64 bits; the upper half goes into the key.
        let draw = key.derive(0, (step >> 32) as u32).uniform(step as u32, 0);
        let mut rest = f64::from(draw) * weights.iter().sum::<f64>();
        for (&class, w) in order.iter().zip(&weights) {
            if rest < *w {
                return Ok(class);
            }
            rest -= w;
        }
        // Rounding can leave a remainder; it goes to the last possible class.
        let last = weights.iter().rposition(|&w| w > 0.0).unwrap_or(0);
        Ok(order[last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        let n = 20_000;
        for step in 0..n {
            counts[sampling.sample(logits, RngKey::new(5), step).unwrap()] += 1.0 / n as f64;
        }
        counts
    }

    fn close(got: &[f64], want: &[f64]) {
        for (g, w) in got.iter().zip(want) {
            // Four standard errors of a share of 20000 draws.
            assert!((g - w).abs() < 0.015, "{got:?} {want:?}");
        }
    }

    /// Logits of the probabilities 0.5, 0.3, 0.15 and 0.05, out of order.
    fn logits() -> [f32; 4] {
        [0.3f32.ln(), 0.05f32.ln(), 0.5f32.ln(), 0.15f32.ln()]
    }

    #[test]
    fn shares_follow_the_probabilities() {
        close(&shares(Sampling::new(), &logits()), &[0.3, 0.05, 0.5, 0.15]);
        // Half the temperature squares the probabilities: 0.09, 0.0025, 0.25, 0.0225 of 0.365.
        let cold = Sampling::new().with_temperature(0.5);
        close(&shares(cold, &logits()), &[0.2466, 0.0068, 0.6849, 0.0616]);
        let k = Sampling::new().with_top_k(2);
        close(&shares(k, &logits()), &[0.375, 0.0, 0.625, 0.0]);
        let p = Sampling::new().with_top_p(0.6);
        close(&shares(p, &logits()), &[0.375, 0.0, 0.625, 0.0]);
        let tiny = Sampling::new().with_top_p(1e-6);
        assert_eq!(shares(tiny, &logits())[2].round(), 1.0);
        close(&shares(Sampling::new(), &[f32::NEG_INFINITY, 0.0, 0.0]), &[0.0, 0.5, 0.5]);
    }

    #[test]
    fn draws_repeat_and_greedy_takes_the_first_of_equals() {
        let draw = |step| Sampling::new().sample(&logits(), RngKey::new(9), step).unwrap();
        let first: Vec<usize> = (0..50).map(draw).collect();
        assert_eq!(first, (0..50).map(draw).collect::<Vec<_>>());
        assert_ne!(first, (1 << 32..(1 << 32) + 50).map(draw).collect::<Vec<_>>());
        let greedy = |logits: &[f32]| Sampling::greedy().sample(logits, RngKey::new(1), 0).unwrap();
        assert_eq!(greedy(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(greedy(&[-0.0, 0.0]), 0);
        assert_eq!(greedy(&[-1e30, 1e30, 0.0]), 1);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |sampling: Sampling, logits: &[f32]| {
            sampling.sample(logits, RngKey::new(1), 0).unwrap_err().to_string()
        };
        assert!(refused(Sampling::new(), &[]).contains("logits"));
        assert!(refused(Sampling::new(), &[0.0, f32::NAN]).contains("NaN at 1"));
        assert!(refused(Sampling::new(), &[f32::INFINITY]).contains("inf at 0"));
        assert!(refused(Sampling::new(), &[f32::NEG_INFINITY; 2]).contains("possible"));
        assert!(refused(Sampling::new().with_temperature(-1.0), &[0.0]).contains("temperature"));
        assert!(refused(Sampling::new().with_temperature(f32::NAN), &[0.0]).contains("temperature"));
        assert!(refused(Sampling::new().with_top_k(0), &[0.0]).contains("top_k"));
        assert!(refused(Sampling::new().with_top_p(0.0), &[0.0]).contains("top_p"));
    }
}
