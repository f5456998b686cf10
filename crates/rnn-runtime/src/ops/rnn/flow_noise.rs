//! What zoneout and dropout do to one direction of a pass, on the host.

use rnn_base::args::layer::Dims;
use rnn_base::args::recurrence::{Noise, RecurrenceDraws};
use rnn_base::rng::{RngKey, drop_threshold};
use rnn_kernels::cell::Regularization;

/// The factors of single values: those of the draws in training, else the rates.
pub(super) struct HostNoise {
    rates: Regularization,
    draws: Option<(RecurrenceDraws, RngKey)>,
    first_row: usize,
    /// P
    state: usize,
    /// H
    hidden: usize,
}

/// A value of a state: the step in the direction's own order, the row of the batch, and the unit.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) step: usize,
    pub(super) row: usize,
    pub(super) unit: usize,
}

impl HostNoise {
    /// Of direction `own` of the pass.
    pub(super) fn new(noise: &Noise, own: usize, dims: Dims) -> Self {
        let draws = noise.draws.map(|draws| (draws, draws.keys[own]));
        HostNoise { rates: noise.rates, draws, first_row: dims.first_row, state: dims.p, hidden: dims.h }
    }

    /// The share of h that keeps its old value.
    pub(super) fn zoned_h(&self, at: Spot) -> f64 {
        self.zoned::<0>(self.rates.zoneout_h, self.state, at)
    }

    /// The share of c that keeps its old value.
    pub(super) fn zoned_c(&self, at: Spot) -> f64 {
        self.zoned::<1>(self.rates.zoneout_c, self.hidden, at)
    }

    /// The factor of the candidate.
    pub(super) fn candidate(&self, at: Spot) -> f64 {
        let counter =
            |draws: &RecurrenceDraws| draws.candidate_counter(at.step, self.element(self.hidden, at));
        self.dropped(self.rates.candidate_dropout, counter)
    }

    /// The factor of h before the recurrent product, the same at all steps.
    pub(super) fn recurrent(&self, at: Spot) -> f64 {
        let counter = |draws: &RecurrenceDraws| draws.recurrent_counter(self.element(self.state, at));
        self.dropped(self.rates.recurrent_dropout, counter)
    }

    fn element(&self, width: usize, at: Spot) -> usize {
        (self.first_row + at.row) * width + at.unit
    }

    fn zoned<const WORD: usize>(&self, rate: f32, width: usize, at: Spot) -> f64 {
        match self.draws.filter(|_| rate > 0.0) {
            Some((draws, key)) => {
                let [step, element] = draws.zoneout_counter(at.step, self.element(width, at));
                f64::from(u8::from(key.pair(step, element)[WORD] >> 8 < drop_threshold(rate)))
            }
            None => rate.into(),
        }
    }

    fn dropped(&self, rate: f32, counter: impl Fn(&RecurrenceDraws) -> [u32; 2]) -> f64 {
        let Some((draws, key)) = self.draws.filter(|_| rate > 0.0) else { return 1.0 };
        let [step, element] = counter(&draws);
        if key.pair(step, element)[0] >> 8 < drop_threshold(rate) {
            0.0
        } else {
            1.0 / (1.0 - f64::from(rate))
        }
    }
}
