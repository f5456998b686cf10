// Tile of gemm/gemm_tile.wgsl: 128 x 128 of c by 16 x 16 invocations, with half as many loads per product as the
// smaller tile.
// Defines: TILE, SIDE.

const TILE: u32 = 128u;
const SIDE: u32 = 16u;
