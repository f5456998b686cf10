//! [`warm_up`]: everything that the first step would have to wait for.

use crate::error::Result;
use crate::nn::Module;
use crate::optim::Optimizer;
use crate::snapshot::Snapshot;
use crate::tensor::Tensor;
use rnn_runtime::Device;

/// Takes one training step on `loss`, then puts back parameters, optimizer and random draws as if it
/// had not been: the first real step finds every kernel compiled and every buffer allocated. The
/// compiled kernels are kept for the next run, see [`Device::save_pipelines`].
///
/// Zeros of the shapes to come will do for the data; which kernels run depends on shapes and settings
/// only. While it runs, parameters and optimizer state are in memory twice.
///
/// A program that only runs a model has nothing to put back: one forward pass, then
/// [`Device::save_pipelines`], do the same.
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
/// Whatever `loss`, its backward pass and the optimizer return, and a failing device.
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
        Ok(devices.iter().try_for_each(Device::synchronize)?)
    };
    let stepped = step();
    // Also after an error: the draws have moved on.
    let restored = before.restore(model, optimizer);
    devices.iter().for_each(Device::save_pipelines);
    stepped.and(restored)
}

/// The devices of a model; almost always one.
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
