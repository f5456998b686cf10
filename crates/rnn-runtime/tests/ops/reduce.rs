//! Sums, means, maxima.

use crate::common::{DeviceTest, device_test, device_tests};
use crate::helpers::*;
use rnn_runtime::Device;
use rnn_runtime::ops::reduce;
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{small_integers, uniform};

pub(crate) fn tests() -> Vec<DeviceTest> {
    let mut tests = device_tests![
        sums_of_integers_are_exact_on_every_axis,
        sums_and_means_match_f64,
        sums_give_the_same_bits_twice,
        max_axis_finds_the_first_maximum,
        max_axis_treats_nan_as_the_maximum,
        max_axis_backward_sends_dy_to_the_maximum,
        reduce_refuses_bad_axes_and_types,
    ];
    tests.push(device_test!(sum_all_of_many_elements).with_webgpu_limits());
    tests
}

const SHAPES: &[&[usize]] = &[
    &[1],
    &[7],
    &[1031],
    &[5, 7, 3],
    &[257, 65],
    &[65, 257],
    &[2, 3, 5, 7],
    &[1, 1031],
    &[1031, 1],
    &[3, 4099],
];

/// (outer, n, inner) around an axis.
fn split(dims: &[usize], axis: usize) -> (usize, usize, usize) {
    (dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product())
}

fn without(dims: &[usize], axis: usize) -> Vec<usize> {
    let mut dims = dims.to_vec();
    dims.remove(axis);
    dims
}

fn naive_sum(x: &[f32], dims: &[usize], axis: usize) -> Vec<f64> {
    let (outer, n, inner) = split(dims, axis);
    let mut sums = vec![0.0; outer * inner];
    for o in 0..outer {
        for k in 0..n {
            for i in 0..inner {
                sums[o * inner + i] += f64::from(x[(o * n + k) * inner + i]);
            }
        }
    }
    sums
}

fn sums_of_integers_are_exact_on_every_axis(device: &Device) {
    for dims in SHAPES {
        let x = small_integers(1, dims.iter().product(), 100);
        let x_array = array(device, &x, dims);
        for axis in 0..dims.len() {
            let got = reduce::sum_axis(&x_array, axis).unwrap();
            assert_eq!(got.dims(), without(dims, axis));
            let want: Vec<f32> = naive_sum(&x, dims, axis).into_iter().map(|sum| sum as f32).collect();
            assert_eq!(values(&got), want, "{dims:?}, axis {axis}");
        }
        let all = reduce::sum_all(&x_array).unwrap();
        assert!(all.dims().is_empty());
        assert_eq!(all.item().unwrap(), x.iter().sum::<f32>(), "{dims:?}");
    }
}

fn sums_and_means_match_f64(device: &Device) {
    for dims in SHAPES {
        let x = uniform(2, dims.iter().product());
        let x_array = array(device, &x, dims);
        for axis in 0..dims.len() {
            let n = dims[axis] as f64;
            // Terms up to 1, partial sums up to about sqrt(n): each of n additions rounds by half
            // an ulp of that, and the errors of a tree or of blocks add up far slower than n.
            let tolerance = Tolerance { abs: 2e-7 * n.sqrt() * n.log2().max(1.0), rel: 2e-7 };
            let sums = naive_sum(&x, dims, axis);
            let name = format!("sum {dims:?}, axis {axis}");
            check(&name, &reduce::sum_axis(&x_array, axis).unwrap(), &sums, &without(dims, axis), tolerance);
            let means: Vec<f64> = sums.iter().map(|sum| sum / n).collect();
            let tolerance = Tolerance { abs: tolerance.abs / n, rel: 4e-7 };
            let name = format!("mean {dims:?}, axis {axis}");
            check(
                &name,
                &reduce::mean_axis(&x_array, axis).unwrap(),
                &means,
                &without(dims, axis),
                tolerance,
            );
        }
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
        let got = f64::from(reduce::mean_all(&x_array).unwrap().item().unwrap());
        assert!((got - mean).abs() < 1e-6, "{dims:?}: {got} is not {mean}");
    }
}

fn sum_all_of_many_elements(device: &Device) {
    // All equal: a naive f32 sum would stop growing at 2^24.
    let len = 20_000_003;
    let x = rnn_runtime::ops::pointwise::full(device, &[len], 1.5).unwrap();
    let sum = f64::from(reduce::sum_all(&x).unwrap().item().unwrap());
    assert!((sum / (1.5 * len as f64) - 1.0).abs() < 1e-6, "{sum}");
    let mean = reduce::mean_all(&x).unwrap().item().unwrap();
    assert!((mean - 1.5).abs() < 2e-6, "{mean}");
}

fn sums_give_the_same_bits_twice(device: &Device) {
    let x = array(device, &uniform(3, 257 * 1031), &[257, 1031]);
    for axis in [0, 1] {
        let first = bits(&reduce::sum_axis(&x, axis).unwrap());
        assert_eq!(first, bits(&reduce::sum_axis(&x, axis).unwrap()));
    }
    assert_eq!(bits(&reduce::sum_all(&x).unwrap()), bits(&reduce::sum_all(&x).unwrap()));
}

/// The naive maximum: the first one, NaN above everything.
fn naive_max(x: &[f32], dims: &[usize], axis: usize) -> (Vec<f32>, Vec<u32>) {
    let (outer, n, inner) = split(dims, axis);
    let mut best = Vec::new();
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| x[(o * n + k) * inner + i];
            let key = |k: usize| if at(k).is_nan() { f32::INFINITY } else { at(k) };
            let has_nan = (0..n).any(|k| at(k).is_nan());
            let mut arg = 0;
            for k in 0..n {
                let better = if has_nan { at(k).is_nan() && !at(arg).is_nan() } else { key(k) > key(arg) };
                if better {
                    arg = k;
                }
            }
            best.push((at(arg), arg as u32));
        }
    }
    best.into_iter().unzip()
}

fn max_axis_finds_the_first_maximum(device: &Device) {
    for dims in SHAPES {
        // Few distinct values: ties everywhere.
        let x = small_integers(4, dims.iter().product(), 3);
        let x_array = array(device, &x, dims);
        for axis in 0..dims.len() {
            let (want, want_at) = naive_max(&x, dims, axis);
            let (max, _) = reduce::max_axis(&x_array, axis).unwrap();
            assert_eq!((max.dims(), values(&max)), (&without(dims, axis)[..], want), "{dims:?}, axis {axis}");
            assert_eq!(reduce::argmax_host(&x_array, axis).unwrap(), want_at, "{dims:?}, axis {axis}");
        }
    }
}

fn max_axis_treats_nan_as_the_maximum(device: &Device) {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [
        [1.0, inf, nan, nan, 5.0],
        [-inf, -inf, -inf, -inf, -inf],
        [nan, inf, 0.0, 0.0, 0.0],
        [-3.0, -1.0, -inf, -1.0, -2.0],
        [-0.5, -0.25, -inf, inf, inf],
    ];
    let x_array = array(device, x.as_flattened(), &[5, 5]);
    for axis in [0, 1] {
        let (want, want_at) = naive_max(x.as_flattened(), &[5, 5], axis);
        let (max, _) = reduce::max_axis(&x_array, axis).unwrap();
        for (got, want) in values(&max).into_iter().zip(want) {
            assert!(got == want || (got.is_nan() && want.is_nan()), "axis {axis}: {got} is not {want}");
        }
        assert_eq!(reduce::argmax_host(&x_array, axis).unwrap(), want_at, "axis {axis}");
    }
}

fn max_axis_backward_sends_dy_to_the_maximum(device: &Device) {
    let dims = [5, 67, 3];
    let x = uniform(5, 5 * 67 * 3);
    let x_array = array(device, &x, &dims);
    for axis in 0..3 {
        let (outer, n, inner) = split(&dims, axis);
        let dy = uniform(6, outer * inner);
        let (_, at) = naive_max(&x, &dims, axis);
        let mut want = vec![0.0; x.len()];
        for o in 0..outer {
            for i in 0..inner {
                want[(o * n + at[o * inner + i] as usize) * inner + i] = dy[o * inner + i];
            }
        }
        let (_, arg) = reduce::max_axis(&x_array, axis).unwrap();
        let dy_array = array(device, &dy, &without(&dims, axis));
        let dx = reduce::max_axis_backward(&dy_array, &arg, &dims, axis).unwrap();
        assert_eq!((dx.dims(), values(&dx)), (&dims[..], want), "axis {axis}");
    }
}

fn reduce_refuses_bad_axes_and_types(device: &Device) {
    let x = array(device, &[1.0; 6], &[2, 3]);
    refused(reduce::sum_axis(&x, 2), &["sum_axis", "axis", "rank 2"]);
    refused(reduce::mean_axis(&x, 5), &["mean_axis", "axis", "got 5"]);
    refused(reduce::max_axis(&x, 2), &["max_axis", "axis"]);
    refused(reduce::sum_axis(&array(device, &[1.0], &[]), 0), &["sum_axis", "rank 0"]);
    let index = indices(device, &[0, 1], &[2]);
    refused(reduce::sum_all(&index), &["sum_all", "x must be f32 or f16", "u32"]);
    refused(reduce::max_axis(&index, 0), &["max_axis", "u32"]);
    let dy = array(device, &[1.0; 2], &[2]);
    refused(reduce::max_axis_backward(&dy, &dy, &[2, 3], 1), &["argmax must be u32", "f32"]);
    refused(reduce::max_axis_backward(&dy, &index, &[2, 3], 0), &["dy must be", "[3]"]);
    let long = indices(device, &[0; 3], &[3]);
    refused(reduce::max_axis_backward(&dy, &long, &[2, 3], 1), &["argmax must be", "[2]"]);
}
