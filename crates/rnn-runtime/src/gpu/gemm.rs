//! Matrix products on the GPU. Twin of `cpu/gemm.rs`.

use super::{GpuDevice, Launch};
use crate::array::Array;
use crate::device::Device;
use crate::error::Result;
use crate::ops::gemm::{GemmArgs, Operand, Output};
use rnn_kernels::catalogue::gemm::{GEMM, GEMM_SUBGROUP};
use rnn_kernels::params::gemm::GemmParams;
use rnn_kernels::{Kernel, ROWS, grid};

/// Multiply-adds of one dispatch at most: about 20 ms at the slowest rate of a real GPU. Larger
/// products are split by rows.
const MAX_WORK: usize = 1 << 30;

/// A kernel, its constants, and the rows and columns of c that a workgroup computes.
struct Form {
    kernel: &'static Kernel,
    constants: Vec<(&'static str, f64)>,
    tile: [usize; 2],
}

/// Whether neighbouring elements along k are neighbours in memory.
fn along_k(k_stride: usize) -> f64 {
    f64::from(u8::from(k_stride == 1))
}

impl Form {
    /// Any strides, any adapter.
    fn tiled(args: &GemmArgs<'_>) -> Self {
        Form {
            kernel: &GEMM,
            constants: vec![
                ("A_ALONG_K", along_k(args.a.col_stride)),
                ("B_ALONG_K", along_k(args.b.row_stride)),
            ],
            tile: [64, 64],
        }
    }

    /// For subgroups of eight lanes; `None` unless everything is aligned to vectors of four.
    fn subgroup(device: &GpuDevice, args: &GemmArgs<'_>, c: &Output<'_>) -> Option<Self> {
        let whole = |sizes: &[usize]| sizes.iter().all(|size| size % 4 == 0);
        // Contiguous along k (true), along the other axis (false), or unfit.
        let operand = |x: &Operand<'_>, along_k: usize, across: usize| match (along_k, across) {
            _ if !whole(&[x.offset, x.batch_stride]) => None,
            (1, across) if whole(&[args.k, across]) => Some(true),
            (along, 1) if whole(&[along]) => Some(false),
            _ => None,
        };
        let a = operand(&args.a, args.a.col_stride, args.a.row_stride)?;
        let b = operand(&args.b, args.b.row_stride, args.b.col_stride)?;
        let fits = device.subgroup_size() == Some(8)
            && whole(&[args.n, c.offset, c.ldc, c.batch_stride])
            && args.m * args.n * args.k > 0;
        let rows = match args.m {
            _ if !a => 32,
            1 => 1,
            2..=4 => 4,
            5..=8 => 8,
            9..=16 => 16,
            _ => 32,
        };
        fits.then(|| Form {
            kernel: &GEMM_SUBGROUP,
            constants: vec![
                ("A_ALONG_K", f64::from(u8::from(a))),
                ("B_ALONG_K", f64::from(u8::from(b))),
                (ROWS, rows as f64),
            ],
            tile: [rows, 32],
        })
    }
}

/// Enqueues the product; see [`crate::ops::gemm::gemm`].
pub(crate) fn gemm(device: &GpuDevice, args: &GemmArgs<'_>, c: Output<'_>) -> Result<()> {
    let form = match Form::subgroup(device, args, &c) {
        Some(form) if subgroup_works(device)? => form,
        _ => Form::tiled(args),
    };
    run(device, args, c, form)
}

fn run(device: &GpuDevice, args: &GemmArgs<'_>, c: Output<'_>, form: Form) -> Result<()> {
    let Form { kernel, constants, tile: [tile, columns] } = form;
    let len = c.array.len();
    let out = c.array.gpu_mut();
    out.make_unique(len)?;
    let strides = |x: &Operand<'_>| [x.offset, x.row_stride, x.col_stride, x.batch_stride].map(|v| v as u32);
    let [a_offset, a_row_stride, a_col_stride, a_batch_stride] = strides(&args.a);
    let [b_offset, b_row_stride, b_col_stride, b_batch_stride] = strides(&args.b);
    let rows = (MAX_WORK / (args.n * args.k).max(1)).clamp(tile, args.m.max(tile)) / tile * tile;
    for first_row in (0..args.m).step_by(rows) {
        let m = (first_row + rows).min(args.m);
        let params = GemmParams {
            m: m as u32,
            n: args.n as u32,
            k: args.k as u32,
            ldc: c.ldc as u32,
            a_offset,
            a_row_stride,
            a_col_stride,
            a_batch_stride,
            b_offset,
            b_row_stride,
            b_col_stride,
            b_batch_stride,
            c_offset: c.offset as u32,
            c_batch_stride: c.batch_stride as u32,
            accumulate: u32::from(args.accumulate),
            has_bias: u32::from(args.bias.is_some()),
            first_row: first_row as u32,
        };
        // A product without bias still needs something bound; `a` is at hand and readable.
        let bias = args.bias.unwrap_or(args.a.array).gpu();
        device.dispatch(Launch {
            kernel,
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &[args.a.array.gpu(), args.b.array.gpu(), bias, out],
            grid: grid::tiles([args.n, m - first_row, args.batch], [columns, tile, 1]),
            work: (2 * args.batch * (m - first_row) * args.n * args.k) as u64,
        })?;
    }
    Ok(())
}

/// Whether the subgroup form passes its self-test, a product of small integers; it runs at the first call.
fn subgroup_works(device: &GpuDevice) -> Result<bool> {
    const M: usize = 35;
    const N: usize = 40;
    const K: usize = 12;
    device.0.self_tests.passes("gemm/subgroup", 0.0, || {
        let on = Device::from(device.clone());
        let value = |i: usize| ((i * 7 + i * i % 11) % 5) as f32 - 2.0;
        let [a, b]: [Vec<f32>; 2] = [M * K, K * N].map(|count| (0..count).map(value).collect());
        let mut c = Array::alloc(&on, "self-test", &[M, N])?;
        let operands = [Array::from_f32(&on, &a, &[M, K])?, Array::from_f32(&on, &b, &[K, N])?];
        let args = GemmArgs {
            batch: 1,
            m: M,
            n: N,
            k: K,
            a: Operand::rows(&operands[0], K),
            b: Operand::rows(&operands[1], N),
            bias: None,
            accumulate: false,
        };
        let whole = Output { array: &mut c, offset: 0, batch_stride: 0, ldc: N };
        let Some(form) = Form::subgroup(device, &args, &whole) else { return Ok(0.0) };
        run(device, &args, whole, form)?;
        let want = |i: usize| (0..K).map(|k| a[i / N * K + k] * b[k * N + i % N]).sum::<f32>();
        let differences = c.to_vec()?.into_iter().enumerate().map(|(i, got)| (got - want(i)).abs());
        // max() of f32 drops NaN.
        Ok(differences.fold(0.0, |worst, x| if x <= worst { worst } else { x }))
    })
}
