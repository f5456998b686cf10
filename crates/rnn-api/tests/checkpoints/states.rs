//! Files of optimizers and averages: what no optimizer can go on from is refused.

use super::Folder;
use rnn_api::optim::{EmaConfig, LossScale, NadamConfig};
use rnn_api::prelude::*;
use rnn_api::{Array, Error, Result, io};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

fn model() -> Linear {
    LinearConfig::new(2, 3).init(&Device::cpu(), 1).unwrap()
}

fn step(model: &Linear, optimizer: &mut impl Optimizer) {
    let x = Tensor::from_vec(&Device::cpu(), vec![0.5, -1.0, 2.0, 0.25], &[2, 2]).unwrap();
    let y = model.forward(&x).unwrap();
    let loss = y.mul(&y).unwrap().mean_all().unwrap();
    optimizer.step(&optimizer.scale_loss(&loss).unwrap().backward().unwrap()).unwrap();
}

fn values(model: &Linear) -> Vec<f32> {
    model.parameters().iter().flat_map(|param| param.value().to_vec().unwrap()).collect()
}

/// The file of an optimizer after some steps, to be changed.
struct Saved {
    path: PathBuf,
    arrays: BTreeMap<String, Array>,
    metadata: HashMap<String, String>,
}

impl Saved {
    fn new(folder: &Folder, optimizer: &impl Optimizer) -> Self {
        let path = folder.file("optimizer.safetensors");
        optimizer.save(&path).unwrap();
        let metadata = io::TensorFile::read(&path).unwrap().metadata;
        Saved { path, arrays: optimizer.state_dict().arrays, metadata }
    }

    /// Loads the file with these keys changed, or removed where there is no value.
    fn load(&self, optimizer: &mut impl Optimizer, changes: &[(&str, Option<&str>)]) -> Result<()> {
        let mut metadata = self.metadata.clone();
        for (key, value) in changes {
            match value {
                Some(value) => drop(metadata.insert(key.to_string(), value.to_string())),
                None => drop(metadata.remove(*key).expect(key)),
            }
        }
        io::write(&self.path, &self.arrays, metadata).unwrap();
        optimizer.load(&self.path)
    }
}

fn problems(result: Result<()>) -> Vec<String> {
    match result {
        Err(Error::Checkpoint { problems, .. }) => problems,
        other => panic!("expected Checkpoint, got {other:?}"),
    }
}

#[test]
fn the_product_of_nadam_is_saved_and_not_counted_again() {
    let folder = Folder::new("nadam");
    let whole = model();
    let mut nadam = NadamConfig::new(0.1).init(&whole).unwrap();
    (0..3).for_each(|_| step(&whole, &mut nadam));
    let saved = Saved::new(&folder, &nadam);
    let product: f64 = saved.metadata["momentum_product.weight"].parse().unwrap();
    let momentum = |t: i32| 0.9 * (1.0 - 0.5 * 0.96f64.powf(f64::from(t) * 4e-3));
    assert!((product / (1..=3).map(momentum).product::<f64>() - 1.0).abs() < 1e-12);
    let weights = whole.state_dict();
    (0..2).for_each(|_| step(&whole, &mut nadam));
    // With the product, and without it as in files of earlier versions, the run goes on bit for bit.
    let old = [("momentum_product.weight", None), ("momentum_product.bias", None)];
    for changes in [&[][..], &old] {
        let rest = model();
        rest.load_state_dict(&weights).unwrap();
        let mut nadam = NadamConfig::new(0.1).init(&rest).unwrap();
        saved.load(&mut nadam, changes).unwrap();
        (0..2).for_each(|_| step(&rest, &mut nadam));
        assert_eq!(values(&rest), values(&whole));
    }
}

/// A loop over the steps would take weeks.
#[test]
fn a_file_with_many_steps_loads_at_once() {
    let folder = Folder::new("many-steps");
    let trained = model();
    let config = NadamConfig::new(0.1);
    let mut nadam = config.init(&trained).unwrap();
    step(&trained, &mut nadam);
    let saved = Saved::new(&folder, &nadam);
    let steps = [("steps", Some("1000000000000000")), ("steps.weight", Some("1000000000000000"))];
    let old = [("momentum_product.weight", None), ("momentum_product.bias", None)];
    for changes in [&steps[..], &[&steps[..], &old].concat()] {
        saved.load(&mut nadam, changes).unwrap();
        step(&trained, &mut nadam);
        assert!(values(&trained).iter().all(|value| value.is_finite()));
    }
    // A product that falls this slowly cannot be computed in a short time.
    let mut slow = config.with_beta1(1.0 - 1e-12).with_momentum_decay(1e9).init(&trained).unwrap();
    let found = problems(saved.load(&mut slow, &[&steps[..], &old].concat()));
    assert!(found[0].contains("`momentum_product` is missing, and 1000000000000000 steps"), "{found:?}");
    saved.load(&mut slow, &steps).unwrap();
}

#[test]
fn numbers_with_which_no_optimizer_goes_on_are_refused_by_name() {
    let folder = Folder::new("numbers");
    let trained = model();
    let mut nadam = NadamConfig::new(0.1).with_loss_scale(LossScale::dynamic()).init(&trained).unwrap();
    step(&trained, &mut nadam);
    let saved = Saved::new(&folder, &nadam);
    let before = (nadam.lr(), nadam.steps(), nadam.loss_scale());
    let large = u64::MAX.to_string();
    for (key, value, expected) in [
        ("lr", "NaN", "`lr` must be finite and not negative, in f32 too, got NaN"),
        ("lr", "inf", "`lr` must be finite"),
        ("lr", "-0.5", "`lr` must be finite and not negative"),
        ("lr", "1e39", "in f32 too"),
        ("lr", "fast", "metadata `lr` is missing or not a number"),
        ("steps", &large, "`steps` must be at most 9007199254740992"),
        ("steps.weight", &large, "`steps.weight` must be at most"),
        ("steps.weight", "-1", "metadata `steps.weight` is not a number"),
        ("steps.other", "1", "the steps of `other` are unknown"),
        ("skipped_steps", &large, "`skipped_steps` must be at most"),
        ("loss_scale", "3", "`loss_scale` must be a power of two"),
        ("loss_scale", "NaN", "`loss_scale` must be a power of two"),
        ("loss_scale", "1e30", "`loss_scale` must be a power of two"),
        ("loss_scale_good_steps", &large, "out of range"),
        ("momentum_product.weight", "NaN", "`momentum_product.weight` must be in [0, 1]"),
        ("momentum_product.bias", "2", "`momentum_product.bias` must be in [0, 1]"),
        ("momentum_product.bias", "x", "metadata `momentum_product.bias` is not a number"),
    ] {
        let found = problems(saved.load(&mut nadam, &[(key, Some(value))]));
        assert!(found.iter().any(|problem| problem.contains(expected)), "{key} = {value}: {found:?}");
        assert_eq!((nadam.lr(), nadam.steps(), nadam.loss_scale()), before);
    }
    let mut state = nadam.state_dict();
    (state.lr, state.steps) = (f64::NAN, u64::MAX);
    match nadam.load_state_dict(&state) {
        Err(Error::StateDict { problems }) => assert_eq!(problems.len(), 2, "{problems:?}"),
        other => panic!("expected StateDict, got {other:?}"),
    }
    saved.load(&mut nadam, &[]).unwrap();
}

#[test]
fn arrays_with_which_no_optimizer_goes_on_are_refused_by_name() {
    let folder = Folder::new("arrays");
    let trained = model();
    let mut adam = AdamConfig::new(0.1).init(&trained).unwrap();
    step(&trained, &mut adam);
    let mut saved = Saved::new(&folder, &adam);
    let good = saved.arrays.clone();
    for (name, value, expected) in [
        ("exp_avg.bias", f32::NAN, "`exp_avg.bias` must be finite, got NaN at element 2 (1 in all)"),
        ("exp_avg_sq.weight", f32::INFINITY, "`exp_avg_sq.weight` must be finite, got inf"),
        ("exp_avg_sq.bias", -1e-9, "`exp_avg_sq.bias` must not be negative, got -0.000000001 at element 2"),
    ] {
        let mut values = good[name].to_vec().unwrap();
        *values.last_mut().unwrap() = value;
        let array = Tensor::from_vec(&Device::cpu(), values, good[name].dims()).unwrap();
        saved.arrays = good.clone();
        saved.arrays.insert(name.into(), array.array().clone());
        let found = problems(saved.load(&mut adam, &[]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }
    saved.arrays = good;
    saved.load(&mut adam, &[]).unwrap();
}

#[test]
fn averages_that_are_not_finite_are_refused() {
    let folder = Folder::new("averages");
    let path = folder.file("ema.safetensors");
    let trained = model();
    let mut ema = EmaConfig::new(0.9).init(&trained).unwrap();
    let mut state = ema.state_dict();
    let bias = Tensor::from_vec(&Device::cpu(), vec![0.0, f32::NAN, 0.0], &[3]).unwrap();
    let metadata = |updates: u64| HashMap::from([("ema_updates".to_string(), updates.to_string())]);
    io::write(&path, &state.arrays, metadata(u64::MAX)).unwrap();
    assert!(problems(ema.load(&path))[0].contains("`ema_updates` must be at most"));
    io::write(&path, &state.arrays, metadata(3)).unwrap();
    ema.load(&path).unwrap();
    state.arrays.insert("bias".into(), bias.array().clone());
    io::write(&path, &state.arrays, metadata(4)).unwrap();
    assert!(problems(ema.load(&path))[0].starts_with("`bias` must be finite, got NaN at element 1"));
    assert_eq!(ema.updates(), 3);
    state.updates = u64::MAX;
    assert!(matches!(ema.load_state_dict(&state), Err(Error::StateDict { .. })));
    for decay in [f64::NAN, f64::INFINITY, 1.0, -0.1, 1.5] {
        assert!(EmaConfig::new(decay).init(&trained).unwrap_err().to_string().contains("decay"), "{decay}");
    }
}

/// The kernels compute in f32.
#[test]
fn rates_and_penalties_that_overflow_are_refused_by_name() {
    fn field(made: Result<impl Optimizer>) -> &'static str {
        match made {
            Err(Error::Config { field, .. }) => field,
            Err(error) => panic!("{error}"),
            Ok(optimizer) => panic!("accepted {:?}", optimizer.settings()),
        }
    }
    for lr in [f64::NAN, f64::INFINITY, -1.0, 1e39] {
        assert_eq!(field(SgdConfig::new(lr).init(&model())), "lr");
        assert_eq!(field(AdamConfig::new(lr).init(&model())), "lr");
        assert_eq!(field(SgdConfig::new(0.1).with_weight_decay(lr).init(&model())), "weight_decay");
        assert_eq!(field(SgdConfig::new(0.1).with_l1(lr).init(&model())), "l1");
        assert_eq!(
            field(SgdConfig::new(0.1).with_group(ParamGroup::named(["bias"]).with_l1(lr)).init(&model())),
            "groups"
        );
    }
    let scaled = ParamGroup::named(["bias"]).with_lr_scale(1e30);
    assert_eq!(field(SgdConfig::new(1e10).with_group(scaled).init(&model())), "lr");
    assert_eq!(field(AdamWConfig::new(1e10).with_weight_decay(1e30).init(&model())), "lr * weight_decay");
    // Adam divides the rate by 1 - beta1.
    assert_eq!(field(AdamConfig::new(1e38).init(&model())), "lr");
    for eps in [f64::NAN, 0.0, -1e-8, 1e-40, 1e-300, 1e39] {
        assert_eq!(field(AdamConfig::new(0.1).with_eps(eps).init(&model())), "eps", "{eps}");
    }
    // Products, before anything changes.
    let trained = model();
    let before = values(&trained);
    let group = ParamGroup::named(["bias"]).with_lr_scale(1e30);
    let mut scaled = SgdConfig::new(0.1).with_group(group).init(&trained).unwrap();
    scaled.set_lr(1e10);
    let mut decayed = AdamWConfig::new(0.1).with_weight_decay(1e30).init(&trained).unwrap();
    decayed.set_lr(1e10);
    let mut wild = AdamConfig::new(0.1).init(&trained).unwrap();
    wild.set_lr(1e38);
    let x = Tensor::ones(&Device::cpu(), &[1, 2]).unwrap();
    let optimizers: [&mut dyn Optimizer; 3] = [&mut scaled, &mut decayed, &mut wild];
    for optimizer in optimizers {
        let gradients = trained.forward(&x).unwrap().mean_all().unwrap().backward().unwrap();
        let error = optimizer.step(&gradients).unwrap_err();
        assert!(matches!(&error, Error::Config { field, .. } if field.starts_with("lr")), "{error}");
        assert_eq!((values(&trained), optimizer.steps()), (before.clone(), 0));
    }
}
