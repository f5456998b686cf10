//! Random matrices with orthonormal rows, for initial weights.
//!
//! The product of Householder reflections of independent normal vectors, each one element shorter than the one before, is
//! distributed like the orthogonal factor of a normal matrix (Stewart, "The efficient generation of random orthogonal
//! matrices with an application to condition estimators", 1980). Nothing has to be factorised. Reflections are applied in
//! blocks, `I - V T V^T` (Joffrain, Low, Quintana-Orti, van de Geijn and Van Zee, "Accumulating Householder
//! transformations, revisited", 2006).
//!
//! Everything is computed in f64, because the rows of a small matrix would not be orthogonal to a millionth in f32. Every
//! number is one chain of products and sums that are rounded separately. So its bits are the same with any number of
//! threads and any instruction set, also one without fused multiply-adds.

use super::memory::Scratch;
use super::simd::{self, Simd, SimdKernel};
use super::team;
use super::tile::most_rows;
use rnn_base::error::Result;
use rnn_base::host_memory;

/// Reflections in a block: a multiple of the rows of every tile.
const BLOCK: usize = 48;

/// LeftRows of V and of the matrix are padded with zeros to a multiple of this, so that all tiles are whole.
const ROWS: usize = 6;

/// A block of reflections. They do not touch the elements before `first`.
struct Block {
    first: usize,
    /// LeftRows of V, padded.
    rows: usize,
    /// V `[rows, BLOCK]`: column i begins at row i.
    v: Vec<f64>,
    /// -T `[BLOCK, BLOCK]`, upper triangular
    t: Vec<f64>,
    /// Signs that make the matrix uniformly distributed, one per reflection.
    signs: [f64; BLOCK],
}

/// Fills `out` `[count, length]` with orthonormal rows times `gain`; count is at most length. `normal` is a standard normal
/// draw per element of the same shape.
///
/// # Errors
/// No memory for the matrix once more.
pub fn orthogonal(
    out: &mut [f32],
    [count, length]: [usize; 2],
    gain: f32,
    normal: impl Fn(usize) -> f32 + Sync,
) -> Result<()> {
    assert!(0 < count && count <= length && out.len() == count * length);
    let mut blocks =
        (0..count).step_by(BLOCK).map(|first| Block::new(first, length)).collect::<Result<Vec<_>>>()?;
    team::pieces(&mut blocks, 1, |_, block| {
        for block in block {
            block.draw([count, length], &normal);
        }
    });
    let width = 2 * simd::lanes(simd::isa());
    team::pieces(out, width * length, |stripe, rows| {
        let stripe = Stripe { blocks: &blocks, first: stripe * width, length, gain, rows };
        simd::dispatch(simd::isa(), stripe);
    });
    Ok(())
}

impl Block {
    fn new(first: usize, length: usize) -> Result<Self> {
        let rows = (length - first).next_multiple_of(ROWS);
        let zeros = |len| host_memory::filled("orthogonal", || "reflections".into(), len, 0.0);
        Ok(Block { first, rows, v: zeros(rows * BLOCK)?, t: zeros(BLOCK * BLOCK)?, signs: [1.0; BLOCK] })
    }

    /// Draws the vectors and computes T. Columns beyond the last vector stay zero.
    fn draw(&mut self, [count, length]: [usize; 2], normal: &(impl Fn(usize) -> f32 + Sync)) {
        for i in 0..BLOCK.min(count - self.first) {
            let vector = self.first + i;
            let column = &mut self.v[i * BLOCK + i..];
            let elements = column.iter_mut().step_by(BLOCK).take(length - vector);
            for (k, x) in elements.enumerate() {
                *x = f64::from(normal(vector * length + k));
            }
            self.signs[i] = reflect(column);
        }
        self.invert(&self.products());
    }

    /// The upper triangle of V^T V, halved on its diagonal: the inverse of T.
    fn products(&self) -> Vec<[f64; BLOCK]> {
        let mut products = vec![[0.0; BLOCK]; BLOCK];
        for row in self.v.chunks_exact(BLOCK) {
            for (x, sums) in row.iter().zip(&mut products) {
                sums.iter_mut().zip(row).for_each(|(sum, y)| *sum += x * y);
            }
        }
        for (i, sums) in products.iter_mut().enumerate() {
            // A column whose vector is zero reflects nothing, so any diagonal does.
            sums[i] = if sums[i] > 0.0 { sums[i] / 2.0 } else { 1.0 };
        }
        products
    }

    /// Stores the inverse of an upper triangular matrix as -T.
    fn invert(&mut self, upper: &[[f64; BLOCK]]) {
        let mut inverse = vec![[0.0; BLOCK]; BLOCK];
        for j in 0..BLOCK {
            inverse[j][j] = 1.0 / upper[j][j];
            for i in (0..j).rev() {
                let sum: f64 = (i + 1..=j).map(|k| upper[i][k] * inverse[k][j]).sum();
                inverse[i][j] = -sum / upper[i][i];
            }
        }
        for (t, x) in self.t.iter_mut().zip(inverse.iter().flatten()) {
            *t = -x;
        }
    }
}

/// Turns a vector, `BLOCK` elements apart, into that of the reflection which maps it onto its first axis, scaled to a
/// square of 2. Returns the sign of the first element of the vector's image.
fn reflect(vector: &mut [f64]) -> f64 {
    let square: f64 = vector.iter().step_by(BLOCK).map(|x| x * x).sum();
    let (first, norm) = (vector[0], square.sqrt());
    if norm == 0.0 {
        // A zero vector has no direction: any reflection does.
        vector[0] = std::f64::consts::SQRT_2;
        return -1.0;
    }
    let scale = 1.0 / (square + norm * first.abs()).sqrt();
    for x in vector.iter_mut().step_by(BLOCK) {
        *x *= scale;
    }
    let sign = if first < 0.0 { -1.0 } else { 1.0 };
    vector[0] = (first + sign * norm) * scale;
    -sign
}

/// Some rows of the result, as many as a panel has columns.
struct Stripe<'a> {
    blocks: &'a [Block],
    /// The first of them.
    first: usize,
    length: usize,
    gain: f32,
    rows: &'a mut [f32],
}

impl SimdKernel for Stripe<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Stripe { blocks, first, length, gain, rows } = self;
        let width = 2 * S::LANES;
        let count = rows.len() / length;
        let padded = length.next_multiple_of(ROWS);
        // Two floats of memory per number.
        let mut scratch = Scratch::take(2 * (padded + 2 * BLOCK) * width);
        let memory: &mut [f64] = bytemuck::cast_slice_mut(scratch.get());
        let (columns, products) = memory.split_at_mut(padded * width);
        // Columns of the identity.
        columns.fill(0.0);
        for n in 0..count {
            columns[(first + n) * width + n] = 1.0;
        }
        // The last reflection comes first. Those after the last column do not change these columns.
        for block in blocks[..(first + count).div_ceil(BLOCK)].iter().rev() {
            let own = &mut columns[block.first * width..][..block.rows * width];
            // SAFETY: panels of `width` columns: `own` has the block's rows, `products` twice BLOCK.
            unsafe { apply::<S>(block, own.as_mut_ptr(), products.as_mut_ptr()) };
        }
        for (n, row) in rows.chunks_exact_mut(length).enumerate() {
            let column = first + n;
            let factor = f64::from(gain) * blocks[column / BLOCK].signs[column % BLOCK];
            for (r, x) in row.iter_mut().enumerate() {
                *x = (factor * columns[r * width + n]) as f32;
            }
        }
    }
}

/// LeftRows of a left operand: the first element, the distance of rows, and the distance of elements in a row.
#[derive(Clone, Copy)]
struct LeftRows {
    start: *const f64,
    stride: usize,
    step: usize,
}

/// `C -= V T V^T C` for the rows of C from the block's first on.
///
/// # Safety
/// Panels four vectors wide: C has `block.rows` rows, `products` twice `BLOCK`, and both start at a vector.
#[inline(always)]
unsafe fn apply<S: Simd>(block: &Block, c: *mut f64, products: *mut f64) {
    let width = 2 * S::LANES;
    let (v, t, rows) = (block.v.as_ptr(), block.t.as_ptr(), block.rows);
    let (product, scaled) = (products, products.wrapping_add(BLOCK * width));
    let step = most_rows::<S>();
    // SAFETY: `BLOCK` and `rows` are multiples of a tile's rows; V is [rows, BLOCK] and T is [BLOCK, BLOCK].
    unsafe {
        for i in (0..BLOCK).step_by(step) {
            let columns = LeftRows { start: v.add(i), stride: 1, step: BLOCK };
            tile::<S>(product.add(i * width), false, columns, c, rows);
        }
        for i in (0..BLOCK).step_by(step) {
            // T is upper triangular.
            let of = LeftRows { start: t.add(i * BLOCK + i), stride: BLOCK, step: 1 };
            tile::<S>(scaled.add(i * width), false, of, product.add(i * width), BLOCK - i);
        }
        for r in (0..rows).step_by(step) {
            let of = LeftRows { start: v.add(r * BLOCK), stride: BLOCK, step: 1 };
            tile::<S>(c.add(r * width), true, of, scaled, BLOCK);
        }
    }
}

/// A tile of most rows, see [`tile_of`].
///
/// # Safety
/// As [`tile_of`].
#[inline(always)]
unsafe fn tile<S: Simd>(out: *mut f64, old: bool, a: LeftRows, b: *const f64, depth: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if S::WIDE { tile_of::<S, 6>(out, old, a, b, depth) } else { tile_of::<S, 3>(out, old, a, b, depth) }
    }
}

/// `out = a b`, or `out += a b`. In contrast to the tiles of other products, a product is rounded before it is added.
///
/// # Safety
/// There are R rows of `depth` elements; panels of four vectors: `out` with R rows, `b` with `depth`.
#[inline(always)]
unsafe fn tile_of<S: Simd, const R: usize>(
    out: *mut f64,
    old: bool,
    a: LeftRows,
    b: *const f64,
    depth: usize,
) {
    let at = |r: usize, v: usize| (r * 4 + v) * S::LANES / 2;
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[S::splat_f64(0.0); 4]; R];
        if old {
            for r in 0..R {
                for v in 0..4 {
                    acc[r][v] = S::load_f64(out.add(at(r, v)));
                }
            }
        }
        for k in 0..depth {
            let mut row = [S::splat_f64(0.0); 4];
            for v in 0..4 {
                row[v] = S::load_f64(b.add(at(k, v)));
            }
            for r in 0..R {
                let x = S::splat_f64(*a.start.add(r * a.stride + k * a.step));
                for v in 0..4 {
                    acc[r][v] = S::add_f64(acc[r][v], S::mul_f64(x, row[v]));
                }
            }
        }
        for r in 0..R {
            for v in 0..4 {
                S::store_f64(out.add(at(r, v)), acc[r][v]);
            }
        }
    }
}
