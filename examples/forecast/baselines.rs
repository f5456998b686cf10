//! A series to learn, and the best linear forecast to compare with.

use rnn_api::RngKey;

/// A slow and a fast season with varying amplitudes, and noise.
pub(crate) fn generated(steps: u32, seed: u64) -> Vec<f32> {
    let key = RngKey::new(seed).derive(0x7365_7269, 0);
    let value = |t: u32| {
        let x = t as f32;
        let slow = (x * 0.05).sin();
        slow + (1.0 + 0.5 * slow) * (x * 0.6).sin() + 0.2 * (key.uniform(t, 0) + key.uniform(t, 1) - 1.0)
    };
    (0..steps).map(value).collect()
}

/// Linear forecasts of `series[from..]`, `horizon` steps ahead: least squares on the last `order` known values and
/// a constant, fitted on the steps before `from`.
pub(crate) fn autoregression(series: &[f32], from: usize, order: usize, horizon: usize) -> Vec<f32> {
    let n = order + 1;
    let inputs = |t: usize| -> Vec<f64> {
        let past = (0..order).map(|lag| f64::from(series[t - horizon - lag]));
        past.chain([1.0]).collect()
    };
    let first = order + horizon - 1;
    // Normal equations [n, n + 1], with a small ridge in case the inputs are linearly dependent.
    let mut rows = vec![vec![0.0; n + 1]; n];
    for (i, row) in rows.iter_mut().enumerate() {
        row[i] = 1e-9;
    }
    for t in first..from {
        let x = inputs(t);
        for i in 0..n {
            for j in 0..n {
                rows[i][j] += x[i] * x[j];
            }
            rows[i][n] += x[i] * f64::from(series[t]);
        }
    }
    // Gauss-Jordan elimination; the matrix is positive definite.
    for pivot in 0..n {
        let of = rows[pivot].clone();
        for (i, row) in rows.iter_mut().enumerate() {
            let factor = row[pivot] / of[pivot];
            for (value, other) in row.iter_mut().zip(&of) {
                *value = if i == pivot { *value / of[pivot] } else { *value - factor * other };
            }
        }
    }
    let forecast = |t: usize| {
        let terms = inputs(t).into_iter().zip(&rows).map(|(x, row)| x * row[n]);
        terms.sum::<f64>() as f32
    };
    (from..series.len()).map(forecast).collect()
}
