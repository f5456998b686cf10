//! The kernels of a product, their constants, and what they need of its operands.

use crate::{GpuArray, GpuDevice};
use rnn_base::DType;
use rnn_base::args::gemm::{GemmArgs as Product, Operand, Output};
use rnn_kernels::catalogue::gemm::{
    Formats, GEMM, GEMM_MATRIX, GEMM_SUBGROUP, GEMM_TILE_64, GEMM_TILE_128, GEMV, member,
};
use rnn_kernels::{Kernel, ROWS};

/// A product of arrays on a GPU.
pub type GemmArgs<'a> = Product<&'a GpuArray>;

/// A kernel form: kernels, their constants, and the rows and columns of c that a workgroup computes.
#[derive(Clone)]
pub(super) struct Form {
    pub(super) family: &'static [Kernel],
    pub(super) constants: Vec<(&'static str, f64)>,
    pub(super) tile: [usize; 2],
}

/// Families of aligned kernels, named as in their self-tests.
pub(super) const SUBGROUP: &str = "gemm/subgroup";
pub(super) const ALIGNED: &str = "gemm/aligned";
pub(super) const LARGE: &str = "gemm/large";
pub(super) const MATRIX: &str = "gemm/matrix";

/// The contiguous axis of each operand of an aligned product: k, or the other one.
#[derive(Clone, Copy)]
pub(super) struct Aligned {
    pub(super) a_along_k: bool,
    pub(super) b_along_k: bool,
}

impl Aligned {
    /// `None` unless everything is aligned to vectors of four.
    pub(super) fn of(args: &GemmArgs<'_>, c: &Output) -> Option<Self> {
        let whole = |sizes: &[usize]| sizes.iter().all(|size| size % 4 == 0);
        let operand = |x: &Operand<&GpuArray>, along_k: usize, across: usize| match (along_k, across) {
            _ if !whole(&[x.offset, x.batch_stride]) => None,
            (1, across) if whole(&[args.k, across]) => Some(true),
            (along, 1) if whole(&[along]) => Some(false),
            _ => None,
        };
        let a_along_k = operand(&args.a, args.a.col_stride, args.a.row_stride)?;
        let b_along_k = operand(&args.b, args.b.row_stride, args.b.col_stride)?;
        let fits = whole(&[args.n, c.offset, c.ldc, c.batch_stride]) && args.m * args.n * args.k > 0;
        fits.then_some(Aligned { a_along_k, b_along_k })
    }

    fn constants(self, rows: usize) -> Vec<(&'static str, f64)> {
        vec![
            ("A_ALONG_K", f64::from(u8::from(self.a_along_k))),
            ("B_ALONG_K", f64::from(u8::from(self.b_along_k))),
            (ROWS, rows as f64),
        ]
    }
}

/// Whether an aligned product is one of f16 operands in whole blocks of 16 x 16 that start at multiples of 16 bytes.
pub(super) fn has_whole_blocks(args: &GemmArgs<'_>) -> bool {
    let operand = |x: &Operand<&GpuArray>| {
        let sizes = [x.offset, x.batch_stride, x.row_stride.max(x.col_stride)];
        x.memory.dtype == DType::F16 && sizes.iter().all(|size| size % 8 == 0)
    };
    operand(&args.a) && operand(&args.b) && [args.m, args.n, args.k].iter().all(|size| size % 16 == 0)
}

impl Form {
    /// For any strides and any adapter.
    pub(super) fn strided(args: &GemmArgs<'_>) -> Self {
        let along_k = |stride: usize| f64::from(u8::from(stride == 1));
        Form {
            family: &GEMM,
            constants: vec![
                ("A_ALONG_K", along_k(args.a.col_stride)),
                ("B_ALONG_K", along_k(args.b.row_stride)),
            ],
            tile: [64, 64],
        }
    }

    /// For subgroups of eight lanes.
    pub(super) fn subgroup(m: usize, aligned: Aligned) -> Self {
        let rows = match m {
            _ if !aligned.a_along_k => 32,
            1 => 1,
            2..=4 => 4,
            5..=8 => 8,
            9..=16 => 16,
            _ => 32,
        };
        Form { family: &GEMM_SUBGROUP, constants: aligned.constants(rows), tile: [rows, 32] }
    }

    /// For aligned operands on any adapter. Large tiles may use this many bytes of workgroup memory; `None` where
    /// they do not work.
    pub(super) fn aligned([m, n]: [usize; 2], aligned: Aligned, large: Option<u32>) -> Self {
        if m <= 4 && aligned.a_along_k && aligned.b_along_k {
            let rows = if m == 1 { 1 } else { 4 };
            return Form { family: &GEMV, constants: vec![(ROWS, rows as f64)], tile: [rows, 4] };
        }
        let mut constants = aligned.constants(8);
        let Some(bytes) = large.filter(|_| is_large([m, n])) else {
            return Form { family: &GEMM_TILE_64, constants, tile: [64, 64] };
        };
        // Two buffers take 32 KiB. An adapter with no more would run one workgroup at a time.
        constants.push(("BUFFERS", if bytes > 32 << 10 { 2.0 } else { 1.0 }));
        Form { family: &GEMM_TILE_128, constants, tile: [128, 128] }
    }

    /// For f16 operands with whole blocks, on matrix units.
    pub(super) fn matrix(aligned: Aligned) -> Self {
        Form { family: &GEMM_MATRIX, constants: aligned.constants(4), tile: [64, 128] }
    }
}

/// The kernel of an aligned product with its constants, by its sizes alone. `along_k` says of each operand whether k
/// is its contiguous axis.
pub(crate) fn aligned_choice(
    [m, n]: [usize; 2],
    [a_along_k, b_along_k]: [bool; 2],
    formats: Formats,
    (subgroups_of_eight, workgroup_bytes): (bool, u32),
) -> (&'static Kernel, Vec<(&'static str, f64)>) {
    let aligned = Aligned { a_along_k, b_along_k };
    let form = if subgroups_of_eight {
        Form::subgroup(m, aligned)
    } else {
        Form::aligned([m, n], aligned, Some(workgroup_bytes))
    };
    (member(form.family, formats), form.constants)
}

/// Whether a product fills tiles of 128 x 128.
pub(super) fn is_large([m, n]: [usize; 2]) -> bool {
    m.min(n) >= 128
}

pub(super) fn workgroup_bytes(device: &GpuDevice) -> u32 {
    device.0.limits.max_compute_workgroup_storage_size
}
