//! [`warm_up`]: compiles and allocates before the first training step.

use crate::error::Result;
use crate::nn::Module;
use crate::optim::Optimizer;
use crate::snapshot::Snapshot;
use crate::tensor::Tensor;
use rnn_runtime::Device;

/// Takes one training step on `loss`, then restores parameters, optimizer and random draws. The first real step
/// then finds every kernel compiled and every buffer allocated. Compiled kernels are kept for the next run, see
/// [`Device::save_pipelines`].
///
/// The data may be zeros of the right shapes, because only shapes and settings decide which kernels run. During the
/// call, parameters and optimizer state are in memory twice.
///
/// A program that only runs a model needs no restoring: one forward pass and [`Device::save_pipelines`] do the
/// same.
///
/// ```
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// let lstm = LstmConfig::new(3, 8).init(&device, 1)?;
/// let mut adam = AdamConfig::new(1e-2).init(&lstm)?;
/// let x = Tensor::zeros(&device, &[20, 4, 3])?; // [T, B, I]
/// warm_up(&lstm, &mut adam, || lstm.forward(&x, None)?.y.mean_all())?;
/// assert_eq!(adam.steps(), 0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The errors of `loss`, its backward pass and the optimizer, or the device fails.
pub fn warm_up(
    model: &(impl Module + ?Sized),
    optimizer: &mut (impl Optimizer + ?Sized),
    loss: impl FnOnce() -> Result<Tensor>,
) -> Result<()> {
    let before = Snapshot::in_place(model, optimizer);
    let devices = devices(model);
    let step = || {
        let loss = loss()?;
        optimizer.step(&loss.backward()?)?;
        optimizer.settle()?;
        Ok(devices.iter().try_for_each(Device::synchronize)?)
    };
    let stepped = step();
    // Restore after an error too, because the draws have advanced.
    let restored = before.restore(model, optimizer);
    devices.iter().for_each(Device::save_pipelines);
    stepped.and(restored)
}

/// The devices of a model; almost always only one.
fn devices(model: &(impl Module + ?Sized)) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for param in model.parameters() {
        let device = param.device();
        if !devices.iter().any(|known| known.same(&device)) {
            devices.push(device);
        }
    }
    devices
}
