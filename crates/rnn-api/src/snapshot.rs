//! [`Snapshot`]: the state of a training run in host memory.

use crate::error::{Error, Result};
use crate::nn::{Module, draw_problems, mismatches};
use crate::optim::{Optimizer, OptimizerState, move_arrays};
use rnn_runtime::{Array, Device, Shape};
use std::collections::{BTreeMap, HashMap};

/// Parameters, optimizer state and positions of the random draws of a training run. It is in host memory, so it
/// outlives the GPU and can be restored on any device.
///
/// Recurrent states and the position in the data belong to the training loop, which has to keep them separately.
///
/// ```
/// use rnn_api::prelude::*;
/// # struct Model { lstm: Lstm, head: Linear }
/// # module!(Model { lstm, head });
/// # impl Model {
/// #     fn loss(&self, device: &Device, step: u64) -> rnn_api::Result<Tensor> {
/// #         let x = Tensor::full(device, &[5, 2, 3], step as f32 / 10.0)?;
/// #         let labels = Tensor::from_indices(device, &[0, 1], &[2])?;
/// #         self.head.forward(&self.lstm.forward(&x, None)?.last()?)?.cross_entropy(&labels)
/// #     }
/// # }
/// fn build(device: &Device) -> rnn_api::Result<(Model, Adam)> {
///     let lstm = LstmConfig::new(3, 8).init(device, 1)?;
///     let head = LinearConfig::new(8, 2).init(device, 2)?;
///     let model = Model { lstm, head };
///     let adam = AdamConfig::new(1e-2).init(&model)?;
///     Ok((model, adam))
/// }
///
/// /// Trains until `steps` or an error, with a snapshot every 10 steps.
/// fn train(device: &Device, steps: u64, last: &mut Option<Snapshot>) -> rnn_api::Result<Model> {
///     let (model, mut adam) = build(device)?;
///     if let Some(snapshot) = last {
///         snapshot.restore(&model, &mut adam)?;
///     }
///     while adam.steps() < steps {
///         if adam.steps() % 10 == 0 {
///             *last = Some(Snapshot::take(&model, &adam)?);
///         }
///         let loss = model.loss(device, adam.steps())?;
///         adam.step(&loss.backward()?)?;
///     }
///     Ok(model)
/// }
///
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// // let device = Device::auto()?;
/// let mut last = None;
/// let model = match train(&device, 25, &mut last) {
///     // The GPU is gone. Device::auto() would look for one again; the CPU is always there.
///     Err(error) if error.is_device_lost() => train(&Device::cpu(), 25, &mut last)?,
///     other => other?,
/// };
/// # assert_eq!(last.unwrap().steps(), 20);
/// # assert!(model.num_parameters() > 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    parameters: BTreeMap<String, Array>,
    draws: BTreeMap<String, u64>,
    optimizer: OptimizerState,
}

impl Snapshot {
    /// Copies everything to host memory, waiting for the device.
    ///
    /// # Errors
    /// The device fails; continue from an earlier snapshot then.
    pub fn take(model: &(impl Module + ?Sized), optimizer: &(impl Optimizer + ?Sized)) -> Result<Self> {
        Self::in_place(model, optimizer).to_device(&Device::cpu())
    }

    /// Takes a snapshot without copying: arrays stay on the device and share memory until a step changes them.
    pub(crate) fn in_place(model: &(impl Module + ?Sized), optimizer: &(impl Optimizer + ?Sized)) -> Self {
        Snapshot {
            parameters: model.state_dict(),
            draws: model.draw_positions(),
            optimizer: optimizer.state_dict(),
        }
    }

    /// Builds a snapshot from the parts of a checkpoint and the metadata of its optimizer.
    ///
    /// # Errors
    /// The metadata are incomplete.
    pub(crate) fn from_parts(
        parameters: BTreeMap<String, Array>,
        draws: BTreeMap<String, u64>,
        arrays: BTreeMap<String, Array>,
        metadata: &HashMap<String, String>,
    ) -> Result<Self> {
        let (optimizer, problems) = OptimizerState::from_metadata(metadata);
        if !problems.is_empty() {
            return Err(Error::StateDict { problems });
        }
        Ok(Snapshot { parameters, draws, optimizer: OptimizerState { arrays, ..optimizer } })
    }

    fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Snapshot {
            parameters: move_arrays(&self.parameters, device)?,
            draws: self.draws.clone(),
            optimizer: self.optimizer.to_device(device)?,
        })
    }

    /// Restores the snapshot into a model and an optimizer with the same configuration, on any device. On the same
    /// adapter the run continues bit for bit.
    ///
    /// # Errors
    /// The snapshot belongs to another model or another kind of optimizer ([`Error::StateDict`]); nothing is
    /// restored then. Or the device fails.
    pub fn restore(
        &self,
        model: &(impl Module + ?Sized),
        optimizer: &mut (impl Optimizer + ?Sized),
    ) -> Result<()> {
        let own = model.named_parameters();
        let shapes: Vec<(&str, &Shape)> = own.iter().map(|(name, p)| (name.as_str(), p.shape())).collect();
        let given = self.parameters.iter().map(|(name, array)| (name.as_str(), array.dims()));
        let mut problems = mismatches(&shapes, given);
        problems.extend(draw_problems(&model.draw_positions(), &self.draws));
        if !problems.is_empty() {
            return Err(Error::StateDict { problems });
        }
        // The optimizer checks its state itself, so restore it first; the rest has just been checked.
        optimizer.load_state_dict(&self.optimizer)?;
        model.load_state_dict(&self.parameters)?;
        model.set_draw_positions(&self.draws)
    }

    /// The number of optimizer steps before the snapshot.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps
    }

    /// The parameters by name, on the CPU.
    pub fn parameters(&self) -> &BTreeMap<String, Array> {
        &self.parameters
    }
}
