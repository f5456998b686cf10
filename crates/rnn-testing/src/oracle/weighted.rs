//! Losses as weighted sums of the costs of single elements. Elements of weight 0 are not read.

/// The cost of a prediction x for the target t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cost {
    /// `(x - t)^2`
    Squared,
    /// `|x - t|`
    Absolute,
    /// Huber 1964 with this delta.
    Huber(f64),
    /// `-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x))`
    BceWithLogits,
    /// Koenker and Bassett 1978 with this q.
    Quantile(f64),
}

impl Cost {
    /// The cost itself.
    pub fn of(self, x: f64, t: f64) -> f64 {
        let d = x - t;
        match self {
            Cost::Squared => d * d,
            Cost::Absolute => d.abs(),
            Cost::Huber(delta) if d.abs() <= delta => 0.5 * d * d,
            Cost::Huber(delta) => delta * (d.abs() - 0.5 * delta),
            Cost::BceWithLogits => x.max(0.0) - x * t + (-x.abs()).exp().ln_1p(),
            Cost::Quantile(q) => (q * -d).max((q - 1.0) * -d),
        }
    }

    /// The derivative with respect to x, 0 at a kink.
    pub fn slope(self, x: f64, t: f64) -> f64 {
        let d = x - t;
        match self {
            Cost::Squared => 2.0 * d,
            Cost::Absolute if d == 0.0 => 0.0,
            Cost::Absolute => d.signum(),
            Cost::Huber(delta) => d.clamp(-delta, delta),
            Cost::BceWithLogits => 1.0 / (1.0 + (-x).exp()) - t,
            Cost::Quantile(_) if d == 0.0 => 0.0,
            Cost::Quantile(q) if d < 0.0 => -q,
            Cost::Quantile(q) => 1.0 - q,
        }
    }
}

/// How costs are reduced to one number, as in the framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Mean over all elements that count.
    Mean,
    /// Mean over each sequence, then over all sequences.
    SequenceMean,
    /// The sum, divided by the number of sequences.
    BatchMean,
    /// The sum.
    Sum,
}

/// The weight of every element of `[T, B, inner]`, B = `lengths.len()`. Elements that are not `counted` are treated
/// as padding. Sequences without any element do not contribute to the mean over sequences.
pub fn weights(
    steps: usize,
    lengths: &[usize],
    inner: usize,
    counted: impl Fn(usize) -> bool,
    reduction: Reduction,
) -> Vec<f64> {
    let batch = lengths.len();
    let mut valid = vec![false; steps * batch * inner];
    for t in 0..steps {
        for b in 0..batch {
            for i in 0..inner {
                let at = (t * batch + b) * inner + i;
                valid[at] = t < lengths[b] && counted(at);
            }
        }
    }
    let sequence = |at: usize| at / inner % batch;
    let count = |b: usize| (0..valid.len()).filter(|&at| valid[at] && sequence(at) == b).count() as f64;
    let total: f64 = (0..batch).map(count).sum();
    let sequences = (0..batch).filter(|&b| count(b) > 0.0).count() as f64;
    let weight = |at: usize| match reduction {
        _ if !valid[at] => 0.0,
        Reduction::Mean => 1.0 / total,
        Reduction::SequenceMean => 1.0 / count(sequence(at)) / sequences,
        Reduction::BatchMean => 1.0 / batch as f64,
        Reduction::Sum => 1.0,
    };
    (0..valid.len()).map(weight).collect()
}

/// `sum_i w_i cost(x_i, t_i)`
pub fn elementwise(cost: Cost, x: &[f64], t: &[f64], w: &[f64]) -> f64 {
    (0..x.len()).filter(|&i| w[i] != 0.0).map(|i| w[i] * cost.of(x[i], t[i])).sum()
}

/// `dx_i = w_i slope(x_i, t_i)`
pub fn elementwise_backward(cost: Cost, x: &[f64], t: &[f64], w: &[f64]) -> Vec<f64> {
    (0..x.len()).map(|i| if w[i] == 0.0 { 0.0 } else { w[i] * cost.slope(x[i], t[i]) }).collect()
}

/// `sum_i w_i (ln v_i + (x_i - t_i)^2 / v_i) / 2` (Nix and Weigend 1994).
pub fn gaussian_nll(x: &[f64], t: &[f64], v: &[f64], w: &[f64]) -> f64 {
    let cost = |i: usize| 0.5 * (v[i].ln() + (x[i] - t[i]).powi(2) / v[i]);
    (0..x.len()).filter(|&i| w[i] != 0.0).map(|i| w[i] * cost(i)).sum()
}

/// dx, dv of [`gaussian_nll`]. The gradient by `ln v` is `v dv`.
pub fn gaussian_nll_backward(x: &[f64], t: &[f64], v: &[f64], w: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let dx = |i: usize| if w[i] == 0.0 { 0.0 } else { w[i] * (x[i] - t[i]) / v[i] };
    let dv = |i: usize| match w[i] {
        0.0 => 0.0,
        w => 0.5 * w * (1.0 / v[i] - ((x[i] - t[i]) / v[i]).powi(2)),
    };
    ((0..x.len()).map(dx).collect(), (0..x.len()).map(dv).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{in_range, scaled, to_f64};
    use crate::gradcheck::check_gradient;

    const REDUCTIONS: [Reduction; 4] =
        [Reduction::Mean, Reduction::SequenceMean, Reduction::BatchMean, Reduction::Sum];

    #[test]
    fn gradients_match_central_differences() {
        let (x, t) = (to_f64(&scaled(1, 24, 3.0)), to_f64(&in_range(2, 24, 0.0, 1.0)));
        let v = to_f64(&in_range(3, 24, 0.3, 3.0));
        for reduction in REDUCTIONS {
            let w = weights(4, &[2, 4, 1], 2, |_| true, reduction);
            let costs =
                [Cost::Squared, Cost::Absolute, Cost::Huber(0.7), Cost::BceWithLogits, Cost::Quantile(0.2)];
            for cost in costs {
                let dx = elementwise_backward(cost, &x, &t, &w);
                check_gradient(&format!("{cost:?}"), &x, &dx, |x| elementwise(cost, x, &t, &w));
            }
            let (dx, dv) = gaussian_nll_backward(&x, &t, &v, &w);
            check_gradient("dx", &x, &dx, |x| gaussian_nll(x, &t, &v, &w));
            check_gradient("dv", &v, &dv, |v| gaussian_nll(&x, &t, v, &w));
        }
    }

    #[test]
    fn weights_of_the_means_add_up_to_one() {
        for (reduction, want) in REDUCTIONS.into_iter().zip([1.0, 1.0, 14.0 / 3.0, 14.0]) {
            let w = weights(4, &[2, 4, 1], 2, |_| true, reduction);
            assert!((w.iter().sum::<f64>() - want).abs() < 1e-12, "{reduction:?}");
            // Step 2: only sequence 1 has not ended.
            let runs: Vec<bool> = w[12..18].iter().map(|&w| w != 0.0).collect();
            assert_eq!(runs, [false, false, true, true, false, false]);
        }
    }

    #[test]
    fn the_quantile_minimises_the_pinball_loss() {
        let t: Vec<f64> = (0..101).map(f64::from).collect();
        let loss = |x: f64| t.iter().map(|&t| Cost::Quantile(0.9).of(x, t)).sum::<f64>();
        let best = (0..101).map(f64::from).min_by(|a, b| loss(*a).total_cmp(&loss(*b)));
        assert_eq!(best, Some(90.0));
    }
}
