//! The test of the kernels that every other way falls back to: an adapter that computes nothing, or computes wrongly,
//! must not train.
//!
//! Optional kernels have tests of their own (`self_test.rs`), and simpler kernels replace those that fail. Nothing
//! replaces the simplest kernels, so a wrong result of theirs is an error. Opening a device tests an elementwise kernel and the plain
//! product. A cell is tested where its weights are first packed, forward and backward (`rnn/base_test.rs`). A pass counts
//! for all devices that the process opens on the adapter with the same options.

use super::array::GpuArray;
use super::gemm::{GemmArgs, gemm};
use super::pointwise::affine;
use super::trial::{Case, Simplest, Trial, simplest_only};
use super::waiting::CAN_WAIT;
use super::{GpuDevice, rnn};
use rnn_base::args::gemm::{Operand, Output};
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::{CELLS, CellKernels};
use rnn_kernels::cell::CellSpec;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is tested together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// An elementwise kernel and the plain product.
    Plain,
    /// A cell, by its number in [`CELLS`].
    Cell(usize),
}

impl Part {
    fn of(cell: &CellSpec) -> Self {
        let kernels = CellKernels::of(cell);
        let number = CELLS.iter().position(|listed| std::ptr::eq(*listed, kernels));
        Part::Cell(number.unwrap_or_else(|| unreachable!("CELLS has every cell")))
    }

    /// Its bit in [`BaseTests`](super::self_test::BaseTests).
    fn bit(self) -> u32 {
        match self {
            Part::Plain => 1,
            Part::Cell(number) => 2 << number,
        }
    }

    /// Enqueues the kernels.
    fn cases(self, gpu: &GpuDevice) -> Result<Vec<Case>> {
        let _simplest = Simplest::on();
        match self {
            Part::Plain => plain(gpu),
            Part::Cell(number) => rnn::base_test::cases(gpu, CELLS[number]),
        }
    }
}

/// Whether a part has passed. The lock is held during the test, so that devices of one adapter that are opened side by
/// side test it once.
type Slot = Arc<Mutex<bool>>;

/// The slot of a part on all devices of the process that run the same kernels on the same adapter.
fn slot(gpu: &GpuDevice, part: Part) -> Slot {
    static SLOTS: Mutex<Option<HashMap<(String, Part), Slot>>> = Mutex::new(None);
    let info = gpu.info();
    let mut key = format!("{} {info} {}", info.index, gpu.has_immediates());
    if gpu.0.fault.is_some() {
        key.push_str(&format!(" device {}", gpu.number()));
    }
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    slots.get_or_insert_default().entry((key, part)).or_default().clone()
}

impl GpuDevice {
    /// Tests what opening a device tests. Waits for the device.
    ///
    /// # Errors
    /// [`Error::WrongResults`], a refused kernel, or a lost device.
    pub(super) fn test_base(&self) -> Result<()> {
        self.test_part(Part::Plain)
    }

    /// Tests the simplest kernels of a cell at its first use; the opening of a device has done so in a browser.
    ///
    /// # Errors
    /// As [`GpuDevice::test_base`].
    pub(crate) fn test_cell(&self, cell: &CellSpec) -> Result<()> {
        // The test packs weights, too.
        if simplest_only() { Ok(()) } else { self.test_part(Part::of(cell)) }
    }

    fn test_part(&self, part: Part) -> Result<()> {
        if self.0.base_tests.passed(part.bit()) {
            return Ok(());
        }
        let slot = slot(self, part);
        let mut passed = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if !*passed {
            for case in part.cases(self)? {
                case.judge(self, &case.trial.values()?)?;
            }
            *passed = true;
        }
        self.0.base_tests.pass(part.bit());
        Ok(())
    }

    /// As [`GpuDevice::test_base`], without blocking the thread. In a browser it tests all cells, because a first use
    /// cannot wait for the results there.
    ///
    /// # Errors
    /// As [`GpuDevice::test_base`].
    pub(super) async fn test_base_async(&self) -> Result<()> {
        let cells = if CAN_WAIT { 0 } else { CELLS.len() };
        for part in std::iter::once(Part::Plain).chain((0..cells).map(Part::Cell)) {
            for case in part.cases(self)? {
                case.judge(self, &case.trial.values_async().await?)?;
            }
            self.0.base_tests.pass(part.bit());
        }
        Ok(())
    }
}

/// A small integer for element `i`, never 0: adapters that compute nothing often leave zeros.
fn value(i: usize) -> f32 {
    [1.0, -2.0, 3.0, 2.0, -1.0, -3.0, 5.0][i % 7]
}

/// Small integers, so that the results are exact.
fn plain(gpu: &GpuDevice) -> Result<Vec<Case>> {
    const OP: &str = "self-test";
    // One workgroup of the elementwise kernel and a remainder; a tile of the product and a remainder.
    let (m, n, k) = (67, 5, 3);
    let values = |count: usize| (0..count).map(value).collect::<Vec<f32>>();
    let (a, b, bias) = (values(m * k), values(k * n), values(n));
    let of = |values: &[f32], dims: &[usize]| gpu.array_of(OP, values, dims);
    let (x, w, bias_array) = (of(&a, &[m, k])?, of(&b, &[k, n])?, of(&bias, &[n])?);
    let mut c = gpu.array(OP, &[m, n])?;
    let args = GemmArgs {
        batch: 1,
        m,
        n,
        k,
        a: Operand::rows(&x, k),
        b: Operand::rows(&w, n),
        bias: Some(&bias_array),
        accumulate: false,
    };
    gemm(gpu, &args, &mut c, Output::rows(n))?;
    let product = |i: usize| bias[i % n] + (0..k).map(|l| a[i / n * k + l] * b[l * n + i % n]).sum::<f32>();
    let y = affine(gpu, &c.buffer, m * n, 2.0, 1.0)?;
    let y = GpuArray { buffer: y, ..c.clone() };
    let want: Vec<f32> = (0..m * n).map(product).collect();
    let doubled = want.iter().map(|x| 2.0 * x + 1.0).collect();
    let case = |what: &str, got, want| Case { what: what.into(), trial: Trial { got, want }, tolerance: 0.0 };
    Ok(vec![case("the matrix product", c, want), case("an elementwise function", y, doubled)])
}
