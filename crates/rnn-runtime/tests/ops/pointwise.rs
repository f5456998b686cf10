//! Functions of one and two variables, accumulation, constants, conversion.

use crate::common::{DeviceTest, device_test, device_tests};
use crate::helpers::*;
use half::f16;
use rnn_runtime::ops::pointwise::{self, BinaryOp, UnaryOp};
use rnn_runtime::{Array, DType, Device, Error, Shape};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{SplitMix64, in_range, scaled, small_integers, to_f64, uniform};
use rnn_testing::oracle::pointwise::Pointwise;

pub(crate) fn tests() -> Vec<DeviceTest> {
    let mut tests = device_tests![
        unary_matches_the_oracle,
        unary_backward_matches_the_oracle,
        unary_nan_goes_through,
        unary_saturates_at_the_infinities,
        divisors_may_be_as_large_as_f32_allows,
        unary_refuses_indices_and_mixed_shapes,
        affine_scales_and_shifts,
        binary_broadcasts,
        binary_refuses_what_does_not_broadcast,
        sum_to_shape_undoes_broadcasting,
        accumulate_adds_in_place,
        constants_fill_every_element,
        cast_is_exact_for_every_half,
        cast_rounds_to_the_nearest_half,
        f16_inputs_are_widened,
    ];
    tests.push(device_test!(beyond_65535_workgroups).with_webgpu_limits());
    tests.push(device_test!(pointwise_refuses_other_devices).gpu_only());
    tests
}

const UNARY: [(UnaryOp, Option<Pointwise>); 9] = [
    (UnaryOp::Neg, None),
    (UnaryOp::Exp, Some(Pointwise::Exp)),
    (UnaryOp::Log, Some(Pointwise::Log)),
    (UnaryOp::Sqrt, Some(Pointwise::Sqrt)),
    (UnaryOp::Tanh, Some(Pointwise::Tanh)),
    (UnaryOp::Sigmoid, Some(Pointwise::Sigmoid)),
    (UnaryOp::Softsign, Some(Pointwise::Softsign)),
    (UnaryOp::Relu, Some(Pointwise::Relu)),
    (UnaryOp::Softplus, Some(Pointwise::Softplus)),
];

fn inputs(reference: Option<Pointwise>, len: usize) -> Vec<f32> {
    match reference {
        Some(function) if function.needs_positive() => in_range(1, len, 0.05, 9.0),
        _ => scaled(2, len, 6.0),
    }
}

fn unary_matches_the_oracle(device: &Device) {
    for len in [1, 3, 255, 257, 1031] {
        for (op, reference) in UNARY {
            let x = inputs(reference, len);
            let y = pointwise::unary(op, &array(device, &x, &[len])).unwrap();
            let want = match reference {
                Some(function) => function.forward(&to_f64(&x)),
                None => x.iter().map(|&x| -f64::from(x)).collect(),
            };
            check(&format!("{op:?}"), &y, &want, &[len], FUNCTIONS);
        }
    }
}

fn unary_backward_matches_the_oracle(device: &Device) {
    let dims = [7, 37];
    for (op, reference) in UNARY {
        let x = inputs(reference, 7 * 37);
        let dy = uniform(3, x.len());
        let (x_array, dy_array) = (array(device, &x, &dims), array(device, &dy, &dims));
        let y = pointwise::unary(op, &x_array).unwrap();
        let dx = pointwise::unary_backward(op, &x_array, &y, &dy_array).unwrap();
        let want = match reference {
            Some(function) => function.backward(&to_f64(&x), &to_f64(&dy)),
            None => dy.iter().map(|&dy| -f64::from(dy)).collect(),
        };
        check(&format!("d{op:?}"), &dx, &want, &dims, FUNCTIONS);
    }
}

fn unary_nan_goes_through(device: &Device) {
    for (op, _) in UNARY {
        let y = values(&pointwise::unary(op, &array(device, &[0.5, f32::NAN, 2.0], &[3])).unwrap());
        assert!(y[1].is_nan() && y[0].is_finite() && y[2].is_finite(), "{op:?}: {y:?}");
    }
}

fn unary_saturates_at_the_infinities(device: &Device) {
    let (inf, max) = (f32::INFINITY, f32::MAX);
    let x = [-inf, -max, -200.0, 200.0, max, inf];
    let of = |op| values(&pointwise::unary(op, &array(device, &x, &[6])).unwrap());
    assert_eq!(of(UnaryOp::Tanh), [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
    let sigmoid = of(UnaryOp::Sigmoid);
    // Far out the result may be a tiny positive number instead of 0, never anything else.
    assert!(sigmoid[..3].iter().all(|y| (0.0..1e-37).contains(y)), "{sigmoid:?}");
    assert_eq!(sigmoid[3..], [1.0, 1.0, 1.0]);
    assert_eq!(of(UnaryOp::Relu), [0.0, 0.0, 0.0, 200.0, max, inf]);
    let softplus = of(UnaryOp::Softplus);
    assert!(softplus[..3].iter().all(|y| (0.0..1e-37).contains(y)), "{softplus:?}");
    assert_eq!(softplus[3..], [200.0, max, inf]);
    let softsign = of(UnaryOp::Softsign);
    assert!(softsign[1] <= -0.99 && softsign[4] >= 0.99, "{softsign:?}");
}

/// WGSL promises nothing of a division by 2^126 or more, whose reciprocal is subnormal.
fn divisors_may_be_as_large_as_f32_allows(device: &Device) {
    let (inf, max) = (f32::INFINITY, f32::MAX);
    let a = [1e38, max, -1e38, 1.0, 0.75, -3e38, 1e38, 0.0];
    let b = [2e38, max, 1.7e38, inf, -max, 1e38, 4e37, max];
    let (x, y) = (array(device, &a, &[8]), array(device, &b, &[8]));
    let quotients = values(&pointwise::binary(BinaryOp::Div, &x, &y).unwrap());
    let slopes = values(&pointwise::unary_backward(UnaryOp::Log, &y, &y, &x).unwrap());
    for n in 0..8 {
        let want = f64::from(a[n]) / f64::from(b[n]);
        for got in [quotients[n], slopes[n]] {
            // Results below the smallest normal number may be flushed to 0.
            let bound = 4e-7 * want.abs() + f64::from(f32::MIN_POSITIVE);
            assert!((f64::from(got) - want).abs() <= bound, "{} / {} is {want}, got {got}", a[n], b[n]);
        }
    }
    let softsign = values(&pointwise::unary(UnaryOp::Softsign, &y).unwrap());
    assert_eq!(softsign, [1.0, 1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0]);
    let slopes = values(&pointwise::unary_backward(UnaryOp::Softsign, &y, &y, &x).unwrap());
    assert!(slopes.iter().all(|slope| slope.abs() < 1e-30), "{slopes:?}");
}

fn unary_refuses_indices_and_mixed_shapes(device: &Device) {
    let index = indices(device, &[1, 2, 3], &[3]);
    refused(pointwise::unary(UnaryOp::Exp, &index), &["unary", "x must be f32 or f16", "u32"]);
    refused(pointwise::affine(&index, 1.0, 0.0), &["affine", "u32"]);
    let (three, four) = (array(device, &[1.0; 3], &[3]), array(device, &[1.0; 4], &[4]));
    refused(
        pointwise::unary_backward(UnaryOp::Exp, &three, &four, &three),
        &["unary_backward", "y must be", "[3]", "[4]"],
    );
    refused(
        pointwise::unary_backward(UnaryOp::Exp, &three, &three, &four),
        &["unary_backward", "dy must be"],
    );
}

fn affine_scales_and_shifts(device: &Device) {
    let x = scaled(5, 513, 3.0);
    let want: Vec<f64> = x.iter().map(|&x| -2.5 * f64::from(x) + 0.75).collect();
    let y = pointwise::affine(&array(device, &x, &[27, 19]), -2.5, 0.75).unwrap();
    // The shift cancels: the product may or may not be rounded before it (FMA).
    check("affine", &y, &want, &[27, 19], Tolerance { abs: 1e-6, rel: 0.0 });
}

/// Pairs of shapes and what they broadcast to.
const BROADCASTS: &[(&[usize], &[usize], &[usize])] = &[
    (&[], &[], &[]),
    (&[5], &[], &[5]),
    (&[], &[3, 5], &[3, 5]),
    (&[257, 3], &[257, 3], &[257, 3]),
    (&[5, 3, 7], &[7], &[5, 3, 7]),
    (&[7], &[5, 3, 7], &[5, 3, 7]),
    (&[5, 3, 7], &[5, 1, 1], &[5, 3, 7]),
    (&[5, 3, 7], &[3, 1], &[5, 3, 7]),
    (&[5, 1, 7], &[3, 1], &[5, 3, 7]),
    (&[1, 3, 1, 5], &[2, 1, 4, 1], &[2, 3, 4, 5]),
    (&[65, 1], &[1, 63], &[65, 63]),
    (&[1, 2, 1, 2, 1, 2, 1, 2], &[3, 1, 2, 1, 2, 1, 2, 1], &[3, 2, 2, 2, 2, 2, 2, 2]),
];

fn binary_broadcasts(device: &Device) {
    for &(a_dims, b_dims, dims) in BROADCASTS {
        let len = |dims: &[usize]| dims.iter().product::<usize>();
        let a = uniform(6, len(a_dims));
        let b = in_range(7, len(b_dims), 0.5, 2.0);
        let (a_array, b_array) = (array(device, &a, a_dims), array(device, &b, b_dims));
        for op in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div] {
            let want: Vec<f64> = (0..len(dims))
                .map(|position| {
                    let index = unravel(position, dims);
                    let a = f64::from(a[ravel(&index, a_dims)]);
                    let b = f64::from(b[ravel(&index, b_dims)]);
                    match op {
                        BinaryOp::Add => a + b,
                        BinaryOp::Sub => a - b,
                        BinaryOp::Mul => a * b,
                        BinaryOp::Div => a / b,
                    }
                })
                .collect();
            let got = pointwise::binary(op, &a_array, &b_array).unwrap();
            check(&format!("{op:?} {a_dims:?} {b_dims:?}"), &got, &want, dims, EXACT_OPS);
        }
    }
}

fn binary_refuses_what_does_not_broadcast(device: &Device) {
    let (a, b) = (array(device, &[1.0; 6], &[2, 3]), array(device, &[1.0; 2], &[2]));
    let error = refused(
        pointwise::binary(BinaryOp::Add, &a, &b),
        &["binary", "right operand must be broadcastable to [2, 3]", "got [2]"],
    );
    assert!(matches!(error, Error::Shape { .. }));
    let index = indices(device, &[1, 2, 3], &[3]);
    refused(pointwise::binary(BinaryOp::Add, &a, &index), &["binary", "right operand", "u32"]);
    refused(pointwise::binary(BinaryOp::Add, &index, &a), &["binary", "left operand", "u32"]);
}

fn sum_to_shape_undoes_broadcasting(device: &Device) {
    let cases = BROADCASTS.iter().flat_map(|&(a, b, dims)| [(a, dims), (b, dims)]);
    for (to, dims) in cases {
        // Small integers: the sums are exact, so any misplaced element shows.
        let x = small_integers(8, dims.iter().product(), 9);
        let mut want = vec![0f32; to.iter().product()];
        for (position, &x) in x.iter().enumerate() {
            want[ravel(&unravel(position, dims), to)] += x;
        }
        let shape = Shape::new("test", to).unwrap();
        let got = pointwise::sum_to_shape(&array(device, &x, dims), &shape).unwrap();
        assert_eq!(got.dims(), to, "{dims:?} to {to:?}");
        assert_eq!(values(&got), want, "{dims:?} to {to:?}");
    }
    let x = array(device, &[1.0; 6], &[2, 3]);
    for wrong in [&[2usize][..], &[3, 3], &[1, 2, 3]] {
        let shape = Shape::new("test", wrong).unwrap();
        refused(pointwise::sum_to_shape(&x, &shape), &["sum_to_shape", "[2, 3]"]);
    }
}

fn accumulate_adds_in_place(device: &Device) {
    let (a, b) = (small_integers(9, 1031, 50), small_integers(10, 1031, 50));
    let mut dst = array(device, &a, &[1031]);
    let before = dst.clone();
    let src = array(device, &b, &[1031]);
    pointwise::accumulate(&mut dst, &src).unwrap();
    let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    assert_eq!(values(&dst), sum);
    assert_eq!(values(&before), a, "a clone must not see the change");
    let itself = dst.clone();
    pointwise::accumulate(&mut dst, &itself).unwrap();
    assert_eq!(values(&dst), sum.iter().map(|sum| 2.0 * sum).collect::<Vec<_>>());

    let other = array(device, &b, &[1, 1031]);
    refused(pointwise::accumulate(&mut dst, &other), &["accumulate", "src must be", "[1031]"]);
    let mut index = indices(device, &[1], &[1]);
    refused(pointwise::accumulate(&mut index, &src), &["accumulate", "dst must be f32"]);
    let mut half = pointwise::cast(&dst, DType::F16).unwrap();
    refused(pointwise::accumulate(&mut half, &src), &["accumulate", "dst must be f32", "f16"]);
}

fn constants_fill_every_element(device: &Device) {
    for dims in [&[][..], &[1], &[257], &[3, 5, 7]] {
        let len: usize = dims.iter().product();
        let seven = pointwise::full(device, dims, 7.25).unwrap();
        assert_eq!((seven.dims(), values(&seven)), (dims, vec![7.25; len]));
        // Memory that comes back from the pool must be cleared.
        drop(seven);
        let zeros = pointwise::zeros(device, dims).unwrap();
        assert_eq!((zeros.dims(), values(&zeros)), (dims, vec![0.0; len]));
    }
    refused(pointwise::full(device, &[3, 0], 1.0), &["full", "none of length zero", "[3, 0]"]);
    refused(pointwise::zeros(device, &[1; 9]), &["zeros", "at most 8 axes"]);
}

fn beyond_65535_workgroups(device: &Device) {
    // 256 elements a workgroup: one row of workgroups ends at 65535 * 256 = 16,776,960.
    let len = 65_535 * 256 + 1031;
    let ones = pointwise::full(device, &[len], 1.0).unwrap();
    let twos = pointwise::affine(&ones, 0.5, 1.5).unwrap();
    drop(ones);
    assert!(values(&twos).iter().all(|&x| x == 2.0));
}

fn cast_is_exact_for_every_half(device: &Device) {
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let narrow = Array::from_f16(device, &halves, &[256, 256]).unwrap();
    let wide = pointwise::cast(&narrow, DType::F32).unwrap();
    assert_eq!((wide.dtype(), wide.dims()), (DType::F32, &[256, 256][..]));
    for (half, got) in halves.iter().zip(values(&wide)) {
        let same = half.to_f32().to_bits() == got.to_bits() || (half.is_nan() && got.is_nan());
        assert!(same, "{:#06x} became {got:e}", half.to_bits());
    }
    let back = pointwise::cast(&wide, DType::F16).unwrap().to_vec_f16().unwrap();
    for (half, got) in halves.iter().zip(back) {
        let same = half.to_bits() == got.to_bits() || (half.is_nan() && got.is_nan());
        assert!(same, "{:#06x} came back as {:#06x}", half.to_bits(), got.to_bits());
    }
    let same = pointwise::cast(&wide, DType::F32).unwrap();
    assert_eq!(values(&same).len(), halves.len());
    refused(pointwise::cast(&wide, DType::U32), &["cast", "dtype", "u32"]);
    refused(pointwise::cast(&indices(device, &[1], &[1]), DType::F32), &["cast", "x must be", "u32"]);
}

fn cast_rounds_to_the_nearest_half(device: &Device) {
    let tie = 2f32.powi(-25); // halfway between 0 and the smallest subnormal
    let mut x = vec![
        65504.0,
        65519.996,
        65520.0,
        -65520.0,
        1e30,
        -1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        tie,
        -tie,
        tie * 1.000001,
        tie * 3.0,
        2f32.powi(-14),
        2f32.powi(-14) * 0.9996,
        1e-10,
        1e-40,
        f32::MIN_POSITIVE,
        1.0 + 2f32.powi(-11),
        1.0 + 3.0 * 2f32.powi(-11),
        0.1,
    ];
    let mut rng = SplitMix64::new(11);
    while x.len() < 4001 {
        let value = f32::from_bits(rng.next_u64() as u32);
        // Half of them in the range where something other than 0 and infinity comes out.
        x.push(if x.len() % 2 == 0 { value } else { value % 70_000.0 });
    }
    x.retain(|x| !x.is_nan());
    let narrow = pointwise::cast(&array(device, &x, &[x.len()]), DType::F16).unwrap();
    assert_eq!(narrow.dtype(), DType::F16);
    for (&x, got) in x.iter().zip(narrow.to_vec_f16().unwrap()) {
        let want = f16::from_f32(x);
        assert_eq!(got.to_bits(), want.to_bits(), "{x:e} became {got}, not {want}");
    }
    let nan = pointwise::cast(&array(device, &[f32::NAN], &[1]), DType::F16).unwrap();
    assert!(nan.to_vec_f16().unwrap()[0].is_nan());
}

fn f16_inputs_are_widened(device: &Device) {
    let halves: Vec<f16> = scaled(12, 35, 2.0).into_iter().map(f16::from_f32).collect();
    let x = Array::from_f16(device, &halves, &[5, 7]).unwrap();
    let wide = array(device, &halves.iter().map(|x| x.to_f32()).collect::<Vec<_>>(), &[5, 7]);
    let from = |x: &Array| {
        let tanh = pointwise::unary(UnaryOp::Tanh, x).unwrap();
        bits(&pointwise::binary(BinaryOp::Mul, &tanh, x).unwrap())
    };
    assert_eq!(from(&x), from(&wide));
    let mut sum = pointwise::zeros(device, &[5, 7]).unwrap();
    pointwise::accumulate(&mut sum, &x).unwrap();
    assert_eq!(values(&sum), values(&wide));
}

fn pointwise_refuses_other_devices(device: &Device) {
    let (here, there) = (array(device, &[1.0], &[1]), array(&Device::cpu(), &[1.0], &[1]));
    let error =
        refused(pointwise::binary(BinaryOp::Add, &here, &there), &["right operand is on cpu", "gpu:"]);
    assert!(matches!(error, Error::DeviceMismatch { .. }));
    refused(pointwise::accumulate(&mut here.clone(), &there), &["accumulate", "src is on cpu"]);
    refused(pointwise::unary_backward(UnaryOp::Exp, &here, &here, &there), &["dy is on cpu"]);
}
