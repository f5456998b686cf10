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
    /// parameters. It waits for the device, because it must know whether the gradients are finite. With a
    /// dynamic [`LossScale`](crate::optim::LossScale), gradients that are not finite skip the step and lower
    /// the scale; [`Optimizer::skipped_steps`] counts such steps.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) names the parameters whose gradients are infinite or
    /// NaN; [`Error::Config`](crate::Error::Config) refuses a learning rate that is negative or not finite.
    /// In both cases nothing has changed. Or a failing device.
    fn step(&mut self, gradients: &Gradients) -> Result<()>;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Sets the learning rate from the next step on; schedules call it before every step.
    fn set_lr(&mut self, lr: f64);

    /// Steps taken.
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
    /// clipping by norm. It costs nothing, because the step has read it already. `None` before the first step.
    fn grad_norm(&self) -> Option<f32> {
        None
    }

    /// The settings that change what a step does, by name, except the learning rate. A resumed run compares them with
    /// those of its checkpoint.
    fn settings(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Learning rate, step counts, loss scale and running means at this moment. It is a cheap snapshot: later
    /// steps do not change it.
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
    /// A file that cannot be written, or a failing device.
    fn save(&self, path: &Path) -> Result<()>;

    /// Restores a file of [`Optimizer::save`]: training continues as if it had not been interrupted.
    ///
    /// # Errors
    /// A file that is corrupt, or of another kind of optimizer or another model; numbers that are not finite; means of
    /// squares that are negative; a count above 2^53. Then nothing has changed.
    fn load(&mut self, path: &Path) -> Result<()>;
}
