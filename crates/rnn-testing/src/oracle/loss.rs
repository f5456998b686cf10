//! Losses, all reduced by the mean as in PyTorch. The backward functions return the gradient of
//! the loss itself (cotangent 1).

use super::rows::log_softmax;

/// Options of [`cross_entropy`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy {
    /// C: classes, columns of the logits.
    pub classes: usize,
    /// The label of rows that are ignored in both sum and mean.
    pub ignore_index: Option<i64>,
    /// Label smoothing: the share of the target that is spread evenly over all classes (Szegedy 2016).
    pub label_smoothing: f64,
}

impl CrossEntropy {
    /// Plain cross entropy over `classes`.
    pub const fn new(classes: usize) -> Self {
        CrossEntropy { classes, ignore_index: None, label_smoothing: 0.0 }
    }

    fn counts(&self, label: i64) -> bool {
        self.ignore_index != Some(label)
    }

    /// The target distribution: `(1 - s) [c = label] + s / C`.
    #[track_caller]
    fn target(&self, label: i64, class: usize) -> f64 {
        assert!((0..self.classes as i64).contains(&label), "cross_entropy: label {label} is no class");
        let hit = f64::from(u8::from(label == class as i64));
        (1.0 - self.label_smoothing) * hit + self.label_smoothing / self.classes as f64
    }

    fn rows_that_count(&self, labels: &[i64]) -> f64 {
        labels.iter().filter(|&&label| self.counts(label)).count() as f64
    }

    /// Weight 1 / count for rows that count, 0 for others.
    fn mean(&self, labels: &[i64]) -> Vec<f64> {
        let count = self.rows_that_count(labels);
        labels.iter().map(|&label| if self.counts(label) { 1.0 / count } else { 0.0 }).collect()
    }
}

/// Mean of `-sum_c target_c log_softmax(logits)_c` over the rows that count; `logits` is `[rows, C]`, `labels`
/// `[rows]`. NaN if no row counts, as in PyTorch.
///
/// # Panics
/// A label that counts is not in `0..C`, or a length does not fit.
#[track_caller]
pub fn cross_entropy(options: &CrossEntropy, logits: &[f64], labels: &[i64]) -> f64 {
    if options.rows_that_count(labels) == 0.0 {
        return f64::NAN;
    }
    cross_entropy_weighted(options, logits, labels, &options.mean(labels))
}

/// `dlogits = (softmax(logits) - target) / rows that count`; zero in ignored rows.
///
/// # Panics
/// As [`cross_entropy`].
#[track_caller]
pub fn cross_entropy_backward(options: &CrossEntropy, logits: &[f64], labels: &[i64]) -> Vec<f64> {
    cross_entropy_weighted_backward(options, logits, labels, &options.mean(labels))
}

/// As [`cross_entropy`], with a weight for every row. Rows of weight 0 are not read.
///
/// # Panics
/// As [`cross_entropy`].
#[track_caller]
pub fn cross_entropy_weighted(
    options: &CrossEntropy,
    logits: &[f64],
    labels: &[i64],
    weights: &[f64],
) -> f64 {
    let classes = options.classes;
    assert_eq!(logits.len(), labels.len() * classes, "cross_entropy: logits must be [rows, C]");
    let log_p = log_softmax(logits, classes);
    let mut sum = 0.0;
    for (row, (&label, weight)) in labels.iter().zip(weights).enumerate() {
        if *weight != 0.0 {
            for c in 0..classes {
                sum -= weight * options.target(label, c) * log_p[row * classes + c];
            }
        }
    }
    sum
}

/// The gradient of [`cross_entropy_weighted`]: `dlogits = weight (softmax(logits) - target)`.
///
/// # Panics
/// As [`cross_entropy`].
#[track_caller]
pub fn cross_entropy_weighted_backward(
    options: &CrossEntropy,
    logits: &[f64],
    labels: &[i64],
    weights: &[f64],
) -> Vec<f64> {
    let classes = options.classes;
    assert_eq!(logits.len(), labels.len() * classes, "cross_entropy: logits must be [rows, C]");
    let log_p = log_softmax(logits, classes);
    let mut dlogits = vec![0.0; logits.len()];
    for (row, (&label, weight)) in labels.iter().zip(weights).enumerate() {
        if *weight != 0.0 {
            for c in 0..classes {
                let at = row * classes + c;
                dlogits[at] = weight * (log_p[at].exp() - options.target(label, c));
            }
        }
    }
    dlogits
}

/// Mean of `(x - target)^2`.
pub fn mse(x: &[f64], target: &[f64]) -> f64 {
    x.iter().zip(target).map(|(x, t)| (x - t).powi(2)).sum::<f64>() / x.len() as f64
}

/// `dx = 2 (x - target) / len`.
pub fn mse_backward(x: &[f64], target: &[f64]) -> Vec<f64> {
    let len = x.len() as f64;
    x.iter().zip(target).map(|(x, t)| 2.0 * (x - t) / len).collect()
}

/// Mean of `-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x))`, written so that no logit
/// overflows: `max(x, 0) - x t + log(1 + exp(-|x|))`.
pub fn bce_with_logits(x: &[f64], target: &[f64]) -> f64 {
    let loss = |x: f64, t: f64| x.max(0.0) - x * t + (-x.abs()).exp().ln_1p();
    x.iter().zip(target).map(|(&x, &t)| loss(x, t)).sum::<f64>() / x.len() as f64
}

/// `dx = (sigmoid(x) - target) / len`.
pub fn bce_with_logits_backward(x: &[f64], target: &[f64]) -> Vec<f64> {
    let len = x.len() as f64;
    x.iter().zip(target).map(|(x, t)| (1.0 / (1.0 + (-x).exp()) - t) / len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{in_range, scaled, to_f64};
    use crate::gradcheck::check_gradient;

    #[test]
    fn cross_entropy_gradients_match_central_differences() {
        let logits = to_f64(&scaled(1, 5 * 4, 3.0));
        let labels = [0, 3, 1, 3, 2];
        for ignore_index in [None, Some(3)] {
            for label_smoothing in [0.0, 0.2] {
                let options = CrossEntropy { classes: 4, ignore_index, label_smoothing };
                let dlogits = cross_entropy_backward(&options, &logits, &labels);
                check_gradient(&format!("{options:?}"), &logits, &dlogits, |logits| {
                    cross_entropy(&options, logits, &labels)
                });
                if ignore_index.is_some() {
                    assert_eq!(dlogits[4..8], [0.0; 4]);
                }
            }
        }
    }

    #[test]
    fn cross_entropy_of_equal_logits_is_the_log_of_the_classes() {
        let loss = cross_entropy(&CrossEntropy::new(4), &[2.0; 12], &[0, 1, 3]);
        assert!((loss - 4.0f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn ignored_labels_need_not_be_classes() {
        let options = CrossEntropy { ignore_index: Some(-100), ..CrossEntropy::new(2) };
        let kept = cross_entropy(&CrossEntropy::new(2), &[1.0, -1.0], &[1]);
        assert_eq!(cross_entropy(&options, &[1.0, -1.0, 5.0, 9.0], &[1, -100]), kept);
        assert!(cross_entropy(&options, &[1.0, -1.0], &[-100]).is_nan());
    }

    #[test]
    fn regression_gradients_match_central_differences() {
        let x = to_f64(&scaled(2, 21, 3.0));
        let target = to_f64(&in_range(3, 21, 0.0, 1.0));
        check_gradient("mse", &x, &mse_backward(&x, &target), |x| mse(x, &target));
        let dx = bce_with_logits_backward(&x, &target);
        check_gradient("bce_with_logits", &x, &dx, |x| bce_with_logits(x, &target));
    }

    #[test]
    fn bce_of_huge_logits_is_finite() {
        assert_eq!(bce_with_logits(&[1000.0, -1000.0], &[1.0, 1.0]), 500.0);
    }
}
