// Result of the products whose operands are aligned to four elements.
// Defines: bias, c, write. Needs: gemm/params.wgsl, gemm/result_*.wgsl.

@group(1) @binding(2) var<storage, read> bias: array<vec4<f32>>;  // [N]
@group(1) @binding(3) var<storage, read_write> c: array<Result4>; // [M, N], rows ldc apart

// Four columns of one row of the product, starting at a multiple of 4.
fn write(value: vec4<f32>, row: u32, column: u32, start: u32) {
    if row >= params.m || column >= params.n {
        return;
    }
    let at = (start + c_row(row) * params.ldc + column) / 4u;
    var sum = value;
    if params.has_bias != 0u {
        sum += bias[column / 4u];
    }
    if params.accumulate != 0u {
        sum += vec4<f32>(c[at]);
    }
    c[at] = Result4(sum);
}
