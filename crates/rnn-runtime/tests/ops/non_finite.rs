//! Infinities and NaN in an operand: each result is NaN, an infinity or a number exactly where IEEE 754 has it, so that
//! no padding of a tile and no masked element spreads them.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use rnn_runtime::ops::{embed, gemm, layer_norm, reduce, softmax};
use rnn_runtime::{Array, Device};
use rnn_testing::compare::first_of_another_kind;
use rnn_testing::data::{scaled, to_f64};
use rnn_testing::oracle::matmul::{Matmul, matmul};
use rnn_testing::oracle::rows;

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        products_keep_them_in_their_row_or_column,
        rows_keep_them_to_themselves,
        sums_and_maxima_show_them,
        rows_of_a_table_keep_them_to_themselves,
    ]
}

const BAD: [f32; 3] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];

#[track_caller]
fn same_kinds(name: &str, got: &Array, want: &[f64]) {
    let got = values(got);
    assert_eq!(got.len(), want.len(), "{name}");
    if let Some(k) = first_of_another_kind(&got, want) {
        panic!("{name}: element {k} is {}, not {}", got[k], want[k]);
    }
}

/// `values` with one of them replaced, at two fifths and at the end.
fn with_bad(values: &[f32]) -> impl Iterator<Item = (String, Vec<f32>)> {
    [2 * values.len() / 5, values.len() - 1].into_iter().flat_map(move |at| {
        BAD.map(|bad| {
            let mut values = values.to_vec();
            values[at] = bad;
            (format!("{bad} at {at}"), values)
        })
    })
}

fn products_keep_them_in_their_row_or_column(device: &Device) {
    // A vector, an odd matrix, and more than a tile in each direction.
    for (m, k, n) in [(1, 5, 7), (5, 7, 6), (70, 67, 66)] {
        for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
            let op = Matmul { batch: 1, m, n, k, trans_a, trans_b };
            let (a, b) = (scaled(1, m * k, 1.0), scaled(2, k * n, 1.0));
            let dims = |rows, cols, transposed| if transposed { [cols, rows] } else { [rows, cols] };
            let product = |name: &str, a: &[f32], b: &[f32]| {
                let (x, y) = (array(device, a, &dims(m, k, trans_a)), array(device, b, &dims(k, n, trans_b)));
                let got = gemm::matmul(&x, &y, trans_a, trans_b).unwrap();
                same_kinds(&format!("{op:?}: {name}"), &got, &matmul(&op, &to_f64(a), &to_f64(b)));
            };
            with_bad(&a).for_each(|(name, a)| product(&format!("a: {name}"), &a, &b));
            with_bad(&b).for_each(|(name, b)| product(&format!("b: {name}"), &a, &b));
        }
    }
}

fn rows_keep_them_to_themselves(device: &Device) {
    let dims = [3, 7];
    let (x, dy) = (scaled(3, 21, 2.0), scaled(4, 21, 1.0));
    let (gamma, beta) = (scaled(5, 7, 1.0), scaled(6, 7, 1.0));
    let [gain, offset] = [&gamma, &beta].map(|values| array(device, values, &[7]));
    let on = |values: &[f32]| array(device, values, &dims);
    let (y, log_y) = (softmax::softmax(&on(&x)).unwrap(), softmax::log_softmax(&on(&x)).unwrap());
    let eps = 1e-5;
    for (name, x) in with_bad(&x) {
        let wide = to_f64(&x);
        let normal = layer_norm::layer_norm(&on(&x), &gain, &offset, eps).unwrap();
        let want = rows::layer_norm(&wide, &to_f64(&gamma), &to_f64(&beta), f64::from(eps));
        same_kinds(&name, &normal.y, &want);
        same_kinds(&name, &softmax::softmax(&on(&x)).unwrap(), &rows::softmax(&wide, 7));
        same_kinds(&name, &softmax::log_softmax(&on(&x)).unwrap(), &rows::log_softmax(&wide, 7));
    }
    for (name, dy) in with_bad(&dy) {
        let wide = to_f64(&dy);
        let got = softmax::softmax_backward(&y, &on(&dy)).unwrap();
        same_kinds(&name, &got, &rows::softmax_backward(&to_f64(&values(&y)), &wide, 7));
        let got = softmax::log_softmax_backward(&log_y, &on(&dy)).unwrap();
        same_kinds(&name, &got, &rows::log_softmax_backward(&to_f64(&values(&log_y)), &wide, 7));
    }
}

fn larger_or_nan(max: f64, x: f64) -> f64 {
    if x > max || x.is_nan() { x } else { max }
}

fn sums_and_maxima_show_them(device: &Device) {
    let (outer, n, inner) = (3, 5, 4);
    let x = scaled(7, outer * n * inner, 2.0);
    for (name, x) in with_bad(&x) {
        let on = array(device, &x, &[outer, n, inner]);
        let line = |at: usize| -> Vec<f64> {
            (0..n).map(|k| f64::from(x[(at / inner * n + k) * inner + at % inner])).collect()
        };
        let lines = |of: fn(Vec<f64>) -> f64| (0..outer * inner).map(|at| of(line(at))).collect::<Vec<f64>>();
        let sums = lines(|line| line.into_iter().sum());
        same_kinds(&name, &reduce::sum_axis(&on, 1).unwrap(), &sums);
        same_kinds(&name, &reduce::sum_all(&on).unwrap(), &[sums.iter().sum()]);
        // NaN wins, so that it is not lost.
        let maxima = lines(|line| line.into_iter().fold(f64::NEG_INFINITY, larger_or_nan));
        same_kinds(&name, &reduce::max_axis(&on, 1).unwrap().0, &maxima);
    }
}

fn rows_of_a_table_keep_them_to_themselves(device: &Device) {
    let (rows, width) = (6, 5);
    let picked = [4, 0, 4, 2, 5];
    let labels = indices(device, &picked, &[5]);
    for (name, table) in with_bad(&scaled(8, rows * width, 1.0)) {
        let got = embed::gather(&array(device, &table, &[rows, width]), &labels).unwrap();
        let want = picked.iter().flat_map(|&row| to_f64(&table[row as usize * width..][..width]));
        same_kinds(&name, &got, &want.collect::<Vec<_>>());
    }
    for (name, dy) in with_bad(&scaled(9, picked.len() * width, 1.0)) {
        let got = embed::scatter_add(&array(device, &dy, &[5, width]), &labels, rows).unwrap();
        let mut want = vec![0.0; rows * width];
        for (k, &row) in picked.iter().enumerate() {
            (0..width).for_each(|c| want[row as usize * width + c] += f64::from(dy[k * width + c]));
        }
        same_kinds(&name, &got, &want);
    }
}
