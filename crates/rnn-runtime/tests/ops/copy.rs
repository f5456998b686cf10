//! Transpose, slice, concat, stack, broadcast.

use crate::common::{DeviceTest, device_test, device_tests};
use crate::helpers::*;
use half::f16;
use rnn_runtime::ops::{copy, embed, reduce};
use rnn_runtime::{Array, DType, Device};
use rnn_testing::data::uniform;

pub(crate) fn tests() -> Vec<DeviceTest> {
    let mut tests = device_tests![
        transpose_reorders_axes,
        transpose_refuses_what_is_no_permutation,
        slice_takes_a_range_of_any_axis,
        slice_backward_puts_it_back,
        slice_refuses_empty_and_outside_ranges,
        concat_joins_along_any_axis,
        concat_refuses_what_does_not_fit,
        stack_adds_an_axis,
        broadcast_to_repeats,
        copies_keep_indices_and_widen_halves,
    ];
    tests.push(device_test!(concat_refuses_other_devices).gpu_only());
    tests
}

/// `x` of shape `dims`, read at `source(index)` for every index of `out_dims`.
fn pick(x: &[f32], dims: &[usize], out_dims: &[usize], source: impl Fn(&[usize]) -> Vec<usize>) -> Vec<f32> {
    (0..out_dims.iter().product())
        .map(|position| x[ravel(&source(&unravel(position, out_dims)), dims)])
        .collect()
}

fn transpose_reorders_axes(device: &Device) {
    let cases: &[(&[usize], &[usize])] = &[
        (&[], &[]),
        (&[5], &[0]),
        (&[65, 33], &[1, 0]),
        (&[3, 5, 7], &[0, 1, 2]),
        (&[3, 5, 7], &[0, 2, 1]),
        (&[3, 5, 7], &[1, 0, 2]),
        (&[3, 5, 7], &[1, 2, 0]),
        (&[3, 5, 7], &[2, 0, 1]),
        (&[3, 5, 7], &[2, 1, 0]),
        (&[3, 1, 5, 1], &[3, 2, 1, 0]),
        (&[2, 3, 2, 3, 2, 1, 2, 3], &[7, 3, 5, 1, 0, 2, 6, 4]),
    ];
    for &(dims, perm) in cases {
        let x = uniform(1, dims.iter().product());
        let out_dims: Vec<usize> = perm.iter().map(|&axis| dims[axis]).collect();
        let want = pick(&x, dims, &out_dims, |index| {
            let mut source = vec![0; dims.len()];
            perm.iter().zip(index).for_each(|(&axis, &i)| source[axis] = i);
            source
        });
        let got = copy::transpose(&array(device, &x, dims), perm).unwrap();
        assert_eq!(got.dims(), out_dims, "{dims:?} by {perm:?}");
        assert_eq!(values(&got), want, "{dims:?} by {perm:?}");
    }
}

fn transpose_refuses_what_is_no_permutation(device: &Device) {
    let x = array(device, &[1.0; 6], &[2, 3]);
    for perm in [&[0usize][..], &[0, 0], &[1, 2], &[0, 1, 2], &[]] {
        refused(copy::transpose(&x, perm), &["transpose", "perm", "every axis 0..2", "[2, 3]"]);
    }
}

fn slice_takes_a_range_of_any_axis(device: &Device) {
    let dims = [5, 7, 3];
    let x = uniform(2, 105);
    for (axis, start, end) in [(0, 0, 5), (0, 1, 2), (0, 3, 5), (1, 0, 1), (1, 2, 6), (2, 1, 3), (2, 2, 3)] {
        let mut out_dims = dims;
        out_dims[axis] = end - start;
        let want = pick(&x, &dims, &out_dims, |index| {
            let mut source = index.to_vec();
            source[axis] += start;
            source
        });
        let got = copy::slice(&array(device, &x, &dims), axis, start, end).unwrap();
        assert_eq!((got.dims(), values(&got)), (&out_dims[..], want), "axis {axis}, {start}..{end}");
    }
}

fn slice_backward_puts_it_back(device: &Device) {
    let dims = [5, 7, 3];
    for (axis, start, end) in [(0, 0, 5), (0, 3, 5), (1, 2, 6), (2, 0, 1), (2, 1, 3)] {
        let mut dy_dims = dims;
        dy_dims[axis] = end - start;
        let dy = uniform(3, dy_dims.iter().product());
        let want: Vec<f32> = (0..105)
            .map(|position| {
                let mut index = unravel(position, &dims);
                if !(start..end).contains(&index[axis]) {
                    return 0.0;
                }
                index[axis] -= start;
                dy[ravel_exact(&index, &dy_dims)]
            })
            .collect();
        let got = copy::slice_backward(&array(device, &dy, &dy_dims), &dims, axis, start).unwrap();
        assert_eq!((got.dims(), values(&got)), (&dims[..], want), "axis {axis}, {start}..{end}");
    }
}

fn ravel_exact(index: &[usize], dims: &[usize]) -> usize {
    index.iter().zip(dims).fold(0, |position, (&i, &d)| position * d + i)
}

fn slice_refuses_empty_and_outside_ranges(device: &Device) {
    let x = array(device, &[1.0; 15], &[3, 5]);
    refused(copy::slice(&x, 1, 2, 2), &["slice", "range", "0..5 of axis 1", "2..2"]);
    refused(copy::slice(&x, 1, 3, 2), &["slice", "3..2"]);
    refused(copy::slice(&x, 0, 0, 4), &["slice", "0..3 of axis 0", "0..4"]);
    refused(copy::slice(&x, 2, 0, 1), &["slice", "axis", "rank 2"]);
    refused(copy::slice_backward(&x, &[3, 6], 1, 2), &["slice_backward", "range", "2..7"]);
    refused(copy::slice_backward(&x, &[4, 6], 1, 0), &["slice_backward", "dy must be", "[4, 5]"]);
    refused(copy::slice_backward(&x, &[3, 5, 1], 1, 0), &["slice_backward", "dy must be"]);
    refused(copy::slice_backward(&x, &[3, 5], 0, usize::MAX), &["slice_backward", "range"]);
}

fn concat_joins_along_any_axis(device: &Device) {
    for axis in 0..3 {
        let parts: Vec<(Vec<f32>, [usize; 3])> = [1, 4, 2]
            .into_iter()
            .enumerate()
            .map(|(seed, length)| {
                let mut dims = [3, 5, 2];
                dims[axis] = length;
                (uniform(seed as u64, dims.iter().product()), dims)
            })
            .collect();
        let arrays: Vec<Array> = parts.iter().map(|(x, dims)| array(device, x, dims)).collect();
        let mut dims = [3, 5, 2];
        dims[axis] = 7;
        let want: Vec<f32> = (0..dims.iter().product())
            .map(|position| {
                let mut index = unravel(position, &dims);
                let part = [0, 1, 1, 1, 1, 2, 2][index[axis]];
                index[axis] -= [0, 1, 5][part];
                parts[part].0[ravel_exact(&index, &parts[part].1)]
            })
            .collect();
        let got = copy::concat(&arrays.iter().collect::<Vec<_>>(), axis).unwrap();
        assert_eq!((got.dims(), values(&got)), (&dims[..], want), "axis {axis}");
    }
    let one = array(device, &[1.0, 2.0], &[2]);
    assert_eq!(values(&copy::concat(&[&one], 0).unwrap()), [1.0, 2.0]);
    assert_eq!(values(&copy::concat(&[&one, &one], 0).unwrap()), [1.0, 2.0, 1.0, 2.0]);
}

fn concat_refuses_what_does_not_fit(device: &Device) {
    let a = array(device, &[1.0; 6], &[2, 3]);
    let b = array(device, &[1.0; 8], &[2, 4]);
    refused(copy::concat(&[], 0), &["concat", "at least one array"]);
    refused(copy::concat(&[&a], 2), &["concat", "axis", "rank 2"]);
    refused(copy::concat(&[&a, &b], 0), &["concat", "arrays[1]", "[2, 3]", "got [2, 4]"]);
    let c = array(device, &[1.0; 6], &[2, 3, 1]);
    refused(copy::concat(&[&a, &c], 0), &["concat", "arrays[1]", "got [2, 3, 1]"]);
    let index = indices(device, &[0; 6], &[2, 3]);
    refused(copy::concat(&[&a, &index], 0), &["concat", "must be f32", "u32"]);
}

fn stack_adds_an_axis(device: &Device) {
    let (a, b) = (uniform(4, 15), uniform(5, 15));
    for axis in 0..3 {
        let mut dims = vec![3, 5];
        dims.insert(axis, 2);
        let want: Vec<f32> = (0..30)
            .map(|position| {
                let mut index = unravel(position, &dims);
                let which = index.remove(axis);
                [&a, &b][which][ravel_exact(&index, &[3, 5])]
            })
            .collect();
        let arrays = [&array(device, &a, &[3, 5]), &array(device, &b, &[3, 5])];
        let got = copy::stack(&arrays, axis).unwrap();
        assert_eq!((got.dims(), values(&got)), (&dims[..], want), "axis {axis}");
    }
    let scalars = [&array(device, &[1.0], &[]), &array(device, &[2.0], &[])];
    assert_eq!(values(&copy::stack(&scalars, 0).unwrap()), [1.0, 2.0]);
    refused(copy::stack(&scalars, 1), &["stack", "axis", "rank 0"]);
    refused(copy::stack(&[], 0), &["at least one array"]);
    let other = array(device, &[1.0, 2.0], &[2]);
    refused(copy::stack(&[scalars[0], &other], 0), &["stack", "arrays[1]", "got [2]"]);
    // The joined axis may differ in concat, but not here.
    let three = array(device, &[1.0; 3], &[3]);
    refused(copy::stack(&[&other, &three], 0), &["stack", "arrays[1]", "got [3]"]);
}

fn broadcast_to_repeats(device: &Device) {
    let cases: &[(&[usize], &[usize])] =
        &[(&[], &[3, 5]), (&[5], &[3, 5]), (&[3, 1], &[3, 5]), (&[1, 3, 1], &[2, 4, 3, 5]), (&[7], &[7])];
    for &(from, to) in cases {
        let x = uniform(6, from.iter().product());
        let want = pick(&x, from, to, |index| index.to_vec());
        let got = copy::broadcast_to(&array(device, &x, from), to).unwrap();
        assert_eq!((got.dims(), values(&got)), (to, want), "{from:?} to {to:?}");
    }
    let x = array(device, &[1.0; 6], &[2, 3]);
    for to in [&[3usize][..], &[2, 1], &[3, 3], &[6]] {
        refused(copy::broadcast_to(&x, to), &["broadcast_to", "x must be", "[2, 3]"]);
    }
}

fn copies_keep_indices_and_widen_halves(device: &Device) {
    // u32 cannot be read back: positions of maxima show where they went.
    let index = indices(device, &[0, 1, 2, 2, 1, 0], &[2, 3]);
    let moved = copy::transpose(&index, &[1, 0]).unwrap();
    assert_eq!((moved.dtype(), moved.host_indices()), (DType::U32, None));
    let ones = array(device, &[1.0; 6], &[3, 2]);
    let hot = reduce::max_axis_backward(&ones, &moved, &[3, 2, 3], 2).unwrap();
    let mut want = vec![0.0; 18];
    for (row, k) in [0, 2, 1, 1, 2, 0].into_iter().enumerate() {
        want[row * 3 + k] = 1.0;
    }
    assert_eq!(values(&hot), want);
    let table = array(device, &[1.0; 6], &[3, 2]);
    refused(embed::gather(&table, &moved), &["gather", "indices without a host copy"]);
    assert_eq!(values(&embed::gather(&table, &index.reshape(&[6]).unwrap()).unwrap()), [1.0; 12]);

    let halves: Vec<f16> = uniform(7, 15).into_iter().map(f16::from_f32).collect();
    let x = Array::from_f16(device, &halves, &[3, 5]).unwrap();
    let y = copy::slice(&x, 0, 1, 2).unwrap();
    assert_eq!(y.dtype(), DType::F32);
    assert_eq!(values(&y), halves[5..10].iter().map(|x| x.to_f32()).collect::<Vec<_>>());
    let wide = array(device, &[2.0; 5], &[1, 5]);
    assert_eq!(copy::concat(&[&x, &wide], 0).unwrap().dims(), [4, 5]);
}

fn concat_refuses_other_devices(device: &Device) {
    let (here, there) = (array(device, &[1.0], &[1]), array(&Device::cpu(), &[1.0], &[1]));
    refused(copy::concat(&[&here, &there], 0), &["concat", "is on cpu", "gpu:"]);
}
