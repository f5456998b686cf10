//! Copies between strided views.

/// A copy of `dims` elements between two strided views of arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StridedCopy {
    /// Axis lengths of both views.
    pub dims: Vec<usize>,
    /// Elements between neighbours along each axis of the source.
    pub src_strides: Vec<usize>,
    /// First element of the source.
    pub src_offset: usize,
    /// Elements between neighbours along each axis of the destination.
    pub dst_strides: Vec<usize>,
    /// First element of the destination.
    pub dst_offset: usize,
}

/// One side of a copy.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Elements between neighbours along each axis.
    pub strides: &'a [usize],
    /// First element.
    pub offset: usize,
}

impl StridedCopy {
    /// The copy with as few and as long axes as possible, see [`collapse`].
    pub fn new(dims: &[usize], src: View<'_>, dst: View<'_>) -> Self {
        let (dims, [src_strides, dst_strides]) = collapse(dims, [src.strides, dst.strides]);
        StridedCopy { dims, src_strides, src_offset: src.offset, dst_strides, dst_offset: dst.offset }
    }

    /// `count` contiguous elements from `src_offset` to `dst_offset`.
    pub fn flat(count: usize, src_offset: usize, dst_offset: usize) -> Self {
        StridedCopy { dims: vec![count], src_strides: vec![1], src_offset, dst_strides: vec![1], dst_offset }
    }

    /// `rows` rows of `width` contiguous elements. Rows of a side start `stride` elements apart, the first
    /// one at its offset.
    pub fn rows(
        rows: usize,
        width: usize,
        [from, to]: [usize; 2],
        [src_offset, dst_offset]: [usize; 2],
    ) -> Self {
        StridedCopy {
            dims: vec![rows, width],
            src_strides: vec![from, 1],
            src_offset,
            dst_strides: vec![to, 1],
            dst_offset,
        }
    }
}

/// Drops axes of length 1 and merges neighbouring axes that are contiguous in every operand, so that strided
/// loops run over as few and as long axes as possible. At least one axis stays.
pub fn collapse<const N: usize>(dims: &[usize], strides: [&[usize]; N]) -> (Vec<usize>, [Vec<usize>; N]) {
    let mut out_dims: Vec<usize> = Vec::new();
    let mut out_strides: [Vec<usize>; N] = std::array::from_fn(|_| Vec::new());
    for axis in 0..dims.len() {
        if dims[axis] == 1 {
            continue;
        }
        let last = out_dims.len().wrapping_sub(1);
        let merges =
            !out_dims.is_empty() && (0..N).all(|k| out_strides[k][last] == strides[k][axis] * dims[axis]);
        if merges {
            out_dims[last] *= dims[axis];
        } else {
            out_dims.push(dims[axis]);
        }
        for k in 0..N {
            if merges {
                out_strides[k][last] = strides[k][axis];
            } else {
                out_strides[k].push(strides[k][axis]);
            }
        }
    }
    if out_dims.is_empty() {
        out_dims.push(1);
        out_strides.iter_mut().for_each(|strides| strides.push(1));
    }
    (out_dims, out_strides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapse_merges_what_all_operands_walk_as_one() {
        // [T, B, H] + [H]
        let (dims, [a, b]) = collapse(&[5, 3, 7], [&[21, 7, 1], &[0, 0, 1]]);
        assert_eq!((dims, a, b), (vec![15, 7], vec![7, 1], vec![0, 1]));
        // contiguous, with axes of length 1 in between
        let (dims, [a]) = collapse(&[5, 1, 3], [&[3, 99, 1]]);
        assert_eq!((dims, a), (vec![15], vec![1]));
        // a transposition
        let (dims, [a]) = collapse(&[3, 5], [&[1, 3]]);
        assert_eq!((dims, a), (vec![3, 5], vec![1, 3]));
        // a scalar
        let (dims, [a]) = collapse(&[], [&[]]);
        assert_eq!((dims, a), (vec![1], vec![1]));
    }
}
