//! Devices: selection, readback, pooled memory, chunked submits, and errors instead of panics.

mod common;
#[cfg(feature = "gpu")]
#[path = "device/faults.rs"]
mod faults;

use common::device_tests;
#[cfg(feature = "gpu")]
use rnn_runtime::ops::pointwise::accumulate;
use rnn_runtime::ops::pointwise::{UnaryOp, affine, full, unary};
use rnn_runtime::{Array, Device, Error};

fn readback_agrees_async_and_blocking(device: &Device) {
    let values: Vec<f32> = (0..1003).map(|i| i as f32 * 0.5 - 7.0).collect();
    let x = Array::from_f32(device, &values, &[17, 59]).unwrap();
    assert_eq!(x.to_vec().unwrap(), values);
    assert_eq!(pollster::block_on(x.to_vec_async()).unwrap(), values);
    let moved = x.to_device(&Device::cpu()).unwrap();
    assert_eq!((moved.to_vec().unwrap(), moved.dims()), (values, &[17, 59][..]));
}

/// Uploads overtake recorded commands on the queue: a recycled buffer must not be overwritten
/// before the commands that still read it have run.
fn uploads_do_not_overtake_pending_work(device: &Device) {
    let mut results = Vec::new();
    for round in 0..50 {
        let x = Array::from_f32(device, &[round as f32; 64], &[64]).unwrap();
        results.push(affine(&x, 2.0, 1.0).unwrap());
        // Dropping x returns its buffer to the pool while the dispatch is only recorded.
    }
    for (round, y) in results.iter().enumerate() {
        assert_eq!(y.to_vec().unwrap(), [2.0 * round as f32 + 1.0; 64], "round {round}");
    }
}

/// A long chain without a readback is cut into several submits, and memory is reused.
fn long_chains_are_submitted_in_chunks_and_reuse_memory(device: &Device) {
    // Tests run side by side and would count each other's work.
    let device = &common::own_device(device);
    let mut x = full(device, &[1000], 1.0).unwrap();
    x = affine(&x, 1.0, 0.0).unwrap();
    let before = device.stats();
    for _ in 0..2000 {
        x = affine(&x, 1.0, 1.0).unwrap();
    }
    device.synchronize().unwrap();
    let after = device.stats();
    assert_eq!(x.to_vec().unwrap(), [2001.0; 1000]);
    assert!(after.buffers_created - before.buffers_created <= 2, "memory is not reused");
    let bytes = after.bytes_created - before.bytes_created;
    assert!(bytes <= 10_000, "{bytes} bytes for two arrays of 4000");
    if !device.is_cpu() {
        let submits = after.submits - before.submits;
        assert!((4..=100).contains(&submits), "{submits} submits for 2000 dispatches");
    }
}

/// What is held is what was created and has not gone since.
fn memory_in_use_and_free_is_counted(device: &Device) {
    let device = &common::own_device(device);
    let held = || device.stats().bytes_held;
    let x = full(device, &[100_000], 1.0).unwrap();
    let (before, created) = (held(), device.stats().bytes_created);
    assert!(before >= 400_000, "{before}");
    let y = affine(&x, 2.0, 0.0).unwrap();
    let with_both = held();
    assert!((400_000..=450_000).contains(&(with_both - before)), "{before} {with_both}");
    assert_eq!(device.stats().bytes_created - created, with_both - before);
    drop(x);
    let z = affine(&y, 2.0, 0.0).unwrap();
    assert_eq!(held(), with_both, "a freed array serves again");
    // A read that nobody waits for takes its memory with it.
    use std::future::Future;
    let mut reading = Box::pin(z.to_vec_async());
    let _ = reading.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    drop(reading);
    assert_eq!(held(), with_both);
    assert_eq!(z.to_vec().unwrap()[99_999], 4.0);
}

/// `exp` stays exact to a few units where drivers that fold its two-part ln 2 lose digits.
fn exp_is_accurate_over_its_whole_range(device: &Device) {
    let inputs: Vec<f32> = (0..20_000).map(|i| -87.0 + i as f32 * (175.0 / 20_000.0)).collect();
    let x = Array::from_f32(device, &inputs, &[inputs.len()]).unwrap();
    for (&x, got) in inputs.iter().zip(unary(UnaryOp::Exp, &x).unwrap().to_vec().unwrap()) {
        let want = f64::from(x).exp();
        let ulp = 2f64.powi(want.log2().floor() as i32 - 23);
        assert!((f64::from(got) - want).abs() <= 4.0 * ulp, "exp({x}) = {got}, want {want}");
    }
}

fn impossible_requests_are_errors(device: &Device) {
    assert!(matches!(Device::from_name("tpu"), Err(Error::Value { arg: "name", .. })));
    assert!(matches!(full(device, &[3, 0], 1.0), Err(Error::Shape { .. })));
    assert!(matches!(full(device, &[usize::MAX, 2], 1.0), Err(Error::TooLarge { .. })));
    assert!(matches!(full(device, &[1 << 20, 1 << 20], 1.0), Err(Error::TooLarge { .. })));
    let text = Array::from_f32(device, &[1.0, 2.0], &[3]).unwrap_err().to_string();
    assert!(text.contains("of 2 elements") && text.contains("[3]"), "{text}");
}

/// "x is on gpu:A, the other arguments are on gpu:A" would not help.
#[cfg(feature = "gpu")]
fn handles_of_one_adapter_are_named_apart(device: &Device) {
    let other = common::own_device(device);
    let (x, y) = (full(device, &[2], 1.0).unwrap(), full(&other, &[2], 1.0).unwrap());
    let mut sum = x.clone();
    match accumulate(&mut sum, &y) {
        Err(Error::DeviceMismatch { expected, got, .. }) => {
            assert!(expected != got && got.contains("(opened device "), "{expected}, {got}");
        }
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "gpu")]
fn a_missing_adapter_is_an_error_that_lists_the_others(_: &Device) {
    let text = Device::gpu("no such adapter").unwrap_err().to_string();
    let name = &Device::adapters()[0].name;
    assert!(text.contains("no such adapter") && text.contains(name.as_str()), "{text}");
    assert!(matches!(Device::gpu(10_000usize), Err(Error::NoAdapter { .. })));
    let opening = Device::gpu_async("no such adapter", rnn_runtime::GpuOptions::default());
    assert_eq!(pollster::block_on(opening).unwrap_err().to_string(), text);
}

/// Allocating more than the adapter can bind is an error with both numbers; the device lives on.
#[cfg(feature = "gpu")]
fn arrays_beyond_the_adapter_s_limit_are_refused(device: &Device) {
    let limit = Device::adapters()[0].max_buffer_bytes.min(128 << 20);
    let words = (limit / 4 + 1024) as usize;
    match full(device, &[words], 0.0) {
        Err(Error::TooLarge { needed, limit, .. }) => assert!(needed > u128::from(limit)),
        // The default device asks for the adapter's own, larger limits.
        Ok(array) => assert_eq!(array.len(), words),
        Err(other) => panic!("{other}"),
    }
    assert_eq!(full(device, &[3], 2.0).unwrap().to_vec().unwrap(), [2.0; 3]);
}

/// Losing the device is an error at every later use, and what is on the host stays usable.
#[cfg(feature = "gpu")]
fn a_lost_device_is_an_error_not_a_panic(_: &Device) {
    let device = common::own_gpu();
    let x = full(&device, &[100], 1.0).unwrap();
    let host = x.to_vec().unwrap();
    device.destroy();
    let error = affine(&x, 2.0, 0.0).and_then(|y| y.to_vec()).unwrap_err();
    assert!(matches!(error, Error::DeviceLost(_)), "{error}");
    assert!(matches!(x.to_vec(), Err(Error::DeviceLost(_))));
    assert!(full(&device, &[7], 1.0).and_then(|y| y.to_vec()).is_err());
    let again = Array::from_f32(&Device::cpu(), &host, &[100]).unwrap();
    assert_eq!(affine(&again, 2.0, 0.0).unwrap().to_vec().unwrap(), [2.0; 100]);
}

/// Kernels are timed on request where the adapter can: more than nothing, less than the wall shows.
#[cfg(feature = "gpu")]
fn kernel_time_lies_below_wall_time(device: &Device) {
    use rnn_runtime::GpuOptions;
    use rnn_runtime::ops::{gemm::matmul, pointwise::zeros};
    use std::time::Instant;

    let x = full(device, &[512, 512], 0.5).unwrap();
    matmul(&x, &x, false, false).unwrap();
    assert_eq!(device.kernel_seconds().unwrap(), None, "not asked for");

    let timed = &Device::gpu_with((), GpuOptions { timestamps: true, ..GpuOptions::default() }).unwrap();
    let Device::Gpu(gpu) = timed else { panic!("{}", timed.name()) };
    let measure = |work: &dyn Fn()| {
        timed.kernel_seconds().unwrap();
        let start = Instant::now();
        work();
        let seconds = timed.kernel_seconds().unwrap();
        let wall = start.elapsed().as_secs_f64();
        assert_eq!(seconds.is_some(), gpu.info().has_timestamps);
        seconds.inspect(|&seconds| assert!((0.0..=wall).contains(&seconds), "{seconds} s of {wall} s"))
    };
    let x = full(timed, &[512, 512], 0.5).unwrap();
    let product = || drop(matmul(&x, &x, false, false).unwrap());
    let nothing = measure(&|| ());
    let one = measure(&product);
    // Many submits, and in each as many passes as there can be: clearing memory ends one.
    let many = measure(&|| {
        for round in 0..1200 {
            let y = zeros(timed, &[16]).unwrap();
            drop(affine(&y, 1.0, round as f32).unwrap());
        }
        product();
    });
    if let (Some(nothing), Some(one), Some(many)) = (nothing, one, many) {
        assert_eq!(nothing, 0.0);
        assert!(one > 0.0 && many > 0.0, "{one} {many}");
    }
}

/// A chain of work that keeps the device busy for a while.
#[cfg(feature = "gpu")]
fn long_chain(device: &Device) -> Array {
    let mut x = full(device, &[1 << 20], 1.0).unwrap();
    for _ in 0..200 {
        x = affine(&x, 1.0, 1.0).unwrap();
    }
    x
}

/// Commands that were recorded but not submitted are lost with the device, and so is everything
/// that needs them or new memory.
#[cfg(feature = "gpu")]
fn every_call_after_a_loss_says_so(_: &Device) {
    let device = common::own_gpu();
    let mut x = full(&device, &[100], 1.0).unwrap();
    let shared = x.clone();
    let y = affine(&x, 2.0, 0.0).unwrap();
    let mut own = full(&device, &[100], 1.0).unwrap();
    // No call fails merely because it has to compile a kernel or ask the driver for memory.
    accumulate(&mut own, &shared).unwrap();
    unary(UnaryOp::Exp, &shared).unwrap();
    drop((0..20).map(|_| full(&device, &[100], 1.0).unwrap()).collect::<Vec<_>>());
    device.destroy();
    device.destroy(); // once is enough
    let lost = |what: &str, result: rnn_runtime::Result<()>| match result {
        Err(Error::DeviceLost(_)) => {}
        other => panic!("{what}: expected DeviceLost, got {other:?}"),
    };
    lost("a dispatch", affine(&y, 2.0, 0.0).map(drop));
    lost("another dispatch", unary(UnaryOp::Exp, &y).map(drop));
    lost("an in-place op", accumulate(&mut own, &shared));
    lost("an in-place op on shared memory", accumulate(&mut x, &shared));
    lost("an upload", Array::from_f32(&device, &[1.0; 100], &[100]).map(drop));
    lost("indices", Array::from_u32(&device, &[1; 100], &[100]).map(drop));
    lost("memory", full(&device, &[100], 1.0).map(drop));
    lost("more memory", full(&device, &[12345], 1.0).map(drop));
    lost("readback", y.to_vec().map(drop));
    lost("async readback", pollster::block_on(y.to_vec_async()).map(drop));
    lost("a move to the host", y.to_device(&Device::cpu()).map(drop));
    lost("a move to the device", {
        let host = Array::from_f32(&Device::cpu(), &[1.0], &[1]).unwrap();
        host.to_device(&device).map(drop)
    });
    lost("waiting", device.synchronize());
    // The shape is the host's.
    assert_eq!(y.reshape(&[10, 10]).unwrap().dims(), [10, 10]);
}

/// Nothing else polls the queue, so an abandoned readback would wait for ever.
#[cfg(feature = "gpu")]
fn a_loss_ends_a_readback_under_way(_: &Device) {
    use std::future::Future;
    use std::task::{Context, Waker};
    let device = common::own_gpu();
    let x = long_chain(&device);
    let mut reading = Box::pin(x.to_vec_async());
    let first = reading.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(first.is_pending(), "the chain must outlast the first look");
    device.destroy();
    assert!(matches!(pollster::block_on(reading), Err(Error::DeviceLost(_))));

    // From another thread: the values, if the device got to them before, or the loss.
    let device = common::own_gpu();
    let x = long_chain(&device);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| x.to_vec());
        device.destroy();
        match reader.join().unwrap() {
            Ok(values) => assert_eq!(values[..3], [201.0; 3]),
            Err(error) => assert!(matches!(error, Error::DeviceLost(_)), "{error}"),
        }
    });
    assert!(matches!(device.synchronize(), Err(Error::DeviceLost(_))));
}

fn main() {
    let mut tests = device_tests![
        readback_agrees_async_and_blocking,
        uploads_do_not_overtake_pending_work,
        long_chains_are_submitted_in_chunks_and_reuse_memory,
        memory_in_use_and_free_is_counted,
        exp_is_accurate_over_its_whole_range,
        impossible_requests_are_errors,
    ];
    #[cfg(feature = "gpu")]
    {
        let gpu = device_tests![
            faults::a_driver_without_memory_refuses_one_call,
            faults::freed_memory_is_given_back_before_a_call_is_refused,
            faults::bind_groups_go_with_memory_that_is_given_back,
            handles_of_one_adapter_are_named_apart,
            a_missing_adapter_is_an_error_that_lists_the_others,
            kernel_time_lies_below_wall_time,
            a_lost_device_is_an_error_not_a_panic,
            every_call_after_a_loss_says_so,
            a_loss_ends_a_readback_under_way,
            faults::a_driver_that_computes_nothing_is_not_opened,
            faults::a_cell_that_a_driver_computes_wrongly_is_refused_at_its_first_use,
            faults::wrong_kernels_around_the_recurrence_are_seen,
        ];
        tests.extend(gpu.into_iter().map(common::DeviceTest::gpu_only));
        let limits = common::device_test!(arrays_beyond_the_adapter_s_limit_are_refused);
        tests.push(limits.gpu_only().with_webgpu_limits());
    }
    common::run(tests);
}
