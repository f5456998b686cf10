//! Matrix products of small integers, which are exact: an element left out, read twice or put elsewhere shows.
//! Devices with WebGPU's limits have no subgroups, so their aligned products go through the tiles.

use crate::common::{DeviceTest, device_test};
use crate::helpers::*;
use rnn_runtime::ops::gemm::{linear, matmul};
use rnn_runtime::{CacheDir, Device, GpuOptions};
use rnn_testing::data::{small_integers, to_f64};
use rnn_testing::oracle::matmul::{self as oracle, Matmul};

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(products_of_every_order_and_size_are_exact).with_webgpu_limits(),
        device_test!(a_divided_sum_over_k_is_exact).with_webgpu_limits(),
        device_test!(a_part_of_k_that_is_infinite_stays_in_its_row_and_column).with_webgpu_limits(),
        device_test!(linear_adds_its_bias_once).with_webgpu_limits(),
        device_test!(no_form_of_the_product_is_replaced).gpu_only(),
    ]
}

const ORDERS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

fn check_product(device: &Device, op: Matmul) {
    let Matmul { batch, m, n, k, trans_a, trans_b } = op;
    let a = small_integers(1, batch * m * k, 3);
    let b = small_integers(2, batch * k * n, 3);
    let a_dims = if trans_a { [batch, k, m] } else { [batch, m, k] };
    let b_dims = if trans_b { [batch, n, k] } else { [batch, k, n] };
    let got = matmul(&array(device, &a, &a_dims), &array(device, &b, &b_dims), trans_a, trans_b).unwrap();
    let want = oracle::matmul(&op, &to_f64(&a), &to_f64(&b));
    let want: Vec<f32> = want.into_iter().map(|x| x as f32).collect();
    assert_eq!(got.dims(), [batch, m, n], "{op:?}");
    let wrong = values(&got).iter().zip(&want).position(|(got, want)| got != want);
    if let Some(i) = wrong {
        panic!("{op:?}: [{}, {}, {}] is {}, not {}", i / n / m, i / n % m, i % n, values(&got)[i], want[i]);
    }
}

// A small tile with remainders of m, n and k, and a k that no vector divides where the order allows it; one row; sizes
// without any alignment; a large tile.
fn products_of_every_order_and_size_are_exact(device: &Device) {
    for (trans_a, trans_b) in ORDERS {
        let k = if trans_a && !trans_b { 37 } else { 20 };
        let m = if trans_a { 68 } else { 67 };
        check_product(device, Matmul { batch: 2, m, n: 72, k, trans_a, trans_b });
        check_product(device, Matmul { batch: 1, m: 1, n: 12, k: 260, trans_a, trans_b });
        if trans_a == trans_b {
            check_product(device, Matmul { batch: 1, m: 65, n: 63, k: 19, trans_a, trans_b });
        }
    }
    check_product(device, Matmul { batch: 1, m: 136, n: 132, k: 36, trans_a: true, trans_b: true });
}

// 8 x 4 results are one tile, so k is divided into parts; 2052 is no multiple of their length.
fn a_divided_sum_over_k_is_exact(device: &Device) {
    for (trans_a, trans_b) in [(false, true), (true, false)] {
        check_product(device, Matmul { batch: 1, m: 8, n: 4, k: 2052, trans_a, trans_b });
    }
    // Few results take so little time that only a long sum is divided.
    check_product(device, Matmul { batch: 1, m: 2, n: 4, k: 65_540, trans_a: false, trans_b: true });
}

// Kernels read beyond a part of k and beyond the last row. What they read there must not be multiplied.
fn a_part_of_k_that_is_infinite_stays_in_its_row_and_column(device: &Device) {
    let (m, n, k) = (68, 72, 1028);
    let mut a = small_integers(1, m * k, 3);
    let b = vec![1.0; k * n];
    a[66 * k + 513] = f32::INFINITY;
    let got = matmul(&array(device, &a, &[m, k]), &array(device, &b, &[n, k]), false, true).unwrap();
    for (i, value) in values(&got).into_iter().enumerate() {
        assert_eq!(value.is_finite(), i / n != 66, "[{}, {}] is {value}", i / n, i % n);
    }
}

fn linear_adds_its_bias_once(device: &Device) {
    let (m, n, k) = (67, 72, 20);
    let (x, w, bias) = (small_integers(1, m * k, 3), small_integers(2, n * k, 3), small_integers(3, n, 3));
    let [x_array, w_array] = [array(device, &x, &[m, k]), array(device, &w, &[n, k])];
    let got = linear(&x_array, &w_array, Some(&array(device, &bias, &[n]))).unwrap();
    let op = Matmul { batch: 1, m, n, k, trans_a: false, trans_b: true };
    let want = oracle::matmul(&op, &to_f64(&x), &to_f64(&w));
    for (i, (got, want)) in values(&got).into_iter().zip(want).enumerate() {
        assert_eq!(f64::from(got), want + f64::from(bias[i % n]), "[{}, {}]", i / n, i % n);
    }
}

// A kernel that fails its self-test is replaced, so a wrong kernel gives right results.
fn no_form_of_the_product_is_replaced(_: &Device) {
    for subgroups in [true, false] {
        let options = GpuOptions { subgroups, cache_dir: CacheDir::Off, ..GpuOptions::default() };
        let device = Device::gpu_with((), options).unwrap();
        for size in [64, 128] {
            let x = array(&device, &vec![1.0; size * 20], &[size, 20]);
            matmul(&x, &x, false, true).unwrap();
        }
        let Device::Gpu(gpu) = &device else { unreachable!("it is a GPU") };
        let verdicts = gpu.self_tests();
        assert!(
            !verdicts.is_empty() && verdicts.iter().all(|(_, passed)| *passed),
            "{subgroups}: {verdicts:?}"
        );
    }
}
