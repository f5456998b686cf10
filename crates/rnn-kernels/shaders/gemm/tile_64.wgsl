// Tile of gemm/gemm_tile.wgsl: 64 x 64 of c by 8 x 8 invocations, for small results and small adapters.
// Defines: TILE, SIDE, BUFFERS.

const TILE: u32 = 64u;
const SIDE: u32 = 8u;
const BUFFERS: u32 = 2u; // 8 KiB of workgroup memory
