//! Shapes: lists of axis lengths, row-major, without zero-length axes.

use crate::error::{Error, Result};
use std::fmt;

/// Highest number of axes an array can have; the strided kernels carry this many in their uniforms.
pub const MAX_RANK: usize = 8;

/// Axis lengths of a contiguous row-major array. `[]` is a scalar. No axis is zero, and the number of
/// elements fits the `u32` that kernels index with. Whether an array fits the device is checked at
/// allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Checks and stores axis lengths.
    ///
    /// # Errors
    /// A zero-length axis, more than [`MAX_RANK`] axes, or a number of elements beyond `u32`.
    pub fn new(op: &'static str, dims: &[usize]) -> Result<Self> {
        if dims.contains(&0) || dims.len() > MAX_RANK {
            return Err(Error::Shape {
                op,
                arg: "shape".into(),
                expected: format!("at most {MAX_RANK} axes, none of length zero"),
                got: dims.to_vec(),
            });
        }
        let elements = dims.iter().try_fold(1u128, |n, &d| n.checked_mul(d as u128));
        match elements {
            Some(n) if n <= u128::from(u32::MAX) => Ok(Shape(dims.to_vec())),
            _ => Err(Error::TooLarge {
                op,
                what: format!("an array of shape {:?}", Shape(dims.to_vec())),
                needed: elements.and_then(|n| n.checked_mul(4)).unwrap_or(u128::MAX),
                limit: 4 * u64::from(u32::MAX),
            }),
        }
    }

    /// Axis lengths.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements; 1 for a scalar.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    /// Never true: zero-length axes are refused at construction.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.0.len()];
        for axis in (1..self.0.len()).rev() {
            strides[axis - 1] = strides[axis] * self.0[axis];
        }
        strides
    }

    /// Splits at `axis` into (product before, length of the axis, product after).
    pub fn split_at_axis(&self, op: &'static str, axis: usize) -> Result<(usize, usize, usize)> {
        if axis >= self.rank() {
            return Err(Error::Value {
                op,
                arg: "axis",
                expected: format!("below the rank {} of shape {self:?}", self.rank()),
                got: axis.to_string(),
            });
        }
        let outer = self.0[..axis].iter().product();
        let inner = self.0[axis + 1..].iter().product();
        Ok((outer, self.0[axis], inner))
    }

    /// (rows, columns) with the last axis as columns; a scalar is one row of one column.
    pub fn rows_cols(&self) -> (usize, usize) {
        let cols = self.0.last().copied().unwrap_or(1);
        (self.len() / cols, cols)
    }

    /// The shape two operands broadcast to: axes aligned at the end, lengths equal or 1.
    pub fn broadcast(op: &'static str, a: &Shape, b: &Shape) -> Result<Shape> {
        let rank = a.rank().max(b.rank());
        let at = |s: &Shape, axis: usize| {
            let missing = rank - s.rank();
            if axis < missing { 1 } else { s.0[axis - missing] }
        };
        let mut dims = Vec::with_capacity(rank);
        for axis in 0..rank {
            let (x, y) = (at(a, axis), at(b, axis));
            if x != y && x != 1 && y != 1 {
                return Err(Error::Shape {
                    op,
                    arg: "right operand".into(),
                    expected: format!("broadcastable to {a:?}"),
                    got: b.0.clone(),
                });
            }
            dims.push(x.max(y));
        }
        Shape::new(op, &dims)
    }

    /// Strides of this shape broadcast to `target`: 0 along broadcast axes.
    pub fn broadcast_strides(&self, target: &Shape) -> Vec<usize> {
        let missing = target.rank() - self.rank();
        let own = self.strides();
        (0..target.rank())
            .map(|axis| match axis.checked_sub(missing) {
                Some(own_axis) if self.0[own_axis] != 1 => own[own_axis],
                _ => 0,
            })
            .collect()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
