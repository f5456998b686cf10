//! Drivers that compute nothing, or something else, end in a typed error before anything trains on them.

use rnn_kernels::catalogue::rnn::{CELLS, CellKernels};
use rnn_kernels::cell::{CellSpec, Parameter, StackSpec};
use rnn_runtime::ops::optim::ema;
use rnn_runtime::ops::pointwise::{BinaryOp, affine, full};
use rnn_runtime::ops::rnn::{CellWeights, Packed, pack};
use rnn_runtime::{Array, CacheDir, Device, Error, Fault, FaultEffect, GpuOptions};

/// Kernels that do not run, or write zeros, NaN or a large number.
const EFFECTS: [FaultEffect; 4] =
    [FaultEffect::Nothing, FaultEffect::Fills(0.0), FaultEffect::Fills(f32::NAN), FaultEffect::Fills(1e30)];

fn options(fault: &'static Fault) -> GpuOptions {
    GpuOptions { fault: Some(fault), cache_dir: CacheDir::Off, ..GpuOptions::default() }
}

/// Packs a layer's weights, as every use of a layer does.
fn first_use(device: &Device, cell: CellSpec) -> Result<Packed, Error> {
    let spec = StackSpec { bias: false, ..StackSpec::new(cell, 2, 3) };
    let zeros = |parameter| {
        let dims = spec.parameter_dims(0, parameter).unwrap();
        Array::from_f32(device, &vec![0.0; dims.iter().product()], &dims).unwrap()
    };
    pack(&spec, &[CellWeights::new(zeros(Parameter::WeightIh), zeros(Parameter::WeightHh))])
}

/// The error names the adapter, the kernels, and both values.
fn expect_wrong_results(case: &str, result: Result<impl Sized, Error>, kernels: &str, value: &str) {
    match result {
        Err(Error::WrongResults { adapter, what, expected, got }) => {
            assert_eq!(adapter, Device::adapters()[0].name, "{case}");
            assert!(what.starts_with(kernels) && what.contains('['), "{case}: {what}");
            assert!(!expected.is_empty() && got.contains(value), "{case}: {expected}, {got}");
        }
        Err(other) => panic!("{case}: {other}"),
        Ok(_) => panic!("{case}: no error"),
    }
}

fn value(effect: FaultEffect) -> String {
    match effect {
        FaultEffect::Nothing | FaultEffect::FirstWorkgroup => String::new(),
        FaultEffect::Fills(value) => value.to_string(),
    }
}

pub(crate) fn a_driver_that_computes_nothing_is_not_opened(_: &Device) {
    static FAULT: Fault = Fault::none();
    for effect in EFFECTS {
        let tests = [
            ("", "the matrix product"),
            ("gemm", "the matrix product"),
            ("affine", "an elementwise function"),
        ];
        for (kernels, what) in tests {
            let case = format!("{kernels:?} {effect:?}");
            FAULT.set(kernels, effect);
            expect_wrong_results(&case, Device::gpu_with((), options(&FAULT)), what, &value(effect));
            let opening = Device::gpu_async((), options(&FAULT));
            expect_wrong_results(&case, pollster::block_on(opening), what, &value(effect));
        }
    }
}

pub(crate) fn a_cell_that_a_driver_computes_wrongly_is_refused_at_its_first_use(_: &Device) {
    static FAULT: Fault = Fault::none();
    let device = Device::gpu_with((), options(&FAULT)).unwrap();
    for &CellKernels { name, plain: cell, .. } in CELLS {
        for (kernels, direction) in [("_forward_", "forward"), ("_backward_", "backward")] {
            for effect in EFFECTS {
                FAULT.set(kernels, effect);
                let case = format!("{name} {direction} {effect:?}");
                expect_wrong_results(&case, first_use(&device, cell), &format!("{name} {direction}, "), "");
            }
        }
        // Memory still holds right results of this layer from the test before; kernels that do not run are found nevertheless.
        FAULT.set("", FaultEffect::Nothing);
        expect_wrong_results(name, first_use(&device, cell), name, "");
        FAULT.set("none", FaultEffect::Nothing);
        first_use(&device, cell).unwrap();
    }
}

/// The recurrence alone may be right and the rest wrong.
pub(crate) fn wrong_kernels_around_the_recurrence_are_seen(_: &Device) {
    static FAULT: Fault = Fault::none();
    let device = Device::gpu_with((), options(&FAULT)).unwrap();
    for kernels in ["interleave", "pack_bias", "pack_recurrent", "sum_axis", "copy"] {
        FAULT.set(kernels, FaultEffect::Fills(0.0));
        expect_wrong_results(kernels, first_use(&device, CellSpec::lstm()), "lstm ", "0");
    }
}

/// Bytes of a million floats, which is a size of the pool.
const MILLION: u64 = 4_000_000u64.next_multiple_of(1 << 18);

/// Memory that is not there ends a call, not the device.
pub(crate) fn a_driver_without_memory_refuses_one_call(_: &Device) {
    static FAULT: Fault = Fault::none();
    let device = Device::gpu_with((), options(&FAULT)).unwrap();
    let held = || device.stats().bytes_held as u64;
    let first = full(&device, &[1_000_000], 2.0).unwrap();
    FAULT.set_memory(held() + MILLION);
    let second = affine(&first, 3.0, 0.0).unwrap();
    match affine(&second, 1.0, 1.0) {
        Err(Error::Gpu { kind: "out of memory", message }) => {
            assert!(message.contains(&Device::adapters()[0].name), "{message}");
            assert!(message.contains(&format!("no {MILLION} bytes")), "{message}");
        }
        other => panic!("{:?}", other.map(|y| y.to_vec())),
    }
    // What is there stays right, small arrays still fit, and freed memory serves again.
    FAULT.set_memory(held() + 4096);
    assert!(second.to_vec().map(|_| ()).unwrap_err().to_string().contains("out of memory"));
    assert_eq!(affine(&full(&device, &[4], 1.0).unwrap(), 1.0, 1.0).unwrap().to_vec().unwrap(), [2.0; 4]);
    drop(first);
    let third = affine(&second, 1.0, 1.0).unwrap();
    drop(second);
    assert_eq!(third.to_vec().unwrap()[999_999], 7.0);
}

/// A bind group is made once for the same buffers, and dropped with the memory that is given back, which it would keep.
pub(crate) fn bind_groups_go_with_memory_that_is_given_back(_: &Device) {
    static FAULT: Fault = Fault::none();
    let device = Device::gpu_with((), options(&FAULT)).unwrap();
    let (mut mean, x) = (full(&device, &[4], 1.0).unwrap(), full(&device, &[4], 3.0).unwrap());
    // Both arrays stay in use, so another bind group is not due to another buffer.
    let mut made = || {
        let before = device.stats().bind_groups_created;
        ema(&mut mean, &x, 0.5).unwrap();
        device.stats().bind_groups_created - before
    };
    assert_eq!([made(), made()], [1, 0]);
    drop(full(&device, &[1000], 1.0).unwrap());
    FAULT.set_memory(device.stats().bytes_held as u64);
    assert!(full(&device, &[1_000_000], 2.0).is_err());
    assert_eq!([made(), made()], [1, 0]);
    assert_eq!(mean.to_vec().unwrap(), [2.875; 4]);
}

/// Arrays of a new size take the memory of freed ones of other sizes, where commands that use it have not even been
/// submitted.
pub(crate) fn freed_memory_is_given_back_before_a_call_is_refused(_: &Device) {
    static FAULT: Fault = Fault::none();
    let device = Device::gpu_with((), options(&FAULT)).unwrap();
    FAULT.set_memory(device.stats().bytes_held as u64 + 3 * MILLION);
    let mut sum = full(&device, &[1], 0.0).unwrap();
    for size in [1_000_000, 900_000, 750_000, 600_000, 1_000_000, 1_400_000] {
        let x = full(&device, &[size], size as f32).unwrap();
        let y = affine(&x, 0.5, 1.0).unwrap();
        drop(x);
        let last = rnn_runtime::ops::copy::slice(&y, 0, size - 1, size).unwrap();
        sum = rnn_runtime::ops::pointwise::binary(BinaryOp::Add, &sum, &last).unwrap();
    }
    assert_eq!(sum.to_vec().unwrap(), [5_650_000.0 * 0.5 + 6.0]);
}
