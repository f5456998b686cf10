//! Matrix products on the GPU. Twin of `rnn-cpu/src/gemm.rs`.
//!
//! `form` has the kernels, `product` dispatches one of them, `self_test` tests the optional ones.

use super::{GpuArray, GpuDevice};
use form::{ALIGNED, Aligned, Form, LARGE, MATRIX, SUBGROUP, has_whole_blocks, is_large, workgroup_bytes};
use product::run;
use rnn_base::args::gemm::Output;
use rnn_base::error::Result;
use self_test::works;

mod form;
mod product;
mod self_test;

pub use form::GemmArgs;
pub(crate) use form::aligned_choice;
pub(crate) use product::most_work;
pub(super) use self_test::half_products;

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
    let form = choose(device, args, &place)?;
    let words = c.words();
    c.buffer.make_unique(words)?;
    run(device, args, (c, place), &form, groups)
}

/// The fastest form whose kernels passed their self-test on this device.
fn choose(device: &GpuDevice, args: &GemmArgs<'_>, c: &Output) -> Result<Form> {
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
