//! [`Curve`]: a value over the steps of a run in bounded memory.

use serde::{Deserialize, Serialize};

/// The values of neighbouring steps. In JSON they are a list, which is a third as long as an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Listed", into = "Listed")]
pub(super) struct Bucket {
    /// The first and the last step.
    pub(super) first: u64,
    pub(super) last: u64,
    /// The number of finite values, and of others.
    pub(super) count: u64,
    pub(super) bad: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

type Listed = (u64, u64, u64, u64, f64, f64, f64);

impl From<Listed> for Bucket {
    fn from((first, last, count, bad, sum, min, max): Listed) -> Self {
        Bucket { first, last, count, bad, sum, min, max }
    }
}

impl From<Bucket> for Listed {
    fn from(Bucket { first, last, count, bad, sum, min, max }: Bucket) -> Self {
        (first, last, count, bad, sum, min, max)
    }
}

impl Bucket {
    fn new(step: u64) -> Self {
        Bucket { first: step, last: step, count: 0, bad: 0, sum: 0.0, min: 0.0, max: 0.0 }
    }

    fn add(&mut self, step: u64, value: f64) {
        self.last = step;
        if !value.is_finite() {
            self.bad += 1;
            return;
        }
        (self.min, self.max) = match self.count {
            0 => (value, value),
            _ => (self.min.min(value), self.max.max(value)),
        };
        self.count += 1;
        self.sum += value;
    }

    fn join(&mut self, later: &Bucket) {
        self.last = later.last;
        self.bad += later.bad;
        if later.count == 0 {
            return;
        }
        (self.min, self.max) = match self.count {
            0 => (later.min, later.max),
            _ => (self.min.min(later.min), self.max.max(later.max)),
        };
        self.count += later.count;
        self.sum += later.sum;
    }

    /// The mean of the finite values.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.sum / self.count as f64).clamp(self.min, self.max))
    }

    /// The step at which a chart shows it.
    pub(super) fn middle(&self) -> f64 {
        (self.first as f64 + self.last as f64) / 2.0
    }
}

/// A value over the steps of a run. At most `limit` buckets hold it: when they are full, two neighbours become one and
/// every later bucket takes twice as many values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Curve {
    limit: usize,
    /// Values of a full bucket.
    width: u64,
    buckets: Vec<Bucket>,
    /// The last value and its step.
    last: Option<(u64, f64)>,
}

impl Curve {
    pub(super) fn new(limit: usize) -> Self {
        Curve { limit: limit.max(2), width: 1, buckets: Vec::new(), last: None }
    }

    pub(super) fn push(&mut self, step: u64, value: f64) {
        if value.is_finite() {
            self.last = Some((step, value));
        }
        match self.buckets.last_mut() {
            Some(bucket) if bucket.count + bucket.bad < self.width => bucket.add(step, value),
            _ => {
                if self.buckets.len() >= self.limit {
                    self.halve();
                }
                let mut bucket = Bucket::new(step);
                bucket.add(step, value);
                self.buckets.push(bucket);
            }
        }
    }

    fn halve(&mut self) {
        let pairs = self.buckets.chunks(2).map(|pair| {
            let mut joined = pair[0].clone();
            pair[1..].iter().for_each(|later| joined.join(later));
            joined
        });
        self.buckets = pairs.collect();
        self.width = self.width.saturating_mul(2);
    }

    pub(super) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The last finite value.
    pub(super) fn last(&self) -> Option<f64> {
        self.last.map(|(_, value)| value)
    }

    /// The numbers of values that are not finite, and of all.
    pub(super) fn counts(&self) -> (u64, u64) {
        let bad = self.buckets.iter().map(|bucket| bucket.bad).sum();
        (bad, self.buckets.iter().map(|bucket| bucket.count).sum::<u64>() + bad)
    }

    /// The mean over all finite values.
    pub(super) fn mean(&self) -> Option<f64> {
        let (bad, all) = self.counts();
        let sum: f64 = self.buckets.iter().map(|bucket| bucket.sum).sum();
        (all > bad).then(|| sum / (all - bad) as f64)
    }

    /// Removes what is later than this step; a bucket that goes on beyond it as a whole.
    pub(super) fn cut(&mut self, step: u64) {
        self.buckets.retain(|bucket| bucket.last <= step);
        let last = self.buckets.last().and_then(|bucket| Some((bucket.last, bucket.mean()?)));
        self.last = self.last.filter(|(at, _)| *at <= step).or(last);
    }

    /// Whether values of other programs, such as those of a file, make sense.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |bucket: &Bucket| {
            let finite = [bucket.sum, bucket.min, bucket.max].iter().all(|value| value.is_finite());
            finite && bucket.first <= bucket.last && bucket.min <= bucket.max
        };
        self.limit >= 2 && self.width >= 1 && self.buckets.iter().all(sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_steps_stay_few_and_exact_in_sum_and_extremes() {
        let mut curve = Curve::new(300);
        let value = |step: u64| ((step % 1013) as f64).mul_add(0.5, if step == 777_777 { 1e4 } else { 0.0 });
        (1..=1_000_000).for_each(|step| curve.push(step, value(step)));
        let buckets = curve.buckets();
        assert!((150..=300).contains(&buckets.len()), "{}", buckets.len());
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 1_000_000);
        let sum: f64 = (1..=1_000_000).map(value).sum();
        assert!((buckets.iter().map(|bucket| bucket.sum).sum::<f64>() - sum).abs() < 1e-3);
        let peak = buckets.iter().find(|bucket| bucket.max >= 1e4).unwrap();
        assert!((peak.first..=peak.last).contains(&777_777));
        // Nothing is between or in two of them.
        assert!(buckets.windows(2).all(|pair| pair[1].first == pair[0].last + 1));
        assert_eq!(curve.last(), Some(value(1_000_000)));
    }

    #[test]
    fn values_that_are_not_finite_are_counted_and_change_no_mean() {
        let mut curve = Curve::new(4);
        for (step, value) in [(1, 2.0), (2, f64::NAN), (3, 4.0), (4, f64::INFINITY), (5, 6.0), (6, f64::NAN)]
        {
            curve.push(step, value);
        }
        assert_eq!(curve.counts(), (3, 6));
        assert_eq!(curve.mean(), Some(4.0));
        assert_eq!(curve.last(), Some(6.0));
        assert!(curve.is_sound());
        let mut none = Curve::new(4);
        none.push(1, f64::NAN);
        assert_eq!((none.mean(), none.buckets()[0].mean()), (None, None));
    }

    #[test]
    fn a_cut_curve_goes_on_from_there() {
        let mut curve = Curve::new(8);
        (1..=6).for_each(|step| curve.push(step, step as f64));
        curve.cut(4);
        assert_eq!(curve.last(), Some(4.0));
        curve.push(5, 50.0);
        assert_eq!(curve.buckets().last().unwrap().max, 50.0);
        assert_eq!(curve.counts(), (0, 5));
    }
}
