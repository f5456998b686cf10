//! Functions of whole rows of a `[rows, cols]` tensor: softmax, log-softmax, layer norm.

/// Softmax of every row of `x` `[rows, cols]`.
pub fn softmax(x: &[f64], cols: usize) -> Vec<f64> {
    log_softmax(x, cols).into_iter().map(f64::exp).collect()
}

/// `dx = y (dy - sum_c y dy)`, from the output `y`.
pub fn softmax_backward(y: &[f64], dy: &[f64], cols: usize) -> Vec<f64> {
    let mut dx = Vec::with_capacity(y.len());
    for (y, dy) in y.chunks_exact(cols).zip(dy.chunks_exact(cols)) {
        let dot: f64 = (0..cols).map(|c| y[c] * dy[c]).sum();
        dx.extend((0..cols).map(|c| y[c] * (dy[c] - dot)));
    }
    dx
}

/// `x - max - log sum exp(x - max)` of every row of `x` `[rows, cols]`.
pub fn log_softmax(x: &[f64], cols: usize) -> Vec<f64> {
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(cols) {
        let max = row.iter().fold(f64::NEG_INFINITY, |max, &v| max.max(v));
        let log_sum = row.iter().map(|v| (v - max).exp()).sum::<f64>().ln();
        y.extend(row.iter().map(|v| v - max - log_sum));
    }
    y
}

/// `dx = dy - exp(y) sum_c dy`, from the output `y`.
pub fn log_softmax_backward(y: &[f64], dy: &[f64], cols: usize) -> Vec<f64> {
    let mut dx = Vec::with_capacity(y.len());
    for (y, dy) in y.chunks_exact(cols).zip(dy.chunks_exact(cols)) {
        let sum: f64 = dy.iter().sum();
        dx.extend((0..cols).map(|c| dy[c] - y[c].exp() * sum));
    }
    dx
}

/// `gamma (x - mean) / sqrt(variance + eps) + beta` for every row of `x` `[rows, cols]`, with the
/// biased variance. `gamma` and `beta` are `[cols]` (Ba, Kiros, Hinton 2016).
pub fn layer_norm(x: &[f64], gamma: &[f64], beta: &[f64], eps: f64) -> Vec<f64> {
    let cols = gamma.len();
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(cols) {
        let (normal, _) = normalise(row, eps);
        y.extend((0..cols).map(|c| gamma[c] * normal[c] + beta[c]));
    }
    y
}

/// Gradients of [`layer_norm`].
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNormGrads {
    /// `[rows, cols]`
    pub dx: Vec<f64>,
    /// `[cols]`
    pub dgamma: Vec<f64>,
    /// `[cols]`
    pub dbeta: Vec<f64>,
}

/// With n the normalised row and g = gamma dy:
/// `dx = (g - mean(g) - n mean(g n)) / sqrt(variance + eps)`.
pub fn layer_norm_backward(x: &[f64], gamma: &[f64], eps: f64, dy: &[f64]) -> LayerNormGrads {
    let cols = gamma.len();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / cols as f64;
    let mut grads =
        LayerNormGrads { dx: Vec::with_capacity(x.len()), dgamma: vec![0.0; cols], dbeta: vec![0.0; cols] };
    for (row, dy) in x.chunks_exact(cols).zip(dy.chunks_exact(cols)) {
        let (normal, inverse_deviation) = normalise(row, eps);
        let g: Vec<f64> = (0..cols).map(|c| gamma[c] * dy[c]).collect();
        let g_normal: Vec<f64> = (0..cols).map(|c| g[c] * normal[c]).collect();
        let (mean_g, mean_g_normal) = (mean(&g), mean(&g_normal));
        for c in 0..cols {
            grads.dx.push((g[c] - mean_g - normal[c] * mean_g_normal) * inverse_deviation);
            grads.dgamma[c] += dy[c] * normal[c];
            grads.dbeta[c] += dy[c];
        }
    }
    grads
}

/// The row with mean 0 and variance 1, and `1 / sqrt(variance + eps)`.
fn normalise(row: &[f64], eps: f64) -> (Vec<f64>, f64) {
    let cols = row.len() as f64;
    let mean = row.iter().sum::<f64>() / cols;
    let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / cols;
    let inverse_deviation = 1.0 / (variance + eps).sqrt();
    (row.iter().map(|v| (v - mean) * inverse_deviation).collect(), inverse_deviation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{scaled, to_f64, uniform};
    use crate::gradcheck::{check_gradient, dot};

    const ROWS: usize = 3;
    const COLS: usize = 7;

    fn input() -> (Vec<f64>, Vec<f64>) {
        (to_f64(&scaled(1, ROWS * COLS, 3.0)), to_f64(&uniform(2, ROWS * COLS)))
    }

    #[test]
    fn softmax_gradients_match_central_differences() {
        let (x, dy) = input();
        let dx = softmax_backward(&softmax(&x, COLS), &dy, COLS);
        check_gradient("softmax", &x, &dx, |x| dot(&softmax(x, COLS), &dy));
        let dx = log_softmax_backward(&log_softmax(&x, COLS), &dy, COLS);
        check_gradient("log_softmax", &x, &dx, |x| dot(&log_softmax(x, COLS), &dy));
    }

    #[test]
    fn layer_norm_gradients_match_central_differences() {
        let (x, dy) = input();
        let (gamma, beta, eps) = (to_f64(&uniform(3, COLS)), to_f64(&uniform(4, COLS)), 1e-5);
        let grads = layer_norm_backward(&x, &gamma, eps, &dy);
        check_gradient("dx", &x, &grads.dx, |x| dot(&layer_norm(x, &gamma, &beta, eps), &dy));
        check_gradient("dgamma", &gamma, &grads.dgamma, |gamma| dot(&layer_norm(&x, gamma, &beta, eps), &dy));
        check_gradient("dbeta", &beta, &grads.dbeta, |beta| dot(&layer_norm(&x, &gamma, beta, eps), &dy));
    }

    #[test]
    fn softmax_of_huge_values_is_finite_and_sums_to_one() {
        let y = softmax(&[1000.0, 999.0, -1000.0, 5.0, 5.0, 5.0], 3);
        assert!(y.iter().all(|v| v.is_finite()));
        assert!((y[0] + y[1] + y[2] - 1.0).abs() < 1e-15);
        assert!((y[4] - 1.0 / 3.0).abs() < 1e-15);
    }
}
