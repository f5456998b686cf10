// Tile of gemm/gemm_tile.wgsl: 128 x 128 of c by 16 x 16 invocations, half the loads per product of the smaller one.
// Defines: TILE, SIDE.

const TILE: u32 = 128u;
const SIDE: u32 = 16u;
