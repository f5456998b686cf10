//! Losses: scalars. By default they are the mean over all elements or rows; the forms that end in `_over`
//! take [`LossOptions`]: lengths and other reductions. Steps past the end of a sequence affect neither value
//! nor gradient, even if they contain NaN.

use crate::autograd::record;
use crate::error::{Error, Result};
use crate::nn::observe::{self, SeenLabels};
use crate::tensor::Tensor;
use rnn_runtime::Array;
use rnn_runtime::ops::loss::{self, CrossEntropyOptions, CtcOptions, Elementwise, LossOptions, Spread};
use rnn_runtime::ops::pointwise;

/// Refuses targets that require a gradient, because the loss does not compute one.
fn expect_data(op: &str, targets: &Tensor) -> Result<()> {
    if !targets.is_tracked() {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!("{op} with targets that require a gradient"),
        why: "targets are data; use detach()".into(),
    })
}

/// The labels of a cross entropy that count, for an observation.
fn seen_labels(
    logits: &Array,
    labels: &Array,
    options: &CrossEntropyOptions,
    over: &LossOptions<'_>,
) -> Option<SeenLabels> {
    let all = labels.host_indices()?;
    let batch = labels.dims().get(1).copied().unwrap_or(1).max(1);
    let inner = labels.dims().iter().skip(2).product::<usize>().max(1);
    let counts = |at: usize| {
        let (t, b) = (at / inner / batch, at / inner % batch);
        over.lengths.and_then(|lengths| lengths.get(b)).is_none_or(|&length| t < length)
    };
    let kept =
        all.iter().enumerate().filter(|&(at, label)| counts(at) && options.ignore_index != Some(*label));
    Some(SeenLabels { classes: *logits.dims().last()?, labels: kept.map(|(_, &label)| label).collect() })
}

impl Tensor {
    /// Mean negative log-likelihood of `labels` under the softmax of these logits: `[.., C]` and
    /// `[..]`, e.g. `[B, C]` and `[B]`, or `[T, B, C]` and `[T, B]`.
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy_with`].
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Tensor> {
        self.cross_entropy_with(labels, &CrossEntropyOptions::default())
    }

    /// As [`Tensor::cross_entropy`], with an index to ignore or smoothed labels. The mean is over
    /// the rows that are not ignored.
    ///
    /// # Errors
    /// A label outside `0..C`, labels of another shape, every row ignored, different devices.
    pub fn cross_entropy_with(&self, labels: &Tensor, options: &CrossEntropyOptions) -> Result<Tensor> {
        self.cross_entropy_over(labels, options, &LossOptions::new())
    }

    /// As [`Tensor::cross_entropy_with`], over the valid steps of `[T, B, C]`. Labels past the end of a
    /// sequence are not read.
    ///
    /// ```
    /// # fn main() -> rnn_api::Result<()> {
    /// use rnn_api::{CrossEntropyOptions, Device, LossOptions, Tensor};
    /// # let device = Device::cpu();
    /// let logits = Tensor::zeros(&device, &[3, 2, 4])?; // [T, B, C]
    /// let labels = Tensor::from_indices(&device, &[1, 2, 3, 99, 0, 99], &[3, 2])?; // [T, B]
    /// let over = LossOptions::new().with_lengths(&[3, 1]);
    /// let loss = logits.cross_entropy_over(&labels, &CrossEntropyOptions::default(), &over)?;
    /// assert!((loss.item()? - 4f32.ln()).abs() < 1e-6); // nats per token
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy_with`]; lengths that are not B numbers in `1..=T`; lengths or a reduction over
    /// sequences where the labels have no axes T and B.
    pub fn cross_entropy_over(
        &self,
        labels: &Tensor,
        options: &CrossEntropyOptions,
        over: &LossOptions<'_>,
    ) -> Result<Tensor> {
        let (logits, labels, options) = (self.array().clone(), labels.array().clone(), *options);
        if let Some(observer) = observe::current() {
            observer.get().labels.extend(seen_labels(&logits, &labels, &options, over));
        }
        let forward = loss::cross_entropy(&logits, &labels, &options, over)?;
        Ok(record("cross_entropy", [self], forward.loss.clone(), move |dloss, _| {
            Ok([Some(loss::cross_entropy_backward(&logits, &labels, &options, &forward, &dloss)?)])
        }))
    }

    /// Mean squared difference to a target of the same shape.
    ///
    /// # Errors
    /// Shapes or devices that differ, or index data.
    pub fn mse(&self, target: &Tensor) -> Result<Tensor> {
        self.mse_over(target, &LossOptions::new())
    }

    /// As [`Tensor::mse`], over the valid steps of `[T, B, ..]`.
    ///
    /// # Errors
    /// As [`Tensor::mse`]; lengths that are not B numbers in `1..=T`, or for a shape without the axes T and
    /// B; a reduction over sequences of a shape that may also be `[B, F]`: pass lengths, or use `[T, B, F]`.
    pub fn mse_over(&self, target: &Tensor, over: &LossOptions<'_>) -> Result<Tensor> {
        self.elementwise_loss(Elementwise::Mse, target, over)
    }

    /// Mean absolute difference to a target of the same shape; its gradient where they are equal is 0.
    ///
    /// # Errors
    /// As [`Tensor::mse`].
    pub fn mae(&self, target: &Tensor) -> Result<Tensor> {
        self.mae_over(target, &LossOptions::new())
    }

    /// As [`Tensor::mae`], over the valid steps of `[T, B, ..]`.
    ///
    /// # Errors
    /// As [`Tensor::mse_over`].
    pub fn mae_over(&self, target: &Tensor, over: &LossOptions<'_>) -> Result<Tensor> {
        self.elementwise_loss(Elementwise::Mae, target, over)
    }

    /// Mean of Huber's cost (1964): `d^2 / 2` for differences d up to `delta`, `delta (|d| - delta / 2)`
    /// above it, so that an outlier's gradient is at most `delta`.
    ///
    /// # Errors
    /// As [`Tensor::mse`]; a `delta` that is not positive and finite.
    pub fn huber(&self, target: &Tensor, delta: f32) -> Result<Tensor> {
        self.huber_over(target, delta, &LossOptions::new())
    }

    /// As [`Tensor::huber`], over the valid steps of `[T, B, ..]`.
    ///
    /// # Errors
    /// As [`Tensor::huber`] and [`Tensor::mse_over`].
    pub fn huber_over(&self, target: &Tensor, delta: f32, over: &LossOptions<'_>) -> Result<Tensor> {
        self.elementwise_loss(Elementwise::Huber { delta }, target, over)
    }

    /// Mean pinball loss (Koenker and Bassett 1978): `q d` for differences d = target - self above 0, `(q - 1) d`
    /// below. Its minimum is the `q`-quantile of the target.
    ///
    /// # Errors
    /// As [`Tensor::mse`]; a `q` outside `(0, 1)`.
    pub fn quantile(&self, target: &Tensor, q: f32) -> Result<Tensor> {
        self.quantile_over(target, q, &LossOptions::new())
    }

    /// As [`Tensor::quantile`], over the valid steps of `[T, B, ..]`.
    ///
    /// # Errors
    /// As [`Tensor::quantile`] and [`Tensor::mse_over`].
    pub fn quantile_over(&self, target: &Tensor, q: f32, over: &LossOptions<'_>) -> Result<Tensor> {
        self.elementwise_loss(Elementwise::Quantile { q }, target, over)
    }

    /// Mean binary cross entropy of the sigmoid of these logits with targets in `[0, 1]` of the
    /// same shape; exact for logits of any size. The loss of multi-label classification.
    ///
    /// # Errors
    /// Shapes or devices that differ, or targets that require a gradient, which the loss does not compute.
    pub fn bce_with_logits(&self, targets: &Tensor) -> Result<Tensor> {
        self.bce_with_logits_over(targets, &LossOptions::new())
    }

    /// As [`Tensor::bce_with_logits`], over the valid steps of `[T, B, ..]`. The negative log-likelihood of a
    /// step, summed over its F labels, is F times the mean.
    ///
    /// # Errors
    /// As [`Tensor::bce_with_logits`] and [`Tensor::mse_over`].
    pub fn bce_with_logits_over(&self, targets: &Tensor, over: &LossOptions<'_>) -> Result<Tensor> {
        self.elementwise_loss(Elementwise::BceWithLogits, targets, over)
    }

    /// The loss with this `cost` per element, over the valid steps of `[T, B, ..]`. It computes the same as
    /// [`Tensor::mse_over`] and the other losses, for programs that choose the cost at run time.
    ///
    /// ```
    /// # fn main() -> rnn_api::Result<()> {
    /// use rnn_api::{Device, ElementwiseLoss, LossOptions, Tensor};
    /// let device = Device::cpu();
    /// let (x, target) = (Tensor::ones(&device, &[4])?, Tensor::zeros(&device, &[4])?);
    /// let loss = x.elementwise_loss(ElementwiseLoss::Huber { delta: 0.5 }, &target, &LossOptions::new())?;
    /// assert_eq!(loss.item()?, 0.5 * (1.0 - 0.25));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::mse_over`]; a constant of the cost out of its domain; targets of
    /// [`ElementwiseLoss::BceWithLogits`](Elementwise::BceWithLogits) that require a gradient.
    pub fn elementwise_loss(
        &self,
        cost: Elementwise,
        target: &Tensor,
        over: &LossOptions<'_>,
    ) -> Result<Tensor> {
        if cost == Elementwise::BceWithLogits {
            expect_data(cost.name(), target)?;
        }
        let (x, goal) = (self.array().clone(), target.array().clone());
        let (y, weighting) = loss::elementwise(cost, &x, &goal, over)?;
        Ok(record(cost.name(), [self, target], y, move |dloss, [want_x, want_target]| {
            let dx = loss::elementwise_backward(cost, &x, &goal, &weighting, &dloss)?;
            let dtarget = if want_target { Some(pointwise::affine(&dx, -1.0, 0.0)?) } else { None };
            Ok([want_x.then_some(dx), dtarget])
        }))
    }

    /// Mean negative log-likelihood of `target` under normal distributions with these means and `variance`,
    /// all of the same shape, without the constant `log(2 pi) / 2`: `(log v + (x - t)^2 / v) / 2` (Nix and
    /// Weigend 1994). It waits for the device to check the variances; [`Tensor::gaussian_nll_log`] does not.
    ///
    /// # Errors
    /// As [`Tensor::mse_over`]; a variance of a valid step that is not positive; targets that require a gradient.
    pub fn gaussian_nll(&self, target: &Tensor, variance: &Tensor, over: &LossOptions<'_>) -> Result<Tensor> {
        self.gaussian(Spread::Variance, target, variance, over)
    }

    /// As [`Tensor::gaussian_nll`], but from the logarithm of the variance, which may be any number. It is
    /// the better output for a network.
    ///
    /// # Errors
    /// As [`Tensor::mse_over`]; targets that require a gradient.
    pub fn gaussian_nll_log(
        &self,
        target: &Tensor,
        log_variance: &Tensor,
        over: &LossOptions<'_>,
    ) -> Result<Tensor> {
        self.gaussian(Spread::LogVariance, target, log_variance, over)
    }

    fn gaussian(
        &self,
        form: Spread,
        target: &Tensor,
        spread: &Tensor,
        over: &LossOptions<'_>,
    ) -> Result<Tensor> {
        const OP: &str = "gaussian_nll";
        expect_data(OP, target)?;
        let (x, goal, s) = (self.array().clone(), target.array().clone(), spread.array().clone());
        let (y, weighting) = loss::gaussian_nll(form, &x, &goal, &s, over)?;
        Ok(record(OP, [self, spread], y, move |dloss, [want_x, want_s]| {
            let [dx, ds] = loss::gaussian_nll_backward(form, &x, &goal, &s, &weighting, &dloss)?;
            Ok([want_x.then_some(dx), want_s.then_some(ds)])
        }))
    }

    /// Connectionist temporal classification (Graves et al. 2006) of these logits `[T, B, C]`: the negative
    /// log-likelihood of B label sequences without an alignment to time steps. It takes logits, not
    /// log-probabilities. The lengths of `over` are those of the logits; targets may have any length, 0
    /// included.
    ///
    /// The mean is per label; [`Reduction::SequenceMean`](crate::Reduction::SequenceMean) is PyTorch's mean.
    /// A target that no path can spell costs infinity, or nothing with `zero_infinity`; its gradient is zero.
    /// (A path needs a step per label, and one more between equal neighbours.)
    ///
    /// ```
    /// # fn main() -> rnn_api::Result<()> {
    /// use rnn_api::{CtcOptions, Device, LossOptions, Tensor};
    /// let logits = Tensor::zeros(&Device::cpu(), &[3, 2, 4])?; // [T, B, C], class 0 is the blank
    /// let over = LossOptions::new().with_lengths(&[2, 3]);
    /// let loss = logits.ctc(&[vec![2], vec![1, 3]], &CtcOptions::default(), &over)?;
    /// // Row 0: "2 2", "2 -", "- 2" of 4^2 paths. Row 1: 5 of 4^3 paths. 3 labels.
    /// let want = ((16f32 / 3.0).ln() + (64f32 / 5.0).ln()) / 3.0;
    /// assert!((loss.item()? - want).abs() < 1e-5);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A label that is not a class or is the blank, with row and position; targets or lengths that are not B
    /// in number, lengths outside `1..=T`; logits that are not `[T, B, C]`.
    pub fn ctc(
        &self,
        targets: &[impl AsRef<[u32]>],
        options: &CtcOptions,
        over: &LossOptions<'_>,
    ) -> Result<Tensor> {
        let forward = loss::ctc(self.array(), targets, options, over)?;
        Ok(record("ctc", [self], forward.loss.clone(), move |dloss, _| {
            Ok([Some(loss::ctc_backward(&forward, &dloss)?)])
        }))
    }
}
