//! [`Ledger`]: the counts of an optimizer, and the steps whose outcome the host does not know yet.
//!
//! A GPU checks itself whether gradients are finite, and a step along others writes nothing. So a step is counted when it
//! is enqueued, and the count is taken back if the step turns out to have been refused. A gate on the device then keeps
//! the later steps that are under way from writing, too: parameters and state are those before the refused step, to the
//! bit, whenever the host learns of it.

use crate::error::Result;
use crate::optim::loss_scale::LossScaleState;
use crate::optim::rule::Rule;
use rnn_runtime::Array;
use rnn_runtime::ops::optim::{NormOutcome, NormReading};
use std::collections::VecDeque;

/// Most steps under way. One more waits for the older half of them, so that a program that never reads a result does not fill
/// the memory with commands, and the device does not run out of them.
const MOST_UNDER_WAY: usize = 16;

/// Counts of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) steps: u64,
    /// Product of [`Rule::momentum`] over the steps taken; 1 for a rule without.
    pub(super) momenta: f64,
}

impl Count {
    pub(super) const ZERO: Count = Count { steps: 0, momenta: 1.0 };

    /// The counts after one more step.
    pub(super) fn next(self, rule: &impl Rule) -> Count {
        let steps = self.steps + 1;
        Count { steps, momenta: self.momenta * rule.momentum(steps) }
    }
}

/// Gradients that are not finite.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// Number of the step.
    pub(super) step: u64,
    /// Numbers of the parameters.
    pub(super) slots: Vec<usize>,
}

/// An outcome; waits for the device unless it has arrived.
pub(super) fn known(outcome: &mut NormReading) -> Result<NormOutcome> {
    match outcome.poll()? {
        Some(outcome) => Ok(outcome),
        None => Ok(outcome.wait()?),
    }
}

/// A step under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// Its number.
    pub(super) step: u64,
    pub(super) outcome: NormReading,
    /// The parameters of the step, and their counts before it.
    pub(super) before: Vec<(usize, Count)>,
}

/// The counts of an optimizer.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Steps taken, with those under way.
    pub(super) steps: u64,
    /// One per parameter.
    pub(super) counts: Vec<Count>,
    /// With a dynamic loss scale: the number of good steps in a row after which it grows, and its state.
    pub(super) dynamic: Option<(u32, LossScaleState)>,
    pub(super) grad_norm: Option<f32>,
    /// `[1]`, on the device; see `gated_grad_norm`
    pub(super) gate: Array,
    under_way: VecDeque<UnderWay>,
    refused: Option<Refused>,
}

impl Ledger {
    pub(super) fn new(parameters: usize, gate: Array, dynamic: Option<(u32, LossScaleState)>) -> Self {
        Ledger {
            steps: 0,
            counts: vec![Count::ZERO; parameters],
            dynamic,
            grad_norm: None,
            gate,
            under_way: VecDeque::new(),
            refused: None,
        }
    }

    /// Whether there are steps whose outcome is not known.
    pub(super) fn has_steps_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Learns the outcomes that have arrived. If `patient` it waits for all, and if too many are under way for half of them.
    pub(super) fn learn(&mut self, patient: bool) -> Result<()> {
        let may_stay = match (patient, self.under_way.len() < MOST_UNDER_WAY) {
            (true, _) => 0,
            (false, true) => MOST_UNDER_WAY,
            (false, false) => MOST_UNDER_WAY / 2,
        };
        // The device works in order, so one wait for the last of them is enough.
        if let Some(last) = self.under_way.len().checked_sub(may_stay + 1) {
            known(&mut self.under_way[last].outcome)?;
        }
        while !self.under_way.is_empty() {
            let waits = self.under_way.len() > may_stay;
            let Some(first) = self.under_way.front_mut() else { break };
            let outcome = match waits {
                true => known(&mut first.outcome)?,
                false => match first.outcome.poll()? {
                    Some(outcome) => outcome,
                    None => break,
                },
            };
            if let Some(step) = self.under_way.pop_front() {
                self.close(step, &outcome)?;
            }
        }
        Ok(())
    }

    /// Counts a step whose outcome is not known.
    pub(super) fn add(&mut self, step: UnderWay) {
        self.under_way.push_back(step);
    }

    /// Takes a counted step back that was not made.
    pub(super) fn take_back(&mut self, before: Vec<(usize, Count)>) {
        self.steps -= 1;
        before.into_iter().for_each(|(slot, count)| self.counts[slot] = count);
    }

    /// The first step that was refused since the last call.
    pub(super) fn take_refused(&mut self) -> Option<Refused> {
        self.refused.take()
    }

    pub(super) fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Forgets the steps under way, because another state replaces theirs.
    pub(super) fn forget(&mut self) -> Result<()> {
        (self.refused, self.grad_norm) = (None, None);
        if self.has_steps_under_way() {
            self.under_way.clear();
            self.open_gate()?;
        }
        Ok(())
    }

    /// Takes the outcome of a step into account. Returns whether its gradients were finite.
    pub(super) fn judge(&mut self, step: u64, chosen: &[usize], outcome: &NormOutcome) -> bool {
        self.grad_norm = Some(outcome.summary.norm);
        let finite = outcome.summary.finite;
        let mut skips = false;
        match &mut self.dynamic {
            Some((interval, state)) if finite => state.grow(*interval),
            Some((_, state)) => skips = state.back_off(),
            None => {}
        }
        if !finite && !skips {
            let bad = chosen.iter().zip(&outcome.norms).filter(|(_, norm)| !norm.is_finite());
            self.refused = Some(Refused { step, slots: bad.map(|(&slot, _)| slot).collect() });
        } else if !finite {
            tracing::debug!(step, "gradients are not finite: step skipped, loss scale halved");
        }
        finite
    }

    fn close(&mut self, step: UnderWay, outcome: &NormOutcome) -> Result<()> {
        let chosen: Vec<usize> = step.before.iter().map(|&(slot, _)| slot).collect();
        if self.judge(step.step, &chosen, outcome) {
            return Ok(());
        }
        // The steps after it found the gate closed.
        let later = std::mem::take(&mut self.under_way);
        for (slot, count) in later.iter().rev().chain([&step]).flat_map(|step| &step.before) {
            self.counts[*slot] = *count;
        }
        self.steps = step.step - 1;
        self.open_gate()
    }

    fn open_gate(&mut self) -> Result<()> {
        self.gate = Array::from_f32(self.gate.device(), &[0.0], &[1])?;
        Ok(())
    }
}
