//! The kernels that the planner lists for an adapter that is not opened.

use super::{SHAPE, error, open, options};
use rnn_gpu::GpuDevice;
use rnn_gpu::rnn::{AdapterFacts, PlannedKernel, layer_kernels};
use rnn_kernels::cell::{CellSpec, Parameter, Storage, WeightFormat};
use rnn_runtime::ops::rnn::{CellWeights, Packed, StackArgs, forward, pack};
use rnn_runtime::{Array, Device, GpuOptions};
use rnn_testing::data::to_f32;
use rnn_testing::oracle::{StackCase, stack_spec};
use rnn_testing::warnings::events;
use tracing::Level;

/// The packed weights of a case with one layer.
pub(crate) fn packed(device: &Device, case: &StackCase) -> Packed {
    let array = |(parameter, values): (Parameter, &Vec<f64>)| {
        let dims = case.spec.parameter_dims(0, parameter).unwrap();
        (parameter, Array::from_f32(device, &to_f32(values), &dims).unwrap())
    };
    let weights: Vec<CellWeights> = case.weights.iter().map(|w| w.all().map(array).collect()).collect();
    pack(&case.spec, &weights).unwrap()
}

/// The properties of a device without subgroups.
pub(crate) fn adapter_of(gpu: &GpuDevice) -> AdapterFacts {
    AdapterFacts {
        kind: gpu.info().kind,
        workgroup_bytes: gpu.info().max_workgroup_bytes as usize,
        largest_workgroup: gpu.info().max_workgroup_invocations as usize,
        subgroup_size: None,
        speed: Some(gpu.speed().unwrap().speed),
        immediates: gpu.has_immediates(),
    }
}

/// What is said when the kernel is compiled.
pub(crate) fn line(planned: &PlannedKernel) -> String {
    format!("kernel={:?} constants={:?}", planned.kernel.label, planned.constants)
}

/// `tools/isa` compiles what `layer_kernels` lists. The list must be what runs: kernels and constants of a step of
/// training, and of inference, with arrays in f16 where the adapter has it.
pub(crate) fn the_kernels_planned_without_a_device_are_those_that_run(_: &Device) {
    let device = open(GpuOptions { subgroups: false, ..options() });
    let Device::Gpu(gpu) = &device else { unreachable!("the test opens a GPU") };
    let adapter = adapter_of(gpu);
    let case = StackCase::random(stack_spec(CellSpec::gru(), SHAPE, 1, true), SHAPE, true, 3);
    let compiled = events(Level::DEBUG, || {
        error(&device, CellSpec::gru(), Storage::Half);
        let args = StackArgs {
            spec: &case.spec,
            packed: &packed(&device, &case),
            x: &Array::from_f32(&device, &to_f32(&case.input.x), &[SHAPE.t, SHAPE.b, SHAPE.i]).unwrap(),
            h0: None,
            c0: None,
            training: false,
            weights: if gpu.has_half() { WeightFormat::F16 } else { WeightFormat::F32 },
            storage: Storage::F32,
            sequences: None,
            draws: None,
        };
        forward(&args).unwrap();
    });
    let planned = layer_kernels(&adapter, &case.spec, [SHAPE.t, SHAPE.b], gpu.has_half()).unwrap();
    assert_eq!(planned.len(), 8);
    for each in &planned {
        let line = line(each);
        assert!(compiled.iter().any(|event| event.contains(&line)), "{:?} {line}: {compiled:#?}", each.role);
    }
    // The other way round for products in tiles. Those of self-tests have both operands along k; the test of the base
    // runs products of any stride.
    let of_self_test = r#"("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)"#;
    for event in compiled.iter().filter(|e| e.contains("kernel=\"gemm_") && !e.contains(of_self_test)) {
        assert!(planned.iter().any(|each| event.contains(&line(each))), "not planned: {event}");
    }
}
