//! The option for matrix units, on adapters with and without them.

use super::{error_of, open, options};
use rnn_kernels::cell::{CellSpec, Storage};
use rnn_runtime::{Device, GpuOptions};
use rnn_testing::shapes::RnnShape;
use rnn_testing::warnings::warnings;

/// Blocks of 16 x 16 divide every product of this shape. Opening an adapter without matrix units reports
/// that, and its results are those without the option. On an adapter with matrix units results are those of operands in f16.
pub(crate) fn matrix_units_are_used_or_reported(_: &Device) {
    let shape = RnnShape { t: 3, b: 16, i: 16, h: 16 };
    let plain = error_of(&open(options()), CellSpec::lstm(), Storage::Half, shape);
    let mut device = None;
    let opening = warnings(|| device = Some(open(GpuOptions { matrix_units: true, ..options() })));
    let Some(Device::Gpu(gpu)) = &device else { unreachable!("it is a GPU") };
    let reported = opening.iter().filter(|text| text.contains("GpuOptions::matrix_units")).count();
    assert_eq!(reported, usize::from(!gpu.has_matrix_units()), "{opening:?}");
    let mut error = 0.0;
    let using =
        warnings(|| error = error_of(device.as_ref().unwrap(), CellSpec::lstm(), Storage::Half, shape));
    assert_eq!(using, [""; 0], "a self-test failed");
    if gpu.has_matrix_units() {
        assert!(error < 4e-3, "{error}, {plain} without matrix units");
    } else {
        assert_eq!(error, plain);
    }
}
