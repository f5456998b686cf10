//! States of an optimizer from elsewhere: what does not fit, and loading.

use crate::error::{Error, Result};
use crate::nn::mismatches;
use crate::optim::driver::Optim;
use crate::optim::ledger::Count;
use crate::optim::rule::Rule;
use crate::optim::slot::Slot;
use crate::optim::state::OptimizerState;
use rnn_runtime::{Array, Shape};
use std::collections::BTreeSet;
use std::sync::PoisonError;

impl<R: Rule> Optim<R> {
    /// Reasons why `state`, whose arrays have these names and shapes, does not belong to this optimizer.
    pub(super) fn problems<'a>(
        &self,
        state: &OptimizerState,
        dims: impl Iterator<Item = (&'a str, &'a [usize])>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let (wanted, got) = (R::CONFIG, &state.optimizer);
        if wanted != got {
            problems.push(format!("made by {got:?}, wanted {wanted:?}"));
        }
        match (&self.locked().dynamic, &state.loss_scale) {
            (Some(_), None) => problems.push("the dynamic loss scale is missing".into()),
            (None, Some(_)) => {
                problems.push("made with a dynamic loss scale, which this optimizer lacks".into())
            }
            _ => {}
        }
        problems.extend(state.number_problems());
        let missing = self.slots.iter().filter(|slot| !state.parameter_steps.contains_key(&slot.name));
        problems.extend(missing.map(|slot| format!("the steps of `{}` are missing", slot.name)));
        let own: BTreeSet<&str> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
        let unknown = state.parameter_steps.keys().filter(|name| !own.contains(name.as_str()));
        problems.extend(unknown.map(|name| format!("the steps of `{name}` are unknown")));
        let names = self.state_names();
        let own: Vec<(&str, &Shape)> = names.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
        problems.extend(mismatches(&own, dims));
        problems
    }

    /// Loads a state that passed [`Optim::problems`]. Uploads come first: if one fails, nothing has changed.
    pub(super) fn assign(&mut self, state: &OptimizerState) -> Result<()> {
        let mut ready = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let device = slot.param.device();
            let arrays = slot.state_names(&self.rule).map(|name| Ok(state.arrays[&name].to_device(&device)?));
            let steps = state.parameter_steps[&slot.name];
            let momenta = match state.momentum_products.get(&slot.name) {
                Some(&product) => product,
                None => momentum_product(&self.rule, steps)?,
            };
            ready.push((arrays.collect::<Result<Vec<Array>>>()?, Count { steps, momenta }));
        }
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        ledger.forget()?;
        for (n, (states, count)) in ready.into_iter().enumerate() {
            (self.slots[n].states, ledger.counts[n]) = (states, count);
        }
        if let (Some((_, own)), Some(loss_scale)) = (&mut ledger.dynamic, state.loss_scale) {
            *own = loss_scale;
        }
        (self.lr, ledger.steps) = (state.lr, state.steps);
        Ok(())
    }

    pub(super) fn state_names(&self) -> Vec<(String, &Shape)> {
        let slots = self.slots.iter();
        let named = |slot: &'_ Slot| slot.state_names(&self.rule).collect::<Vec<_>>();
        slots.flat_map(|slot| named(slot).into_iter().map(|name| (name, slot.param.shape()))).collect()
    }
}

/// The product of the momenta of `steps` steps, for states of earlier versions, which do not have it.
fn momentum_product<R: Rule>(rule: &R, steps: u64) -> Result<f64> {
    /// A product this small is 0 beside the 1 that it is subtracted from, so no step depends on it any more.
    const NEGLIGIBLE: f64 = 1e-40;
    /// Enough for every `beta1` up to 0.9999.
    const MAX_STEPS: u64 = 1 << 20;
    let mut product = 1.0;
    for step in (1..=steps).take_while(|_| R::MOMENTUM_PRODUCT) {
        if product < NEGLIGIBLE {
            break;
        }
        if step > MAX_STEPS {
            let problem =
                format!("`momentum_product` is missing, and {steps} steps are too many to compute it");
            return Err(Error::StateDict { problems: vec![problem] });
        }
        product *= rule.momentum(step);
    }
    Ok(product)
}
