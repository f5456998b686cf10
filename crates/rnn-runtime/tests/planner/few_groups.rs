//! Recurrences that need more workgroups than a device allows along one dimension.

use super::{open, options, training, zero_weights};
use rnn_kernels::cell::CellSpec;
use rnn_runtime::ops::rnn::{Division, StackArgs, forward, forward_in_parts, pack};
use rnn_runtime::{Array, Device, Error, GpuOptions};
use rnn_testing::oracle::stack_spec;
use rnn_testing::shapes::RnnShape;

/// Three workgroups of eight rows.
pub(crate) fn more_rows_than_a_pass_can_have_run_in_groups(_: &Device) {
    let device = open(GpuOptions { max_groups: Some(3), subgroups: false, ..options() });
    let shape = RnnShape { t: 2, b: 30, i: 3, h: 5 };
    let spec = stack_spec(CellSpec::gru(), shape, 1, false);
    let of = |device: &Device| {
        let x: Vec<f32> = (0..shape.t * shape.b * shape.i).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
        let x = Array::from_f32(device, &x, &[shape.t, shape.b, shape.i]).unwrap();
        let packed = pack(&spec, &zero_weights(device, &spec)).unwrap();
        let h0: Vec<f32> = (0..shape.b * shape.h).map(|i| i as f32).collect();
        let h0 = Array::from_f32(device, &h0, &[1, shape.b, shape.h]).unwrap();
        let args = StackArgs { h0: Some(&h0), ..training(&spec, &packed, &x) };
        let parts = Division::that_fit(&args).unwrap();
        (parts, forward_in_parts(&args, parts).unwrap().0.y.to_vec().unwrap(), forward(&args).map(drop))
    };
    let (parts, y, whole) = of(&device);
    assert_eq!(parts, Division::Groups { rows: 15, segment: None });
    // Zero weights halve h at every step.
    assert_eq!(y, of(&Device::cpu()).1);
    match whole {
        Err(Error::Value { arg: "batch", expected, got, .. }) => {
            assert!(expected.starts_with("at most 24 rows") && got == "30", "{expected}, {got}");
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_limit_of_one_workgroup_is_refused(_: &Device) {
    let error = Device::gpu_with((), GpuOptions { max_groups: Some(1), ..options() }).unwrap_err();
    assert!(error.to_string().contains("max_groups must be at least 2, got 1"), "{error}");
}
