//! The course of a run, thinned.

use serde::{Deserialize, Serialize};

/// The largest number of parts; then two neighbours become one.
const PARTS: usize = 128;
/// The largest number of scores that are kept.
const SCORES: usize = 256;

/// What the rules need of the course of a run. Its size does not grow with the number of steps. A trainer fills it; a loop
/// of your own calls [`History::step`] and [`History::score`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct History {
    /// The number of steps.
    pub steps: u64,
    /// The loss before the first step.
    pub first_loss: Option<f64>,
    /// Parts of the run of equal length, the last one shorter, at most 128.
    pub parts: Vec<Part>,
    /// The steps of each part.
    pub part_steps: u64,
    /// The number of steps whose gradient was clipped by its norm.
    pub clipped: u64,
    /// The bound of the gradient's norm.
    pub clip_norm: Option<f64>,
    /// The norm of the update over that of the parameters, after some steps: the first, second, fourth and so on.
    pub update_ratios: Vec<f64>,
    /// Validations; of more than 256, every second one stays.
    pub scores: Vec<Scored>,
    /// Of this many validations, the first is kept.
    thinned: u64,
    seen_scores: u64,
    /// Sum and number of the losses since the last score.
    since: (f64, u64),
}

/// Part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Part {
    /// The number of its steps.
    pub steps: u64,
    /// The mean loss.
    pub loss: f64,
    /// The mean norm of the gradients.
    pub grad_norm: f64,
}

/// A validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scored {
    /// The number of steps before it.
    pub step: u64,
    /// The name of the metric.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Whether a lower value is better.
    pub lower_is_better: bool,
    /// The value of a baseline that does not learn.
    pub baseline: Option<f64>,
    /// The mean loss of the steps since the validation before.
    pub loss: Option<f64>,
}

impl Default for History {
    fn default() -> Self {
        History {
            steps: 0,
            first_loss: None,
            parts: Vec::new(),
            part_steps: 1,
            clipped: 0,
            clip_norm: None,
            update_ratios: Vec::new(),
            scores: Vec::new(),
            thinned: 1,
            seen_scores: 0,
            since: (0.0, 0),
        }
    }
}

impl History {
    /// The history of a run that clips gradients by this norm, or not.
    pub fn new(clip_norm: Option<f64>) -> Self {
        History { clip_norm, ..History::default() }
    }

    /// Whether the update ratio of this step, counted from 1, belongs into the history.
    pub fn wants_ratio(step: u64) -> bool {
        step.is_power_of_two()
    }

    /// Adds a step with the loss before it and the norm of all gradients before clipping.
    pub fn step(&mut self, loss: f64, grad_norm: f64, update_ratio: Option<f64>) {
        self.steps += 1;
        self.first_loss.get_or_insert(loss);
        self.clipped += u64::from(self.clip_norm.is_some_and(|bound| grad_norm > bound));
        self.update_ratios.extend(update_ratio.filter(|ratio| ratio.is_finite()));
        self.since = (self.since.0 + loss, self.since.1 + 1);
        let full = self.parts.last().is_none_or(|part| part.steps >= self.part_steps);
        if full && self.parts.len() == PARTS {
            self.parts = self.parts.chunks(2).map(Part::join).collect();
            self.part_steps *= 2;
        }
        if full {
            self.parts.push(Part::default());
        }
        if let Some(part) = self.parts.last_mut() {
            *part = Part::join(&[*part, Part { steps: 1, loss, grad_norm }]);
        }
    }

    /// Adds a validation.
    pub fn score(&mut self, name: &str, value: f64, lower_is_better: bool, baseline: Option<f64>) {
        let (sum, count) = std::mem::take(&mut self.since);
        let loss = (count > 0).then(|| sum / count as f64);
        self.seen_scores += 1;
        if !(self.seen_scores - 1).is_multiple_of(self.thinned) {
            return;
        }
        if self.scores.len() == SCORES {
            let mut keep = false;
            self.scores.retain(|_| {
                keep = !keep;
                keep
            });
            self.thinned *= 2;
        }
        let (name, step) = (name.to_string(), self.steps);
        self.scores.push(Scored { step, name, value, lower_is_better, baseline, loss });
    }

    /// The best score.
    pub fn best(&self) -> Option<&Scored> {
        self.scores.iter().reduce(|best, score| if score.is_better_than(best) { score } else { best })
    }

    /// The mean loss of the last eighth of the run.
    pub fn last_loss(&self) -> Option<f64> {
        let count = self.parts.len().div_ceil(8);
        let last = Part::join(&self.parts[self.parts.len() - count..]);
        (last.steps > 0).then_some(last.loss)
    }

    /// Whether the run has clearly not learned: `None` if nothing says so or otherwise. A score with a baseline decides,
    /// else a loss of which a fifth is gone.
    pub fn is_stuck(&self) -> Option<bool> {
        if let Some((best, baseline)) = self.best().and_then(|best| Some((best, best.baseline?))) {
            // A tenth of the way from the baseline to a perfect score.
            return match best.lower_is_better {
                true if baseline > 0.0 => Some(best.value > 0.9 * baseline),
                true => Some(best.value >= baseline),
                false if baseline < 1.0 => Some(best.value < baseline + 0.1 * (1.0 - baseline)),
                false => Some(best.value <= baseline),
            };
        }
        let (first, last) = (self.first_loss?, self.last_loss()?);
        // Of a negative log-likelihood below 0 a share means nothing.
        if first <= 0.0 || self.steps < 2 {
            return None;
        }
        Some(last > 0.8 * first)
    }
}

impl Part {
    fn join(parts: &[Part]) -> Part {
        let steps: u64 = parts.iter().map(|part| part.steps).sum();
        let mean = |of: &dyn Fn(&Part) -> f64| {
            parts.iter().map(|part| of(part) * part.steps as f64).sum::<f64>() / steps.max(1) as f64
        };
        Part { steps, loss: mean(&|part| part.loss), grad_norm: mean(&|part| part.grad_norm) }
    }
}

impl Scored {
    /// Whether it is better than another one.
    pub fn is_better_than(&self, other: &Scored) -> bool {
        if self.lower_is_better { self.value < other.value } else { self.value > other.value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_stays_small_and_keeps_its_means() {
        let mut history = History { clip_norm: Some(1.0), ..History::default() };
        for step in 0..100_000 {
            history.step(f64::from(step), 2.0, History::wants_ratio(history.steps + 1).then_some(0.1));
            if step % 100 == 99 {
                history.score("mse", f64::from(step), true, None);
            }
        }
        assert_eq!((history.steps, history.clipped, history.update_ratios.len()), (100_000, 100_000, 17));
        assert!(history.parts.len() <= PARTS && history.scores.len() <= SCORES);
        assert_eq!(history.parts.iter().map(|part| part.steps).sum::<u64>(), 100_000);
        let mean = Part::join(&history.parts);
        assert!((mean.loss - 49_999.5).abs() < 1e-6 && mean.grad_norm == 2.0, "{mean:?}");
        assert_eq!(history.first_loss, Some(0.0));
        assert!(history.last_loss().unwrap() > 87_000.0);
        let (first, second) = (&history.scores[0], &history.scores[1]);
        assert_eq!((first.step, first.loss), (100, Some(49.5)));
        assert!(second.step > first.step);
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
    }
}
