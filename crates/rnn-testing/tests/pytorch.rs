//! The f64 oracle against PyTorch: every fixture that `tools/reference/generate.py` wrote.

use std::collections::BTreeMap;

use rnn_kernels::cell::{CellSpec, Direction, StackSpec};
use rnn_testing::compare::{Tolerance, assert_close};
use rnn_testing::data::to_f64;
use rnn_testing::fixture::{self, Fixture};
use rnn_testing::oracle::loss::{self, CrossEntropy};
use rnn_testing::oracle::matmul::{Matmul, matmul, matmul_backward};
use rnn_testing::oracle::optim::{AdaDelta, Adagrad, Adam, Nadam, Optimizer, Penalized, RmsProp, Sgd};
use rnn_testing::oracle::{self, StackInput, rows};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../rnn-api/tests/fixtures");

/// Both sides compute in f64 from the same numbers; the file stores the result as f32, whose
/// rounding is at most 2^-24 = 6e-8 of the value. The absolute part covers results near zero.
const ROUNDING: Tolerance = Tolerance { abs: 1e-12, rel: 6.1e-8 };

/// PyTorch keeps the product of Nadam's momenta in f32, 6e-8 off; one minus it grows in ten steps from 0.6 to 1.
const NADAM: Tolerance = Tolerance { abs: 1e-8, rel: 3e-7 };

#[test]
fn recurrent_stacks() {
    let paths = fixture::list(FIXTURES, "stack_").unwrap();
    assert_eq!(paths.len(), 42, "32 of cell, depth, directions and state; 2 extra; projections and lengths");
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let fixture = Fixture::read(&path).unwrap();
        check_stack(&name, &fixture).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn stack_of(fixture: &Fixture) -> Result<StackSpec, String> {
    let cell = match fixture.field("config", "cell")? {
        "lstm" => CellSpec::lstm(),
        "gru" => CellSpec::gru(),
        "rnn_tanh" => CellSpec::rnn_tanh(),
        "rnn_relu" => CellSpec::rnn_relu(),
        other => return Err(format!("unknown cell {other}")),
    };
    let size = |name| fixture.parse_field("config", name);
    Ok(StackSpec {
        num_layers: fixture.parse_field("config", "num_layers")?,
        direction: match fixture.parse_field("config", "bidirectional")? {
            true => Direction::Bidirectional,
            false => Direction::Forward,
        },
        bias: fixture.parse_field("config", "bias")?,
        proj_size: size("proj_size")?,
        ..StackSpec::new(cell, size("input_size")?, size("hidden_size")?)
    })
}

fn lengths_of(fixture: &Fixture) -> Option<Vec<usize>> {
    let (_, lengths) = fixture.integers.get("lengths")?;
    Some(lengths.iter().map(|&length| usize::try_from(length).unwrap()).collect())
}

fn check_stack(name: &str, fixture: &Fixture) -> Result<(), String> {
    let spec = stack_of(fixture)?;
    let weights = oracle::weights_by_name(&spec, |name| fixture.values_f64(name))?;
    let optional = |name: &str| fixture.tensors.get(name).map(|(_, values)| to_f64(values));
    let x_dims = &fixture.tensor("x")?.0;
    let input = StackInput {
        t: x_dims[0],
        b: x_dims[1],
        x: fixture.values_f64("x")?,
        h0: optional("h0"),
        c0: optional("c0"),
        lengths: lengths_of(fixture),
        ..StackInput::default()
    };
    let out = oracle::forward(&spec, &weights, &input);
    let (dy, dh_n) = (fixture.values_f64("dy")?, fixture.values_f64("dh_n")?);
    let dc_n = optional("dc_n");
    let grads = oracle::backward(&spec, &weights, &input, &out, &dy, &dh_n, dc_n.as_deref());

    let mut results = BTreeMap::from([
        ("expect.y".to_owned(), &out.y),
        ("expect.h_n".to_owned(), &out.h_n),
        ("expect.dx".to_owned(), &grads.dx),
    ]);
    if let Some(c_n) = &out.c_n {
        results.insert("expect.c_n".to_owned(), c_n);
    }
    if input.h0.is_some() {
        results.insert("expect.dh0".to_owned(), &grads.dh0);
        results.extend(grads.dc0.as_ref().map(|dc0| ("expect.dc0".to_owned(), dc0)));
    }
    for (parameter, gradient) in oracle::named_weights(&spec, &grads.weights) {
        results.insert(format!("expect.d.{parameter}"), gradient);
    }
    let expected: Vec<&String> = fixture.tensors.keys().filter(|n| n.starts_with("expect.")).collect();
    assert_eq!(results.keys().collect::<Vec<_>>(), expected, "{name}: every result is checked");
    for (tensor, got) in results {
        check(fixture, &format!("{name} {tensor}"), &tensor, got)?;
    }
    Ok(())
}

fn check(fixture: &Fixture, name: &str, tensor: &str, got: &[f64]) -> Result<(), String> {
    check_within(fixture, name, tensor, got, ROUNDING)
}

fn check_within(
    fixture: &Fixture,
    name: &str,
    tensor: &str,
    got: &[f64],
    tolerance: Tolerance,
) -> Result<(), String> {
    let (dims, want) = fixture.tensor(tensor)?;
    assert_close(name, got, &to_f64(want), dims, tolerance);
    Ok(())
}

#[test]
fn ten_training_losses_of_every_optimizer() {
    let paths = fixture::list(FIXTURES, "optim_").unwrap();
    assert_eq!(paths.len(), 18);
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let fixture = Fixture::read(&path).unwrap();
        check_training(&name, &fixture).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn optimizer_of(fixture: &Fixture) -> Result<Optimizer, String> {
    let number = |field: &str| fixture.parse_field::<f64>("optimizer", field);
    let (lr, weight_decay) = (number("lr")?, number("weight_decay")?);
    Ok(match fixture.field("optimizer", "name")? {
        "sgd" => Optimizer::Sgd(Sgd {
            lr,
            weight_decay,
            momentum: number("momentum")?,
            nesterov: fixture.parse_field("optimizer", "nesterov")?,
            ..Sgd::default()
        }),
        "rmsprop" => Optimizer::RmsProp(RmsProp {
            lr,
            weight_decay,
            alpha: number("alpha")?,
            eps: number("eps")?,
            momentum: number("momentum").unwrap_or(0.0),
            ..RmsProp::default()
        }),
        "adagrad" => {
            Optimizer::Adagrad(Adagrad { lr, weight_decay, eps: number("eps")?, ..Adagrad::default() })
        }
        "adadelta" => Optimizer::AdaDelta(AdaDelta {
            lr,
            weight_decay,
            rho: number("rho")?,
            eps: number("eps")?,
            ..AdaDelta::default()
        }),
        "nadam" => {
            let (beta1, beta2, eps) = (number("beta1")?, number("beta2")?, number("eps")?);
            let momentum_decay = number("momentum_decay")?;
            let inner = Optimizer::Nadam(Nadam { lr, beta1, beta2, eps, momentum_decay, ..Nadam::default() });
            let decoupled = fixture.parse_field("optimizer", "decoupled_weight_decay")?;
            Optimizer::Penalized(Box::new(Penalized { inner, lr, l1: 0.0, l2: weight_decay, decoupled }))
        }
        adam @ ("adam" | "adamw") => Optimizer::Adam(Adam {
            lr,
            weight_decay,
            beta1: number("beta1")?,
            beta2: number("beta2")?,
            eps: number("eps")?,
            decoupled: adam == "adamw",
            ..Adam::default()
        }),
        other => return Err(format!("unknown optimizer {other}")),
    })
}

/// The model of the optimizer fixtures: LSTM(3->5), last step, Linear(5->4), cross entropy.
struct Training {
    spec: StackSpec,
    input: StackInput,
    labels: Vec<i64>,
}

type Parameters = BTreeMap<String, Vec<f64>>;

impl Training {
    const CLASSES: usize = 4;

    /// The loss and the gradient of every parameter.
    fn loss(&self, parameters: &Parameters) -> (f64, Parameters) {
        let (b, hidden) = (self.input.b, self.spec.hidden_size);
        let get = |name: &str| Ok::<_, ()>(parameters[&format!("lstm.{name}")].clone());
        let weights = oracle::weights_by_name(&self.spec, get).unwrap();
        let out = oracle::forward(&self.spec, &weights, &self.input);

        // logits [B, C] = last [B, H] W^T [H, C] + bias
        let op = Matmul { batch: 1, m: b, n: Self::CLASSES, k: hidden, trans_a: false, trans_b: true };
        let last = &out.y[out.y.len() - b * hidden..];
        let mut logits = matmul(&op, last, &parameters["head.weight"]);
        for (k, logit) in logits.iter_mut().enumerate() {
            *logit += parameters["head.bias"][k % Self::CLASSES];
        }
        let options = CrossEntropy::new(Self::CLASSES);
        let loss = loss::cross_entropy(&options, &logits, &self.labels);

        let dlogits = loss::cross_entropy_backward(&options, &logits, &self.labels);
        let (dlast, dweight) = matmul_backward(&op, last, &parameters["head.weight"], &dlogits);
        let mut dbias = vec![0.0; Self::CLASSES];
        for (k, d) in dlogits.iter().enumerate() {
            dbias[k % Self::CLASSES] += d;
        }
        let mut dy = vec![0.0; out.y.len()];
        let start = dy.len() - dlast.len();
        dy[start..].copy_from_slice(&dlast);
        let dh_n = vec![0.0; out.h_n.len()];
        let grads = oracle::backward(&self.spec, &weights, &self.input, &out, &dy, &dh_n, None);

        let mut gradients =
            Parameters::from([("head.weight".to_owned(), dweight), ("head.bias".to_owned(), dbias)]);
        for (name, gradient) in oracle::named_weights(&self.spec, &grads.weights) {
            gradients.insert(format!("lstm.{name}"), gradient.clone());
        }
        (loss, gradients)
    }
}

fn check_training(name: &str, fixture: &Fixture) -> Result<(), String> {
    let (x_dims, x) = fixture.tensor("x")?;
    let shape = rnn_testing::shapes::RnnShape { t: x_dims[0], b: x_dims[1], i: 3, h: 5 };
    let training = Training {
        spec: oracle::stack_spec(CellSpec::lstm(), shape, 1, false),
        input: StackInput { t: shape.t, b: shape.b, x: to_f64(x), ..StackInput::default() },
        labels: fixture.integers("labels")?.1.clone(),
    };
    let is_parameter = |name: &str| name.starts_with("lstm.") || name.starts_with("head.");
    let mut parameters: Parameters = fixture
        .tensors
        .iter()
        .filter(|(name, _)| is_parameter(name))
        .map(|(name, (_, values))| (name.clone(), to_f64(values)))
        .collect();
    assert_eq!(parameters.len(), 6, "{name}");

    let optimizer = optimizer_of(fixture)?;
    let mut optimizers = BTreeMap::new();
    let mut losses = Vec::new();
    for _ in 0..10 {
        let (loss, gradients) = training.loss(&parameters);
        losses.push(loss);
        for (parameter, values) in &mut parameters {
            let state = optimizers.entry(parameter.clone()).or_insert_with(|| optimizer.clone());
            state.step(values, &gradients[parameter]);
        }
    }
    let tolerance = if fixture.field("optimizer", "name")? == "nadam" { NADAM } else { ROUNDING };
    check_within(fixture, &format!("{name} losses"), "losses", &losses, tolerance)?;
    for (parameter, values) in &parameters {
        let after = format!("after.{parameter}");
        check_within(fixture, &format!("{name} {after}"), &after, values, tolerance)?;
    }
    Ok(())
}

#[test]
fn losses_and_rows() {
    let path = format!("{FIXTURES}/losses.safetensors");
    let fixture = Fixture::read(&path).unwrap();
    check_cross_entropy(&fixture).unwrap();
    check_regression(&fixture).unwrap();
    check_rows(&fixture).unwrap();
}

fn check_cross_entropy(fixture: &Fixture) -> Result<(), String> {
    for (case, ignores, smooths) in [
        ("cross_entropy", false, false),
        ("cross_entropy_ignore", true, false),
        ("cross_entropy_smooth", false, true),
        ("cross_entropy_ignore_smooth", true, true),
    ] {
        let (dims, _) = fixture.tensor(&format!("{case}.logits"))?;
        let mut options = CrossEntropy::new(dims[1]);
        if ignores {
            options.ignore_index = Some(fixture.parse_field("config", "ignore_index")?);
        }
        if smooths {
            options.label_smoothing = fixture.parse_field("config", "label_smoothing")?;
        }
        let logits = fixture.values_f64(&format!("{case}.logits"))?;
        let labels = &fixture.integers(&format!("{case}.labels"))?.1;
        let value = loss::cross_entropy(&options, &logits, labels);
        check(fixture, case, &format!("{case}.y"), &[value])?;
        let dlogits = loss::cross_entropy_backward(&options, &logits, labels);
        check(fixture, case, &format!("{case}.d.logits"), &dlogits)?;
    }
    Ok(())
}

type Loss = fn(&[f64], &[f64]) -> f64;
type LossBackward = fn(&[f64], &[f64]) -> Vec<f64>;

fn check_regression(fixture: &Fixture) -> Result<(), String> {
    let cases: [(&str, Loss, LossBackward); 2] = [
        ("mse", loss::mse, loss::mse_backward),
        ("bce_with_logits", loss::bce_with_logits, loss::bce_with_logits_backward),
    ];
    for (case, forward, backward) in cases {
        let x = fixture.values_f64(&format!("{case}.x"))?;
        let target = fixture.values_f64(&format!("{case}.target"))?;
        check(fixture, case, &format!("{case}.y"), &[forward(&x, &target)])?;
        check(fixture, case, &format!("{case}.d.x"), &backward(&x, &target))?;
    }
    Ok(())
}

fn check_rows(fixture: &Fixture) -> Result<(), String> {
    let get = |name: &str| fixture.values_f64(name);
    let cols = fixture.tensor("softmax.x")?.0[1];

    let y = rows::softmax(&get("softmax.x")?, cols);
    check(fixture, "softmax", "softmax.y", &y)?;
    let dx = rows::softmax_backward(&y, &get("softmax.dy")?, cols);
    check(fixture, "softmax", "softmax.d.x", &dx)?;

    let y = rows::log_softmax(&get("log_softmax.x")?, cols);
    check(fixture, "log_softmax", "log_softmax.y", &y)?;
    let dx = rows::log_softmax_backward(&y, &get("log_softmax.dy")?, cols);
    check(fixture, "log_softmax", "log_softmax.d.x", &dx)?;

    let (x, gamma) = (get("layer_norm.x")?, get("layer_norm.gamma")?);
    let eps = fixture.parse_field("config", "eps")?;
    let y = rows::layer_norm(&x, &gamma, &get("layer_norm.beta")?, eps);
    check(fixture, "layer_norm", "layer_norm.y", &y)?;
    let grads = rows::layer_norm_backward(&x, &gamma, eps, &get("layer_norm.dy")?);
    check(fixture, "layer_norm", "layer_norm.d.x", &grads.dx)?;
    check(fixture, "layer_norm", "layer_norm.d.gamma", &grads.dgamma)?;
    check(fixture, "layer_norm", "layer_norm.d.beta", &grads.dbeta)
}
