//! Random orthogonal matrices: the reflections that define them, orthonormal rows, and the same bits everywhere.

use rnn_base::rng::RngKey;
use rnn_cpu::orthogonal::orthogonal;

/// Nearly normal draws, sums of twelve uniform ones: exact, so the same on every machine.
fn draw(key: RngKey, element: usize) -> f32 {
    (0..12).map(|step| key.uniform(step, element as u32)).sum::<f32>() - 6.0
}

fn matrix([count, length]: [usize; 2], gain: f32) -> Vec<f32> {
    let mut out = vec![f32::NAN; count * length];
    let key = RngKey::new(7);
    orthogonal(&mut out, [count, length], gain, |element| draw(key, element)).unwrap();
    out
}

/// One vector; fewer vectors than a block; whole blocks; several blocks and stripes with a rest.
const SHAPES: [[usize; 2]; 8] = [[1, 1], [1, 9], [2, 2], [5, 5], [48, 48], [7, 130], [100, 100], [131, 197]];

/// The first columns of the product of all reflections, one after the other and in f64, with the signs that make the
/// diagonal of the other factor positive.
#[test]
fn rows_are_those_of_the_product_of_reflections() {
    for [count, length] in SHAPES {
        let key = RngKey::new(7);
        let got = matrix([count, length], 1.0);
        for row in 0..count {
            let mut column = vec![0.0f64; length];
            column[row] = 1.0;
            let mut sign = 1.0;
            for vector in (0..=row).rev() {
                let x = (0..length - vector).map(|k| f64::from(draw(key, vector * length + k)));
                let mut v: Vec<f64> = x.collect();
                let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
                v[0] += norm.copysign(v[0]);
                if vector == row {
                    sign = -v[0].signum();
                }
                let tail = &mut column[vector..];
                let overlap: f64 = v.iter().zip(&*tail).map(|(v, x)| v * x).sum();
                let square: f64 = v.iter().map(|v| v * v).sum();
                tail.iter_mut().zip(&v).for_each(|(x, v)| *x -= 2.0 * overlap / square * v);
            }
            for (k, want) in column.iter().enumerate() {
                let got = f64::from(got[row * length + k]);
                // The entries are rounded to f32.
                assert!((got - sign * want).abs() < 1e-7, "{count}x{length} [{row}, {k}]: {got} {want}");
            }
        }
    }
}

/// The products of all pairs of rows. Entries that are rounded to f32 make an error of some 1e-7.
#[test]
fn rows_are_orthonormal_to_a_millionth() {
    for [count, length] in SHAPES.into_iter().chain([[400, 512]]) {
        let rows: Vec<f64> = matrix([count, length], 2.0).into_iter().map(f64::from).collect();
        let rows: Vec<&[f64]> = rows.chunks(length).collect();
        for (a, b) in (0..count).flat_map(|a| (0..=a).map(move |b| (a, b))) {
            let product: f64 = rows[a].iter().zip(rows[b]).map(|(x, y)| x * y).sum();
            let want = if a == b { 4.0 } else { 0.0 };
            assert!((product - want).abs() < 1e-6, "{count}x{length} {a},{b}: {product}");
        }
    }
}

/// The FNV-1a hash of the bits, from a machine with AVX-512 and two threads. `RNN_SIMD` and `RNN_THREADS` do not change it.
#[test]
fn bits_do_not_depend_on_the_machine() {
    let values = matrix([131, 197], 1.5);
    let hash = values
        .iter()
        .flat_map(|x| x.to_bits().to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    assert_eq!(hash, 0x8475_7192_3772_c02a, "{hash:#x}");
}
