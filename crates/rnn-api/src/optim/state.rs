//! [`OptimizerState`]: the state of an optimizer, as a value.

use crate::error::Result;
use crate::optim::loss_scale::LossScaleState;
use rnn_runtime::{Array, Device};
use std::collections::{BTreeMap, HashMap};

/// The state of an optimizer: learning rate, step counts, running means. It is a cheap snapshot: later steps
/// do not change it. The arrays are on the optimizer's device; see [`OptimizerState::to_device`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OptimizerState {
    /// Name of the optimizer's configuration, such as `AdamConfig`.
    pub optimizer: String,
    /// Learning rate.
    pub lr: f64,
    /// Steps taken.
    pub steps: u64,
    /// State of a dynamic loss scale.
    pub loss_scale: Option<LossScaleState>,
    /// Steps taken for each parameter: a step skips parameters without a gradient.
    pub parameter_steps: BTreeMap<String, u64>,
    /// Running means by name of the mean and of the parameter, such as `exp_avg.lstm.weight_ih_l0`.
    pub arrays: BTreeMap<String, Array>,
}

impl OptimizerState {
    /// The same state on another device. On [`Device::cpu`], it survives the loss of the GPU.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(OptimizerState { arrays: move_arrays(&self.arrays, device)?, ..self.clone() })
    }

    /// Everything except the arrays, for the metadata of a file.
    pub(crate) fn to_metadata(&self) -> HashMap<String, String> {
        let scale = self.loss_scale.iter().flat_map(|state| {
            [
                ("loss_scale".to_string(), state.scale.to_string()),
                ("loss_scale_good_steps".to_string(), state.good_steps.to_string()),
                ("skipped_steps".to_string(), state.skipped.to_string()),
            ]
        });
        let own = [
            ("optimizer".to_string(), self.optimizer.clone()),
            ("lr".to_string(), self.lr.to_string()),
            ("steps".to_string(), self.steps.to_string()),
        ];
        let parameters = self.parameter_steps.iter();
        parameters
            .map(|(name, steps)| (format!("steps.{name}"), steps.to_string()))
            .chain(own)
            .chain(scale)
            .collect()
    }

    /// Reads the output of [`OptimizerState::to_metadata`]; returns all problems as well.
    pub(crate) fn from_metadata(metadata: &HashMap<String, String>) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut number = |key: &str| match metadata.get(key).map(|text| text.parse::<u64>()) {
            Some(Ok(number)) => number,
            Some(Err(_)) => {
                problems.push(format!("metadata `{key}` is not a number"));
                0
            }
            None => {
                problems.push(format!("metadata `{key}` is missing"));
                0
            }
        };
        let steps = number("steps");
        let names = metadata.keys().filter_map(|key| key.strip_prefix("steps."));
        let parameter_steps =
            names.map(|name| (name.to_string(), number(&format!("steps.{name}")))).collect();
        let scaled = metadata.contains_key("loss_scale");
        let counts = scaled.then(|| (number("loss_scale_good_steps"), number("skipped_steps")));
        let lr = metadata.get("lr").and_then(|text| text.parse().ok());
        if lr.is_none() {
            problems.push("metadata `lr` is missing or not a number".into());
        }
        let loss_scale = counts.map(|(good_steps, skipped)| {
            let scale = metadata.get("loss_scale").and_then(|text| text.parse().ok());
            let scale = scale.filter(|scale: &f32| scale.is_normal() && *scale >= 1.0);
            let good_steps = u32::try_from(good_steps).ok();
            if scale.is_none() || good_steps.is_none() {
                problems.push("metadata `loss_scale` or `loss_scale_good_steps` is out of range".into());
            }
            LossScaleState { scale: scale.unwrap_or(1.0), good_steps: good_steps.unwrap_or(0), skipped }
        });
        let optimizer = metadata.get("optimizer").cloned().unwrap_or_default();
        let lr = lr.unwrap_or_default();
        let arrays = BTreeMap::new();
        (OptimizerState { optimizer, lr, steps, loss_scale, parameter_steps, arrays }, problems)
    }
}

/// The same arrays on another device.
pub(crate) fn move_arrays(
    arrays: &BTreeMap<String, Array>,
    device: &Device,
) -> Result<BTreeMap<String, Array>> {
    arrays.iter().map(|(name, array)| Ok((name.clone(), array.to_device(device)?))).collect()
}
