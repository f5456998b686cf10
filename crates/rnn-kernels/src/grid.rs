//! Dispatch geometry: the number of workgroups along x, y and z.
//!
//! A device limits the workgroups along each dimension. A [`Grid`] says what a kernel needs, and [`Grid::fit`] gives the
//! numbers for a device. Kernels that count their items take a grid of any number, which is folded into as many
//! dimensions as it needs; they turn it back into an index with `lib/index.wgsl`. Kernels whose dimensions have meanings
//! take grids that were made within the limit: [`blocks`] splits the work, [`within`] refuses what is too much.

use std::ops::Range;

/// Invocations per workgroup of the linear kernels.
pub const WORKGROUP: usize = 256;

/// The workgroups of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A number of workgroups.
    Folded(usize),
    /// Workgroups along x, y and z.
    Fixed([usize; 3]),
}

/// At least `count` workgroups, for kernels with one workgroup per item. A folded grid may have more workgroups than
/// items, so kernels check their index.
pub fn groups(count: usize) -> Grid {
    Grid(Kind::Folded(count.max(1)))
}

/// At least one invocation per element, for kernels with workgroups of [`WORKGROUP`].
pub fn linear(elements: usize) -> Grid {
    groups(elements.div_ceil(WORKGROUP))
}

/// A workgroup for each of `counts` along x, y and z; `None` where one is above the limit.
pub fn within(limit: u32, counts: [usize; 3]) -> Option<Grid> {
    let fits = |&count: &usize| (1..=limit as usize).contains(&count);
    counts.iter().all(fits).then_some(Grid(Kind::Fixed(counts)))
}

/// A part of a product's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Elements along x, y and z.
    pub range: [Range<usize>; 3],
    /// The tiles that cover them.
    pub grid: Grid,
}

/// Blocks of whole tiles that cover `extent` along x, y and z, each of at most `most` elements along every axis (or one
/// tile) and of at most `limit` tiles. An axis of length 0 counts as one tile.
pub fn blocks(
    limit: u32,
    extent: [usize; 3],
    tile: [usize; 3],
    most: [usize; 3],
) -> impl Iterator<Item = Block> {
    let steps: [usize; 3] =
        std::array::from_fn(|axis| tile[axis] * (most[axis] / tile[axis]).clamp(1, limit as usize));
    let counts: [usize; 3] = std::array::from_fn(|axis| extent[axis].div_ceil(steps[axis]).max(1));
    (0..counts.iter().product()).map(move |n| {
        let at = [n % counts[0], n / counts[0] % counts[1], n / counts[0] / counts[1]];
        let range: [Range<usize>; 3] = std::array::from_fn(|axis| {
            let start = at[axis] * steps[axis];
            start..(start + steps[axis]).min(extent[axis]).max(start)
        });
        let tiles = std::array::from_fn(|axis| range[axis].len().div_ceil(tile[axis]).max(1));
        Block { range, grid: Grid(Kind::Fixed(tiles)) }
    })
}

impl Grid {
    /// Workgroups along x, y and z on a device that allows `limit` along each; `None` where they do not suffice.
    pub fn fit(self, limit: u32) -> Option<[u32; 3]> {
        let limit = limit as usize;
        let counts = match self.0 {
            Kind::Fixed(counts) => counts,
            Kind::Folded(count) => {
                let z = count.div_ceil(limit).div_ceil(limit);
                let y = count.div_ceil(z).div_ceil(limit);
                [count.div_ceil(z).div_ceil(y), y, z]
            }
        };
        counts.iter().all(|&count| count <= limit).then_some(counts.map(|count| count as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least limit that WebGPU guarantees.
    const LIMIT: u32 = 65_535;

    #[test]
    fn folded_grids_cover_and_stay_within_the_limit() {
        for (limit, counts) in [
            (LIMIT, &[0, 1, 255, 256, 257, 65_535, 65_536, 131_071, 16_777_216][..]),
            (3, &[1, 3, 4, 9, 10, 26, 27]),
        ] {
            for &count in counts {
                let fitted = groups(count).fit(limit).unwrap();
                assert!(fitted.iter().all(|n| (1..=limit).contains(n)), "{count}: {fitted:?}");
                let [x, y, z] = fitted.map(|n| n as usize);
                assert!(
                    x * y * z >= count && x * y * z < count.max(1) + y * z + x * z,
                    "{count}: {fitted:?}"
                );
            }
        }
        assert_eq!(groups(28).fit(3), None);
        assert_eq!(linear(257).fit(LIMIT), Some([2, 1, 1]));
        assert_eq!(linear(u32::MAX as usize).fit(LIMIT), Some([65_281, 257, 1]));
    }

    #[test]
    fn blocks_cover_every_element_once() {
        for (limit, extent, tile, most) in [
            (3, [65, 1, 2], [16, 16, 1], [usize::MAX; 3]),
            (3, [400, 130, 7], [4, 16, 1], [usize::MAX; 3]),
            (2, [5, 100, 1], [4, 8, 1], [usize::MAX, 17, usize::MAX]),
            (LIMIT, [300_000, 70_000, 3], [4, 1, 1], [usize::MAX; 3]),
            (4, [1, 0, 1], [4, 4, 1], [usize::MAX; 3]),
        ] {
            let mut covered = 0;
            for block in blocks(limit, extent, tile, most) {
                let counts = block.grid.fit(limit).unwrap();
                for axis in 0..3 {
                    let Range { start, end } = block.range[axis];
                    assert!(start % tile[axis] == 0 && end <= extent[axis], "{block:?}");
                    assert!(counts[axis] as usize * tile[axis] >= end - start, "{block:?}");
                    assert!(end - start <= most[axis].max(tile[axis]), "{block:?}");
                }
                covered += block.range.iter().map(Range::len).product::<usize>();
            }
            assert_eq!(covered, extent.iter().product::<usize>(), "{extent:?}");
        }
        assert_eq!(within(3, [3, 1, 2]).and_then(|grid| grid.fit(3)), Some([3, 1, 2]));
        assert_eq!((within(3, [4, 1, 1]), within(3, [1, 0, 1])), (None, None));
    }
}
