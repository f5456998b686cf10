//! Dropout: the mask is a pure function of key, step and element on every device.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use rnn_runtime::ops::copy;
use rnn_runtime::ops::dropout::{DropoutMask, dropout};
use rnn_runtime::{Device, RngKey};
use rnn_testing::data::uniform;

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        dropout_masks_are_those_of_the_key,
        dropout_knows_the_published_answers_of_threefry,
        dropout_in_chunks_is_dropout_of_the_whole,
        dropout_of_some_rows_is_that_of_the_batch,
        dropout_drops_nan_and_keeps_everything_at_zero,
        dropout_refuses_bad_arguments,
    ]
}

fn mask(probability: f32, first_step: u32, row: usize) -> DropoutMask {
    DropoutMask {
        probability,
        key: RngKey::new(0x0123_4567_89ab_cdef).derive(3, 5),
        first_step,
        row,
        first: 0,
        shared: false,
    }
}

fn dropout_masks_are_those_of_the_key(device: &Device) {
    // The last step wraps around.
    for (steps, row, first_step) in [(1, 1, 0), (5, 21, 0), (3, 257, 70_000), (65, 63, u32::MAX - 40)] {
        for probability in [0.1, 0.25, 0.5, 0.9, 0.999] {
            let mask = mask(probability, first_step, row);
            let x = uniform(1, steps * row);
            let threshold = (f64::from(probability) * 2f64.powi(24)).round() as u32;
            let want: Vec<f32> = (0..x.len())
                .map(|k| {
                    let step = first_step.wrapping_add((k / row) as u32);
                    let keep = mask.key.bits(step, (k % row) as u32) >> 8 >= threshold;
                    if keep { x[k] * (1.0 / (1.0 - probability)) } else { 0.0 }
                })
                .collect();
            let got = dropout(&array(device, &x, &[steps, row]), &mask).unwrap();
            assert_eq!((got.dims(), values(&got)), (&[steps, row][..], want), "{mask:?}");
        }
    }
    // And it is the wanted share: 4 standard deviations of 10,000 draws.
    let ones = array(device, &[1.0; 10_000], &[10_000]);
    let y = values(&dropout(&ones, &mask(0.3, 0, 10_000)).unwrap());
    let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64;
    assert!((dropped - 3000.0).abs() < 4.0 * 2100f64.sqrt(), "{dropped} of 10000");
}

fn dropout_knows_the_published_answers_of_threefry(device: &Device) {
    // Known answers of Random123 for key 0, counter 0, and for key and counter of all ones: the
    // first words are 0x6b200159 and 0x1cb996fc. A probability just at the draw drops nothing, one
    // step of 2^-24 above it drops the element.
    let one = array(device, &[1.0], &[1]);
    for (seed, first_step, word) in [(0, 0, 0x6b20_0159u32), (u64::MAX, u32::MAX, 0x1cb9_96fc)] {
        let key = RngKey::new(seed);
        let draw = word >> 8;
        let kept = |threshold: u32| {
            let probability = threshold as f32 / 16_777_216.0;
            let row = 1;
            let mask = DropoutMask { probability, key, first_step, row, first: 0, shared: false };
            values(&dropout(&one, &mask).unwrap())[0] != 0.0
        };
        if seed == 0 {
            assert!(kept(draw) && !kept(draw + 1));
        } else {
            // Element 0, not all ones: only that host and device agree.
            let draw = key.bits(first_step, 0) >> 8;
            assert!(kept(draw) && !kept(draw + 1));
        }
    }
}

fn dropout_in_chunks_is_dropout_of_the_whole(device: &Device) {
    let x = array(device, &uniform(2, 7 * 33), &[7, 33]);
    let whole = dropout(&x, &mask(0.4, 100, 33)).unwrap();
    let head = dropout(&copy::slice(&x, 0, 0, 3).unwrap(), &mask(0.4, 100, 33)).unwrap();
    let tail = dropout(&copy::slice(&x, 0, 3, 7).unwrap(), &mask(0.4, 103, 33)).unwrap();
    assert_eq!(bits(&copy::concat(&[&head, &tail], 0).unwrap()), bits(&whole));
}

fn dropout_of_some_rows_is_that_of_the_batch(device: &Device) {
    // [7, 11, 3]: rows 4 to 9.
    let x = array(device, &uniform(2, 7 * 33), &[7, 11, 3]);
    for shared in [false, true] {
        let of = |row: usize, first: u32| DropoutMask { first, shared, ..mask(0.4, 100, row) };
        let whole = dropout(&x, &of(33, 0)).unwrap();
        let part = dropout(&copy::slice(&x, 1, 4, 9).unwrap(), &of(15, 12)).unwrap();
        assert_eq!(bits(&part), bits(&copy::slice(&whole, 1, 4, 9).unwrap()));
    }
}

fn dropout_drops_nan_and_keeps_everything_at_zero(device: &Device) {
    let x = [f32::NAN; 100];
    let y = values(&dropout(&array(device, &x, &[100]), &mask(0.5, 0, 100)).unwrap());
    assert!(y.contains(&0.0) && y.iter().all(|y| *y == 0.0 || y.is_nan()));
    let x = uniform(3, 100);
    assert_eq!(values(&dropout(&array(device, &x, &[100]), &mask(0.0, 0, 10)).unwrap()), x);
}

fn dropout_refuses_bad_arguments(device: &Device) {
    let x = array(device, &[1.0; 6], &[2, 3]);
    for probability in [-0.1, 1.0, 1.5, f32::NAN] {
        refused(dropout(&x, &mask(probability, 0, 3)), &["dropout", "probability must be in [0, 1)"]);
    }
    refused(dropout(&x, &mask(0.5, 0, 0)), &["dropout", "row", "divisor of the 6"]);
    refused(dropout(&x, &mask(0.5, 0, 4)), &["dropout", "row", "got 4"]);
    refused(dropout(&indices(device, &[1], &[1]), &mask(0.5, 0, 1)), &["dropout", "u32"]);
}
