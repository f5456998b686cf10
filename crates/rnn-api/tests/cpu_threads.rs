//! The number of threads of a CPU device changes no bit of a training step.

use rnn_api::prelude::*;
use rnn_api::{CpuOptions, Device};
use rnn_testing::data::{indices, uniform};

fn device(threads: usize) -> Device {
    Device::cpu_with(&CpuOptions::new().with_threads(threads)).unwrap()
}

fn threads(device: &Device) -> usize {
    match device {
        Device::Cpu(cpu) => cpu.threads(),
        #[allow(unreachable_patterns, reason = "builds with a GPU")]
        _ => unreachable!("the CPU"),
    }
}

/// Weights after two steps, with every op large enough to be divided: outputs, losses, norms.
fn trained(device: &Device) -> Vec<u32> {
    let [steps, rows, inputs, units, out] = [9, 37, 33, 70, 300];
    let lstm = LstmConfig::new(inputs, units).with_num_layers(2).with_dropout(0.1).init(device, 1).unwrap();
    let head = LinearConfig::new(units, out).init(device, 2).unwrap();
    let mut adam = AdamConfig::new(1e-2).with_clip_norm(0.5).init(&(&lstm, &head)).unwrap();
    let x = Tensor::from_vec(device, uniform(3, steps * rows * inputs), &[steps, rows, inputs]).unwrap();
    let labels: Vec<u32> = indices(4, steps * rows, out).into_iter().map(|label| label as u32).collect();
    let labels = Tensor::from_indices(device, &labels, &[steps, rows]).unwrap();
    for _ in 0..2 {
        let y = lstm.forward(&x, None).unwrap().y;
        let loss = head.forward(&y).unwrap().cross_entropy(&labels).unwrap();
        adam.step(&loss.backward().unwrap()).unwrap();
    }
    let values = |module: &dyn Module| -> Vec<u32> {
        let values = module.parameters().into_iter().map(|p| p.value().to_vec().unwrap());
        values.flatten().map(f32::to_bits).collect()
    };
    [values(&lstm), values(&head)].concat()
}

#[test]
fn a_training_step_has_the_same_bits_on_any_number_of_threads() {
    let alone = trained(&device(1));
    for count in [2, 3, 5] {
        let device = device(count);
        assert!(trained(&device) == alone, "{count} threads");
        assert_eq!(threads(&device), count);
    }
    assert!(trained(&Device::cpu()) == alone, "the threads of the process");
}

/// Weights on one device and inputs on another one, on the threads of a third.
#[test]
fn devices_mix_and_installed_threads_are_used() {
    let [weights, inputs, worker] = [device(3), device(2), device(1)];
    let lstm = LstmConfig::new(5, 64).init(&weights, 1).unwrap();
    let x = uniform(3, 30 * 8 * 5);
    let y = |device: &Device| {
        let x = Tensor::from_slice(device, &x, &[30, 8, 5]).unwrap();
        lstm.forward(&x, None).unwrap().y.to_vec().unwrap()
    };
    let want = y(&weights);
    assert_eq!(y(&inputs), want);
    let got = worker.install(|| {
        assert_eq!([threads(&weights), threads(&inputs)], [1, 1]);
        y(&inputs)
    });
    assert_eq!(got, want);
    assert_eq!([threads(&weights), threads(&inputs)], [3, 2]);
    let refused = Device::cpu_with(&CpuOptions::new().with_threads(0)).map(drop).unwrap_err();
    assert_eq!(refused.to_string(), "Device::cpu_with: threads must be 1 to 1024, got 0");
}
