//! Rows of a table and their gradient.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use rnn_runtime::ops::embed::{gather, scatter, scatter_add};
use rnn_runtime::{Array, Device, Error};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{self, small_integers, uniform};

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        gather_copies_rows,
        scatter_overwrites_rows_and_nothing_else,
        scatter_leaves_a_shared_table_to_its_owner,
        scatter_refuses_bad_arguments,
        scatter_add_sums_rows,
        scatter_add_gives_the_same_bits_twice,
        gather_refuses_bad_indices,
        scatter_add_refuses_bad_arguments,
    ]
}

/// (V, E, N): rows of the table, their length, number of indices.
const SIZES: &[(usize, usize, usize)] =
    &[(1, 1, 1), (5, 3, 7), (100, 33, 1000), (3, 257, 300), (1000, 1, 257), (65, 64, 256), (2, 5, 5000)];

fn some_indices(seed: u64, n: usize, v: usize) -> Vec<u32> {
    data::indices(seed, n, v).into_iter().map(|index| index as u32).collect()
}

fn gather_copies_rows(device: &Device) {
    for &(v, e, n) in SIZES {
        let table = uniform(1, v * e);
        let index = some_indices(2, n, v);
        let want: Vec<f32> =
            index.iter().flat_map(|&k| table[k as usize * e..][..e].iter().copied()).collect();
        let got = gather(&array(device, &table, &[v, e]), &indices(device, &index, &[n])).unwrap();
        assert_eq!((got.dims(), values(&got)), (&[n, e][..], want), "V {v}, E {e}, N {n}");
    }
    let table = array(device, &[1.0, 2.0, 3.0, 4.0], &[2, 2]);
    let got = gather(&table, &indices(device, &[1, 0, 0, 1, 1, 0], &[3, 2])).unwrap();
    assert_eq!(got.dims(), [3, 2, 2]);
    assert_eq!(values(&got), [3.0, 4.0, 1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    let one = gather(&table, &indices(device, &[1], &[])).unwrap();
    assert_eq!((one.dims(), values(&one)), (&[2][..], vec![3.0, 4.0]));
}

fn scatter_overwrites_rows_and_nothing_else(device: &Device) {
    for &(v, e, n) in &[(1, 1, 1), (5, 3, 2), (300, 33, 300), (1000, 2, 257), (7, 700, 6)] {
        let (before, rows) = (uniform(1, v * e), uniform(2, n * e));
        // Every seventh row, modulo V, is another one while V is no multiple of 7.
        let index: Vec<u32> = (0..n).map(|k| if v == 7 { k } else { 7 * k % v } as u32).collect();
        let mut want = before.clone();
        for (k, &row) in index.iter().enumerate() {
            want[row as usize * e..][..e].copy_from_slice(&rows[k * e..][..e]);
        }
        let mut table = array(device, &before, &[v, e]);
        scatter(&mut table, &indices(device, &index, &[n]), &array(device, &rows, &[n, e])).unwrap();
        assert_eq!((table.dims(), values(&table)), (&[v, e][..], want), "V {v}, E {e}, N {n}");
    }
}

fn scatter_leaves_a_shared_table_to_its_owner(device: &Device) {
    let mut table = array(device, &[1.0, 2.0, 3.0, 4.0], &[2, 2]);
    let owner = table.clone();
    scatter(&mut table, &indices(device, &[1], &[1]), &array(device, &[7.0, 8.0], &[1, 2])).unwrap();
    assert_eq!((values(&owner), values(&table)), (vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 2.0, 7.0, 8.0]));
}

fn scatter_refuses_bad_arguments(device: &Device) {
    let mut table = array(device, &[1.0; 15], &[5, 3]);
    let rows = array(device, &[2.0; 6], &[2, 3]);
    let index = |of: &[u32]| indices(device, of, &[of.len()]);
    let mut put = |index: &Array, rows: &Array| scatter(&mut table, index, rows);
    refused(put(&index(&[4, 4]), &rows), &["scatter", "every index once", "4 at positions 0 and 1"]);
    refused(put(&index(&[4, 5]), &rows), &["scatter", "indices[1] is 5", "0..5"]);
    refused(put(&index(&[4]), &rows), &["scatter", "rows must be [N, E] = [1, 3]", "[2, 3]"]);
    refused(put(&indices(device, &[1, 2], &[2, 1]), &rows), &["scatter", "indices must be [N]"]);
    refused(put(&rows, &rows), &["scatter", "indices must be u32"]);
    assert_eq!(values(&table), [1.0; 15]);
    let mut flat = array(device, &[1.0; 3], &[3]);
    refused(scatter(&mut flat, &index(&[0]), &rows), &["scatter", "table must be [V, E]", "[3]"]);
    let mut labels = indices(device, &[0, 1], &[1, 2]);
    refused(scatter(&mut labels, &index(&[0]), &rows), &["scatter", "table must be f32"]);
}

fn scatter_add_sums_rows(device: &Device) {
    for &(v, e, n) in SIZES {
        let index = some_indices(3, n, v);
        let index_array = indices(device, &index, &[n]);
        let sum = |dy: &[f32]| {
            let mut sums = vec![0f64; v * e];
            for (k, &row) in index.iter().enumerate() {
                for c in 0..e {
                    sums[row as usize * e + c] += f64::from(dy[k * e + c]);
                }
            }
            sums
        };
        // Integers are exact: a lost or doubled index shows.
        let dy = small_integers(4, n * e, 100);
        let got = scatter_add(&array(device, &dy, &[n, e]), &index_array, v).unwrap();
        let name = format!("V {v}, E {e}, N {n}");
        check(&name, &got, &sum(&dy), &[v, e], Tolerance { abs: 0.0, rel: 0.0 });
        let dy = uniform(5, n * e);
        let got = scatter_add(&array(device, &dy, &[n, e]), &index_array, v).unwrap();
        // One after the other: up to 2500 terms below 1 with partial sums up to 50.
        check(&name, &got, &sum(&dy), &[v, e], Tolerance { abs: 1e-4, rel: 1e-6 });
    }
    let dy = array(device, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &[2, 2, 2]);
    let got = scatter_add(&dy, &indices(device, &[1, 0, 1, 1], &[2, 2]), 3).unwrap();
    assert_eq!((got.dims(), values(&got)), (&[3, 2][..], vec![3.0, 4.0, 13.0, 16.0, 0.0, 0.0]));
}

fn scatter_add_gives_the_same_bits_twice(device: &Device) {
    let dy = array(device, &uniform(6, 3000 * 17), &[3000, 17]);
    let index = indices(device, &some_indices(7, 3000, 11), &[3000]);
    let run = || bits(&scatter_add(&dy, &index, 11).unwrap());
    assert_eq!(run(), run());
}

fn gather_refuses_bad_indices(device: &Device) {
    let table = array(device, &[1.0; 15], &[5, 3]);
    let error = refused(
        gather(&table, &indices(device, &[0, 4, 2, 5, 9, 1], &[2, 3])),
        &["gather", "indices[3] is 5", "0..5"],
    );
    assert!(matches!(error, Error::Index { position: 3, got: 5, bound: 5, .. }));
    let index = indices(device, &[0], &[1]);
    refused(gather(&array(device, &[1.0; 3], &[3]), &index), &["gather", "table must be [V, E]", "[3]"]);
    refused(gather(&table, &table), &["gather", "indices must be u32"]);
    refused(gather(&indices(device, &[0], &[1, 1]), &index), &["gather", "table must be f32 or f16"]);
}

fn scatter_add_refuses_bad_arguments(device: &Device) {
    let dy = array(device, &[1.0; 6], &[2, 3]);
    refused(
        scatter_add(&dy, &indices(device, &[0, 7], &[2]), 7),
        &["scatter_add", "indices[1] is 7", "0..7"],
    );
    let three = indices(device, &[0; 3], &[3]);
    refused(scatter_add(&dy, &three, 7), &["scatter_add", "dy must be [indices.., E]", "[2, 3]"]);
    let scalar = array(device, &[1.0], &[]);
    refused(scatter_add(&scalar, &three, 7), &["scatter_add", "dy must be"]);
    refused(scatter_add(&dy, &dy, 7), &["scatter_add", "indices must be u32"]);
}
