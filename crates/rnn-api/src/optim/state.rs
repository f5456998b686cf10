//! [`OptimizerState`]: the state of an optimizer, as a value.

use crate::error::Result;
use crate::io;
use crate::optim::check::{count_problem, is_size};
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
    /// For Nadam the product of all momenta for each parameter. Absent in files of earlier versions.
    pub momentum_products: BTreeMap<String, f64>,
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
        let steps = self.parameter_steps.iter();
        let products = self.momentum_products.iter();
        steps
            .map(|(name, steps)| (format!("{STEPS}{name}"), steps.to_string()))
            .chain(products.map(|(name, product)| (format!("{PRODUCT}{name}"), product.to_string())))
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
        let names = metadata.keys().filter_map(|key| key.strip_prefix(STEPS));
        let parameter_steps =
            names.map(|name| (name.to_string(), number(&format!("{STEPS}{name}")))).collect();
        let scaled = metadata.contains_key("loss_scale");
        let counts = scaled.then(|| (number("loss_scale_good_steps"), number("skipped_steps")));
        let lr = metadata.get("lr").and_then(|text| text.parse().ok());
        if lr.is_none() {
            problems.push("metadata `lr` is missing or not a number".into());
        }
        let loss_scale = counts.map(|(good_steps, skipped)| {
            let scale = metadata.get("loss_scale").and_then(|text| text.parse().ok());
            let good_steps = u32::try_from(good_steps).ok();
            if scale.is_none() || good_steps.is_none() {
                problems.push("metadata `loss_scale` or `loss_scale_good_steps` is out of range".into());
            }
            LossScaleState { scale: scale.unwrap_or(1.0), good_steps: good_steps.unwrap_or(0), skipped }
        });
        let mut momentum_products = BTreeMap::new();
        for (key, text) in metadata {
            match (key.strip_prefix(PRODUCT), text.parse()) {
                (Some(name), Ok(product)) => drop(momentum_products.insert(name.to_string(), product)),
                (Some(_), Err(_)) => problems.push(format!("metadata `{key}` is not a number")),
                (None, _) => {}
            }
        }
        let optimizer = metadata.get("optimizer").cloned().unwrap_or_default();
        let (lr, arrays) = (lr.unwrap_or_default(), BTreeMap::new());
        let state =
            OptimizerState { optimizer, lr, steps, loss_scale, parameter_steps, momentum_products, arrays };
        (state, problems)
    }

    /// The numbers with which no optimizer can go on.
    pub(crate) fn number_problems(&self) -> Vec<String> {
        let counts = self.parameter_steps.iter().map(|(name, &steps)| (format!("{STEPS}{name}"), steps));
        let skipped = self.loss_scale.map(|scale| ("skipped_steps".to_string(), scale.skipped));
        let counts = counts.chain([("steps".to_string(), self.steps)]).chain(skipped);
        let mut problems: Vec<String> =
            counts.filter_map(|(name, count)| count_problem(&name, count)).collect();
        if !is_size(self.lr) {
            problems.push(format!("`lr` must be finite and not negative, in f32 too, got {}", self.lr));
        }
        problems.extend(self.loss_scale.and_then(|state| state.problem()));
        let products = self.momentum_products.iter().filter(|(_, product)| !(0.0..=1.0).contains(*product));
        problems.extend(
            products.map(|(name, product)| format!("`{PRODUCT}{name}` must be in [0, 1], got {product}")),
        );
        problems
    }
}

/// Prefixes of metadata keys; a parameter's name follows.
const STEPS: &str = "steps.";
const PRODUCT: &str = "momentum_product.";

/// States that are sums or means of squares.
const SQUARES: [&str; 4] = ["exp_avg_sq.", "square_avg.", "acc_delta.", "sum."];

/// The problem with the values of a state array from a file, if any: its name is that of the state and of the
/// parameter.
pub(crate) fn state_problem(name: &str, values: &[f32]) -> Option<String> {
    if let Some(problem) = io::not_finite(name, values) {
        return Some(problem);
    }
    let is_square = SQUARES.iter().any(|square| name.starts_with(square));
    let negative = values.iter().position(|&value| is_square && value < 0.0)?;
    Some(format!("`{name}` must not be negative, got {} at element {negative}", values[negative]))
}

/// The same arrays on another device.
pub(crate) fn move_arrays(
    arrays: &BTreeMap<String, Array>,
    device: &Device,
) -> Result<BTreeMap<String, Array>> {
    arrays.iter().map(|(name, array)| Ok((name.clone(), array.to_device(device)?))).collect()
}
