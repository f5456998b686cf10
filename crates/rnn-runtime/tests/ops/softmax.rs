//! Softmax and log-softmax.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use rnn_runtime::Device;
use rnn_runtime::ops::softmax;
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{scaled, to_f64, uniform};
use rnn_testing::oracle::rows;
use rnn_testing::shapes::ROW_SHAPES;

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        softmax_matches_the_oracle,
        softmax_backward_matches_the_oracle,
        softmax_survives_huge_values_and_masks,
        softmax_keeps_nan_in_its_row,
        softmax_of_many_rows,
        softmax_refuses_mixed_shapes,
    ]
}

/// Arguments of exp reach -20 here, where WGSL allows an error of 43 ulp on the small results.
const SOFTMAX: Tolerance = Tolerance { abs: 2e-7, rel: 6e-6 };

/// Differences of numbers up to 20.
const LOG_SOFTMAX: Tolerance = Tolerance { abs: 4e-6, rel: 1e-6 };

fn softmax_matches_the_oracle(device: &Device) {
    for shape in ROW_SHAPES {
        let dims = [shape.rows, shape.cols];
        let x = scaled(1, shape.rows * shape.cols, 10.0);
        let x_array = array(device, &x, &dims);
        let want = rows::softmax(&to_f64(&x), shape.cols);
        check("softmax", &softmax::softmax(&x_array).unwrap(), &want, &dims, SOFTMAX);
        let want = rows::log_softmax(&to_f64(&x), shape.cols);
        check("log_softmax", &softmax::log_softmax(&x_array).unwrap(), &want, &dims, LOG_SOFTMAX);
    }
    let x = array(device, &scaled(2, 30, 3.0), &[2, 3, 5]);
    let flat = x.reshape(&[6, 5]).unwrap();
    let (y, y_flat) = (softmax::softmax(&x).unwrap(), softmax::softmax(&flat).unwrap());
    assert_eq!((y.dims(), bits(&y)), (&[2, 3, 5][..], bits(&y_flat)));
    assert_eq!(values(&softmax::softmax(&array(device, &[3.0], &[])).unwrap()), [1.0]);
}

fn softmax_backward_matches_the_oracle(device: &Device) {
    for shape in ROW_SHAPES {
        let (dims, len) = ([shape.rows, shape.cols], shape.rows * shape.cols);
        let x = scaled(3, len, 4.0);
        let dy = uniform(4, len);
        let (x_array, dy_array) = (array(device, &x, &dims), array(device, &dy, &dims));
        // Long rows sum up to 1031 products.
        let tolerance = Tolerance { abs: 2e-6, rel: 1e-5 };

        let y = softmax::softmax(&x_array).unwrap();
        let dx = softmax::softmax_backward(&y, &dy_array).unwrap();
        let want = rows::softmax_backward(&rows::softmax(&to_f64(&x), shape.cols), &to_f64(&dy), shape.cols);
        check("softmax dx", &dx, &want, &dims, tolerance);

        let y = softmax::log_softmax(&x_array).unwrap();
        let dx = softmax::log_softmax_backward(&y, &dy_array).unwrap();
        let y = rows::log_softmax(&to_f64(&x), shape.cols);
        let want = rows::log_softmax_backward(&y, &to_f64(&dy), shape.cols);
        check("log_softmax dx", &dx, &want, &dims, tolerance);
    }
}

fn softmax_survives_huge_values_and_masks(device: &Device) {
    let inf = f32::INFINITY;
    let x = [1e30, 1e30, -1e30, 0.0, -inf, 0.0, 5.0, -inf, -inf, -3e38, -3e38, -3e38];
    let x = array(device, &x, &[4, 3]);
    let y = values(&softmax::softmax(&x).unwrap());
    let third = 1.0 / 3.0;
    let want = [0.5, 0.5, 0.0, 0.5, 0.0, 0.5, 1.0, 0.0, 0.0, third, third, third];
    for (got, want) in y.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{y:?}");
    }
    assert_eq!((y[2], y[4]), (0.0, 0.0), "masked entries are exactly zero");
    let log = values(&softmax::log_softmax(&x).unwrap());
    assert!((log[0] + 2f32.ln()).abs() < 1e-6 && log[4] == -inf && log[6].abs() < 1e-6, "{log:?}");
}

fn softmax_keeps_nan_in_its_row(device: &Device) {
    let mut x = scaled(5, 3 * 300, 2.0);
    x[300 + 287] = f32::NAN;
    for log in [false, true] {
        let x = array(device, &x, &[3, 300]);
        let y = if log { softmax::log_softmax(&x) } else { softmax::softmax(&x) };
        let y = values(&y.unwrap());
        assert!(y[300..600].iter().all(|y| y.is_nan()));
        assert!(y[..300].iter().chain(&y[600..]).all(|y| y.is_finite()));
    }
}

fn softmax_of_many_rows(device: &Device) {
    // One workgroup a row: more rows than one dimension of the grid has workgroups.
    let x: Vec<f32> = (0..70_001).flat_map(|row| [(row % 17) as f32, 3.0]).collect();
    let y = values(&softmax::softmax(&array(device, &x, &[70_001, 2])).unwrap());
    for row in [0, 5, 65_534, 65_535, 65_536, 70_000] {
        let want = 1.0 / (1.0 + (3.0 - f64::from(row % 17)).exp());
        assert!((f64::from(y[2 * row as usize]) - want).abs() < 1e-6, "row {row}");
    }
}

fn softmax_refuses_mixed_shapes(device: &Device) {
    let (a, b) = (array(device, &[1.0; 6], &[2, 3]), array(device, &[1.0; 6], &[3, 2]));
    refused(softmax::softmax_backward(&a, &b), &["softmax_backward", "dy must be", "[2, 3]", "[3, 2]"]);
    refused(softmax::log_softmax_backward(&a, &b), &["log_softmax_backward", "dy must be"]);
    let index = indices(device, &[1], &[1]);
    refused(softmax::softmax(&index), &["softmax", "u32"]);
    refused(softmax::log_softmax(&index), &["log_softmax", "u32"]);
}
