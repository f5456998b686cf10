// out[v, :] = sum of dy[k, :] over the k with indices[k] = v, in order. Each sum belongs to one workgroup, so no
// atomics on floats are needed. A workgroup has one row v and 256 columns. It scans the indices 256 at a time and
// skips chunks without v. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/embed.rs (scatter_add)

struct Params {
    count: u32, // N
    width: u32, // E
    rows: u32,  // V
    tiles: u32, // ceil(E / 256)
    first: u32, // of the items [V, tiles] that the dispatch has
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> dy: array<f32>;        // [N, E]
@group(1) @binding(1) var<storage, read> indices: array<u32>;   // [N]
@group(1) @binding(2) var<storage, read_write> out: array<f32>; // [V, E]

var<workgroup> staged: array<u32, 256>;
// 1 + the last chunk that mentions the row: it only grows, so nothing has to be reset.
var<workgroup> mentioned: atomic<u32>;

@compute @workgroup_size(256)
fn scatter_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = params.first + linear_group(group, groups);
    let row = item / params.tiles;
    let column = item % params.tiles * 256u + lane;
    if lane == 0u {
        atomicStore(&mentioned, 0u);
    }
    var sum = 0.0;
    let chunks = (params.count + 255u) / 256u;
    for (var chunk = 0u; chunk < chunks; chunk++) {
        workgroupBarrier();
        let k = chunk * 256u + lane;
        if k < params.count {
            staged[lane] = indices[k];
            if indices[k] == row {
                atomicStore(&mentioned, chunk + 1u);
            }
        }
        workgroupBarrier();
        if atomicLoad(&mentioned) == chunk + 1u && column < params.width {
            let limit = min(256u, params.count - chunk * 256u);
            for (var j = 0u; j < limit; j++) {
                if staged[j] == row {
                    sum += dy[(chunk * 256u + j) * params.width + column];
                }
            }
        }
    }
    if row < params.rows && column < params.width {
        out[row * params.width + column] = sum;
    }
}
