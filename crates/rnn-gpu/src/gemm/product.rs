//! The dispatches of a product by a given form.

use super::form::{Form, GemmArgs};
use crate::calibration::Speed;
use crate::copy::slice;
use crate::{GpuArray, GpuBuffer, GpuDevice, Launch};
use rnn_base::DType;
use rnn_base::args::gemm::{Operand, Output};
use rnn_base::error::Result;
use rnn_kernels::catalogue::gemm::{Formats, SUM_PARTS, SUM_PARTS_HALF, member};
use rnn_kernels::grid;
use rnn_kernels::params::gemm::{GemmParams, SumPartsParams};

/// Multiply-adds that every dispatch may have: about 20 ms at the slowest rate of a real GPU.
const LEAST_WORK: f64 = (1 << 30) as f64;

/// Longest dispatch in seconds. Larger products are split by rows.
const MAX_SECONDS: f64 = 0.02;

/// Smallest part of a sum over k: a sum below twice this length is not divided.
const MIN_PART: usize = 256;

/// Most parts of a sum over k.
const MAX_PARTS: usize = 64;

/// Number of parts that the sum over k is divided into: more than one where the tiles of c alone do not fill
/// the device, and where that saves more than the further dispatch takes.
fn parts(device: &GpuDevice, args: &GemmArgs<'_>, form: &Form) -> usize {
    let [rows, columns] = form.tile;
    let tiles = args.m.div_ceil(rows) * args.n.div_ceil(columns);
    let speed = Speed::assumed(device.info().kind);
    let wanted = 2 * speed.cores;
    if args.batch != 1 || tiles >= wanted || args.k < 2 * MIN_PART {
        return 1;
    }
    let most = MAX_PARTS.min(device.max_groups() as usize);
    let parts = wanted.div_ceil(tiles).min(args.k / MIN_PART).min(most);
    let tile_seconds = (rows * columns) as f64 * args.k as f64 / speed.fma;
    if tile_seconds * (1.0 - 1.0 / parts as f64) > speed.dispatch { parts } else { 1 }
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

pub(super) fn run(
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
pub(crate) fn most_work(device: &GpuDevice) -> usize {
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
