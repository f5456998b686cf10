//! How forecasts are combined, by their errors on steps that none of them was fitted on.

/// Forecasts with a smaller weight are left out.
const NEGLIGIBLE: f64 = 0.01;

/// Mean squared error; infinite where it is not a number.
pub(crate) fn mse(forecast: &[f64], truth: &[f64]) -> f64 {
    let sum: f64 = forecast.iter().zip(truth).map(|(forecast, truth)| (truth - forecast).powi(2)).sum();
    let mean = sum / truth.len() as f64;
    if mean.is_nan() { f64::INFINITY } else { mean }
}

/// Weights in inverse proportion to the squares of the mean squared errors (Bates and Granger 1969, with k = 2). They
/// sum to 1. Weights by least squares would have a smaller error on the same steps, but not on others: there are more
/// forecasts than the folds can tell apart.
pub(crate) fn weights(errors: &[f64]) -> Vec<f64> {
    let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
    // A forecast without error has all the weight; 0 / 0 would not be a number.
    let of = |&error: &f64| if error == least { 1.0 } else { (least / error).powi(2) };
    let weights = normalised(errors.iter().map(of).collect());
    normalised(weights.into_iter().map(|weight| if weight < NEGLIGIBLE { 0.0 } else { weight }).collect())
}

fn normalised(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// The weighted sum of forecasts. Those of weight 0 do not matter, even where they are infinite.
pub(crate) fn mix<'a>(weighted: impl IntoIterator<Item = (f64, &'a [f64])>, len: usize) -> Vec<f64> {
    let mut sum = vec![0.0; len];
    for (weight, forecast) in weighted.into_iter().filter(|(weight, _)| *weight > 0.0) {
        sum.iter_mut().zip(forecast).for_each(|(sum, value)| *sum += weight * value);
    }
    sum
}

/// How far to go from a base towards another forecast, from 0 to 1; both are `[N, K]`. It is the least-squares share less
/// two standard errors, because on few steps many forecasts look better by chance. The standard error does not assume
/// equal variances (White 1980), and forecasts of K steps overlap, so N origins count as N / K.
pub(crate) fn share(base: &[f64], other: &[f64], truth: &[f64], horizon: usize) -> f64 {
    let rows: Vec<(f64, f64)> = base
        .iter()
        .zip(other)
        .zip(truth)
        .map(|((&base, &other), &truth)| (other - base, truth - base))
        .collect();
    let square: f64 = rows.iter().map(|(step, _)| step * step).sum();
    let fitted = rows.iter().map(|(step, error)| step * error).sum::<f64>() / square;
    let slope = |(step, error): &(f64, f64)| step * (error - fitted.min(1.0) * step);
    let slopes: Vec<f64> = rows.chunks(horizon).map(|rows| rows.iter().map(slope).sum()).collect();
    let n = slopes.len() as f64;
    let variance = slopes.iter().map(|slope| slope * slope).sum::<f64>() * horizon as f64 * n / (n - 1.0);
    let share = fitted - 2.0 * variance.sqrt() / square;
    // Equal forecasts or a single origin give NaN.
    if share > 0.0 { share.min(1.0) } else { 0.0 }
}

/// By how many standard errors a forecast has smaller squared errors than a base; all are `[N, K]`. Forecasts of K steps
/// overlap, so N origins count as N / K. It is 0 where there is no difference, and for a single origin.
pub(crate) fn evidence(base: &[f64], other: &[f64], truth: &[f64], horizon: usize) -> f64 {
    let rows = base.iter().zip(other).zip(truth);
    let gain =
        |((base, other), truth): ((&f64, &f64), &f64)| (base - truth).powi(2) - (other - truth).powi(2);
    let gains: Vec<f64> = rows.map(gain).collect();
    let gains: Vec<f64> = gains.chunks(horizon).map(|gains| gains.iter().sum()).collect();
    let n = gains.len() as f64;
    let mean = gains.iter().sum::<f64>() / n;
    let variance = gains.iter().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let evidence = mean / (variance * horizon as f64 / n).sqrt();
    if evidence.is_nan() { 0.0 } else { evidence }
}

/// A forecast with what it said of the folds.
#[derive(Clone)]
pub(crate) struct Candidate<T> {
    pub(crate) of: T,
    /// `[N, K]`
    pub(crate) rolled: Vec<f64>,
    /// Mean squared error.
    pub(crate) error: f64,
}

impl<T> Candidate<T> {
    pub(crate) fn new(of: T, rolled: Vec<f64>, truth: &[f64]) -> Self {
        let error = mse(&rolled, truth);
        Candidate { of, rolled, error }
    }
}

/// Forecasts of one kind with their weights, without those of negligible weight.
pub(crate) struct Pool<T> {
    pub(crate) members: Vec<(f64, T)>,
    /// Their weighted sum in the folds, `[N, K]`.
    pub(crate) rolled: Vec<f64>,
}

impl<T> Pool<T> {
    /// Weighs candidates by their errors.
    pub(crate) fn new(candidates: Vec<Candidate<T>>, truth: &[f64]) -> Self {
        let errors: Vec<f64> = candidates.iter().map(|candidate| candidate.error).collect();
        let weights = weights(&errors);
        let lists = candidates.iter().map(|candidate| &candidate.rolled[..]);
        let rolled = mix(weights.iter().copied().zip(lists), truth.len());
        let members = weights.into_iter().zip(candidates).filter(|(weight, _)| *weight > 0.0);
        Pool { members: members.map(|(weight, candidate)| (weight, candidate.of)).collect(), rolled }
    }

    /// Gives this share to one candidate, in addition to what it has of the rest.
    pub(crate) fn beside(mut self, candidate: Candidate<T>, share: f64) -> Self {
        self.members.iter_mut().for_each(|(weight, _)| *weight *= 1.0 - share);
        self.members.push((share, candidate.of));
        self.rolled = mix([(1.0 - share, &self.rolled[..]), (share, &candidate.rolled)], self.rolled.len());
        self
    }
}
