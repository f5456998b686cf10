//! Layers, losses and optimizers against PyTorch, on every device: the fixtures of
//! `tools/reference/generate.py`, through the public API.

use crate::common::{DeviceTest, device_test};
use rnn_api::prelude::*;
use rnn_api::{Array, backward, io};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::to_f64;
use rnn_testing::fixture::{self, Fixture};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// Largest difference over the largest value of the tensor. PyTorch computed in f64; f32 sums of
/// some dozens of terms of size 1 are off by a few units of 6e-8.
const BOUND: f64 = 3e-6;

/// The same after ten steps: every update feeds the next, and Adam divides by the root of its
/// second moment, which magnifies the rounding of small gradients.
const TRAINED: f64 = 3e-5;

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(recurrent_layers).with_webgpu_limits(),
        device_test!(ten_losses_of_every_optimizer),
        device_test!(losses_and_rows),
        device_test!(losses_of_ragged_sequences),
    ]
}

/// Runs a check over every fixture of a family and reports all failures together.
fn for_each_fixture(prefix: &str, count: usize, check: impl Fn(&Path, &Fixture)) {
    let paths = fixture::list(FIXTURES, prefix).unwrap();
    assert_eq!(paths.len(), count, "{prefix}");
    let mut failures = Vec::new();
    for path in paths {
        let fixture = Fixture::read(&path).unwrap();
        let run = std::panic::AssertUnwindSafe(|| check(&path, &fixture));
        if std::panic::catch_unwind(run).is_err() {
            failures.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    assert!(failures.is_empty(), "failed: {}", failures.join(", "));
}

fn compare(name: &str, got: &Tensor, fixture: &Fixture, expected: &str, bound: f64) {
    let (dims, want) = fixture.tensor(expected).unwrap();
    assert_eq!(got.dims(), dims, "{name}: {expected}");
    let error = max_rel_err(&got.to_vec().unwrap(), &to_f64(want));
    assert!(error <= bound, "{name}: {expected} is off by {error:e}, allowed {bound:e}");
}

fn tensor(device: &Device, fixture: &Fixture, name: &str) -> Option<Tensor> {
    let (dims, values) = fixture.tensors.get(name)?;
    Some(Tensor::from_slice(device, values, dims).unwrap())
}

fn recurrent_layers(device: &Device) {
    for_each_fixture("stack_", 42, |path, fixture| {
        let size = |field| fixture.parse_field::<usize>("config", field).unwrap();
        let flag = |field| fixture.parse_field::<bool>("config", field).unwrap();
        let name = &path.file_stem().unwrap().to_string_lossy();
        let (inputs, hidden, layers) = (size("input_size"), size("hidden_size"), size("num_layers"));
        let (bidirectional, bias) = (flag("bidirectional"), flag("bias"));
        let directions = if bidirectional { 2 } else { 1 };
        let h0 = tensor(device, fixture, "h0").map(Tensor::requires_grad);
        let c0 = tensor(device, fixture, "c0").map(Tensor::requires_grad);
        let hidden_state = || h0.clone().map(|h| HiddenState::new(h, directions));
        let x = tensor(device, fixture, "x").unwrap().requires_grad();
        let leaves = [("dx", Some(&x)), ("dh0", h0.as_ref()), ("dc0", c0.as_ref())];
        let lengths = fixture.integers.get("lengths").map(|(_, lengths)| {
            let lengths: Vec<usize> =
                lengths.iter().map(|&length| usize::try_from(length).unwrap()).collect();
            Lengths::new(lengths).unwrap()
        });
        let lengths = lengths.as_ref();
        macro_rules! layer {
            ($config:expr) => {
                $config
                    .with_num_layers(layers)
                    .with_bidirectional(bidirectional)
                    .with_bias(bias)
                    .init(device, 1)
                    .unwrap()
            };
        }
        match fixture.field("config", "cell").unwrap() {
            "lstm" => {
                let layer = layer!(LstmConfig::new(inputs, hidden).with_proj_size(size("proj_size")));
                load_parameters(&layer, fixture, device);
                let state = h0.clone().zip(c0.clone());
                let state = state.map(|(h, c)| LstmState::new(h, c, directions));
                let args = ForwardArgs { state: state.as_ref(), lengths, ..ForwardArgs::default() };
                let out = layer.forward_with(&x, args).unwrap();
                let results = [("y", out.y), ("h_n", out.state.h), ("c_n", out.state.c)];
                check_layer(name, fixture, &layer, &results, &leaves);
            }
            "gru" => {
                let layer = layer!(GruConfig::new(inputs, hidden));
                load_parameters(&layer, fixture, device);
                let state = hidden_state();
                let args = ForwardArgs { state: state.as_ref(), lengths, ..ForwardArgs::default() };
                let out = layer.forward_with(&x, args).unwrap();
                let results = [("y", out.y), ("h_n", out.state.h)];
                check_layer(name, fixture, &layer, &results, &leaves);
            }
            cell => {
                let activation = match cell {
                    "rnn_tanh" => Activation::Tanh,
                    "rnn_relu" => Activation::Relu,
                    other => panic!("unknown cell {other}"),
                };
                let layer = layer!(RnnConfig::new(inputs, hidden).with_activation(activation));
                load_parameters(&layer, fixture, device);
                let state = hidden_state();
                let args = ForwardArgs { state: state.as_ref(), lengths, ..ForwardArgs::default() };
                let out = layer.forward_with(&x, args).unwrap();
                let results = [("y", out.y), ("h_n", out.state.h)];
                check_layer(name, fixture, &layer, &results, &leaves);
            }
        }
    });
}

fn load_parameters(layer: &impl Module, fixture: &Fixture, device: &Device) {
    let is_parameter = |name: &str| name.starts_with("weight_") || name.starts_with("bias_");
    let names = fixture.tensors.keys().filter(|name| is_parameter(name));
    let values: BTreeMap<String, Array> =
        names.map(|name| (name.clone(), tensor(device, fixture, name).unwrap().into_array())).collect();
    layer.load_state_dict(&values).unwrap();
}

fn check_layer(
    name: &str,
    fixture: &Fixture,
    layer: &impl Module,
    results: &[(&str, Tensor)],
    leaves: &[(&str, Option<&Tensor>)],
) {
    let mut checked = BTreeSet::new();
    let mut check = |expected: String, got: &Tensor| {
        compare(name, got, fixture, &expected, BOUND);
        checked.insert(expected);
    };
    let mut outputs = Vec::new();
    for (result, value) in results {
        check(format!("expect.{result}"), value);
        let cotangent = tensor(value.device(), fixture, &format!("d{result}")).unwrap();
        outputs.push((value.clone(), cotangent.into_array()));
    }
    let gradients = backward(&outputs).unwrap();
    for (leaf, tensor) in leaves {
        if let Some(tensor) = tensor {
            check(format!("expect.{leaf}"), &gradients.get(*tensor).unwrap());
        }
    }
    for (parameter, param) in layer.named_parameters() {
        check(format!("expect.d.{parameter}"), &gradients.get(&param).unwrap());
    }
    let expected = fixture.tensors.keys().filter(|name| name.starts_with("expect."));
    assert_eq!(checked, expected.cloned().collect(), "{name}: every result is checked");
}

struct Model {
    lstm: Lstm,
    head: Linear,
}
rnn_api::module!(Model { lstm, head });

fn ten_losses_of_every_optimizer(device: &Device) {
    for_each_fixture("optim_", 18, |path, fixture| {
        let name = &path.file_stem().unwrap().to_string_lossy();
        let model = Model {
            lstm: LstmConfig::new(3, 5).init(device, 1).unwrap(),
            head: LinearConfig::new(5, 4).init(device, 1).unwrap(),
        };
        for (prefix, part) in [("lstm.", &model.lstm as &dyn Module), ("head.", &model.head)] {
            let options = io::LoadOptions::new().with_prefix(prefix);
            io::load_with(part, path, &options).unwrap();
        }
        let mut optimizer = optimizer_of(fixture, &model);
        let x = tensor(device, fixture, "x").unwrap();
        let labels: Vec<u32> =
            fixture.integers("labels").unwrap().1.iter().map(|&label| label as u32).collect();
        let labels = Tensor::from_indices(device, &labels, &[labels.len()]).unwrap();
        let mut losses = Vec::new();
        for step in 1..=10 {
            let out = model.lstm.forward(&x, None).unwrap();
            let logits = model.head.forward(&out.last().unwrap()).unwrap();
            let loss = logits.cross_entropy(&labels).unwrap();
            losses.push(loss.item().unwrap());
            optimizer.step(&loss.backward().unwrap()).unwrap();
            assert_eq!(optimizer.steps(), step);
        }
        let losses = Tensor::from_slice(device, &losses, &[10]).unwrap();
        compare(name, &losses, fixture, "losses", TRAINED);
        for (parameter, param) in model.named_parameters() {
            compare(name, &param.value(), fixture, &format!("after.{parameter}"), TRAINED);
        }
    });
}

fn optimizer_of(fixture: &Fixture, model: &Model) -> Box<dyn Optimizer> {
    let number = |field: &str| fixture.parse_field::<f64>("optimizer", field).unwrap();
    let (lr, decay) = (number("lr"), number("weight_decay"));
    match fixture.field("optimizer", "name").unwrap() {
        "sgd" => {
            let nesterov = fixture.parse_field("optimizer", "nesterov").unwrap();
            let config = SgdConfig::new(lr).with_momentum(number("momentum")).with_nesterov(nesterov);
            Box::new(config.with_weight_decay(decay).init(model).unwrap())
        }
        "rmsprop" => {
            let config = RmsPropConfig::new(lr).with_alpha(number("alpha")).with_eps(number("eps"));
            let momentum = fixture.parse_field("optimizer", "momentum").unwrap_or(0.0);
            let config = config.with_momentum(momentum);
            Box::new(config.with_weight_decay(decay).init(model).unwrap())
        }
        "adagrad" => {
            let config = AdaGradConfig::new(lr).with_eps(number("eps"));
            Box::new(config.with_weight_decay(decay).init(model).unwrap())
        }
        "adadelta" => {
            let config = AdaDeltaConfig::new(lr).with_rho(number("rho")).with_eps(number("eps"));
            Box::new(config.with_weight_decay(decay).init(model).unwrap())
        }
        "nadam" => {
            let config = NadamConfig::new(lr).with_beta1(number("beta1")).with_beta2(number("beta2"));
            let config = config.with_eps(number("eps")).with_momentum_decay(number("momentum_decay"));
            let decoupled = fixture.parse_field("optimizer", "decoupled_weight_decay").unwrap();
            let config = config.with_weight_decay(decay).with_decoupled_weight_decay(decoupled);
            Box::new(config.init(model).unwrap())
        }
        "adam" => {
            let config = AdamConfig::new(lr).with_beta1(number("beta1")).with_beta2(number("beta2"));
            let config = config.with_eps(number("eps")).with_weight_decay(decay);
            Box::new(config.init(model).unwrap())
        }
        "adamw" => {
            let config = AdamWConfig::new(lr).with_beta1(number("beta1")).with_beta2(number("beta2"));
            let config = config.with_eps(number("eps")).with_weight_decay(decay);
            Box::new(config.init(model).unwrap())
        }
        other => panic!("unknown optimizer {other}"),
    }
}

fn losses_and_rows(device: &Device) {
    let path = format!("{FIXTURES}/losses.safetensors");
    let fixture = &Fixture::read(&path).unwrap();
    let get = |name: &str| tensor(device, fixture, name).unwrap();

    for (case, ignores, smooths) in [
        ("cross_entropy", false, false),
        ("cross_entropy_ignore", true, false),
        ("cross_entropy_smooth", false, true),
        ("cross_entropy_ignore_smooth", true, true),
    ] {
        let mut options = CrossEntropyOptions::default();
        if ignores {
            options.ignore_index = Some(fixture.parse_field("config", "ignore_index").unwrap());
        }
        if smooths {
            options.label_smoothing = fixture.parse_field("config", "label_smoothing").unwrap();
        }
        let logits = get(&format!("{case}.logits")).requires_grad();
        let (dims, labels) = fixture.integers(&format!("{case}.labels")).unwrap();
        let labels: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
        let labels = Tensor::from_indices(device, &labels, dims).unwrap();
        let loss = logits.cross_entropy_with(&labels, &options).unwrap();
        compare(case, &loss, fixture, &format!("{case}.y"), BOUND);
        let gradients = loss.backward().unwrap();
        let dlogits = gradients.get(&logits).unwrap();
        compare(case, &dlogits, fixture, &format!("{case}.d.logits"), BOUND);
    }

    type Loss = fn(&Tensor, &Tensor) -> rnn_api::Result<Tensor>;
    let losses: [(&str, Loss); 2] = [("mse", Tensor::mse), ("bce_with_logits", Tensor::bce_with_logits)];
    for (case, loss) in losses {
        let x = get(&format!("{case}.x")).requires_grad();
        let loss = loss(&x, &get(&format!("{case}.target"))).unwrap();
        compare(case, &loss, fixture, &format!("{case}.y"), BOUND);
        let dx = loss.backward().unwrap().get(&x).unwrap();
        compare(case, &dx, fixture, &format!("{case}.d.x"), BOUND);
    }

    type Rows = fn(&Tensor) -> rnn_api::Result<Tensor>;
    let rows: [(&str, Rows); 2] = [("softmax", Tensor::softmax), ("log_softmax", Tensor::log_softmax)];
    for (case, op) in rows {
        let x = get(&format!("{case}.x")).requires_grad();
        let y = op(&x).unwrap();
        compare(case, &y, fixture, &format!("{case}.y"), BOUND);
        let dx = y.backward_with(&get(&format!("{case}.dy"))).unwrap().get(&x).unwrap();
        compare(case, &dx, fixture, &format!("{case}.d.x"), BOUND);
    }

    let x = get("layer_norm.x").requires_grad();
    let (gamma, beta) = (get("layer_norm.gamma"), get("layer_norm.beta"));
    let (gamma, beta) = (gamma.requires_grad(), beta.requires_grad());
    let eps = fixture.parse_field("config", "eps").unwrap();
    let y = x.layer_norm(&gamma, &beta, eps).unwrap();
    compare("layer_norm", &y, fixture, "layer_norm.y", BOUND);
    let gradients = y.backward_with(&get("layer_norm.dy")).unwrap();
    for (name, leaf) in [("x", &x), ("gamma", &gamma), ("beta", &beta)] {
        let expected = format!("layer_norm.d.{name}");
        compare("layer_norm", &gradients.get(leaf).unwrap(), fixture, &expected, BOUND);
    }
}

fn losses_of_ragged_sequences(device: &Device) {
    let fixture = &Fixture::read(format!("{FIXTURES}/sequence_losses.safetensors")).unwrap();
    let get = |name: &str| tensor(device, fixture, name).unwrap();
    let numbers = |name: &str| -> Vec<usize> {
        fixture.integers(name).unwrap().1.iter().map(|&n| usize::try_from(n).unwrap()).collect()
    };
    let check = |case: &str, loss: Tensor, leaves: &[(&str, &Tensor)], bound: f64| {
        compare(case, &loss, fixture, &format!("{case}.y"), bound);
        let gradients = loss.backward().unwrap();
        for (name, leaf) in leaves {
            let gradient = gradients.get(*leaf).unwrap();
            compare(case, &gradient, fixture, &format!("{case}.d.{name}"), bound);
        }
    };
    let lengths = numbers("lengths");
    let over = LossOptions::new().with_lengths(&lengths);
    let delta = fixture.parse_field("config", "delta").unwrap();

    for case in ["mse", "mae", "huber", "bce_with_logits"] {
        let (x, t) = (get(&format!("{case}.x")).requires_grad(), get(&format!("{case}.target")));
        let loss = match case {
            "mse" => x.mse_over(&t, &over),
            "mae" => x.mae_over(&t, &over),
            "huber" => x.huber_over(&t, delta, &over),
            _ => x.bce_with_logits_over(&t, &over),
        };
        check(case, loss.unwrap(), &[("x", &x)], BOUND);
    }

    let (x, t) = (get("gaussian_nll.x").requires_grad(), get("gaussian_nll.target"));
    let v = get("gaussian_nll.variance").requires_grad();
    let loss = x.gaussian_nll(&t, &v, &over).unwrap();
    check("gaussian_nll", loss, &[("x", &x), ("variance", &v)], BOUND);

    let x = get("cross_entropy.x").requires_grad();
    let (dims, labels) = fixture.integers("cross_entropy.labels").unwrap();
    let labels: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
    let labels = Tensor::from_indices(device, &labels, dims).unwrap();
    let loss = x.cross_entropy_over(&labels, &CrossEntropyOptions::default(), &over).unwrap();
    check("cross_entropy", loss, &[("x", &x)], BOUND);

    let (lengths, counts) = (numbers("ctc.lengths"), numbers("ctc.counts"));
    let padded = numbers("ctc.targets");
    let rows = padded.chunks(padded.len() / counts.len()).zip(&counts);
    let targets: Vec<Vec<u32>> =
        rows.map(|(row, &count)| row[..count].iter().map(|&label| label as u32).collect()).collect();
    let options = CtcOptions { blank: fixture.parse_field("config", "blank").unwrap(), zero_infinity: true };
    // The last target fits no path. PyTorch's mean over the batch counts it as 0, and divides by the labels of
    // each target first.
    for (case, reduction) in [("ctc_mean", Reduction::SequenceMean), ("ctc_sum", Reduction::Sum)] {
        let x = get(&format!("{case}.x")).requires_grad();
        let over = LossOptions::new().with_lengths(&lengths).with_reduction(reduction);
        let loss = x.ctc(&targets, &options, &over).unwrap();
        // Posteriors are quotients of sums over paths of 40 steps, in f32 on the GPU.
        check(case, loss, &[("x", &x)], 1e-5);
    }
}
