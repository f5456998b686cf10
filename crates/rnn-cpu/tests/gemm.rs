//! Matrix products against f64 loops.

use rnn_cpu::gemm::{Gemm, View, gemm};

fn values(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| ((i * 7919 + seed * 104_729) % 257) as f32 / 128.0 - 1.0).collect()
}

/// Row-major with `cols` columns.
fn rows(data: &[f32], cols: usize) -> View<'_> {
    View { data, row_stride: cols, col_stride: 1 }
}

/// The transpose of [`rows`].
fn columns(data: &[f32], rows: usize) -> View<'_> {
    View { data, row_stride: 1, col_stride: rows }
}

/// f64 reference on the same strided views.
fn reference(m: usize, n: usize, k: usize, a: View<'_>, b: View<'_>) -> Vec<f64> {
    let at = |v: View<'_>, r: usize, c: usize| f64::from(v.data[r * v.row_stride + c * v.col_stride]);
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|p| at(a, i, p) * at(b, p, j)).sum();
        }
    }
    c
}

#[test]
fn products_match_f64_for_every_layout_and_thread_count() {
    let shapes =
        [(1, 1, 1), (2, 65, 33), (3, 31, 257), (63, 64, 65), (145, 33, 300), (5, 1030, 7), (97, 70, 40)];
    for (m, n, k) in shapes {
        let (x, y) = (values(m * k, 1), values(k * n, 2));
        let bias = values(n, 3);
        for (a, b) in [
            (rows(&x, k), rows(&y, n)),
            (columns(&x, m), rows(&y, n)),
            (rows(&x, k), columns(&y, k)),
            (columns(&x, m), columns(&y, k)),
        ] {
            let want = reference(m, n, k, a, b);
            let mut first: Option<Vec<f32>> = None;
            for threads in [1, 2, 3] {
                let mut c = vec![0.5; m * n];
                gemm(threads, Gemm { m, n, k, a, b, c: &mut c, ldc: n, accumulate: true, bias: Some(&bias) });
                for (i, (&got, want)) in c.iter().zip(&want).enumerate() {
                    let want = want + 0.5 + f64::from(bias[i % n]);
                    // k products of values below 1: the error grows with sqrt(k) ulps.
                    assert!((f64::from(got) - want).abs() < 1e-5 * (k as f64).sqrt().max(1.0));
                }
                match &first {
                    None => first = Some(c),
                    Some(first) => assert_eq!(first, &c, "{threads} threads change the bits"),
                }
            }
        }
    }
}
