//! Short names for what every test does.

use rnn_runtime::{Array, Device, Error, Result};
use rnn_testing::compare::{Tolerance, assert_close};

/// Single operations that every device rounds correctly, or nearly so (division may be 2.5 ulp off
/// in WGSL): 4 ulp.
pub(crate) const EXACT_OPS: Tolerance = Tolerance { abs: 0.0, rel: 5e-7 };

/// Functions of moderate arguments: WGSL allows exp an error of (3 + 2 |x|) ulp, and results near
/// zero come out of cancellation.
pub(crate) const FUNCTIONS: Tolerance = Tolerance { abs: 1e-6, rel: 4e-6 };

pub(crate) fn array(device: &Device, values: &[f32], dims: &[usize]) -> Array {
    Array::from_f32(device, values, dims).unwrap()
}

pub(crate) fn indices(device: &Device, values: &[u32], dims: &[usize]) -> Array {
    Array::from_u32(device, values, dims).unwrap()
}

pub(crate) fn values(array: &Array) -> Vec<f32> {
    array.to_vec().unwrap()
}

/// Bits, so that NaN and the sign of zero count.
pub(crate) fn bits(array: &Array) -> Vec<u32> {
    values(array).into_iter().map(f32::to_bits).collect()
}

#[track_caller]
pub(crate) fn check(name: &str, got: &Array, want: &[f64], dims: &[usize], tolerance: Tolerance) {
    assert_eq!(got.dims(), dims, "{name}: wrong shape");
    assert_close(name, &values(got), want, dims, tolerance);
}

/// Asserts that an op refused, with a message that contains all of `parts`.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, parts: &[&str]) -> Error {
    let Err(error) = result else { panic!("accepted what it must refuse: {parts:?}") };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    error
}

/// The index on each axis of the element at `position`.
pub(crate) fn unravel(mut position: usize, dims: &[usize]) -> Vec<usize> {
    let mut index = vec![0; dims.len()];
    for axis in (0..dims.len()).rev() {
        index[axis] = position % dims[axis];
        position /= dims[axis];
    }
    index
}

/// The position of the element at `index`, ignoring leading axes that `dims` lacks and reading
/// axes of length 1 at 0, as broadcasting does.
pub(crate) fn ravel(index: &[usize], dims: &[usize]) -> usize {
    let missing = index.len() - dims.len();
    index[missing..].iter().zip(dims).fold(0, |position, (&i, &d)| position * d + if d == 1 { 0 } else { i })
}
