//! [`Optimizer`]: the interface of every optimizer for a training loop.

use crate::autograd::Gradients;
use crate::error::Result;
use crate::optim::state::OptimizerState;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// Changes parameters to lower the objective.
pub trait Optimizer {
    /// One step along `gradients`. It skips parameters without a gradient and ignores gradients of other
    /// parameters.
    ///
    /// Gradients that are infinite or NaN refuse the step: nothing changes, on the device either. On the CPU the error
    /// comes from this call. On a GPU the step is enqueued without waiting, and the error comes from a later call, which
    /// then takes no step; steps in between change nothing either, so that parameters and state are those before the
    /// refused step. [`Optimizer::settle`] waits for the outcomes, as after the last step. At most 16 steps are under way,
    /// the next one waits. [`OptimConfig::with_strict`](crate::optim::OptimConfig::with_strict) waits in every step.
    ///
    /// With a dynamic [`LossScale`](crate::optim::LossScale), gradients that are not finite skip the step and lower
    /// the scale; [`Optimizer::skipped_steps`] counts such steps. The next scale depends on the outcome, so
    /// [`Optimizer::scale_loss`] waits for it.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) names the step, and the parameters whose gradients are infinite or
    /// NaN; [`Error::Config`](crate::Error::Config) refuses a learning rate that is negative or not finite.
    /// In both cases nothing has changed. Or a failing device.
    fn step(&mut self, gradients: &Gradients) -> Result<()>;

    /// Starts to find out whether these gradients are finite, for a step along them that comes next. If the program waits
    /// for something else before that step, for example for the loss, the step knows the outcome without a further wait,
    /// and refuses at once.
    ///
    /// # Errors
    /// As [`Optimizer::settle`].
    fn prepare(&mut self, gradients: &Gradients) -> Result<()> {
        let _ = gradients;
        Ok(())
    }

    /// Waits until the outcome of every step is known.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) for the first step that was refused, unless a call has returned it;
    /// a failing device.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Sets the learning rate from the next step on; schedules call it before every step.
    fn set_lr(&mut self, lr: f64);

    /// Steps taken, with those under way.
    fn steps(&self) -> u64;

    /// Factor by which to multiply the objective before the backward pass; 1 without a
    /// [`LossScale`](crate::optim::LossScale).
    fn loss_scale(&self) -> f32 {
        1.0
    }

    /// `loss` times [`Optimizer::loss_scale`]; its gradients are what [`Optimizer::step`] expects.
    ///
    /// # Errors
    /// A failing op.
    fn scale_loss(&self, loss: &Tensor) -> Result<Tensor> {
        let scale = self.loss_scale();
        if scale == 1.0 { Ok(loss.clone()) } else { loss.scale(scale) }
    }

    /// Number of steps skipped because of gradients that were not finite; only a dynamic
    /// [`LossScale`](crate::optim::LossScale) skips steps.
    fn skipped_steps(&self) -> u64 {
        0
    }

    /// Norm of all gradients of the last step together, divided by the loss scale and clipped by value, before
    /// clipping by norm. Waits for the outcome of the last step. `None` before the first step.
    fn grad_norm(&self) -> Option<f32> {
        None
    }

    /// The settings that change what a step does, by name, except the learning rate. A resumed run compares them with
    /// those of its checkpoint.
    fn settings(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Learning rate, step counts, loss scale and running means at this moment. It is a cheap snapshot: later
    /// steps do not change it. Waits for the outcomes of steps under way.
    fn state_dict(&self) -> OptimizerState;

    /// Continues from the result of [`Optimizer::state_dict`], of this optimizer or of one made the same way,
    /// on any device.
    ///
    /// # Errors
    /// The state of another kind of optimizer or another model, a learning rate that is negative or not finite, or a
    /// count above 2^53 ([`Error::StateDict`](crate::Error::StateDict)); or a failing device. Then nothing has changed.
    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()>;

    /// Writes learning rate, step counts, loss scale and running means to a safetensors file, atomically.
    ///
    /// # Errors
    /// A file that cannot be written, a failing device, or a refused step that no call has returned yet.
    fn save(&self, path: &Path) -> Result<()>;

    /// Restores a file of [`Optimizer::save`]: training continues as if it had not been interrupted.
    ///
    /// # Errors
    /// A file that is corrupt, or of another kind of optimizer or another model; numbers that are not finite; means of
    /// squares that are negative; a count above 2^53. Then nothing has changed.
    fn load(&mut self, path: &Path) -> Result<()>;
}
