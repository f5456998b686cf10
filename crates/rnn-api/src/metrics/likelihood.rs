//! [`Likelihood`]: how well a model predicts what comes.

use super::ratio;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The negative log-likelihood of all tokens together, and their number. Only this total gives the right mean
/// over batches of different size; a mean of means does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    nats: f64,
    tokens: u64,
}

impl Likelihood {
    /// Nothing counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `tokens` tokens of mean negative log-likelihood `mean_nats`, as a cross-entropy loss gives it.
    ///
    /// # Errors
    /// A mean that is not finite, or no token.
    pub fn add_mean(&mut self, mean_nats: f64, tokens: u64) -> Result<()> {
        self.add_total(mean_nats * tokens as f64, tokens)
    }

    /// Counts `tokens` tokens whose negative log-likelihoods sum up to `nats`.
    ///
    /// # Errors
    /// As [`Likelihood::add_mean`].
    pub fn add_total(&mut self, nats: f64, tokens: u64) -> Result<()> {
        const OP: &str = "Likelihood";
        if !nats.is_finite() {
            return Err(Error::value(OP, "nats", "finite", nats));
        }
        if tokens == 0 {
            return Err(Error::value(OP, "tokens", "at least one", "none"));
        }
        self.nats += nats;
        self.tokens += tokens;
        Ok(())
    }

    /// Tokens counted.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Mean negative log-likelihood of a token in nats.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn nats(&self) -> Result<f64> {
        ratio("Likelihood", self.nats, self.tokens)
    }

    /// The same in bits, `nats / ln 2`: bits per character where tokens are characters.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn bits(&self) -> Result<f64> {
        Ok(self.nats()? / std::f64::consts::LN_2)
    }

    /// `e^nats`: the number of equally likely tokens that would be as hard to guess.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn perplexity(&self) -> Result<f64> {
        Ok(self.nats()?.exp())
    }
}
