//! Batched matrix product with transpose flags.

/// The operands: `op(A) [M, K] x op(B) [K, N]`, `batch` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matmul {
    /// Independent products.
    pub batch: usize,
    /// M
    pub m: usize,
    /// N
    pub n: usize,
    /// K
    pub k: usize,
    /// Whether A is stored as `[batch, K, M]` rather than `[batch, M, K]`.
    pub trans_a: bool,
    /// Whether B is stored as `[batch, N, K]` rather than `[batch, K, N]`.
    pub trans_b: bool,
}

impl Matmul {
    fn a_index(&self, batch: usize, i: usize, p: usize) -> usize {
        batch * self.m * self.k + if self.trans_a { p * self.m + i } else { i * self.k + p }
    }

    fn b_index(&self, batch: usize, p: usize, j: usize) -> usize {
        batch * self.k * self.n + if self.trans_b { j * self.k + p } else { p * self.n + j }
    }

    #[track_caller]
    fn check(&self, a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), self.batch * self.m * self.k, "matmul: a has the wrong length");
        assert_eq!(b.len(), self.batch * self.k * self.n, "matmul: b has the wrong length");
    }
}

/// `y [batch, M, N] = op(A) op(B)`.
///
/// # Panics
/// A length does not fit.
#[track_caller]
pub fn matmul(op: &Matmul, a: &[f64], b: &[f64]) -> Vec<f64> {
    op.check(a, b);
    let mut y = Vec::with_capacity(op.batch * op.m * op.n);
    for batch in 0..op.batch {
        for i in 0..op.m {
            for j in 0..op.n {
                y.push((0..op.k).map(|p| a[op.a_index(batch, i, p)] * b[op.b_index(batch, p, j)]).sum());
            }
        }
    }
    y
}

/// `(da, db)` in the layouts of `a` and `b`, for the cotangent `dy` `[batch, M, N]`.
///
/// # Panics
/// A length does not fit.
#[track_caller]
pub fn matmul_backward(op: &Matmul, a: &[f64], b: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    op.check(a, b);
    assert_eq!(dy.len(), op.batch * op.m * op.n, "matmul: dy has the wrong length");
    let (mut da, mut db) = (vec![0.0; a.len()], vec![0.0; b.len()]);
    for batch in 0..op.batch {
        for i in 0..op.m {
            for j in 0..op.n {
                let d = dy[(batch * op.m + i) * op.n + j];
                for p in 0..op.k {
                    let (at_a, at_b) = (op.a_index(batch, i, p), op.b_index(batch, p, j));
                    da[at_a] += d * b[at_b];
                    db[at_b] += d * a[at_a];
                }
            }
        }
    }
    (da, db)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{to_f64, uniform};
    use crate::gradcheck::{check_gradient, dot};

    #[test]
    fn a_product_by_hand() {
        let op = Matmul { batch: 1, m: 2, n: 2, k: 3, trans_a: false, trans_b: false };
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        let want = [58.0, 64.0, 139.0, 154.0];
        assert_eq!(matmul(&op, &a, &b), want);
        let a_t = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
        let b_t = [7.0, 9.0, 11.0, 8.0, 10.0, 12.0];
        assert_eq!(matmul(&Matmul { trans_a: true, ..op }, &a_t, &b), want);
        assert_eq!(matmul(&Matmul { trans_b: true, ..op }, &a, &b_t), want);
    }

    #[test]
    fn gradients_match_central_differences() {
        for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
            let op = Matmul { batch: 2, m: 3, n: 4, k: 5, trans_a, trans_b };
            let a = to_f64(&uniform(1, 30));
            let b = to_f64(&uniform(2, 40));
            let dy = to_f64(&uniform(3, 24));
            let (da, db) = matmul_backward(&op, &a, &b, &dy);
            let name = format!("{op:?}");
            check_gradient(&name, &a, &da, |a| dot(&matmul(&op, a, &b), &dy));
            check_gradient(&name, &b, &db, |b| dot(&matmul(&op, &a, b), &dy));
        }
    }
}
