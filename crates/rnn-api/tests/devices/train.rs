//! Training, on every device: optimizers reach minima, refuse what is not finite, resume exactly,
//! and a steady step creates nothing.

use crate::common::{DeviceTest, device_test, own_device};
use crate::folder::Folder;
use crate::reader::Reader;
use rnn_api::prelude::*;
use rnn_api::{Algorithm, DeviceStats, Error, GpuOptions, GpuSelector, Result, io};
use rnn_testing::data::uniform;

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(every_optimizer_solves_a_parabola),
        device_test!(every_optimizer_solves_rosenbrock),
        device_test!(groups_have_their_own_settings),
        device_test!(clipping_scales_all_gradients_together),
        device_test!(parameters_without_a_gradient_are_skipped),
        device_test!(non_finite_gradients_change_nothing),
        device_test!(bad_settings_are_refused),
        device_test!(an_lstm_learns_to_remember),
        device_test!(a_resumed_run_continues_bit_for_bit),
        device_test!(a_steady_step_creates_nothing).with_webgpu_limits(),
        device_test!(a_warm_up_leaves_nothing_to_compile_and_changes_nothing),
        device_test!(dispatches_per_time_step).gpu_only(),
    ]
}

/// Two parameters of two elements each.
struct Point {
    a: Param,
    b: Param,
}
rnn_api::module!(Point { a, b });

impl Point {
    fn new(device: &Device, a: [f32; 2], b: [f32; 2]) -> Self {
        let param = |v: [f32; 2]| Param::new(&Tensor::from_slice(device, &v, &[2]).unwrap()).unwrap();
        Point { a: param(a), b: param(b) }
    }

    fn values(&self) -> [Vec<f32>; 2] {
        [&self.a, &self.b].map(|param| param.value().to_vec().unwrap())
    }
}

type Make = fn(&Point) -> Result<Box<dyn Optimizer>>;

/// Name, optimizer for a well-conditioned bowl, optimizer for a narrow curved valley.
fn table() -> Vec<(&'static str, Make, Make)> {
    fn boxed(optimizer: impl Optimizer + 'static) -> Result<Box<dyn Optimizer>> {
        Ok(Box::new(optimizer))
    }
    vec![
        ("sgd", |p| boxed(SgdConfig::new(0.1).init(p)?), |p| boxed(SgdConfig::new(2e-3).init(p)?)),
        (
            "momentum",
            |p| boxed(SgdConfig::new(0.03).with_momentum(0.8).init(p)?),
            |p| boxed(SgdConfig::new(5e-4).with_momentum(0.9).init(p)?),
        ),
        (
            "nesterov",
            |p| boxed(SgdConfig::new(0.03).with_momentum(0.8).with_nesterov(true).init(p)?),
            |p| boxed(SgdConfig::new(5e-4).with_momentum(0.9).with_nesterov(true).init(p)?),
        ),
        (
            "rmsprop",
            |p| boxed(RmsPropConfig::new(0.015).with_alpha(0.9).init(p)?),
            |p| boxed(RmsPropConfig::new(1e-3).with_alpha(0.9).init(p)?),
        ),
        (
            "rmsprop with momentum",
            |p| boxed(RmsPropConfig::new(8e-3).with_momentum(0.5).init(p)?),
            |p| boxed(RmsPropConfig::new(3e-4).with_momentum(0.7).init(p)?),
        ),
        ("adagrad", |p| boxed(AdaGradConfig::new(0.5).init(p)?), |p| boxed(AdaGradConfig::new(0.5).init(p)?)),
        ("adam", |p| boxed(AdamConfig::new(0.05).init(p)?), |p| boxed(AdamConfig::new(0.02).init(p)?)),
        (
            // Its updates hardly shrink near a minimum: a small factor to get there, eps for the first ones.
            "adadelta",
            |p| boxed(AdaDeltaConfig::new(1.0).with_eps(1e-4).init(p)?),
            |p| boxed(AdaDeltaConfig::new(0.05).init(p)?),
        ),
        ("nadam", |p| boxed(NadamConfig::new(0.05).init(p)?), |p| boxed(NadamConfig::new(0.02).init(p)?)),
        (
            // Every step is as long as the rate, so it ends in a swing of that size around the minimum.
            "lion",
            |p| boxed(LionConfig::new(0.015).with_beta1(0.8).with_beta2(0.8).init(p)?),
            |p| boxed(LionConfig::new(1e-3).init(p)?),
        ),
        (
            "adamw",
            |p| boxed(AdamWConfig::new(0.05).with_weight_decay(0.0).init(p)?),
            |p| boxed(AdamWConfig::new(0.02).with_weight_decay(0.0).init(p)?),
        ),
    ]
}

fn parabola(point: &Point) -> Result<Tensor> {
    let goal = Tensor::from_slice(&point.a.device(), &[0.5, -1.5], &[2])?;
    let stiffness = Tensor::from_slice(&point.a.device(), &[1.0, 4.0], &[2])?;
    let a = point.a.value().sub(&goal)?;
    let b = point.b.value().shift(1.0)?;
    let a = a.mul(&a)?.mul(&stiffness)?.sum_all()?;
    a.add(&b.mul(&b)?.sum_all()?)
}

fn every_optimizer_solves_a_parabola(device: &Device) {
    for (name, make, _) in table() {
        let point = Point::new(device, [0.0, 0.0], [-0.5, 0.0]);
        let mut optimizer = make(&point).unwrap();
        for _ in 0..150 {
            optimizer.step(&parabola(&point).unwrap().backward().unwrap()).unwrap();
        }
        let left = parabola(&point).unwrap().item().unwrap();
        // It starts at 10.5; steps of RMSprop do not shrink below its learning rate.
        assert!(left < 5e-3, "{name}: {left}");
    }
}

/// `(1 - x)^2 + 100 (y - x^2)^2` for two starting points at once, x in `a` and y in `b`.
fn rosenbrock(point: &Point) -> Result<Tensor> {
    let (x, y) = (point.a.value(), point.b.value());
    let slope = x.shift(-1.0)?;
    let wall = y.sub(&x.mul(&x)?)?;
    slope.mul(&slope)?.add(&wall.mul(&wall)?.scale(100.0)?)?.sum_all()
}

/// Steps that lead far into the valley, few enough for a software GPU.
const SHORT: usize = 25;

fn every_optimizer_solves_rosenbrock(device: &Device) {
    let walk = |make: Make, device: &Device, steps: usize| {
        let point = Point::new(device, [-0.5, 0.3], [1.0, -0.4]);
        let mut optimizer = make(&point).unwrap();
        for _ in 0..steps {
            optimizer.step(&rosenbrock(&point).unwrap().backward().unwrap()).unwrap();
        }
        point
    };
    for (name, _, make) in table() {
        let point = walk(make, &Device::cpu(), 6000);
        let left = rosenbrock(&point).unwrap().item().unwrap();
        // It starts at 83; the minimum is 0 at (1, 1).
        assert!(left < 1e-2, "{name}: {left} at {:?}", point.values());
        if !device.is_cpu() {
            // CPU and GPU take the same path at first. Later the steep walls of the valley magnify differences of rounding.
            let (there, here) = (walk(make, device, SHORT), walk(make, &Device::cpu(), SHORT));
            for (a, b) in there.values().concat().into_iter().zip(here.values().concat()) {
                assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
            }
        }
    }
}

/// Gradient 1 for a, 0 for b.
fn slope(point: &Point) -> Gradients {
    let loss = point.a.value().add(&point.b.value().scale(0.0).unwrap()).unwrap();
    loss.sum_all().unwrap().backward().unwrap()
}

fn groups_have_their_own_settings(device: &Device) {
    let start = || Point::new(device, [2.0; 2], [2.0; 2]);
    let point = start();
    let config = SgdConfig::new(0.5).with_weight_decay(0.5);
    config.init(&point).unwrap().step(&slope(&point)).unwrap();
    // p - lr (g + decay p)
    assert_eq!(point.values(), [[1.0; 2], [1.5; 2]]);

    let point = start();
    let config = config.with_no_decay(|name| name == "b");
    config.init(&point).unwrap().step(&slope(&point)).unwrap();
    assert_eq!(point.values(), [[1.0; 2], [2.0; 2]]);

    let point = start();
    let group = ParamGroup::new(|name| name == "a").with_lr_scale(0.5).with_weight_decay(0.0);
    // The first group that fits counts, so the second changes nothing for a.
    let config = SgdConfig::new(0.5).with_weight_decay(0.5).with_group(group);
    let config = config.with_group(ParamGroup::new(|_| true).with_weight_decay(1.0));
    config.init(&point).unwrap().step(&slope(&point)).unwrap();
    assert_eq!(point.values(), [[1.75; 2], [1.0; 2]]);
}

fn clipping_scales_all_gradients_together(device: &Device) {
    let point = Point::new(device, [0.0; 2], [0.0; 2]);
    let mut sgd = SgdConfig::new(1.0).with_clip_norm(1.0).init(&point).unwrap();
    // Gradients (3, 3) and (4, 4): norm sqrt(50).
    let loss = point.a.value().scale(3.0).unwrap().add(&point.b.value().scale(4.0).unwrap());
    sgd.step(&loss.unwrap().sum_all().unwrap().backward().unwrap()).unwrap();
    let norm = 50.0f32.sqrt();
    let [a, b] = point.values();
    // PyTorch's 1e-6 in the denominator, and rounding.
    assert!((a[0] + 3.0 / norm).abs() < 1e-6 && (b[1] + 4.0 / norm).abs() < 1e-6, "{a:?} {b:?}");
}

fn parameters_without_a_gradient_are_skipped(device: &Device) {
    let point = Point::new(device, [1.0; 2], [1.0; 2]);
    let mut adam = AdamWConfig::new(0.1).with_weight_decay(0.5).init(&point).unwrap();
    let only_a = point.a.value().sum_all().unwrap().backward().unwrap();
    adam.step(&only_a).unwrap();
    let [a, b] = point.values();
    assert!(a[0] < 1.0 && b == [1.0; 2], "no decay without a gradient");
    // Gradients of parameters of other models are ignored; a step with those alone changes nothing.
    let other = Point::new(device, [1.0; 2], [1.0; 2]);
    adam.step(&slope(&other)).unwrap();
    assert_eq!((point.values(), adam.steps()), ([a, b], 1));
}

fn non_finite_gradients_change_nothing(device: &Device) {
    let start = || Point::new(device, [1.0, 2.0], [3.0, 4.0]);
    let (point, twin) = (start(), start());
    let mut adam = AdamConfig::new(0.1).with_clip_norm(1.0).init(&point).unwrap();
    let mut other = AdamConfig::new(0.1).with_clip_norm(1.0).init(&twin).unwrap();
    adam.step(&slope(&point)).unwrap();
    other.step(&slope(&twin)).unwrap();
    for factor in [f32::INFINITY, f32::NAN] {
        let bad = point.b.value().scale(factor).unwrap().add(&point.a.value()).unwrap();
        let stepped = adam.step(&bad.sum_all().unwrap().backward().unwrap());
        match stepped.and_then(|()| adam.settle()) {
            Err(Error::NonFinite { step, parameters }) => {
                assert_eq!((step, parameters), (2, vec!["b".to_string()]));
            }
            result => panic!("expected NonFinite, got {result:?}"),
        }
    }
    // As if the bad steps had not been: the moments did not see them either.
    adam.step(&slope(&point)).unwrap();
    other.step(&slope(&twin)).unwrap();
    assert_eq!(point.values(), twin.values());
    assert_eq!(adam.steps(), 2);
}

fn bad_settings_are_refused(device: &Device) {
    let point = Point::new(device, [1.0; 2], [1.0; 2]);
    let refused = |result: Result<()>, wanted: &str| match result {
        Err(Error::Config { field, .. }) => assert_eq!(field, wanted),
        other => panic!("{wanted}: expected an error, got {other:?}"),
    };
    refused(SgdConfig::new(f64::NAN).init(&point).map(drop), "lr");
    refused(SgdConfig::new(-0.1).init(&point).map(drop), "lr");
    refused(SgdConfig::new(0.1).with_weight_decay(-1.0).init(&point).map(drop), "weight_decay");
    refused(SgdConfig::new(0.1).with_nesterov(true).init(&point).map(drop), "momentum");
    refused(SgdConfig::new(0.1).with_clip_norm(0.0).init(&point).map(drop), "clip_norm");
    refused(AdamConfig::new(0.1).with_beta2(1.0).init(&point).map(drop), "beta2");
    refused(RmsPropConfig::new(0.1).with_eps(0.0).init(&point).map(drop), "eps");
    refused(AdamConfig::new(0.1).init(&UnaryOp::Relu).map(drop), "parameters");

    let mut sgd = SgdConfig::new(0.1).init(&point).unwrap();
    let before = point.a.array().to_vec().unwrap();
    let gradients = point.a.value().mul(&point.a.value()).unwrap().sum_all().unwrap().backward().unwrap();
    for lr in [f64::NAN, f64::INFINITY, -1.0] {
        sgd.set_lr(lr);
        refused(sgd.step(&gradients), "lr");
    }
    assert_eq!((point.a.array().to_vec().unwrap(), sgd.steps()), (before, 0));
}

fn an_lstm_learns_to_remember(device: &Device) {
    let model = Reader::new(device, 0.0);
    let mut adam = AdamConfig::new(0.02).with_clip_norm(1.0).init(&model).unwrap();
    let before = model.loss(device, 0).unwrap().item().unwrap();
    assert!(before > 0.8, "ln 3 = 1.1 is a guess: {before}");
    for step in 0..150 {
        adam.step(&model.loss(device, step).unwrap().backward().unwrap()).unwrap();
    }
    // On a batch that was not trained on.
    let after = model.loss(device, 1_000_000).unwrap().item().unwrap();
    assert!(after < 0.05, "{after}");
}

fn a_resumed_run_continues_bit_for_bit(device: &Device) {
    let folder = Folder::empty(device, "train");
    let (weights, state) = (folder.0.join("model.safetensors"), folder.0.join("adam.safetensors"));
    let train = |model: &Reader, adam: &mut AdamW, steps: std::ops::Range<u64>| {
        for step in steps {
            adam.step(&model.loss(device, step).unwrap().backward().unwrap()).unwrap();
        }
    };
    let config = AdamWConfig::new(0.02).with_no_decay(|name| name.contains("bias"));
    let model = Reader::new(device, 0.3);
    let mut adam = config.init(&model).unwrap();
    train(&model, &mut adam, 0..3);
    adam.set_lr(0.01);
    io::save(&model, &weights).unwrap();
    adam.save(&state).unwrap();
    let positions = model.draw_positions();
    train(&model, &mut adam, 3..6);

    let resumed = Reader::new(device, 0.3);
    io::load(&resumed, &weights).unwrap();
    resumed.set_draw_positions(&positions).unwrap();
    let mut again = config.init(&resumed).unwrap();
    again.load(&state).unwrap();
    assert_eq!((again.lr(), again.steps()), (0.01, 3));
    train(&resumed, &mut again, 3..6);
    assert_eq!(model.bits(), resumed.bits());

    // Of another kind or another model: refused, and nothing changed.
    let mut sgd = SgdConfig::new(0.1).with_momentum(0.9).init(&resumed).unwrap();
    match sgd.load(&state) {
        Err(Error::Checkpoint { path, problems }) => {
            assert_eq!(path, state);
            assert!(problems.iter().any(|p| p.contains("AdamWConfig")), "{problems:?}");
        }
        other => panic!("expected Checkpoint, got {other:?}"),
    }
    assert_eq!((sgd.lr(), sgd.steps()), (0.1, 0));
}

fn a_steady_step_creates_nothing(device: &Device) {
    let device = &own_device(device);
    let model = Reader::new(device, 0.2);
    let mut adam = AdamConfig::new(1e-3).with_clip_norm(1.0).init(&model).unwrap();
    let mut created = |step: u64| {
        let loss = model.loss(device, step).unwrap();
        loss.item().unwrap();
        adam.step(&loss.backward().unwrap()).unwrap();
        drop(loss);
        device.synchronize().unwrap();
        let stats = device.stats();
        DeviceStats { dispatches: 0, submits: 0, ..stats }
    };
    let first = created(1);
    assert!(first.buffers_created > 0);
    for step in 2..6 {
        assert_eq!(created(step), first, "step {step}");
    }
}

/// Everything a step changes, for comparison.
#[derive(Debug, PartialEq)]
struct State {
    parameters: Vec<(String, Vec<u32>)>,
    means: Vec<Vec<f32>>,
    steps: u64,
    draws: Vec<u64>,
}

fn state(model: &Reader, adam: &Adam) -> State {
    let optimizer = adam.state_dict();
    State {
        parameters: model.bits(),
        means: optimizer.arrays.values().map(|array| array.to_vec().unwrap()).collect(),
        steps: optimizer.steps,
        draws: model.draw_positions().into_values().collect(),
    }
}

fn a_warm_up_leaves_nothing_to_compile_and_changes_nothing(device: &Device) {
    let device = &own_device(device);
    let model = Reader::new(device, 0.2);
    let mut adam = AdamConfig::new(1e-3).with_clip_norm(1.0).init(&model).unwrap();
    let created = |adam: &mut Adam, step: u64| {
        adam.step(&model.loss(device, step).unwrap().backward().unwrap()).unwrap();
        device.synchronize().unwrap();
        DeviceStats { dispatches: 0, submits: 0, ..device.stats() }
    };
    let fresh = state(&model, &adam);
    warm_up(&model, &mut adam, || model.loss(device, 1)).unwrap();
    assert_eq!(state(&model, &adam), fresh);
    let warm = device.stats();
    if !device.is_cpu() {
        assert!(warm.pipelines_created > 0);
    }
    let first = created(&mut adam, 1);
    assert_eq!(first.pipelines_created, warm.pipelines_created);
    assert_eq!(first.buffers_created, warm.buffers_created);

    // In the middle of a run, and when the step fails.
    let before = state(&model, &adam);
    warm_up(&model, &mut adam, || model.loss(device, 2)).unwrap();
    assert_eq!(state(&model, &adam), before);
    let failed = warm_up(&model, &mut adam, || model.loss(device, 3)?.scale(f32::NAN));
    assert!(matches!(failed, Err(Error::NonFinite { .. })), "{failed:?}");
    assert_eq!(state(&model, &adam), before);
}

/// Dispatches of a training step over `t` time steps, after a first one that makes what later ones keep.
fn dispatches(algorithm: Algorithm, limited: bool, steps: &[usize]) -> Vec<usize> {
    let options = GpuOptions {
        algorithm: Some(algorithm),
        immediates: !limited,
        subgroups: !limited,
        adapter_limits: !limited,
        ..GpuOptions::default()
    };
    let device = &Device::gpu_with(GpuSelector::Best, options).unwrap();
    let lstm = LstmConfig::new(4, 12).init(device, 1).unwrap();
    let head = LinearConfig::new(12, 3).init(device, 2).unwrap();
    let mut adam = AdamConfig::new(1e-3).init(&(&lstm, &head)).unwrap();
    let labels = Tensor::from_indices(device, &[0, 1, 2], &[3]).unwrap();
    let mut step = |t: usize| {
        let x = Tensor::from_slice(device, &uniform(7, t * 3 * 4), &[t, 3, 4]).unwrap();
        let before = device.stats().dispatches;
        let last = lstm.forward(&x, None).unwrap().last().unwrap();
        let loss = head.forward(&last).unwrap().cross_entropy(&labels).unwrap();
        adam.step(&loss.backward().unwrap()).unwrap();
        device.stats().dispatches - before
    };
    step(steps[0]);
    steps.iter().map(|&t| step(t)).collect()
}

fn dispatches_per_time_step(_: &Device) {
    for limited in [false, true] {
        let counts = dispatches(Algorithm::Step, limited, &[5, 6, 9, 21, 21, 22]);
        let above = counts.iter().map(|count| count - counts[0]);
        assert!(
            above.eq([0, 2, 8, 32, 32, 34]),
            "one forward and one backward a step, limited: {limited}: {counts:?}"
        );
        println!("step by step, T = 5: {} dispatches", counts[0]);
        let counts = dispatches(Algorithm::Sequence, limited, &[5, 6, 9, 21]);
        println!("whole sequences: {} dispatches", counts[0]);
        assert!(
            counts.iter().all(|&count| count == counts[0]),
            "the same for every T, limited: {limited}: {counts:?}"
        );
    }
}
