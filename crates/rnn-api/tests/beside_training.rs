//! Inference beside a training thread: every output belongs to the weights of one optimizer step.

use rnn_api::nn::Module;
use rnn_api::prelude::*;
use rnn_api::{Result, module};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

struct Model {
    lstm: Lstm,
    head: Sequential,
}
module!(Model { lstm, head });

type Bits = Vec<u32>;

fn bits(y: &Tensor) -> Bits {
    y.to_vec().unwrap().into_iter().map(f32::to_bits).collect()
}

/// The outputs that a step makes possible.
#[derive(Default)]
struct Outputs {
    of_lstm: HashSet<Bits>,
    of_head: HashSet<Bits>,
    of_model: HashSet<Bits>,
}

impl Model {
    /// Many parameters, so that a reader often comes in the middle of a step.
    fn new(seed: u64) -> Self {
        let device = Device::cpu();
        let lstm = LstmConfig::new(3, 8).with_num_layers(8).with_learnable_state(true);
        let head = Sequential::new()
            .with(LinearConfig::new(8, 8).init(&device, seed).unwrap())
            .with(LayerNormConfig::new(8).init(&device).unwrap())
            .with(LinearConfig::new(8, 2).init(&device, seed).unwrap());
        Model { lstm: lstm.init(&device, seed).unwrap(), head }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.lstm.forward(x, None)?.last()?)
    }
}

fn input() -> (Tensor, Tensor) {
    let ones = |dims: &[usize]| Tensor::ones(&Device::cpu(), dims).unwrap();
    (ones(&[1, 1, 3]), ones(&[1, 8]))
}

/// Trains for some steps; returns every output before, between and after them.
fn train(model: &Model, steps: usize) -> Outputs {
    let (x, features) = input();
    let mut adam = AdamConfig::new(1e-3).init(model).unwrap();
    let mut outputs = Outputs::default();
    for step in 0..=steps {
        no_grad(|| {
            outputs.of_lstm.insert(bits(&model.lstm.forward(&x, None).unwrap().y));
            outputs.of_head.insert(bits(&model.head.forward(&features).unwrap()));
            outputs.of_model.insert(bits(&model.forward(&x).unwrap()));
        });
        if step < steps {
            let y = model.forward(&x).unwrap();
            let loss = y.sub(&y.detach().scale(0.5).unwrap()).unwrap().mul(&y).unwrap().mean_all().unwrap();
            adam.step(&loss.backward().unwrap()).unwrap();
        }
    }
    outputs
}

/// Calls `read` on one thread while another one trains the model.
fn beside_training<T: Send>(steps: usize, read: impl Fn(&Model) -> T + Sync) -> (Outputs, Vec<T>) {
    let model = Model::new(1);
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut all = Vec::new();
            while !done.load(Ordering::Acquire) || all.len() < 100 {
                all.push(no_grad(|| read(&model)));
                reads.fetch_add(1, Ordering::Relaxed);
            }
            all
        });
        // Both are busy at the same time.
        while reads.load(Ordering::Relaxed) == 0 && !reader.is_finished() {
            std::thread::yield_now();
        }
        let outputs = train(&model, steps);
        done.store(true, Ordering::Release);
        (outputs, reader.join().unwrap())
    })
}

const STEPS: usize = 300;

#[test]
fn a_layer_s_call_sees_one_step() {
    let (x, features) = input();
    let read = |model: &Model| {
        (bits(&model.lstm.forward(&x, None).unwrap().y), bits(&model.head.forward(&features).unwrap()))
    };
    let (outputs, reads) = beside_training(STEPS, read);
    let count = reads.len();
    let mixed = reads.iter().filter(|(of_lstm, _)| !outputs.of_lstm.contains(of_lstm)).count();
    assert_eq!(mixed, 0, "of {count} outputs of the LSTM belong to no step");
    let mixed = reads.iter().filter(|(_, of_head)| !outputs.of_head.contains(of_head)).count();
    assert_eq!(mixed, 0, "of {count} outputs of the head belong to no step");
}

#[test]
fn a_pinned_model_sees_one_step() {
    let (x, _) = input();
    let (outputs, reads) = beside_training(STEPS, |model| bits(&model.pinned(|| model.forward(&x)).unwrap()));
    let mixed = reads.iter().filter(|read| !outputs.of_model.contains(*read)).count();
    assert_eq!(mixed, 0, "of {} outputs belong to no step", reads.len());
}

#[test]
fn a_copy_of_the_weights_is_of_one_step() {
    let (x, _) = input();
    let own = std::sync::Mutex::new(Model::new(2));
    let (outputs, reads) = beside_training(STEPS, |model| {
        let own = own.lock().unwrap();
        own.load_state_dict(&model.state_dict()).unwrap();
        bits(&own.forward(&x).unwrap())
    });
    let mixed = reads.iter().filter(|read| !outputs.of_model.contains(*read)).count();
    assert_eq!(mixed, 0, "of {} outputs belong to no step", reads.len());
}

/// Weights that are loaded count as one change, too.
#[test]
fn a_reader_sees_all_of_a_loaded_model_or_nothing() {
    let (x, _) = input();
    let states = [Model::new(3).state_dict(), Model::new(4).state_dict()];
    let model = Model::new(3);
    let possible: HashSet<Bits> = states
        .iter()
        .map(|state| {
            model.load_state_dict(state).unwrap();
            bits(&model.forward(&x).unwrap())
        })
        .collect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let read = |_| bits(&no_grad(|| model.pinned(|| model.forward(&x))).unwrap());
            (0..300).map(read).collect::<Vec<_>>()
        });
        for n in 0.. {
            if reader.is_finished() {
                break;
            }
            model.load_state_dict(&states[n % 2]).unwrap();
        }
        assert!(reader.join().unwrap().iter().all(|read| possible.contains(read)));
    });
}

/// Inside, values stay; outside and on other threads they are the latest. A panic ends the scope too.
#[test]
fn pinned_values_last_as_long_as_the_call() {
    let model = Model::new(1);
    let param = &model.parameters()[0];
    let fill = |value| Tensor::full(&Device::cpu(), param.dims(), value).unwrap();
    let first = |tensor: Tensor| tensor.to_vec().unwrap()[0];
    param.set(&fill(1.0)).unwrap();
    let (version, tied) = (param.version(), (&model, &model));
    tied.pinned(|| {
        param.set(&fill(2.0)).unwrap();
        assert_eq!((first(param.value()), param.version()), (1.0, version));
        assert_eq!(model.state_dict()["lstm.weight_ih_l0"].to_vec().unwrap()[0], 1.0);
        std::thread::scope(|scope| assert_eq!(scope.spawn(|| first(param.value())).join().unwrap(), 2.0));
        // What is not pinned is as it is.
        let other = Param::new(&fill(7.0)).unwrap();
        assert_eq!(first(other.value()), 7.0);
    });
    assert_eq!(first(param.value()), 2.0);
    let panics = || model.pinned(|| panic!("in the middle"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    param.set(&fill(3.0)).unwrap();
    assert_eq!(first(param.value()), 3.0);
}
