//! Optimizers: plain configurations, one driver, one small file per update rule.

mod adagrad;
mod adam;
mod driver;
mod rmsprop;
mod sgd;
mod shape;
mod state;

pub use adagrad::{AdaGrad, AdaGradConfig};
pub use adam::{Adam, AdamConfig, AdamW, AdamWConfig};
pub use driver::ParamGroup;
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use sgd::{Sgd, SgdConfig};
pub use state::OptimizerState;
pub(crate) use state::move_arrays;

use crate::autograd::Gradients;
use crate::error::Result;
use std::path::Path;

/// Changes parameters so that the objective falls.
pub trait Optimizer {
    /// One step along `gradients`. Parameters without a gradient are skipped, gradients of other
    /// parameters ignored. Waits for the device, to learn whether the gradients are finite.
    ///
    /// # Errors
    /// [`Error::NonFinite`](crate::Error::NonFinite) names the parameters whose gradients are
    /// infinite or not a number; [`Error::Config`](crate::Error::Config) refuses a learning rate
    /// that is negative or not finite. In both cases nothing has changed. Or a failing device.
    fn step(&mut self, gradients: &Gradients) -> Result<()>;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Another learning rate from the next step on; schedules call it before every step.
    fn set_lr(&mut self, lr: f64);

    /// Steps taken.
    fn steps(&self) -> u64;

    /// Learning rate, step counts and running means at this moment. Cheap: later steps do not change
    /// them, so this is also a snapshot.
    fn state_dict(&self) -> OptimizerState;

    /// Continues from what [`Optimizer::state_dict`] gave, of this optimizer or of one made the same
    /// way, on any device.
    ///
    /// # Errors
    /// The state of another kind of optimizer or another model
    /// ([`Error::StateDict`](crate::Error::StateDict)), or a failing device; then nothing has changed.
    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()>;

    /// Writes learning rate, step counts and running means to a safetensors file, atomically.
    ///
    /// # Errors
    /// A file that cannot be written, or a failing device.
    fn save(&self, path: &Path) -> Result<()>;

    /// Restores what [`Optimizer::save`] wrote: training goes on as if it had not been interrupted.
    ///
    /// # Errors
    /// A file that is corrupt, of another kind of optimizer or another model; then nothing has
    /// changed.
    fn load(&mut self, path: &Path) -> Result<()>;
}
