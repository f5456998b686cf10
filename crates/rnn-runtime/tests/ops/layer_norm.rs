//! Layer normalisation.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use rnn_runtime::Device;
use rnn_runtime::ops::layer_norm::{layer_norm, layer_norm_backward};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{in_range, to_f64, uniform};
use rnn_testing::oracle::rows;
use rnn_testing::shapes::ROW_SHAPES;

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        layer_norm_matches_the_oracle,
        layer_norm_backward_matches_the_oracle,
        layer_norm_of_constant_rows_is_beta,
        layer_norm_gives_the_same_bits_twice,
        layer_norm_refuses_wrong_arguments,
    ]
}

const EPS: f32 = 1e-5;

fn layer_norm_matches_the_oracle(device: &Device) {
    for shape in ROW_SHAPES {
        let (rows, cols) = (shape.rows, shape.cols);
        let dims = [rows, cols];
        // A mean of 5 with deviations of 1: E[x^2] - E[x]^2 would lose two digits.
        let x = in_range(1, rows * cols, 3.0, 7.0);
        let (gamma, beta) = (uniform(2, cols), uniform(3, cols));
        let got = layer_norm(
            &array(device, &x, &dims),
            &array(device, &gamma, &[cols]),
            &array(device, &beta, &[cols]),
            EPS,
        )
        .unwrap();
        let (x, gamma, beta) = (to_f64(&x), to_f64(&gamma), to_f64(&beta));
        let want = rows::layer_norm(&x, &gamma, &beta, f64::from(EPS));
        // x - mean is off by an ulp of 7, 5e-7, divided by the deviation: with three columns it
        // can be small.
        check("y", &got.y, &want, &dims, Tolerance { abs: 1e-5, rel: 1e-5 });
        let mean: Vec<f64> = x.chunks(cols).map(|row| row.iter().sum::<f64>() / cols as f64).collect();
        check("mean", &got.mean, &mean, &[rows], Tolerance { abs: 0.0, rel: 1e-6 });
        let rstd: Vec<f64> = x
            .chunks(cols)
            .zip(&mean)
            .map(|(row, mean)| {
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / cols as f64;
                1.0 / (variance + f64::from(EPS)).sqrt()
            })
            .collect();
        check("rstd", &got.rstd, &rstd, &[rows], Tolerance { abs: 0.0, rel: 1e-5 });
    }
}

fn layer_norm_backward_matches_the_oracle(device: &Device) {
    for shape in ROW_SHAPES {
        let (rows, cols) = (shape.rows, shape.cols);
        let dims = [rows, cols];
        let x = in_range(4, rows * cols, -1.0, 2.0);
        let (gamma, beta, dy) = (uniform(5, cols), uniform(6, cols), uniform(7, rows * cols));
        let (x_array, gamma_array) = (array(device, &x, &dims), array(device, &gamma, &[cols]));
        let forward = layer_norm(&x_array, &gamma_array, &array(device, &beta, &[cols]), EPS).unwrap();
        let dy_array = array(device, &dy, &dims);
        let got =
            layer_norm_backward(&x_array, &gamma_array, &forward.mean, &forward.rstd, &dy_array).unwrap();
        let want = rows::layer_norm_backward(&to_f64(&x), &to_f64(&gamma), f64::from(EPS), &to_f64(&dy));
        // dx is what remains of two cancelling terms, times rstd (316 for a row of one element).
        let scale = if cols == 1 { 316.0 } else { 1.0 };
        check("dx", &got.dx, &want.dx, &dims, Tolerance { abs: 4e-6 * scale, rel: 2e-5 });
        let sums = Tolerance { abs: 4e-6 * (rows as f64).sqrt(), rel: 1e-5 };
        check("dgamma", &got.dgamma, &want.dgamma, &[cols], sums);
        check("dbeta", &got.dbeta, &want.dbeta, &[cols], sums);
    }
}

fn layer_norm_of_constant_rows_is_beta(device: &Device) {
    let beta = uniform(8, 65);
    let x = array(device, &[0.3; 2 * 65], &[2, 65]);
    let gamma = array(device, &[1.0; 65], &[65]);
    let y = values(&layer_norm(&x, &gamma, &array(device, &beta, &[65]), EPS).unwrap().y);
    for (got, want) in y.iter().zip(beta.iter().chain(&beta)) {
        // The mean may be off by an ulp of 0.3; rstd is 316.
        assert!((got - want).abs() < 3e-5, "{got} is not {want}");
    }
}

fn layer_norm_gives_the_same_bits_twice(device: &Device) {
    let x = array(device, &uniform(9, 300 * 257), &[300, 257]);
    let gamma = array(device, &uniform(10, 257), &[257]);
    let run = || {
        let forward = layer_norm(&x, &gamma, &gamma, EPS).unwrap();
        let grads = layer_norm_backward(&x, &gamma, &forward.mean, &forward.rstd, &forward.y).unwrap();
        [bits(&forward.y), bits(&grads.dx), bits(&grads.dgamma), bits(&grads.dbeta)]
    };
    assert_eq!(run(), run());
}

fn layer_norm_refuses_wrong_arguments(device: &Device) {
    let x = array(device, &[1.0; 6], &[2, 3]);
    let (two, three) = (array(device, &[1.0; 2], &[2]), array(device, &[1.0; 3], &[3]));
    refused(layer_norm(&x, &two, &three, EPS), &["layer_norm", "gamma must be [C] = [3]", "got [2]"]);
    refused(layer_norm(&x, &three, &two, EPS), &["layer_norm", "beta must be [C]"]);
    refused(layer_norm(&x, &three, &three, -1.0), &["layer_norm", "eps", "-1"]);
    refused(layer_norm(&x, &three, &three, f32::NAN), &["layer_norm", "eps", "NaN"]);
    let back = |mean, rstd, dy| layer_norm_backward(&x, &three, mean, rstd, dy);
    refused(back(&three, &two, &x), &["layer_norm_backward", "mean must be [rows] = [2]"]);
    refused(back(&two, &three, &x), &["layer_norm_backward", "rstd must be [rows]"]);
    refused(back(&two, &two, &three), &["layer_norm_backward", "dy must be"]);
}
