//! Layer normalisation (Ba, Kiros and Hinton 2016).

use crate::autograd::record;
use crate::error::Result;
use crate::tensor::Tensor;
use rnn_runtime::ops::layer_norm::{layer_norm, layer_norm_backward};

impl Tensor {
    /// `gamma (x - mean) / sqrt(var + eps) + beta` over the last axis of C elements; gamma and beta
    /// are `[C]`. The variance is the biased one, as in PyTorch.
    ///
    /// # Errors
    /// Other shapes of gamma or beta, different devices, index data.
    pub fn layer_norm(&self, gamma: &Tensor, beta: &Tensor, eps: f32) -> Result<Tensor> {
        let out = layer_norm(self.array(), gamma.array(), beta.array(), eps)?;
        let (x, gain) = (self.array().clone(), gamma.array().clone());
        let (mean, rstd) = (out.mean, out.rstd);
        Ok(record("layer_norm", [self, gamma, beta], out.y, move |dy, wanted| {
            let grads = layer_norm_backward(&x, &gain, &mean, &rstd, &dy)?;
            let [want_x, want_gamma, want_beta] = wanted;
            Ok([
                want_x.then_some(grads.dx),
                want_gamma.then_some(grads.dgamma),
                want_beta.then_some(grads.dbeta),
            ])
        }))
    }
}
