//! Sliding windows over sequences: inputs and the steps to predict.

use super::error::{Place, Problem};
use super::host::HostArray;
use super::reserve::room;
use super::sequence::{Missing, Sequence, check_features};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// The shape of a window: `window` input steps, then `gap` steps that are skipped, then `horizon` target steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WindowConfig {
    /// Input steps.
    pub window: usize,
    /// Target steps; 1 by default.
    pub horizon: usize,
    /// Steps between input and targets; 0 by default. A gap of 6 with a horizon of 1 predicts the value seven steps
    /// ahead.
    pub gap: usize,
    /// Stride: steps from one window to the next; 1 by default.
    pub stride: usize,
    /// The features to predict; all by default.
    pub targets: Option<Vec<usize>>,
    /// Whether to skip sequences that are too short for one window; by default they are an error.
    pub skip_short: bool,
    /// How the labels of its steps make the label of a window, in [`Windows::labelled`]; the most frequent one by default.
    #[serde(default)]
    pub label: WindowLabel,
}

/// How the labels of its steps make the label of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WindowLabel {
    /// The most frequent label; of equally frequent ones the one that ends later.
    #[default]
    Majority,
    /// The label of the last step.
    Last,
    /// The label that all steps have; other windows are left out.
    Unanimous,
}

impl WindowConfig {
    /// Windows of `window` steps that predict the next step.
    pub fn new(window: usize) -> Self {
        let (targets, skip_short, label) = (None, false, WindowLabel::default());
        WindowConfig { window, horizon: 1, gap: 0, stride: 1, targets, skip_short, label }
    }

    /// Sets the number of steps to predict.
    #[must_use]
    pub fn with_horizon(self, horizon: usize) -> Self {
        WindowConfig { horizon, ..self }
    }

    /// Sets the number of steps between input and targets.
    #[must_use]
    pub fn with_gap(self, gap: usize) -> Self {
        WindowConfig { gap, ..self }
    }

    /// Sets the stride, the number of steps from one window to the next.
    #[must_use]
    pub fn with_stride(self, stride: usize) -> Self {
        WindowConfig { stride, ..self }
    }

    /// Sets the features to predict.
    #[must_use]
    pub fn with_targets(self, features: impl Into<Vec<usize>>) -> Self {
        WindowConfig { targets: Some(features.into()), ..self }
    }

    /// Skips sequences that are too short.
    #[must_use]
    pub fn with_skip_short(self, skip_short: bool) -> Self {
        WindowConfig { skip_short, ..self }
    }

    /// Sets how the labels of its steps make the label of a window.
    #[must_use]
    pub fn with_label(self, label: WindowLabel) -> Self {
        WindowConfig { label, ..self }
    }

    /// The steps of a window with its targets.
    fn check(&self) -> Result<usize> {
        for (field, value) in [("window", self.window), ("horizon", self.horizon), ("stride", self.stride)] {
            if value == 0 {
                return Err(Error::config("WindowConfig", field, "at least 1", 0));
            }
        }
        let span = self.window.checked_add(self.gap).and_then(|n| n.checked_add(self.horizon));
        span.ok_or_else(|| {
            Error::config("WindowConfig", "window + gap + horizon", "a sensible size", "overflow")
        })
    }
}

/// All windows of some sequences. No window spans two sequences. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Windows {
    sequences: Arc<[Sequence]>,
    config: WindowConfig,
    targets: Vec<usize>,
    /// Sequence and first step of each window.
    origins: Arc<[(usize, usize)]>,
}

/// Some windows as a batch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WindowBatch {
    /// Inputs, `[window, B, features]`.
    pub x: HostArray<f32>,
    /// Targets, `[horizon, B, target features]`.
    pub y: HostArray<f32>,
}

impl Windows {
    /// Cuts all windows of the sequences.
    ///
    /// # Errors
    /// A size is 0; a target feature does not exist; the numbers of features differ; a value is missing; a sequence
    /// is too short and such sequences are not skipped; or there is no window at all.
    pub fn new(sequences: impl Into<Arc<[Sequence]>>, config: &WindowConfig) -> Result<Self> {
        let sequences = sequences.into();
        let ranges: Vec<Range<usize>> = sequences.iter().map(|sequence| 0..sequence.len()).collect();
        Self::cut(sequences, config, &ranges, config.check()?)
    }

    /// As [`Windows::new`], without steps for targets.
    pub(super) fn inputs(sequences: Vec<Sequence>, config: &WindowConfig) -> Result<Self> {
        config.check()?;
        let ranges: Vec<Range<usize>> = sequences.iter().map(|sequence| 0..sequence.len()).collect();
        Self::cut(sequences.into(), config, &ranges, config.window)
    }

    /// Only the windows of which `keep` is true, by sequence and first step.
    pub(super) fn filtered(self, mut keep: impl FnMut(usize, usize) -> bool) -> Result<Self> {
        let origins = self.origins.iter().copied();
        let origins: Arc<[_]> = origins.filter(|&(sequence, start)| keep(sequence, start)).collect();
        if origins.is_empty() {
            return Err(Problem::Empty { what: "the list of windows" }.at(Place::default()));
        }
        Ok(Windows { origins, ..self })
    }

    /// The windows of one sequence whose targets all lie in `range`, such as the test part of a chronological
    /// split. Inputs may lie before the range, because the past is known at the time of a prediction.
    ///
    /// # Errors
    /// As [`Windows::new`]; the range is empty; or it ends beyond the sequence.
    pub fn with_targets_in(sequence: Sequence, range: Range<usize>, config: &WindowConfig) -> Result<Self> {
        if range.start >= range.end || range.end > sequence.len() {
            let expected = format!("some of the {} steps", sequence.len());
            return Err(Error::value("Windows::with_targets_in", "range", expected, format!("{range:?}")));
        }
        let before = config.window.saturating_add(config.gap);
        let range = range.start.saturating_sub(before)..range.end;
        Self::cut(Arc::from([sequence]), config, std::slice::from_ref(&range), config.check()?)
    }

    /// Windows of `span` steps.
    fn cut(
        sequences: Arc<[Sequence]>,
        config: &WindowConfig,
        ranges: &[Range<usize>],
        span: usize,
    ) -> Result<Self> {
        let Some(features) = sequences.first().map(Sequence::features) else {
            return Err(Problem::Empty { what: "the list of sequences" }.at(Place::default()));
        };
        let targets = config.targets.clone().unwrap_or_else(|| (0..features).collect());
        check_features("WindowConfig::targets", &targets, features)?;
        let mut origins = Vec::new();
        for (index, (sequence, range)) in sequences.iter().zip(ranges).enumerate() {
            if sequence.features() != features {
                let (expected, got) = (features, sequence.features());
                return Err(Problem::Ragged { what: "features", expected, got }.at(Place::sequence(index)));
            }
            let named = |place| Place { sequence: Some(index), ..place };
            sequence.check(Missing::Error).map_err(|error| error.located(named))?;
            if range.len() >= span {
                let starts = (range.start..=range.end - span).step_by(config.stride);
                origins.extend(starts.map(|start| (index, start)));
            } else if !config.skip_short {
                let problem = Problem::TooShort { length: range.len(), needed: span };
                return Err(problem.at(Place::sequence(index)));
            }
        }
        if origins.is_empty() {
            return Err(Problem::Empty { what: "the list of windows" }.at(Place::default()));
        }
        Ok(Windows { sequences, config: config.clone(), targets, origins: origins.into() })
    }

    /// The number of windows, at least 1.
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// Always false.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The sequence and the first step of a window.
    pub fn origin(&self, window: usize) -> Option<(usize, usize)> {
        self.origins.get(window).copied()
    }

    /// A batch of these windows, in this order.
    ///
    /// # Errors
    /// No windows are given, a window does not exist, or the batch does not fit into memory.
    pub fn batch(&self, indices: &[usize]) -> Result<WindowBatch> {
        let x = self.input(indices)?;
        let WindowConfig { window, horizon, gap, .. } = self.config;
        let (batch, targets) = (indices.len(), self.targets.len());
        let mut y =
            room("Windows::batch", "the targets [horizon, B, features] =", &[horizon, batch, targets])?;
        for t in window + gap..window + gap + horizon {
            for &i in indices {
                y.extend(self.targets.iter().map(|&f| self.step(i, t)[f]));
            }
        }
        Ok(WindowBatch { x, y: HostArray::from_parts(y, &[horizon, batch, targets]) })
    }

    /// The inputs of these windows, `[window, B, features]`.
    pub(super) fn input(&self, indices: &[usize]) -> Result<HostArray<f32>> {
        check_features("Windows::batch", indices, self.len())?;
        let dims = [self.config.window, indices.len(), self.sequences[0].features()];
        let mut x = room("Windows::batch", "the inputs [window, B, features] =", &dims)?;
        for t in 0..self.config.window {
            indices.iter().for_each(|&i| x.extend_from_slice(self.step(i, t)));
        }
        Ok(HostArray::from_parts(x, &dims))
    }

    /// Step `t` of a window.
    fn step(&self, window: usize, t: usize) -> &[f32] {
        let (sequence, start) = self.origins[window];
        let features = self.sequences[sequence].features();
        let at = (start + t) * features;
        &self.sequences[sequence].values()[at..at + features]
    }

    /// All windows as one batch.
    ///
    /// # Errors
    /// The batch does not fit into memory.
    pub fn all(&self) -> Result<WindowBatch> {
        self.batch(&(0..self.len()).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rnn_testing::data::SplitMix64;

    /// Feature f of step t of sequence s is 1000 s + 10 t + f.
    fn counting(s: usize, steps: usize, features: usize) -> Sequence {
        let value = |k: usize| (1000 * s + 10 * (k / features) + k % features) as f32;
        Sequence::new((0..steps * features).map(value).collect(), features).unwrap()
    }

    #[test]
    fn inputs_gap_and_targets() {
        let config = WindowConfig::new(3).with_gap(1).with_horizon(2).with_targets([1]).with_stride(2);
        let windows = Windows::new(vec![counting(0, 8, 2), counting(1, 6, 2)], &config).unwrap();
        assert_eq!((windows.len(), windows.origin(1), windows.origin(2)), (3, Some((0, 2)), Some((1, 0))));
        let batch = windows.batch(&[2, 1]).unwrap();
        assert_eq!((batch.x.dims(), batch.y.dims()), (&[3, 2, 2][..], &[2, 2, 1][..]));
        let x = [1000.0, 1001.0, 20.0, 21.0, 1010.0, 1011.0, 30.0, 31.0, 1020.0, 1021.0, 40.0, 41.0];
        assert_eq!(batch.x.values(), x);
        assert_eq!(batch.y.values(), [1041.0, 61.0, 1051.0, 71.0]);
    }

    #[test]
    fn targets_in_a_range_use_the_past() {
        let config = WindowConfig::new(4).with_horizon(2);
        let windows = Windows::with_targets_in(counting(0, 20, 1), 10..15, &config).unwrap();
        let y = windows.all().unwrap().y;
        assert_eq!(y.values(), [100.0, 110.0, 120.0, 130.0, 110.0, 120.0, 130.0, 140.0]);
        assert_eq!(windows.all().unwrap().x.values()[..2], [60.0, 70.0]);
        // The first steps have no past, so they are not targets.
        let start = Windows::with_targets_in(counting(0, 20, 1), 0..7, &config).unwrap();
        assert_eq!(start.len(), 2);
        assert!(Windows::with_targets_in(counting(0, 20, 1), 18..21, &config).is_err());
    }

    #[test]
    fn every_window_is_where_it_should_be() {
        let mut rng = SplitMix64::new(4);
        for _ in 0..200 {
            let mut size = |n| 1 + rng.next_below(n);
            let config = WindowConfig::new(size(6)).with_horizon(size(4)).with_stride(size(5));
            let config = config.with_gap(size(4) - 1).with_skip_short(true);
            let features = size(3);
            let lengths: Vec<usize> = (0..size(4)).map(|_| size(30)).collect();
            let span = config.window + config.gap + config.horizon;
            let count = |n: &usize| if *n < span { 0 } else { (n - span) / config.stride + 1 };
            let expected: usize = lengths.iter().map(count).sum();
            let sequences: Vec<_> =
                lengths.iter().enumerate().map(|(s, &n)| counting(s, n, features)).collect();
            let Ok(windows) = Windows::new(sequences, &config) else {
                assert_eq!(expected, 0);
                continue;
            };
            assert_eq!(windows.len(), expected);
            for w in 0..windows.len() {
                let (s, start) = windows.origin(w).unwrap();
                let batch = windows.batch(&[w]).unwrap();
                let whole = counting(s, lengths[s], features);
                let x = whole.slice(start..start + config.window).unwrap();
                let first = start + config.window + config.gap;
                assert_eq!(batch.x.values(), x.values());
                assert_eq!(batch.y.values(), whole.slice(first..first + config.horizon).unwrap().values());
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let error = |sequences: Vec<Sequence>, config: &WindowConfig| {
            Windows::new(sequences, config).unwrap_err().to_string()
        };
        let config = WindowConfig::new(4).with_gap(2).with_horizon(2);
        let short = error(vec![counting(0, 8, 1), counting(0, 7, 1)], &config);
        assert_eq!(short, "sequence 1: a sequence of 7 steps is too short, 8 are needed");
        let none = error(vec![counting(0, 7, 1)], &config.clone().with_skip_short(true));
        assert_eq!(none, "the list of windows is empty");
        assert!(error(vec![], &config).contains("the list of sequences is empty"));
        assert!(
            error(vec![counting(0, 9, 1), counting(0, 9, 2)], &config).starts_with("sequence 1: expected 1")
        );
        let missing = Sequence::with_missing(vec![0.0, f32::NAN, 0.0], 1).unwrap();
        assert!(error(vec![missing], &WindowConfig::new(1)).starts_with("sequence 0, step 1, feature 0"));
        assert!(error(vec![counting(0, 9, 1)], &WindowConfig::new(0)).contains("window must be at least 1"));
        assert!(error(vec![counting(0, 9, 1)], &WindowConfig::new(usize::MAX)).contains("overflow"));
        assert!(error(vec![counting(0, 9, 1)], &config.clone().with_targets([1])).contains("below 1"));
        let windows = Windows::new(vec![counting(0, 9, 1)], &config).unwrap();
        assert!(windows.batch(&[]).is_err() && windows.batch(&[2]).is_err());
    }
}
