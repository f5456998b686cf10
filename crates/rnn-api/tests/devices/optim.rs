//! What surrounds the update rules, on every device: groups, penalties, clipping, loss scaling, accumulation, the range
//! test, averaged weights, and going on after a pause.

mod outcomes;

use crate::common::{DeviceTest, device_test, own_device};
use crate::folder::Folder;
use crate::reader::Reader;
use rnn_api::prelude::*;
use rnn_api::{DeviceStats, Error, Result, io};

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(groups_follow_the_roles_of_parameters),
        device_test!(penalties_are_coupled_or_decoupled),
        device_test!(gradients_are_clipped_in_three_ways),
        device_test!(bad_settings_and_groups_are_refused),
        device_test!(a_static_loss_scale_changes_no_bit),
        device_test!(values_stored_in_f16_train_as_well).with_webgpu_limits(),
        device_test!(a_dynamic_loss_scale_halves_and_doubles),
        device_test!(accumulated_gradients_are_those_of_one_batch),
        device_test!(a_range_test_suggests_a_rate_and_restores),
        device_test!(averaged_weights_come_and_go),
        device_test!(every_optimizer_resumes_bit_for_bit),
        device_test!(a_steady_step_of_everything_creates_nothing),
        device_test!(outcomes::a_nan_in_mid_run_leaves_the_state_before_it),
        device_test!(outcomes::a_nan_in_the_last_step_is_not_saved),
        device_test!(outcomes::a_steady_step_waits_for_nothing).gpu_only(),
        device_test!(outcomes::a_step_without_memory_changes_nothing).gpu_only(),
        device_test!(outcomes::training_with_async_reads_never_waits),
        device_test!(outcomes::a_prepared_step_refuses_at_once),
        device_test!(outcomes::a_trainer_waits_once_a_step),
    ]
}

/// One parameter of two elements under three roles.
struct Cell {
    weight_ih_l0: Param,
    weight_hh_l0: Param,
    bias_ih_l0: Param,
}
rnn_api::module!(Cell { weight_ih_l0, weight_hh_l0, bias_ih_l0 });

impl Cell {
    fn new(device: &Device) -> Self {
        let param = || Param::new(&Tensor::from_slice(device, &[2.0, -4.0], &[2]).unwrap()).unwrap();
        Cell { weight_ih_l0: param(), weight_hh_l0: param(), bias_ih_l0: param() }
    }

    fn values(&self) -> [Vec<f32>; 3] {
        [&self.weight_ih_l0, &self.weight_hh_l0, &self.bias_ih_l0].map(|p| p.value().to_vec().unwrap())
    }

    /// Gradients of these sizes, the same for both elements.
    fn gradients(&self, sizes: [f32; 3]) -> Gradients {
        let [a, b, c] = [&self.weight_ih_l0, &self.weight_hh_l0, &self.bias_ih_l0];
        let part = |param: &Param, size: f32| param.value().scale(size).unwrap();
        let sum = part(a, sizes[0]).add(&part(b, sizes[1])).unwrap().add(&part(c, sizes[2])).unwrap();
        sum.sum_all().unwrap().backward().unwrap()
    }
}

fn groups_follow_the_roles_of_parameters(device: &Device) {
    let cell = Cell::new(device);
    let config = SgdConfig::new(0.5)
        .with_group(ParamGroup::role(ParamRole::InputWeight).with_l1(0.5))
        .with_group(ParamGroup::role(ParamRole::RecurrentWeight).with_weight_decay(0.5))
        .with_group(ParamGroup::named(["bias_ih_l0"]).with_lr_scale(0.5));
    config.init(&cell).unwrap().step(&cell.gradients([1.0; 3])).unwrap();
    // p - lr (1 + 0.5 sign(p)), p - lr (1 + 0.5 p), p - 0.5 lr
    assert_eq!(cell.values(), [[1.25, -4.25], [1.0, -3.5], [1.75, -4.25]]);

    let roles = [
        "weight_ih_l1_reverse",
        "rnn.weight_hh_l0",
        "head.bias",
        "bias_hh_l0",
        "weight_hr_l0",
        "head.weight",
    ];
    let want = [
        ParamRole::InputWeight,
        ParamRole::RecurrentWeight,
        ParamRole::Bias,
        ParamRole::Bias,
        ParamRole::Other,
        ParamRole::Other,
    ];
    assert_eq!(roles.map(ParamRole::of), want);
}

fn penalties_are_coupled_or_decoupled(device: &Device) {
    let penalized = |decoupled: bool| {
        let cell = Cell::new(device);
        // Adam divides a constant gradient by itself, and with it a coupled penalty.
        let adam = AdamConfig::new(0.5).with_weight_decay(0.25).with_l1(0.5);
        let mut adam = adam.with_decoupled_weight_decay(decoupled).init(&cell).unwrap();
        adam.step(&cell.gradients([1.0; 3])).unwrap();
        cell.values()
    };
    let close = |got: &[Vec<f32>; 3], want: [f32; 2]| {
        for (got, want) in got.iter().flat_map(|values| values.iter().zip(want)) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    };
    // Coupled: g = 1 + 0.5 sign(p) + 0.25 p is 2 and -0.5, and only its sign remains.
    close(&penalized(false), [1.5, -3.5]);
    // Decoupled: p is multiplied by 1 - 0.5 * 0.25, comes 0.25 closer to 0, and then goes 0.5 down.
    close(&penalized(true), [1.0, -3.75]);
    // A group may differ from the rest.
    let cell = Cell::new(device);
    let group = ParamGroup::role(ParamRole::Bias).with_decoupled_weight_decay(true);
    let config = AdamConfig::new(0.5).with_weight_decay(0.25).with_l1(0.5).with_group(group);
    config.init(&cell).unwrap().step(&cell.gradients([1.0; 3])).unwrap();
    let [a, b, c] = cell.values();
    assert!((a[0] - 1.5).abs() < 1e-6 && (b[1] + 3.5).abs() < 1e-6 && (c[0] - 1.0).abs() < 1e-6);
}

fn gradients_are_clipped_in_three_ways(device: &Device) {
    let moved = |config: SgdConfig| {
        let cell = Cell::new(device);
        let mut sgd = config.init(&cell).unwrap();
        sgd.step(&cell.gradients([3.0, -4.0, 0.5])).unwrap();
        let values = cell.values().map(|values| f64::from(values[0]) - 2.0);
        (values, sgd.grad_norm().unwrap())
    };
    let close = |got: [f64; 3], want: [f64; 3]| {
        let near = got.iter().zip(want).all(|(got, want)| (got - want).abs() < 2e-6);
        assert!(near, "{got:?} {want:?}");
    };
    let root = 2f64.sqrt(); // of two equal elements
    let norm = (50.5f64).sqrt();
    let (free, reported) = moved(SgdConfig::new(1.0));
    close(free, [-3.0, 4.0, -0.5]);
    assert!((f64::from(reported) - norm).abs() < 1e-5);
    close(moved(SgdConfig::new(1.0).with_clip_value(3.5)).0, [-3.0, 3.5, -0.5]);
    let (tensors, reported) = moved(SgdConfig::new(1.0).with_clip_tensor_norm(2.0));
    close(tensors, [-root, root, -0.5]);
    assert!((f64::from(reported) - norm).abs() < 1e-5, "before clipping");
    close(moved(SgdConfig::new(1.0).with_clip_norm(1.0)).0, [-3.0 / norm, 4.0 / norm, -0.5 / norm]);
    // All at once, in this order.
    let all = SgdConfig::new(1.0).with_clip_value(3.5).with_clip_tensor_norm(2.0).with_clip_norm(1.0);
    let left = (4.0f64 + 4.0 + 0.5).sqrt();
    close(moved(all).0, [-root / left, root / left, -0.5 / left]);
}

#[track_caller]
fn refused<T>(result: Result<T>, wanted: &str) {
    match result {
        Err(Error::Config { field, .. }) => assert_eq!(field, wanted),
        Err(other) => panic!("{wanted}: another error: {other}"),
        Ok(_) => panic!("{wanted}: accepted"),
    }
}

fn bad_settings_and_groups_are_refused(device: &Device) {
    let cell = Cell::new(device);
    let sgd = || SgdConfig::new(0.1);
    refused(LionConfig::new(f64::NAN).init(&cell), "lr");
    refused(NadamConfig::new(-1.0).init(&cell), "lr");
    for beta in [1.0, -0.1, f64::NAN] {
        refused(NadamConfig::new(0.1).with_beta1(beta).init(&cell), "beta1");
        refused(LionConfig::new(0.1).with_beta2(beta).init(&cell), "beta2");
    }
    refused(NadamConfig::new(0.1).with_momentum_decay(-1.0).init(&cell), "momentum_decay");
    refused(AdaDeltaConfig::new(1.0).with_rho(1.1).init(&cell), "rho");
    refused(AdaDeltaConfig::new(1.0).with_eps(0.0).init(&cell), "eps");
    refused(sgd().with_l1(-0.1).init(&cell), "l1");
    refused(sgd().with_clip_value(0.0).init(&cell), "clip_value");
    refused(sgd().with_clip_tensor_norm(f32::NAN).init(&cell), "clip_tensor_norm");
    for scale in [0.0, 3.0, -2.0, f32::INFINITY, f32::NAN] {
        refused(sgd().with_loss_scale(LossScale::Static(scale)).init(&cell), "loss_scale");
    }
    let never = LossScale::Dynamic { initial: 2.0, growth_interval: 0 };
    refused(sgd().with_loss_scale(never).init(&cell), "loss_scale");
    for group in [
        ParamGroup::new(|name| name == "nothing"),
        ParamGroup::role(ParamRole::Other),
        ParamGroup::named(["bias_ih_l0", "bias_ih_l1"]),
        ParamGroup::named(Vec::<String>::new()),
        ParamGroup::role(ParamRole::Bias).with_lr_scale(-1.0),
        ParamGroup::role(ParamRole::Bias).with_l1(f64::NAN),
        ParamGroup::role(ParamRole::Bias).with_weight_decay(-1.0),
    ] {
        refused(sgd().with_group(group).init(&cell), "groups");
    }
    let unknown = ParamGroup::named(["bias_ih_l0", "bias_ih_l1"]);
    let message = sgd().with_group(unknown).init(&cell).unwrap_err().to_string();
    assert!(message.contains("bias_ih_l1"), "{message}");
    // Nothing to spare is no mistake.
    sgd().with_no_decay(|name| name.contains("norm")).init(&cell).unwrap();
    refused(EmaConfig::new(1.0).init(&cell), "decay");
    refused(EmaConfig::new(f64::NAN).init(&cell), "decay");
    refused(EmaConfig::new(0.9).init(&UnaryOp::Relu), "parameters");
}

/// Steps of `optimizer` on the reader's batches.
fn train(model: &Reader, optimizer: &mut impl Optimizer, steps: std::ops::Range<u64>) {
    let device = &model.parameters()[0].device();
    for step in steps {
        let loss = optimizer.scale_loss(&model.loss(device, step).unwrap()).unwrap();
        optimizer.step(&loss.backward().unwrap()).unwrap();
    }
}

fn a_static_loss_scale_changes_no_bit(device: &Device) {
    let run = |scale: Option<LossScale>| {
        let model = Reader::new(device, 0.2);
        let mut config = AdamConfig::new(0.02).with_clip_norm(0.5);
        config.loss_scale = scale;
        let mut adam = config.init(&model).unwrap();
        train(&model, &mut adam, 0..4);
        (model.bits(), adam.grad_norm())
    };
    let plain = run(None);
    assert_eq!(run(Some(LossScale::Static(1024.0))), plain);
    assert_eq!(run(Some(LossScale::dynamic())), plain);
}

/// On a GPU with f16 values the kernels round everything they move. Tests of the numbers: rnn-runtime/tests/rnn_options.rs.
fn values_stored_in_f16_train_as_well(device: &Device) {
    let losses = [Storage::F32, Storage::Half].map(|storage| {
        let model = Reader::stored(device, 0.0, storage);
        let config = AdamConfig::new(0.02).with_clip_norm(1.0).with_loss_scale(LossScale::dynamic());
        let mut adam = config.init(&model).unwrap();
        train(&model, &mut adam, 0..150);
        assert!(adam.skipped_steps() < 20, "{} steps overflow", adam.skipped_steps());
        // On a batch that was not trained on.
        model.loss(device, 1_000_000).unwrap().item().unwrap()
    });
    println!("{}: losses in f32 and f16 {losses:?}", device.name());
    assert!(losses.iter().all(|&loss| loss < 0.05), "{losses:?}");
}

fn a_dynamic_loss_scale_halves_and_doubles(device: &Device) {
    let cell = Cell::new(device);
    let config = SgdConfig::new(0.5).with_loss_scale(LossScale::Dynamic { initial: 4.0, growth_interval: 3 });
    let mut sgd = config.init(&cell).unwrap();
    let step = |sgd: &mut Sgd, size: f32| {
        sgd.step(&cell.gradients([size * sgd.loss_scale(); 3])).unwrap();
        (sgd.loss_scale(), sgd.steps(), sgd.skipped_steps())
    };
    let counts = [1.0, f32::INFINITY, 1.0, 1.0, 1.0, f32::NAN, 1.0].map(|size| step(&mut sgd, size));
    let want = [(4.0, 1, 0), (2.0, 1, 1), (2.0, 2, 1), (2.0, 3, 1), (4.0, 4, 1), (2.0, 4, 2), (2.0, 5, 2)];
    assert_eq!(counts, want);
    // Five good steps of 0.5.
    assert_eq!(cell.values()[0], [-0.5, -6.5]);

    // The state says where it stands, down to the run of good steps.
    let state = sgd.state_dict();
    let folder = Folder::empty(device, "optim-loss-scale");
    let path = folder.0.join("sgd.safetensors");
    sgd.save(&path).unwrap();
    let mut from_file = config.init(&cell).unwrap();
    from_file.load(&path).unwrap();
    assert_eq!(from_file.state_dict().loss_scale, state.loss_scale);
    let mut again = config.init(&cell).unwrap();
    again.load_state_dict(&state).unwrap();
    assert_eq!([1.0, 1.0].map(|size| step(&mut again, size).0), [2.0, 4.0]);
    let mut unscaled = SgdConfig::new(0.5).init(&cell).unwrap();
    assert!(matches!(unscaled.load(&path), Err(Error::Checkpoint { .. })));
    assert!(matches!(again.load_state_dict(&unscaled.state_dict()), Err(Error::StateDict { .. })));

    // At a scale of 1 the scale is not to blame.
    let config = SgdConfig::new(0.5).with_loss_scale(LossScale::Dynamic { initial: 1.0, growth_interval: 9 });
    let mut sgd = config.init(&cell).unwrap();
    let bad = sgd.step(&cell.gradients([f32::NAN, 1.0, 1.0])).and_then(|()| sgd.settle());
    assert!(matches!(bad, Err(Error::NonFinite { step: 1, .. })), "{bad:?}");
    let config = SgdConfig::new(0.5).with_loss_scale(LossScale::Static(8.0));
    let bad = config.with_strict().init(&cell).unwrap().step(&cell.gradients([f32::NAN, 1.0, 1.0]));
    assert!(matches!(bad, Err(Error::NonFinite { .. })), "{bad:?}");
}

fn accumulated_gradients_are_those_of_one_batch(device: &Device) {
    let linear = LinearConfig::new(3, 2).init(device, 1).unwrap();
    let x = rnn_testing::data::uniform(5, 8 * 3);
    let gradients = |rows: std::ops::Range<usize>| {
        let x = Tensor::from_slice(device, &x[3 * rows.start..3 * rows.end], &[rows.len(), 3]).unwrap();
        let labels: Vec<u32> = rows.clone().map(|row| (row % 2) as u32).collect();
        let labels = Tensor::from_indices(device, &labels, &[rows.len()]).unwrap();
        linear.forward(&x).unwrap().cross_entropy(&labels).unwrap().backward().unwrap()
    };
    let whole = gradients(0..8);
    let mut equal = GradAccumulator::new();
    for first in [0, 2, 4, 6] {
        equal.add(gradients(first..first + 2)).unwrap();
    }
    assert_eq!(equal.count(), 4);
    let mut weighted = GradAccumulator::new();
    for rows in [0..5, 5..6, 6..8] {
        let weight = rows.len() as f32;
        weighted.add_weighted(gradients(rows), weight).unwrap();
    }
    for accumulator in [&mut equal, &mut weighted] {
        let mean = accumulator.take_mean().unwrap();
        for param in linear.parameters() {
            let [got, want] = [&mean, &whole].map(|g| g.get(&param).unwrap().to_vec().unwrap());
            for (got, want) in got.into_iter().zip(want) {
                // Sums of 8 terms below 1 in another order.
                assert!((got - want).abs() < 5e-7, "{got} {want}");
            }
        }
        assert!(accumulator.take_mean().is_err(), "starts anew");
    }
    for weight in [0.0, -1.0, f32::NAN] {
        assert!(equal.add_weighted(gradients(0..2), weight).is_err());
    }
}

fn a_range_test_suggests_a_rate_and_restores(device: &Device) {
    let model = Reader::new(device, 0.2);
    let mut adam = AdamConfig::new(0.0123).init(&model).unwrap();
    train(&model, &mut adam, 0..2);
    let moment = |adam: &Adam| (model.bits(), model.draw_positions(), adam.steps(), adam.lr());
    let before = moment(&adam);
    // Always the same batch: losses of others differ by more than a step changes them. Above a rate of 1 the loss jumps,
    // and its steepest fall says nothing.
    let range = LrRangeTest::new().with_range(1e-5, 1.0).with_steps(60).run(&model, &mut adam, |adam| {
        let loss = model.loss(device, 1)?;
        let value = loss.item()?;
        adam.step(&loss.backward()?)?;
        Ok(value)
    });
    let range = range.unwrap();
    assert_eq!(moment(&adam), before);
    // Adam learns this task at 0.02 (see the test of the LSTM that remembers), and not at 1.
    let suggestion = range.suggestion.unwrap();
    assert!((5e-4..0.2).contains(&suggestion), "{suggestion}");
    assert!(range.lowest_loss.unwrap() >= suggestion);
    assert!(range.trials.windows(2).all(|pair| pair[0].lr < pair[1].lr));
    let drawing = range.svg();
    assert_eq!(drawing.matches("<circle").count(), range.trials.len());
    assert!(drawing.contains(&format!("suggested rate: {suggestion:.2e}")) && !drawing.contains("NaN"));

    // A loss that explodes ends the test; another error passes, and everything is put back, too.
    let mut k = 0;
    let exploding = LrRangeTest::new().with_steps(30).run(&model, &mut adam, |adam| {
        k += 1;
        adam.step(&model.loss(device, k)?.backward()?)?;
        Ok(if k < 9 { 1.0 - 0.01 * k as f32 } else { f32::INFINITY })
    });
    let exploding = exploding.unwrap();
    assert!(exploding.diverged && exploding.trials.len() == 8 && exploding.suggestion.is_some());
    // One trial has no range, none has no axes.
    for few in [1, 0] {
        let mut range = exploding.clone();
        range.trials.truncate(few);
        let drawing = range.svg();
        assert!(drawing.ends_with("</svg>\n") && !drawing.contains("NaN") && !drawing.contains("inf"));
    }
    let failed = LrRangeTest::new().run(&model, &mut adam, |adam| {
        adam.step(&model.loss(device, 1)?.backward()?)?;
        model.loss(device, 2)?.reshape(&[7])?.item()
    });
    assert!(matches!(failed, Err(Error::Runtime(_))), "{failed:?}");
    assert_eq!(moment(&adam), before);
    let rising =
        LrRangeTest::new().with_steps(9).run(&model, &mut adam, |adam| Ok(adam.lr() as f32)).unwrap();
    assert_eq!(rising.suggestion, None);
    let mut run = |test: LrRangeTest| test.run(&model, &mut adam, |_| Ok(1.0)).map(drop);
    refused(run(LrRangeTest::new().with_range(0.0, 1.0)), "min_lr");
    refused(run(LrRangeTest::new().with_range(0.1, 0.1)), "max_lr");
    refused(run(LrRangeTest::new().with_range(1e-6, 1e39)), "max_lr");
    for steps in [0, 1_000_001, 1 << 40, usize::MAX] {
        refused(run(LrRangeTest::new().with_steps(steps)), "steps");
    }
    refused(run(LrRangeTest::new().with_smoothing(1.0)), "smoothing");
}

fn averaged_weights_come_and_go(device: &Device) {
    let cell = Cell::new(device);
    let mut sgd = SgdConfig::new(1.0).init(&cell).unwrap();
    let mut ema = EmaConfig::new(0.75).init(&cell).unwrap();
    let mut warm = EmaConfig::new(0.75).with_warm_up(true).init(&cell).unwrap();
    let (mut want, mut early, mut p) = (2f64, 2f64, 2f64);
    for n in 0..5 {
        sgd.step(&cell.gradients([0.5; 3])).unwrap();
        ema.update().unwrap();
        warm.update().unwrap();
        p -= 0.5;
        want = 0.75 * want + 0.25 * p;
        let decay = f64::min(0.75, (1.0 + f64::from(n)) / (10.0 + f64::from(n)));
        early = decay * early + (1.0 - decay) * p;
    }
    let own = cell.values();
    let averages = |cell: &Cell| cell.values()[0].iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    ema.averaged(|| {
        let [a, b] = averages(&cell)[..] else { unreachable!() };
        assert!((a - want).abs() < 1e-6 && (b - (want - 6.0)).abs() < 1e-6, "{a} {b} {want}");
        Ok(())
    })
    .unwrap();
    assert_eq!(cell.values(), own);
    warm.averaged(|| {
        assert!((averages(&cell)[0] - early).abs() < 1e-6);
        Ok(())
    })
    .unwrap();

    // Back also after an error; twice in, or twice out, is a mistake.
    let failed: Result<()> = ema.averaged(|| Err(Error::Unsupported { what: "a".into(), why: "b".into() }));
    assert!(failed.is_err() && cell.values() == own && !ema.is_swapped_in());
    assert!(ema.swap_out().is_err());
    ema.swap_in().unwrap();
    assert_ne!(cell.values(), own);
    assert!(ema.swap_in().is_err() && ema.update().is_err() && ema.is_swapped_in());
    let state = ema.state_dict();
    assert!(matches!(ema.load_state_dict(&state), Err(Error::StateDict { .. })));
    ema.swap_out().unwrap();
    assert_eq!(cell.values(), own);

    // The file holds the averages under the parameters' names.
    let folder = Folder::empty(device, "optim-ema");
    let path = folder.0.join("ema.safetensors");
    ema.save(&path).unwrap();
    let other = Cell::new(device);
    let mut again = EmaConfig::new(0.75).init(&other).unwrap();
    again.load(&path).unwrap();
    assert_eq!(again.updates(), 5);
    again.swap_in().unwrap();
    io::load(&cell, &path).unwrap();
    assert_eq!(other.values(), cell.values());
    let mut stranger = EmaConfig::new(0.75).init(&Reader::new(device, 0.0)).unwrap();
    assert!(matches!(stranger.load(&path), Err(Error::Checkpoint { .. })));
}

type Make = fn(&Reader) -> Result<Box<dyn Optimizer>>;

fn every_optimizer_resumes_bit_for_bit(device: &Device) {
    fn boxed(optimizer: impl Optimizer + 'static) -> Result<Box<dyn Optimizer>> {
        Ok(Box::new(optimizer))
    }
    const SCALE: LossScale = LossScale::Static(256.0);
    const DYNAMIC: LossScale = LossScale::Dynamic { initial: 64.0, growth_interval: 2 };
    let makes: [(&str, Make); 8] = [
        ("sgd", |m| boxed(SgdConfig::new(0.1).with_loss_scale(DYNAMIC).init(m)?)),
        ("nesterov", |m| boxed(SgdConfig::nesterov(0.1, 0.9).with_clip_tensor_norm(0.1).init(m)?)),
        ("rmsprop", |m| boxed(RmsPropConfig::new(0.01).with_momentum(0.5).with_l1(1e-4).init(m)?)),
        ("adagrad", |m| boxed(AdaGradConfig::new(0.1).with_clip_value(0.01).init(m)?)),
        ("adadelta", |m| boxed(AdaDeltaConfig::new(1.0).with_loss_scale(SCALE).init(m)?)),
        ("adam", |m| boxed(AdamConfig::new(0.02).with_loss_scale(DYNAMIC).with_clip_norm(0.1).init(m)?)),
        ("nadam", |m| boxed(NadamConfig::new(0.02).with_momentum_decay(0.1).init(m)?)),
        ("lion", |m| boxed(LionConfig::new(2e-3).with_weight_decay(0.1).init(m)?)),
    ];
    let folder = Folder::empty(device, "optim-resume");
    let schedule = Schedule::cosine(0.02, 1e-4, 8).unwrap().with_warm_up(2).unwrap();
    for (name, make) in makes {
        let run = |model: &Reader, optimizer: &mut Box<dyn Optimizer>, ema: &mut Ema, until: u64| {
            while optimizer.steps() < until {
                optimizer.set_lr(schedule.lr(optimizer.steps()));
                let loss = model.loss(device, optimizer.steps()).unwrap();
                let loss = optimizer.scale_loss(&loss).unwrap();
                optimizer.step(&loss.backward().unwrap()).unwrap();
                ema.update().unwrap();
            }
        };
        let start = || {
            let model = Reader::new(device, 0.3);
            let (optimizer, ema) = (make(&model).unwrap(), EmaConfig::new(0.9).init(&model).unwrap());
            (model, optimizer, ema)
        };
        let paths = ["model", "state", "ema"].map(|part| folder.0.join(format!("{name}-{part}.safetensors")));
        let (model, mut optimizer, mut ema) = start();
        run(&model, &mut optimizer, &mut ema, 3);
        io::save(&model, &paths[0]).unwrap();
        optimizer.save(&paths[1]).unwrap();
        ema.save(&paths[2]).unwrap();
        let positions = model.draw_positions();
        run(&model, &mut optimizer, &mut ema, 6);

        let (resumed, mut again, mut means) = start();
        io::load(&resumed, &paths[0]).unwrap();
        resumed.set_draw_positions(&positions).unwrap();
        again.load(&paths[1]).unwrap();
        means.load(&paths[2]).unwrap();
        run(&resumed, &mut again, &mut means, 6);
        assert_eq!(model.bits(), resumed.bits(), "{name}");
        let bits = |ema: &mut Ema, model: &Reader| ema.averaged(|| Ok(model.bits())).unwrap();
        assert_eq!(bits(&mut ema, &model), bits(&mut means, &resumed), "{name}");
        assert_eq!(optimizer.loss_scale(), again.loss_scale(), "{name}");
    }
}

fn a_steady_step_of_everything_creates_nothing(device: &Device) {
    let device = &own_device(device);
    let model = Reader::new(device, 0.2);
    let config = NadamConfig::new(1e-3).with_clip_norm(1.0).with_clip_tensor_norm(0.5).with_l1(1e-5);
    let mut nadam = config.with_loss_scale(LossScale::dynamic()).init(&model).unwrap();
    let mut ema = EmaConfig::new(0.9).init(&model).unwrap();
    let mut accumulator = GradAccumulator::new();
    let mut created = |step: u64| {
        for micro in 0..2 {
            let loss = model.loss(device, 2 * step + micro).unwrap();
            accumulator.add(nadam.scale_loss(&loss).unwrap().backward().unwrap()).unwrap();
        }
        nadam.step(&accumulator.take_mean().unwrap()).unwrap();
        ema.update().unwrap();
        device.synchronize().unwrap();
        DeviceStats { dispatches: 0, submits: 0, ..device.stats() }
    };
    let first = created(1);
    assert!(first.buffers_created > 0);
    for step in 2..6 {
        assert_eq!(created(step), first, "step {step}");
    }
}
