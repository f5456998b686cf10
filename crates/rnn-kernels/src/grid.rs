//! Dispatch geometry: the number of workgroups along x, y and z. Kernels turn it back into an index with
//! `lib/index.wgsl`.

/// Most workgroups along one dimension that WebGPU guarantees.
pub const MAX_GROUPS: usize = 65_535;

/// Invocations per workgroup of the linear kernels.
pub const WORKGROUP: usize = 256;

/// A grid of at least `count` workgroups along x and y, for kernels with one workgroup per item. Above 65535
/// items it is two-dimensional and may have more workgroups than items, so kernels check their index.
pub fn groups(count: usize) -> [u32; 3] {
    let count = count.max(1);
    let y = count.div_ceil(MAX_GROUPS);
    [count.div_ceil(y) as u32, y as u32, 1]
}

/// A grid with at least one invocation per element, for kernels with workgroups of [`WORKGROUP`].
pub fn linear(elements: usize) -> [u32; 3] {
    groups(elements.div_ceil(WORKGROUP))
}

/// A grid of tiles that covers `extent` along every axis.
pub fn tiles(extent: [usize; 3], tile: [usize; 3]) -> [u32; 3] {
    std::array::from_fn(|axis| extent[axis].div_ceil(tile[axis]).max(1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_cover_and_stay_within_the_limit() {
        for count in [0, 1, 255, 256, 257, 65_535, 65_536, 131_071, 16_777_216] {
            let [x, y, z] = groups(count).map(|n| n as usize);
            assert!(x * y * z >= count && x * y < count + y + 1, "{count}: {x} x {y}");
            assert!((1..=MAX_GROUPS).contains(&x) && (1..=MAX_GROUPS).contains(&y) && z == 1);
        }
        assert_eq!(linear(257), [2, 1, 1]);
        assert_eq!(linear(u32::MAX as usize), [65_281, 257, 1]);
        assert_eq!(tiles([65, 1, 2], [16, 16, 1]), [5, 1, 2]);
    }
}
