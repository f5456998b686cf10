// Tile of gemm/gemm_tile.wgsl: 128 x 128 of c by 16 x 16 invocations, with half as many loads per product as the
// smaller tile.
// Defines: TILE, SIDE, BUFFERS.

const TILE: u32 = 128u;
const SIDE: u32 = 16u;

// 16 KiB of workgroup memory, all that some adapters have; or 32 KiB and half as many barriers.
override BUFFERS: u32;
