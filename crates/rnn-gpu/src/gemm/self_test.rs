//! Self-tests of the optional forms of the product.

use super::form::{ALIGNED, Aligned, Form, GemmArgs, LARGE, MATRIX, SUBGROUP, workgroup_bytes};
use super::product::run;
use crate::GpuDevice;
use crate::array::cast;
use crate::trial::Trial;
use rnn_base::DType;
use rnn_base::args::gemm::{Operand, Output};
use rnn_base::error::Result;
use rnn_kernels::catalogue::gemm::Formats;

const ALONG_K: Aligned = Aligned { a_along_k: true, b_along_k: true };

/// Whether a family of aligned kernels passes its self-test: products of small integers. The test runs at the
/// first call.
pub(super) fn works(device: &GpuDevice, family: &'static str) -> Result<bool> {
    device.passes(family, || {
        // A tile and a remainder both ways. k passes through workgroup memory two or three times, the last time with
        // a remainder.
        let single = |size| self_test(device, family, size, ALONG_K, Formats::Single);
        match family {
            MATRIX => {
                // In every order, because layouts of blocks are easily confused.
                let orders = [(true, true), (true, false), (false, true), (false, false)];
                let tests =
                    orders.map(|(a_along_k, b_along_k)| (Aligned { a_along_k, b_along_k }, Formats::Half));
                let tests = tests.into_iter().chain([(ALONG_K, Formats::HalfOperands)]);
                tests
                    .map(|(order, formats)| self_test(device, family, [80, 144, 48], order, formats))
                    .collect()
            }
            LARGE => Ok(vec![single([131, 136, 20])?]),
            _ => Ok(vec![single([67, 72, 20])?, single([3, 72, 20])?]),
        }
    })
}

impl GpuDevice {
    /// Asks for every family of products that a device in a browser could use.
    pub(crate) fn ask_for_product_self_tests(&self) -> Result<()> {
        works(self, ALIGNED)?;
        works(self, LARGE)?;
        if self.subgroup_size() == Some(8) {
            works(self, SUBGROUP)?;
        }
        Ok(())
    }
}

/// Products of f16 by the kernels that this device uses.
pub(crate) fn half_products(device: &GpuDevice) -> Result<[Trial; 2]> {
    let subgroups = device.subgroup_size() == Some(8) && works(device, SUBGROUP)?;
    let family = if subgroups { SUBGROUP } else { ALIGNED };
    let operands = self_test(device, family, [67, 72, 20], ALONG_K, Formats::HalfOperands)?;
    Ok([operands, self_test(device, family, [67, 72, 20], ALONG_K, Formats::Half)?])
}

/// A product of small integers, [m, n, k], whose operands are contiguous along the axes of `order`.
fn self_test(
    device: &GpuDevice,
    family: &str,
    [m, n, k]: [usize; 3],
    order: Aligned,
    formats: Formats,
) -> Result<Trial> {
    const OP: &str = "self-test";
    let value = |i: usize| ((i * 7 + i * i % 11) % 5) as f32 - 2.0;
    let [a, b]: [Vec<f32>; 2] = [m * k, k * n].map(|count| (0..count).map(value).collect());
    let [of_operands, of_result] = match formats {
        Formats::Single => [DType::F32; 2],
        Formats::HalfOperands => [DType::F16, DType::F32],
        Formats::Half => [DType::F16; 2],
    };
    let c = cast(&device.zeroed_array(OP, &[m, n])?, of_result)?;
    let operands = [
        cast(&device.array_of(OP, &a, &[m * k])?, of_operands)?,
        cast(&device.array_of(OP, &b, &[n * k])?, of_operands)?,
    ];
    let args = GemmArgs {
        batch: 1,
        m,
        n,
        k,
        a: if order.a_along_k { Operand::rows(&operands[0], k) } else { Operand::rows(&operands[0], m).t() },
        b: if order.b_along_k { Operand::rows(&operands[1], k).t() } else { Operand::rows(&operands[1], n) },
        bias: None,
        accumulate: false,
    };
    let form = match family {
        SUBGROUP => Form::subgroup(m, order),
        MATRIX => Form::matrix(order),
        _ => Form::aligned([m, n], order, (family == LARGE).then_some(workgroup_bytes(device))),
    };
    run(device, &args, (&c, Output::rows(n)), &form, 1)?;
    let at_a = |i: usize, l: usize| i * args.a.row_stride + l * args.a.col_stride;
    let at_b = |l: usize, j: usize| l * args.b.row_stride + j * args.b.col_stride;
    let want = |i: usize| (0..k).map(|l| a[at_a(i / n, l)] * b[at_b(l, i % n)]).sum::<f32>();
    Ok(Trial { want: (0..m * n).map(want).collect(), got: c })
}
