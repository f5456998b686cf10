// Rows of a weight matrix from PyTorch's order (a block of H rows per gate) to that of the recurrence (the gates of a
// unit side by side, unit * G + gate), or its gradient back. H of the second order is padded to a multiple of 4; row
// lengths are padded likewise. Padding is zero, and is dropped on the way back.
// Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/pack.rs (ForwardWeights)

struct Params {
    hidden: u32,     // H without padding
    padded: u32,     // H
    gates: u32,      // G
    columns: u32,    // of the matrix in PyTorch's order
    stride: u32,     // elements between rows of the other matrix
    offset: u32,     // element of the other matrix at which it starts
    count: u32,      // elements to write
}

override BACK: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> source: array<f32>;      // [G*H, columns]; back: [H*G, stride]
@group(1) @binding(1) var<storage, read_write> result: array<f32>;  // the other matrix

@compute @workgroup_size(256)
fn interleave(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.count {
        return;
    }
    if BACK {
        let row = i / params.columns;
        let gate = row / params.hidden;
        let unit = row % params.hidden;
        result[i] = source[params.offset + (unit * params.gates + gate) * params.stride + i % params.columns];
    } else {
        let row = i / params.stride;
        let column = i % params.stride;
        let gate = row % params.gates;
        let unit = row / params.gates;
        var value = 0.0;
        if unit < params.hidden && column < params.columns {
            value = source[(gate * params.hidden + unit) * params.columns + column];
        }
        result[params.offset + i] = value;
    }
}
