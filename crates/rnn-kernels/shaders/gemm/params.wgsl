// Parameters of the matrix products, and the part of k that a workgroup sums.
// Defines: Params, params, batch_of, k_begin, k_end, c_start, c_row.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    ldc: u32,
    a_offset: u32,
    a_row_stride: u32,
    a_col_stride: u32,
    a_batch_stride: u32,
    b_offset: u32,
    b_row_stride: u32,
    b_col_stride: u32,
    b_batch_stride: u32,
    c_offset: u32,
    c_batch_stride: u32,
    accumulate: u32,
    has_bias: u32,
    first_row: u32,
    parts: u32,       // number of parts into which the sum over k is divided; 1 for most products
    part_depth: u32,  // values of k per part
    part_stride: u32, // elements of c between parts
    row_groups: u32,  // G where row j G + g of the product is row g group_rows + j of c, else 1
    group_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

fn batch_of(group: vec3<u32>) -> u32 {
    return group.z / params.parts;
}

fn k_begin(group: vec3<u32>) -> u32 {
    return group.z % params.parts * params.part_depth;
}

fn k_end(group: vec3<u32>) -> u32 {
    return min(k_begin(group) + params.part_depth, params.k);
}

// Element of c at which the matrix of this workgroup starts.
fn c_start(group: vec3<u32>) -> u32 {
    return params.c_offset + batch_of(group) * params.c_batch_stride + group.z % params.parts * params.part_stride;
}

// Row of c for a row of the product.
fn c_row(row: u32) -> u32 {
    return row % params.row_groups * params.group_rows + row / params.row_groups;
}
