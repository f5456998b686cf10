// Indices from a grid that may be folded into two or three dimensions, because the workgroups along a dimension are
// limited. The last rows of the fold may exceed the work, so kernels compare the index with their size. Defines:
// linear_group, linear_index.   Twin: rnn_kernels::grid

// Index of the workgroup.
fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return (group.z * groups.y + group.y) * groups.x + group.x;
}

// Index of the invocation, for workgroups of 256.
fn linear_index(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    let index = linear_group(group, groups);
    // Workgroups beyond the last of 2^32 elements do not start again at 0: no size is above the largest number.
    return select(0xffffffffu, index * 256u + lane, index < 0x1000000u);
}
