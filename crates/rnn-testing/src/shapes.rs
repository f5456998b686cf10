//! The table of adversarial shapes for tests and benches: ones, odd numbers, and both sides of the tile sizes 32,
//! 64, 128 and 256.

/// Sizes of one recurrent layer: T steps, B batch, I input, H hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RnnShape {
    /// T
    pub t: usize,
    /// B
    pub b: usize,
    /// I
    pub i: usize,
    /// H
    pub h: usize,
}

/// Sizes of a product `[M, K] x [K, N]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmShape {
    /// M
    pub m: usize,
    /// N
    pub n: usize,
    /// K
    pub k: usize,
}

/// Sizes of a row-wise op (softmax, layer norm, cross entropy): `[rows, cols]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowShape {
    /// Independent rows.
    pub rows: usize,
    /// Values per row.
    pub cols: usize,
}

const fn rnn(t: usize, b: usize, i: usize, h: usize) -> RnnShape {
    RnnShape { t, b, i, h }
}

const fn gemm(m: usize, n: usize, k: usize) -> GemmShape {
    GemmShape { m, n, k }
}

const fn row(rows: usize, cols: usize) -> RowShape {
    RowShape { rows, cols }
}

/// Recurrent shapes. Large H come with small T and B, so that a debug test is fast.
pub const RNN_SHAPES: &[RnnShape] = &[
    rnn(1, 1, 1, 1),
    rnn(1, 3, 5, 7),
    rnn(3, 1, 1, 5),
    rnn(5, 3, 4, 7),
    rnn(7, 5, 3, 31),
    rnn(4, 2, 8, 32),
    rnn(3, 33, 5, 3),
    rnn(5, 2, 33, 33),
    rnn(65, 2, 3, 5),
    rnn(4, 17, 31, 63),
    rnn(3, 4, 64, 64),
    rnn(3, 5, 63, 65),
    rnn(2, 65, 1, 16),
    rnn(2, 3, 65, 128),
    rnn(3, 2, 3, 257),
];

/// A subset of [`RNN_SHAPES`] for tests that run many variants of each shape.
pub const RNN_SHAPES_SMALL: &[RnnShape] =
    &[rnn(1, 1, 1, 1), rnn(1, 3, 5, 7), rnn(3, 1, 1, 5), rnn(5, 3, 4, 7), rnn(3, 33, 5, 3)];

/// Matrix products, including vectors on each side, a deep K and both sides of a tile.
pub const GEMM_SHAPES: &[GemmShape] = &[
    gemm(1, 1, 1),
    gemm(1, 3, 5),
    gemm(3, 1, 63),
    gemm(3, 5, 1),
    gemm(1, 257, 64),
    gemm(257, 1, 65),
    gemm(17, 31, 3),
    gemm(33, 32, 31),
    gemm(63, 64, 65),
    gemm(64, 64, 64),
    gemm(65, 63, 64),
    gemm(65, 65, 257),
    gemm(128, 16, 33),
    gemm(3, 5, 1025),
    gemm(257, 65, 63),
    // Multiples of four, for kernels that read vectors: both sides of their tiles, few rows, a divided sum.
    gemm(36, 68, 20),
    gemm(132, 132, 36),
    gemm(1, 44, 516),
    gemm(3, 12, 260),
    gemm(8, 4, 2052),
];

/// Row lengths around the width of a workgroup, and row counts around a full row of workgroups.
pub const ROW_SHAPES: &[RowShape] = &[
    row(1, 1),
    row(3, 1),
    row(1, 3),
    row(5, 7),
    row(2, 63),
    row(33, 64),
    row(65, 65),
    row(3, 255),
    row(2, 256),
    row(3, 257),
    row(257, 5),
    row(2, 1031),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_no_duplicates_and_the_small_one_is_a_subset() {
        for (n, shape) in RNN_SHAPES.iter().enumerate() {
            assert!(!RNN_SHAPES[..n].contains(shape), "{shape:?}");
        }
        for (n, shape) in GEMM_SHAPES.iter().enumerate() {
            assert!(!GEMM_SHAPES[..n].contains(shape), "{shape:?}");
        }
        for (n, shape) in ROW_SHAPES.iter().enumerate() {
            assert!(!ROW_SHAPES[..n].contains(shape), "{shape:?}");
        }
        assert!(RNN_SHAPES_SMALL.iter().all(|shape| RNN_SHAPES.contains(shape)));
    }

    #[test]
    fn every_recurrent_shape_is_cheap() {
        for s in RNN_SHAPES {
            let products = s.t * s.b * s.h * (s.i + s.h);
            assert!(products < 600_000, "{s:?} costs {products} products per gate");
        }
    }
}
