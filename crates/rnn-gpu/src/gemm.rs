//! Matrix products on the GPU. Twin of `rnn-cpu/src/gemm.rs`.

use super::calibration::Speed;
use super::copy::slice;
use super::{GpuArray, GpuBuffer, GpuDevice, Launch};
use rnn_base::DType;
use rnn_base::args::gemm::{GemmArgs as Product, Operand, Output};
use rnn_base::error::Result;
use rnn_kernels::catalogue::gemm::{
    Formats, GEMM, GEMM_MATRIX, GEMM_SUBGROUP, GEMM_TILE_64, GEMM_TILE_128, GEMV, SUM_PARTS, SUM_PARTS_HALF,
    member,
};
use rnn_kernels::params::gemm::{GemmParams, SumPartsParams};
use rnn_kernels::{Kernel, ROWS, grid};

mod self_test;

use self_test::works;
pub(super) use self_test::{ask_for_self_tests, half_products};

/// A product of arrays on a GPU.
pub type GemmArgs<'a> = Product<&'a GpuArray>;

/// Multiply-adds that every dispatch may have: about 20 ms at the slowest rate of a real GPU.
const LEAST_WORK: f64 = (1 << 30) as f64;

/// Longest dispatch in seconds. Larger products are split by rows.
const MAX_SECONDS: f64 = 0.02;

/// Smallest part of a sum over k: a sum below twice this length is not divided.
const MIN_PART: usize = 256;

/// Most parts of a sum over k.
const MAX_PARTS: usize = 64;

/// A kernel form: kernels, their constants, and the rows and columns of c that a workgroup computes.
#[derive(Clone)]
struct Form {
    family: &'static [Kernel],
    constants: Vec<(&'static str, f64)>,
    tile: [usize; 2],
}

/// Families of aligned kernels, named as in their self-tests.
const SUBGROUP: &str = "gemm/subgroup";
const ALIGNED: &str = "gemm/aligned";
const LARGE: &str = "gemm/large";
const MATRIX: &str = "gemm/matrix";

/// The contiguous axis of each operand of an aligned product: k, or the other one.
#[derive(Clone, Copy)]
struct Aligned {
    a_along_k: bool,
    b_along_k: bool,
}

impl Aligned {
    /// `None` unless everything is aligned to vectors of four.
    fn of(args: &GemmArgs<'_>, c: &Output) -> Option<Self> {
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
fn has_whole_blocks(args: &GemmArgs<'_>) -> bool {
    let operand = |x: &Operand<&GpuArray>| {
        let sizes = [x.offset, x.batch_stride, x.row_stride.max(x.col_stride)];
        x.memory.dtype == DType::F16 && sizes.iter().all(|size| size % 8 == 0)
    };
    operand(&args.a) && operand(&args.b) && [args.m, args.n, args.k].iter().all(|size| size % 16 == 0)
}

impl Form {
    /// For any strides and any adapter.
    fn strided(args: &GemmArgs<'_>) -> Self {
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
    fn subgroup(m: usize, aligned: Aligned) -> Self {
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
    fn aligned([m, n]: [usize; 2], aligned: Aligned, large: Option<u32>) -> Self {
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
    fn matrix(aligned: Aligned) -> Self {
        Form { family: &GEMM_MATRIX, constants: aligned.constants(4), tile: [64, 128] }
    }

    /// The fastest form whose kernels passed their self-test on this device.
    fn choose(device: &GpuDevice, args: &GemmArgs<'_>, c: &Output) -> Result<Self> {
        match Aligned::of(args, c) {
            Some(aligned) if device.0.matrix_units && has_whole_blocks(args) && works(device, MATRIX)? => {
                Ok(Form::matrix(aligned))
            }
            Some(aligned) if device.subgroup_size() == Some(8) && works(device, SUBGROUP)? => {
                Ok(Form::subgroup(args.m, aligned))
            }
            Some(aligned) if works(device, ALIGNED)? => {
                let size = [args.m, args.n];
                let large = is_large(size) && works(device, LARGE)?;
                Ok(Form::aligned(size, aligned, large.then_some(workgroup_bytes(device))))
            }
            _ => Ok(Form::strided(args)),
        }
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

/// Enqueues the product into `c`.
///
/// # Errors
/// A lost device.
pub fn gemm(device: &GpuDevice, args: &GemmArgs<'_>, c: &mut GpuArray, place: Output) -> Result<()> {
    gemm_grouped(device, args, c, place, 1)
}

/// As [`gemm`], but row `j*G + g` of the product becomes row `g * M/G + j` of c: this puts the rows of one g
/// together. M is a multiple of G.
pub(crate) fn gemm_grouped(
    device: &GpuDevice,
    args: &GemmArgs<'_>,
    c: &mut GpuArray,
    place: Output,
    groups: usize,
) -> Result<()> {
    let form = Form::choose(device, args, &place)?;
    let words = c.words();
    c.buffer.make_unique(words)?;
    run(device, args, (c, place), &form, groups)
}

/// Number of parts that the sum over k is divided into: more than one where the tiles of c alone do not fill
/// the device.
fn parts(device: &GpuDevice, args: &GemmArgs<'_>, form: &Form) -> usize {
    let tiles = args.m.div_ceil(form.tile[0]) * args.n.div_ceil(form.tile[1]);
    let most = MAX_PARTS.min(device.max_groups() as usize);
    let wanted = 2 * Speed::assumed(device.info().kind).cores;
    match args.batch {
        1 if tiles < wanted && args.k >= 2 * MIN_PART => {
            wanted.div_ceil(tiles).min(args.k / MIN_PART).min(most)
        }
        _ => 1,
    }
}

/// The storage formats of a product's arrays.
fn formats(args: &GemmArgs<'_>, c: DType) -> Formats {
    match (args.a.memory.dtype, args.b.memory.dtype, c) {
        (DType::F32, DType::F32, DType::F32) => Formats::Single,
        (DType::F16, DType::F16, DType::F32) => Formats::HalfOperands,
        (DType::F16, DType::F16, DType::F16) => Formats::Half,
        other => unreachable!("the callers make no product of {other:?}"),
    }
}

/// Destination of the kernels' results.
struct Target<'a> {
    buffer: &'a GpuBuffer,
    dtype: DType,
    offset: usize,
    batch_stride: usize,
    ldc: usize,
    accumulate: bool,
    bias: Option<&'a GpuArray>,
    parts: usize,
    groups: usize,
}

fn run(
    device: &GpuDevice,
    args: &GemmArgs<'_>,
    (c, place): (&GpuArray, Output),
    form: &Form,
    groups: usize,
) -> Result<()> {
    let (parts, out) = (parts(device, args, form), &c.buffer);
    if parts == 1 {
        let target = Target {
            buffer: out,
            dtype: c.dtype,
            offset: place.offset,
            batch_stride: place.batch_stride,
            ldc: place.ldc,
            accumulate: args.accumulate,
            bias: args.bias,
            parts,
            groups,
        };
        return product(device, args, &target, form);
    }
    // Every part has its own buffer, so the order of additions does not depend on which part finishes first.
    let sums = device.alloc(parts * args.m * args.n)?;
    let target = Target {
        buffer: &sums,
        dtype: DType::F32,
        offset: 0,
        batch_stride: 0,
        ldc: args.n,
        accumulate: false,
        bias: None,
        parts,
        groups: 1,
    };
    product(device, args, &target, form)?;
    let count = args.m * args.n;
    let params = SumPartsParams {
        count: count as u32,
        n: args.n as u32,
        ldc: place.ldc as u32,
        offset: place.offset as u32,
        parts: parts as u32,
        accumulate: u32::from(args.accumulate),
        has_bias: u32::from(args.bias.is_some()),
        row_groups: groups as u32,
        group_rows: (args.m / groups) as u32,
    };
    device.dispatch(Launch {
        kernel: if c.dtype == DType::F16 { &SUM_PARTS_HALF } else { &SUM_PARTS },
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[&sums, args.bias.map_or(&sums, GpuArray::buffer), out],
        grid: grid::linear(count),
        work: (parts * count) as u64,
    })
}

/// Most multiply-adds of one dispatch. Where the adapter was not measured, it may be eight times slower than assumed.
pub(super) fn most_work(device: &GpuDevice) -> usize {
    let (speed, share) = match device.known_speed() {
        Some(speed) => (speed, 1.0),
        None => (Speed::assumed(device.info().kind), 0.125),
    };
    let most = (MAX_SECONDS * share * speed.cores as f64 * speed.fma).max(LEAST_WORK) as usize;
    device.0.fault.map_or(most, |fault| most.min(fault.most_work()))
}

/// Most columns, rows and batches of one dispatch of tiles of `tile` rows and `columns` columns.
fn most_extent(args: &GemmArgs<'_>, [tile, columns]: [usize; 2], parts: usize, work: usize) -> [usize; 3] {
    let work = work / args.k.max(1);
    // All columns, where a row of tiles is not too much.
    let own_columns = (work / tile).max(columns).min(args.n.max(1));
    let most = (work / own_columns).max(tile);
    // Equal parts: a small last one would leave most of the device idle.
    let rows = args.m.div_ceil(args.m.div_ceil(most).max(1)).next_multiple_of(tile);
    let batches = work / own_columns / rows.min(args.m).max(1);
    // A sum over k in parts is of one batch, and its tiles are few.
    [own_columns, rows, if parts == 1 { batches.max(1) } else { usize::MAX }]
}

fn product(device: &GpuDevice, args: &GemmArgs<'_>, c: &Target<'_>, form: &Form) -> Result<()> {
    let [tile, columns] = form.tile;
    let strides =
        |x: &Operand<&GpuArray>| [x.offset, x.row_stride, x.col_stride, x.batch_stride].map(|v| v as u32);
    let [a_offset, a_row_stride, a_col_stride, a_batch_stride] = strides(&args.a);
    let [b_offset, b_row_stride, b_col_stride, b_batch_stride] = strides(&args.b);
    // Whole tiles per dispatch; one dispatch where the work and the device's limit allow it.
    let most = most_extent(args, form.tile, c.parts, most_work(device));
    // A sum over k in parts is of one batch.
    let extent = [args.n, args.m, args.batch * c.parts];
    for block in grid::blocks(device.max_groups(), extent, [columns, tile, 1], most) {
        let [own_columns, own_rows, batches] = block.range;
        let (first, batch) = (own_columns.start, if c.parts == 1 { batches.start } else { 0 });
        let params = GemmParams {
            m: own_rows.end as u32,
            n: own_columns.len() as u32,
            k: args.k as u32,
            ldc: c.ldc as u32,
            a_offset: a_offset + batch as u32 * a_batch_stride,
            a_row_stride,
            a_col_stride,
            a_batch_stride,
            b_offset: b_offset + batch as u32 * b_batch_stride + first as u32 * b_col_stride,
            b_row_stride,
            b_col_stride,
            b_batch_stride,
            c_offset: (c.offset + batch * c.batch_stride + first) as u32,
            c_batch_stride: c.batch_stride as u32,
            accumulate: u32::from(c.accumulate),
            has_bias: u32::from(c.bias.is_some()),
            first_row: own_rows.start as u32,
            parts: c.parts as u32,
            // A whole number of vectors and of tiles for every kernel.
            part_depth: args.k.div_ceil(c.parts).next_multiple_of(64) as u32,
            part_stride: (args.m * args.n) as u32,
            row_groups: c.groups as u32,
            group_rows: (args.m / c.groups) as u32,
        };
        let own_bias = match c.bias {
            Some(bias) if first > 0 => Some(slice("gemm", &bias.reshape(&[args.n])?, own_columns.clone())?),
            other => other.cloned(),
        };
        // A product without bias still needs a buffer for that binding; `a` serves, because it is readable.
        let bias = own_bias.as_ref().unwrap_or(args.a.memory).buffer();
        device.dispatch(Launch {
            kernel: member(form.family, formats(args, c.dtype)),
            constants: &form.constants,
            params: bytemuck::bytes_of(&params),
            buffers: &[&args.a.memory.buffer, &args.b.memory.buffer, bias, c.buffer],
            grid: block.grid,
            work: [2, batches.len(), own_rows.len(), own_columns.len(), args.k]
                .map(|n| n as u64)
                .iter()
                .product(),
        })?;
    }
    Ok(())
}

/// Whether a product fills tiles of 128 x 128.
fn is_large([m, n]: [usize; 2]) -> bool {
    m.min(n) >= 128
}

fn workgroup_bytes(device: &GpuDevice) -> u32 {
    device.0.limits.max_compute_workgroup_storage_size
}
