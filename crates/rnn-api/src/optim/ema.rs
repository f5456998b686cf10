//! [`Ema`]: an exponential moving average of the weights.

use crate::error::{Error, Result};
use crate::io::{self, TensorFile};
use crate::nn::{Module, mismatches};
use crate::optim::check::{check, count_problem};
use crate::optim::state::move_arrays;
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::{Array, Device, Shape, ops};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

/// Settings of an [`Ema`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EmaConfig {
    /// Weight of the old average in an update, in `[0, 1)`.
    pub decay: f64,
    /// Whether update n, from 0, uses the decay `min(decay, (1 + n) / (10 + n))`, so that the average forgets
    /// the untrained weights sooner (TensorFlow's `num_updates`).
    pub warm_up: bool,
}

impl Default for EmaConfig {
    fn default() -> Self {
        EmaConfig::new(0.999)
    }
}

impl EmaConfig {
    /// This decay, which averages over about `1 / (1 - decay)` steps.
    pub fn new(decay: f64) -> Self {
        EmaConfig { decay, warm_up: false }
    }

    /// Whether early updates use a smaller decay.
    #[must_use]
    pub fn with_warm_up(mut self, warm_up: bool) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// An average of all parameters of `model`; it starts at their current values.
    ///
    /// # Errors
    /// A decay outside `[0, 1)`, a model without parameters or with a repeated parameter name, no memory.
    pub fn init(&self, model: &(impl Module + ?Sized)) -> Result<Ema> {
        const CONFIG: &str = "EmaConfig";
        check(CONFIG, "decay", self.decay, "in [0, 1)", (0.0..1.0).contains(&self.decay))?;
        let refuse = |expected: &str, got: String| {
            Err(Error::Config { config: CONFIG, field: "parameters", expected: expected.into(), got })
        };
        let (mut seen, mut names, mut slots) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (name, param) in model.named_parameters() {
            if !names.insert(name.clone()) {
                return refuse("of different names", format!("`{name}` twice"));
            }
            // Tied weights have one average.
            if seen.insert(param.id()) {
                // The average needs its own memory now; a shared array would be copied during the first step.
                let mean = ops::pointwise::affine(&param.array(), 1.0, 0.0)?;
                slots.push(Slot { name, mean, param });
            }
        }
        if slots.is_empty() {
            return refuse("at least one", "none".into());
        }
        Ok(Ema { config: self.clone(), slots, updates: 0, kept: None })
    }
}

struct Slot {
    name: String,
    param: Param,
    mean: Array,
}

/// An exponential moving average of the weights. It is smoother than the weights of any one step, and often
/// better on data outside the training set (Polyak and Juditsky 1992). Made by [`EmaConfig::init`].
///
/// ```
/// use rnn_api::optim::EmaConfig;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let lstm = LstmConfig::new(3, 8).init(&Device::cpu(), 1)?;
/// # let x = Tensor::ones(&Device::cpu(), &[5, 2, 3])?;
/// let mut adam = AdamConfig::new(1e-3).init(&lstm)?;
/// let mut ema = EmaConfig::new(0.99).init(&lstm)?;
/// for _ in 0..3 {
///     adam.step(&lstm.forward(&x, None)?.y.mean_all()?.backward()?)?;
///     ema.update()?;
/// }
/// let smooth = ema.averaged(|| no_grad(|| lstm.forward(&x, None)?.y.mean_all()?.item()))?;
/// # assert!(smooth.is_finite());
/// # Ok(()) }
/// ```
pub struct Ema {
    config: EmaConfig,
    slots: Vec<Slot>,
    updates: u64,
    /// The model's own weights while the averages are swapped in.
    kept: Option<Vec<Array>>,
}

impl Ema {
    /// Updates the average with the current weights: `mean += (1 - decay) (weight - mean)`. Call it after
    /// every optimizer step.
    ///
    /// # Errors
    /// Called between [`Ema::swap_in`] and [`Ema::swap_out`]; or a failing device.
    pub fn update(&mut self) -> Result<()> {
        self.expect_out("Ema::update")?;
        let n = self.updates as f64;
        let decay = self.config.decay;
        let decay = if self.config.warm_up { decay.min((1.0 + n) / (10.0 + n)) } else { decay };
        for Slot { param, mean, .. } in &mut self.slots {
            ops::optim::ema(mean, &param.array(), 1.0 - decay)?;
        }
        self.updates += 1;
        Ok(())
    }

    /// Number of updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Whether the model currently has the averages.
    pub fn is_swapped_in(&self) -> bool {
        self.kept.is_some()
    }

    /// Puts the averages into the model and keeps the model's own weights. No data is copied.
    ///
    /// # Errors
    /// The averages are swapped in already; or a failing device.
    pub fn swap_in(&mut self) -> Result<()> {
        self.expect_out("Ema::swap_in")?;
        let kept = self.slots.iter().map(|slot| slot.param.array()).collect();
        assign(&self.slots, |n| self.slots[n].mean.clone())?;
        self.kept = Some(kept);
        Ok(())
    }

    /// Puts the model's own weights back.
    ///
    /// # Errors
    /// The averages are not swapped in; or a failing device. The own weights are kept for another attempt then.
    pub fn swap_out(&mut self) -> Result<()> {
        let Some(kept) = &self.kept else {
            return Err(Error::value("Ema::swap_out", "self", "swapped in", "swapped out"));
        };
        assign(&self.slots, |n| kept[n].clone())?;
        self.kept = None;
        Ok(())
    }

    /// Runs `evaluate` while the model has the averages, and returns its result. The model's own weights are
    /// put back even if `evaluate` fails.
    ///
    /// # Errors
    /// As [`Ema::swap_in`], and the error of `evaluate`.
    pub fn averaged<R>(&mut self, evaluate: impl FnOnce() -> Result<R>) -> Result<R> {
        /// Puts the model's own weights back if `evaluate` panics.
        struct Guard<'a>(&'a mut Ema);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                if self.0.is_swapped_in()
                    && let Err(error) = self.0.swap_out()
                {
                    tracing::error!(%error, "the averaged weights could not be replaced by the model's own");
                }
            }
        }
        self.swap_in()?;
        let guard = Guard(self);
        let result = evaluate();
        guard.0.swap_out()?;
        result
    }

    /// Averages and number of updates at this moment. It is a cheap snapshot: later updates do not change it.
    pub fn state_dict(&self) -> EmaState {
        let arrays = self.slots.iter().map(|slot| (slot.name.clone(), slot.mean.clone()));
        EmaState { updates: self.updates, arrays: arrays.collect() }
    }

    /// Continues from the result of [`Ema::state_dict`], on any device.
    ///
    /// # Errors
    /// The state belongs to another model, or the averages are swapped in ([`Error::StateDict`]), or the
    /// device fails; then nothing has changed.
    pub fn load_state_dict(&mut self, state: &EmaState) -> Result<()> {
        let mut problems =
            self.problems(state.arrays.iter().map(|(name, array)| (name.as_str(), array.dims())));
        problems.extend(count_problem(UPDATES, state.updates));
        if !problems.is_empty() {
            return Err(Error::StateDict { problems });
        }
        // Uploads come first, because they can fail.
        let slots = self.slots.iter();
        let ready = slots.map(|slot| Ok(state.arrays[&slot.name].to_device(&slot.param.device())?));
        let ready = ready.collect::<Result<Vec<Array>>>()?;
        self.slots.iter_mut().zip(ready).for_each(|(slot, mean)| slot.mean = mean);
        self.updates = state.updates;
        Ok(())
    }

    /// Writes the averages, under the parameters' names, to a safetensors file, atomically. [`io::load`] can
    /// load this file into a model as its weights.
    ///
    /// # Errors
    /// A file that cannot be written, or a failing device.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let metadata = HashMap::from([(UPDATES.to_string(), self.updates.to_string())]);
        io::write(path.as_ref(), &self.state_dict().arrays, metadata)
    }

    /// Restores a file of [`Ema::save`].
    ///
    /// # Errors
    /// A file that is corrupt, belongs to another model or holds values that are not finite; then nothing has changed.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let file = TensorFile::read(path)?;
        let mut problems = self.problems(file.dims());
        problems.extend(self.slots.iter().filter_map(|slot| file.value_problem(&slot.name)));
        let updates = file.metadata.get(UPDATES).and_then(|text| text.parse().ok());
        match updates {
            Some(updates) => problems.extend(count_problem(UPDATES, updates)),
            None => problems.push(format!("metadata `{UPDATES}` is missing or not a number")),
        }
        let (Some(updates), true) = (updates, problems.is_empty()) else {
            return Err(Error::Checkpoint { path: path.to_path_buf(), problems });
        };
        let slots = self.slots.iter();
        let ready = slots.map(|slot| {
            let mean = file.upload(&slot.name, &slot.param.device())?;
            Ok((slot.name.clone(), mean.to_dtype(rnn_runtime::DType::F32)?.into_array()))
        });
        self.load_state_dict(&EmaState { updates, arrays: ready.collect::<Result<_>>()? })
    }

    fn problems<'a>(&self, dims: impl Iterator<Item = (&'a str, &'a [usize])>) -> Vec<String> {
        let own: Vec<(&str, &Shape)> =
            self.slots.iter().map(|slot| (slot.name.as_str(), slot.param.shape())).collect();
        let mut problems = mismatches(&own, dims);
        if self.is_swapped_in() {
            problems.push("the averages are swapped in; swap them out first".into());
        }
        problems
    }

    fn expect_out(&self, op: &'static str) -> Result<()> {
        if self.is_swapped_in() {
            return Err(Error::value(op, "self", "swapped out", "swapped in"));
        }
        Ok(())
    }
}

/// Metadata key of files.
const UPDATES: &str = "ema_updates";

fn assign(slots: &[Slot], value: impl Fn(usize) -> Array) -> Result<()> {
    Param::set_all(slots.iter().enumerate().map(|(n, slot)| (&slot.param, Tensor::from_array(value(n)))))
}

impl fmt::Debug for Ema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (decay, count, updates) = (self.config.decay, self.slots.len(), self.updates);
        write!(f, "Ema({count} parameters, decay {decay}, {updates} updates)")
    }
}

/// The state of an [`Ema`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmaState {
    /// Number of updates so far.
    pub updates: u64,
    /// The averages by name of the parameter.
    pub arrays: BTreeMap<String, Array>,
}

impl EmaState {
    /// The same state on another device. On [`Device::cpu`], it survives the loss of the GPU.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(EmaState { updates: self.updates, arrays: move_arrays(&self.arrays, device)? })
    }
}
