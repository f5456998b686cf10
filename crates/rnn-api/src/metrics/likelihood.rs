//! [`Likelihood`]: how well a model predicts tokens.

use super::ratio;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The negative log-likelihood and the number of all tokens. Adding up totals gives the right mean over batches of
/// different size; a mean of means does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    nats: f64,
    tokens: u64,
}

impl Likelihood {
    /// Without tokens yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `tokens` tokens with a mean negative log-likelihood of `mean_nats`, as returned by a cross-entropy
    /// loss.
    ///
    /// # Errors
    /// The mean is not finite, or there are no tokens.
    pub fn add_mean(&mut self, mean_nats: f64, tokens: u64) -> Result<()> {
        self.add_total(mean_nats * tokens as f64, tokens)
    }

    /// Adds `tokens` tokens whose negative log-likelihoods sum to `nats`.
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

    /// The number of tokens.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The mean negative log-likelihood per token in nats.
    ///
    /// # Errors
    /// No token was added.
    pub fn nats(&self) -> Result<f64> {
        ratio("Likelihood", self.nats, self.tokens)
    }

    /// The same in bits, `nats / ln 2`: bits per character if tokens are characters.
    ///
    /// # Errors
    /// No token was added.
    pub fn bits(&self) -> Result<f64> {
        Ok(self.nats()? / std::f64::consts::LN_2)
    }

    /// The perplexity `e^nats`: the number of equally likely tokens that would be as hard to guess.
    ///
    /// # Errors
    /// No token was added.
    pub fn perplexity(&self) -> Result<f64> {
        Ok(self.nats()?.exp())
    }
}
