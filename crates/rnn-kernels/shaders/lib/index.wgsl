// Indices from a grid that may be folded into two dimensions, because one dimension is limited to 65535 workgroups.
// The last row of the fold may exceed the work, so kernels compare the index with their size. Defines: linear_group,
// linear_index.   Twin: rnn_kernels::grid

// Index of the workgroup.
fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

// Index of the invocation, for workgroups of 256.
fn linear_index(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return linear_group(group, groups) * 256u + lane;
}
