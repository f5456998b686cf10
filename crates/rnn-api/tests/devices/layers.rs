//! Properties of layers and modules, on every device.

mod summary;

use crate::common::{DeviceTest, device_test};
use rnn_api::prelude::*;
use rnn_api::{Error, backward};
use rnn_testing::compare::{Tolerance, assert_close};
use rnn_testing::data::{to_f64, uniform};
use summary::*;

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(a_split_sequence_equals_the_whole),
        device_test!(gradients_end_at_detached_states),
        device_test!(rows_of_a_batch_are_independent),
        device_test!(a_stream_equals_the_batch).with_webgpu_limits(),
        device_test!(streams_follow_the_weights),
        device_test!(inference_weights_are_for_inference_only),
        device_test!(bidirectional_layers_know_their_ends),
        device_test!(wrong_shapes_are_refused_by_name),
        device_test!(dropout_is_reproducible),
        device_test!(first_values_follow_the_configuration),
        device_test!(bad_configurations_are_refused),
        device_test!(modules_name_their_parts),
        device_test!(frozen_parameters_get_no_gradient),
        device_test!(parameters_keep_their_shape),
        device_test!(a_summary_counts_by_definition),
        device_test!(a_traced_summary_sees_the_calls),
        device_test!(a_summary_is_a_table),
        device_test!(summaries_refuse_other_shapes),
    ]
}

/// Two orders of the same f32 sums: a few units in the last place of values below 1.
const SAME: Tolerance = Tolerance { abs: 2e-6, rel: 0.0 };

fn random(device: &Device, seed: u64, dims: &[usize]) -> Tensor {
    Tensor::from_slice(device, &uniform(seed, dims.iter().product()), dims).unwrap()
}

fn close(name: &str, got: &Tensor, want: &Tensor) {
    assert_eq!(got.dims(), want.dims(), "{name}");
    let (got_values, want_values) = (got.to_vec().unwrap(), want.to_vec().unwrap());
    assert_close(name, &got_values, &to_f64(&want_values), want.dims(), SAME);
}

/// A non-zero start: a zero one hides mistakes.
fn some_state(device: &Device, spec: &rnn_api::StackSpec, batch: usize) -> LstmState {
    let dims = [spec.num_states(), batch, spec.hidden_size];
    LstmState::new(random(device, 90, &dims), random(device, 91, &dims), spec.num_directions())
}

fn a_split_sequence_equals_the_whole(device: &Device) {
    let x = random(device, 1, &[7, 3, 5]);
    let (first, second) = (x.slice(0, 0..3).unwrap(), x.slice(0, 3..7).unwrap());
    let lstm = LstmConfig::new(5, 9).with_num_layers(2).init(device, 1).unwrap();
    let start = some_state(device, lstm.spec(), 3);
    let whole = lstm.forward(&x, Some(&start)).unwrap();
    let a = lstm.forward(&first, Some(&start)).unwrap();
    let b = lstm.forward(&second, Some(&a.state)).unwrap();
    close("lstm y", &Tensor::concat(&[&a.y, &b.y], 0).unwrap(), &whole.y);
    close("lstm h", &b.state.h, &whole.state.h);
    close("lstm c", &b.state.c, &whole.state.c);
    close("lstm h of layer 1", &b.state.h(1, 0).unwrap(), &whole.y.select(0, 6).unwrap());

    let gru = GruConfig::new(5, 9).with_num_layers(2).init(device, 2).unwrap();
    let start = HiddenState::new(start.h, 1);
    let whole = gru.forward(&x, Some(&start)).unwrap();
    let a = gru.forward(&first, Some(&start)).unwrap();
    let b = gru.forward(&second, Some(&a.state)).unwrap();
    close("gru y", &Tensor::concat(&[&a.y, &b.y], 0).unwrap(), &whole.y);
    close("gru h", &b.state.h, &whole.state.h);

    let rnn = RnnConfig::new(5, 9).with_num_layers(2).init(device, 3).unwrap();
    let whole = rnn.forward(&x, Some(&start)).unwrap();
    let a = rnn.forward(&first, Some(&start)).unwrap();
    let b = rnn.forward(&second, Some(&a.state)).unwrap();
    close("rnn y", &Tensor::concat(&[&a.y, &b.y], 0).unwrap(), &whole.y);
    close("rnn h", &b.state.h, &whole.state.h);

    // Without a state, from zero.
    let zero = lstm.forward(&x, Some(&lstm.zero_state(3).unwrap())).unwrap();
    assert_eq!(zero.y.to_vec().unwrap(), lstm.forward(&x, None).unwrap().y.to_vec().unwrap());
}

fn gradients_end_at_detached_states(device: &Device) {
    let lstm = LstmConfig::new(2, 4).init(device, 1).unwrap();
    let x = random(device, 2, &[3, 2, 2]).requires_grad();
    let later = random(device, 3, &[3, 2, 2]);
    let gradient = |detach: bool| {
        let state = lstm.forward(&x, None).unwrap().state;
        let state = if detach { state.detach() } else { state };
        let out = lstm.forward(&later, Some(&state)).unwrap();
        out.y.sum_all().unwrap().backward().unwrap().get(&x)
    };
    assert!(gradient(true).is_none());
    assert!(gradient(false).unwrap().to_vec().unwrap().iter().any(|&g| g != 0.0));
}

fn rows_of_a_batch_are_independent(device: &Device) {
    let x = random(device, 4, &[5, 4, 3]);
    let lstm = LstmConfig::new(3, 6).with_bidirectional(true).init(device, 1).unwrap();
    let state = some_state(device, lstm.spec(), 4);
    let whole = lstm.forward(&x, Some(&state)).unwrap();
    for row in 0..4 {
        let one = |t: &Tensor| t.slice(1, row..row + 1).unwrap();
        let alone = LstmState::new(one(&state.h), one(&state.c), 2);
        let out = lstm.forward(&one(&x), Some(&alone)).unwrap();
        close("y", &out.y, &one(&whole.y));
        close("c", &out.state.c, &one(&whole.state.c));
    }
}

fn a_stream_equals_the_batch(device: &Device) {
    let x = random(device, 5, &[6, 3, 4]);
    let config = LstmConfig::new(4, 5).with_num_layers(2).with_dropout(0.5);
    let lstm = config.init(device, 1).unwrap();
    lstm.eval();
    let start = some_state(device, lstm.spec(), 3);
    let whole = lstm.forward(&x, Some(&start)).unwrap();
    lstm.train();
    let mut stream = lstm.stream(3).unwrap();
    stream.set_state(&start).unwrap();
    for t in 0..6 {
        let y = stream.step(&x.select(0, t).unwrap()).unwrap();
        assert!(!y.is_tracked(), "a stream records nothing");
        close("y", &y, &whole.y.select(0, t).unwrap());
    }
    close("h", &stream.state().h, &whole.state.h);
    close("c", &stream.state().c, &whole.state.c);
    assert_eq!(lstm.draw_positions()[""], 0, "and drops nothing");

    // A kept state is a snapshot: going back to it repeats the step.
    let kept = stream.state().clone();
    let x_t = x.select(0, 0).unwrap();
    let y = stream.step(&x_t).unwrap().to_vec().unwrap();
    assert_ne!(stream.step(&x_t).unwrap().to_vec().unwrap(), y);
    stream.set_state(&kept).unwrap();
    assert_eq!(stream.step(&x_t).unwrap().to_vec().unwrap(), y);
    stream.reset().unwrap();
    let fresh = lstm.stream(3).unwrap().step(&x_t).unwrap();
    assert_eq!(stream.step(&x_t).unwrap().to_vec().unwrap(), fresh.to_vec().unwrap());

    let gru = GruConfig::new(4, 5).init(device, 1).unwrap();
    let whole = gru.forward(&x, None).unwrap();
    let mut stream = gru.stream(3).unwrap();
    let rnn = RnnConfig::new(4, 5).init(device, 1).unwrap();
    let rnn_whole = rnn.forward(&x, None).unwrap();
    let mut rnn_stream = rnn.stream(3).unwrap();
    for t in 0..6 {
        let x_t = x.select(0, t).unwrap();
        close("gru", &stream.step(&x_t).unwrap(), &whole.y.select(0, t).unwrap());
        close("rnn", &rnn_stream.step(&x_t).unwrap(), &rnn_whole.y.select(0, t).unwrap());
    }
}

fn streams_follow_the_weights(device: &Device) {
    let gru = GruConfig::new(2, 3).init(device, 1).unwrap();
    let x = random(device, 6, &[1, 2]);
    let mut stream = gru.stream(1).unwrap();
    let before = stream.step(&x).unwrap().to_vec().unwrap();
    // Packed weights are kept between calls; a new version must replace them.
    let other = GruConfig::new(2, 3).init(device, 2).unwrap();
    gru.load_state_dict(&other.state_dict()).unwrap();
    stream.reset().unwrap();
    let after = stream.step(&x).unwrap().to_vec().unwrap();
    assert_ne!(before, after);
    assert_eq!(after, other.stream(1).unwrap().step(&x).unwrap().to_vec().unwrap());
}

/// Rounded weights change inference a little, follow the parameters, and leave training alone; where they
/// do not exist the layer is refused.
fn inference_weights_are_for_inference_only(device: &Device) {
    let (own, other) = match device.is_cpu() {
        true => (WeightFormat::Bf16, WeightFormat::F16),
        false => (WeightFormat::F16, WeightFormat::Bf16),
    };
    let refused = LstmConfig::new(3, 20).with_inference_weights(other).init(device, 5);
    let text = refused.unwrap_err().to_string();
    assert!(text.contains(&format!("LstmConfig.inference_weights = {other:?}")), "{text}");
    let config = LstmConfig::new(3, 20).with_inference_weights(own);
    let (rounded, plain) = (config.init(device, 5).unwrap(), LstmConfig::new(3, 20).init(device, 5).unwrap());
    let x = random(device, 6, &[4, 2, 3]);
    let run = |lstm: &Lstm| no_grad(|| lstm.forward(&x, None)).unwrap().y.to_vec().unwrap();
    let (a, b) = (run(&rounded), run(&plain));
    assert_ne!(a, b);
    // Weights below 1 are off by 2^-9 at most, 23 of them a gate, and tanh and sigmoid flatten.
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 0.02));
    let trained = |lstm: &Lstm| lstm.forward(&x, None).unwrap().y.to_vec().unwrap();
    assert_eq!(trained(&rounded), trained(&plain));
    rounded.load_state_dict(&LstmConfig::new(3, 20).init(device, 9).unwrap().state_dict()).unwrap();
    assert_ne!(run(&rounded), a);
    assert_eq!(serde_json::to_value(&config).unwrap()["inference_weights"], format!("{own:?}"));
}

fn bidirectional_layers_know_their_ends(device: &Device) {
    let config = LstmConfig::new(3, 4).with_num_layers(2).with_bidirectional(true);
    let lstm = config.init(device, 1).unwrap();
    assert!(matches!(lstm.stream(1), Err(Error::Unsupported { .. })));
    let x = random(device, 7, &[5, 2, 3]).requires_grad();
    let out = lstm.forward(&x, None).unwrap();
    let last = out.last().unwrap();
    assert_eq!(last.dims(), [2, 8]);
    let forward = out.y.select(0, 4).unwrap().slice(1, 0..4).unwrap();
    let backward_half = out.y.select(0, 0).unwrap().slice(1, 4..8).unwrap();
    close("forward half", &last.slice(1, 0..4).unwrap(), &forward);
    close("backward half", &last.slice(1, 4..8).unwrap(), &backward_half);
    close("forward state", &out.state.h(1, 0).unwrap(), &forward);
    close("backward state", &out.state.h(1, 1).unwrap(), &backward_half);
    assert!(out.state.h(2, 0).is_err() && out.state.c(0, 2).is_err());

    // The gradient through last() is that through the same entries of y.
    let weights = random(device, 8, &[2, 8]);
    let through_last = last.backward_with(&weights).unwrap().get(&x).unwrap();
    let out = lstm.forward(&x, None).unwrap();
    let halves = [
        (out.y.select(0, 4).unwrap().slice(1, 0..4).unwrap(), weights.slice(1, 0..4).unwrap()),
        (out.y.select(0, 0).unwrap().slice(1, 4..8).unwrap(), weights.slice(1, 4..8).unwrap()),
    ];
    let halves = halves.map(|(y, dy)| (y, dy.into_array()));
    close("dx", &through_last, &backward(&halves).unwrap().get(&x).unwrap());

    let one = LstmConfig::new(3, 4).with_num_layers(2).init(device, 1).unwrap();
    let out = one.forward(&x, None).unwrap();
    close("one direction", &out.last().unwrap(), &out.y.select(0, 4).unwrap());
}

fn wrong_shapes_are_refused_by_name(device: &Device) {
    let lstm = LstmConfig::new(3, 4).init(device, 1).unwrap();
    let message = |error: Error| error.to_string();
    let x = random(device, 9, &[5, 2, 2]);
    let error = message(lstm.forward(&x, None).unwrap_err());
    assert!(error.contains("[T, B, I]") && error.contains("[5, 2, 2]"), "{error}");
    let x = random(device, 9, &[5, 2, 3]);
    let other = LstmConfig::new(3, 5).init(device, 1).unwrap().zero_state(2).unwrap();
    let error = message(lstm.forward(&x, Some(&other)).unwrap_err());
    assert!(error.contains("h0") && error.contains("[1, 2, 4]"), "{error}");
    let mut stream = lstm.stream(2).unwrap();
    let error = message(stream.step(&x).unwrap_err());
    assert!(error.contains("[B, I] = [2, 3]"), "{error}");
    let error = message(stream.set_state(&other).unwrap_err());
    assert!(error.contains("[L, B, H] = [1, 2, 4]"), "{error}");
    assert!(lstm.stream(0).is_err());
    let linear = LinearConfig::new(4, 2).init(device, 1).unwrap();
    let error = message(linear.forward(&x).unwrap_err());
    assert!(error.contains("I = 4"), "{error}");
    let embedding = EmbeddingConfig::new(3, 2).init(device, 1).unwrap();
    let indices = Tensor::from_indices(device, &[2, 0, 3], &[3]).unwrap();
    let error = message(embedding.forward(&indices).unwrap_err());
    assert!(error.contains("[2] is 3") && error.contains("0..3"), "{error}");
}

fn dropout_is_reproducible(device: &Device) {
    let config = LstmConfig::new(3, 8).with_num_layers(3).with_dropout(0.4);
    let make = || config.init(device, 5).unwrap();
    let x = random(device, 10, &[6, 2, 3]);
    let values = |lstm: &Lstm, x: &Tensor| lstm.forward(x, None).unwrap().y.to_vec().unwrap();
    let lstm = make();
    let first = values(&lstm, &x);
    assert_eq!(lstm.draw_positions()[""], 6);
    assert_ne!(first, values(&lstm, &x), "masks move on");
    assert_eq!(first, values(&make(), &x), "the same seed, the same masks");
    lstm.set_draw_positions(&make().draw_positions()).unwrap();
    assert_eq!(first, values(&lstm, &x), "a restored position, the same masks");
    lstm.set_draw_positions(&make().draw_positions()).unwrap();
    assert_eq!(first, no_grad(|| values(&lstm, &x)), "recording changes nothing");
    lstm.eval();
    let evaluated = values(&lstm, &x);
    assert_ne!(first, evaluated);
    assert_eq!(evaluated, values(&lstm, &x));

    // Fed in chunks, a sequence gets the masks of the whole.
    let chunked = make();
    let a = chunked.forward(&x.slice(0, 0..2).unwrap(), None).unwrap();
    let b = chunked.forward(&x.slice(0, 2..6).unwrap(), Some(&a.state)).unwrap();
    let whole = make().forward(&x, None).unwrap().y;
    close("chunks", &Tensor::concat(&[&a.y, &b.y], 0).unwrap(), &whole);

    // Gradients flow in evaluation mode, too.
    let gradients = lstm.forward(&x, None).unwrap().y.sum_all().unwrap().backward().unwrap();
    assert_eq!(gradients.len(), lstm.parameters().len());

    let dropout = DropoutConfig::new(0.25).init(3).unwrap();
    let ones = Tensor::ones(device, &[50, 8]).unwrap();
    let dropped = dropout.forward(&ones).unwrap().to_vec().unwrap();
    let zeros = dropped.iter().filter(|&&y| y == 0.0).count();
    assert!(dropped.iter().all(|&y| y == 0.0 || y == 1.0 / 0.75));
    // Four standard deviations of 400 draws.
    assert!((65..=135).contains(&zeros), "{zeros}");
    dropout.eval();
    assert_eq!(dropout.forward(&ones).unwrap().to_vec().unwrap(), [1.0; 400]);
    assert!(DropoutConfig::new(1.0).init(1).is_err() && DropoutConfig::new(f32::NAN).init(1).is_err());
    let unknown = [("elsewhere".to_string(), 1)].into();
    assert!(matches!(dropout.set_draw_positions(&unknown), Err(Error::StateDict { .. })));
}

fn first_values_follow_the_configuration(device: &Device) {
    let value = |module: &dyn Module, name: &str| {
        let params = module.named_parameters();
        let (_, param) = params.iter().find(|(n, _)| n == name).unwrap();
        param.value().to_vec().unwrap()
    };
    let lstm = LstmConfig::new(3, 4).with_forget_bias(1.5).init(device, 1).unwrap();
    let (ih, hh) = (value(&lstm, "bias_ih_l0"), value(&lstm, "bias_hh_l0"));
    let effective: Vec<f32> = ih.iter().zip(&hh).map(|(a, b)| a + b).collect();
    assert_eq!(effective[..4], [0.0; 4], "input gate");
    assert_eq!(effective[4..8], [1.5; 4], "forget gate");
    assert_eq!(effective[8..], [0.0; 8], "candidate and output gate");

    let config = LstmConfig::new(3, 4).with_init(Init::PyTorch);
    let lstm = config.init(device, 1).unwrap();
    let (ih, hh) = (value(&lstm, "bias_ih_l0"), value(&lstm, "bias_hh_l0"));
    assert_eq!((&ih[4..8], &hh[4..8]), (&[1.0; 4][..], &[0.0; 4][..]), "the default, also here");
    let lstm = config.without_forget_bias().init(device, 1).unwrap();
    for name in ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"] {
        let values = value(&lstm, name);
        assert!(values.iter().all(|v| v.abs() <= 0.5 && *v != 0.0), "{name}: U(+-1/sqrt(H))");
    }
    assert_ne!(value(&lstm, "bias_ih_l0"), value(&lstm, "bias_hh_l0"));

    let seeds = [1, 1, 2].map(|seed| GruConfig::new(3, 4).init(device, seed).unwrap());
    let [a, b, c] = seeds.map(|gru| value(&gru, "weight_hh_l0"));
    assert!(a == b && a != c);
    let on_cpu = GruConfig::new(3, 4).init(&Device::cpu(), 1).unwrap();
    assert_eq!(value(&on_cpu, "weight_hh_l0"), a, "the same bits on every device");
    let bare = GruConfig::new(3, 4).with_bias(false).init(device, 1).unwrap();
    assert_eq!(bare.num_parameters(), 12 * (3 + 4));
}

fn bad_configurations_are_refused(device: &Device) {
    let refused = |config: LstmConfig, field: &str| match config.init(device, 1) {
        Err(Error::Config { config, field: got, .. }) => {
            assert_eq!((config, got), ("LstmConfig", field));
        }
        other => panic!("{field}: expected an error, got {other:?}"),
    };
    refused(LstmConfig::new(0, 4), "input_size");
    refused(LstmConfig::new(3, 0), "hidden_size");
    refused(LstmConfig::new(3, 4).with_num_layers(0), "num_layers");
    refused(LstmConfig::new(3, 4).with_dropout(1.0), "dropout");
    refused(LstmConfig::new(3, 4).with_forget_bias(f32::NAN), "forget_bias");
    refused(LstmConfig::new(3, 4).with_init(Init::Normal(-1.0)), "input_init");
    refused(LstmConfig::new(3, 4).with_bias_init(Init::XavierUniform), "bias_init");
    assert!(LinearConfig::new(0, 1).init(device, 1).is_err());
    assert!(EmbeddingConfig::new(1, 0).init(device, 1).is_err());
    assert!(LayerNormConfig::new(3).with_eps(0.0).init(device).is_err());
}

struct Tied {
    encoder: Embedding,
    layers: Vec<Gru>,
    norm: Option<LayerNorm>,
    decoder: Linear,
    scale: Param,
}
rnn_api::module!(Tied { encoder, layers, norm, decoder, scale });

fn modules_name_their_parts(device: &Device) {
    let encoder = EmbeddingConfig::new(5, 4).init(device, 1).unwrap();
    let gru = |seed| GruConfig::new(4, 4).with_bias(false).init(device, seed).unwrap();
    let model = Tied {
        layers: vec![gru(2), gru(3)],
        norm: Some(LayerNormConfig::new(4).init(device).unwrap()),
        decoder: Linear { weight: encoder.weight.clone(), bias: None },
        encoder,
        scale: Param::new(&Tensor::ones(device, &[1]).unwrap()).unwrap(),
    };
    let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "encoder.weight",
        "layers.0.weight_ih_l0",
        "layers.0.weight_hh_l0",
        "layers.1.weight_ih_l0",
        "layers.1.weight_hh_l0",
        "norm.weight",
        "norm.bias",
        "decoder.weight",
        "scale",
    ];
    assert_eq!(names, expected);
    assert_eq!(model.parameters().len(), 8, "tied weights count once");
    assert_eq!(model.num_parameters(), 5 * 4 + 2 * (2 * 12 * 4) + 2 * 4 + 1);

    // Both uses of the tied table contribute to its gradient.
    let indices = Tensor::from_indices(device, &[1, 3], &[2]).unwrap();
    let embedded = model.encoder.forward(&indices).unwrap();
    let loss = model.decoder.forward(&embedded).unwrap().sum_all().unwrap();
    let gradient = loss.backward().unwrap().get(&model.encoder.weight).unwrap();
    let table = model.encoder.weight.value().to_vec().unwrap();
    for (k, got) in gradient.to_vec().unwrap().into_iter().enumerate() {
        let (row, col) = (k / 4, k % 4);
        // From the decoder the sum of the looked-up rows, from the encoder the sum of all rows.
        let mut want = table[4 + col] + table[12 + col];
        if row == 1 || row == 3 {
            want += (0..5).map(|r| table[r * 4 + col]).sum::<f32>();
        }
        assert!((got - want).abs() < 1e-5, "{k}: {got} {want}");
    }
}

fn frozen_parameters_get_no_gradient(device: &Device) {
    let lstm = LstmConfig::new(3, 4).init(device, 1).unwrap();
    let head = LinearConfig::new(4, 2).init(device, 2).unwrap();
    lstm.set_trainable(false);
    let x = random(device, 11, &[4, 2, 3]);
    let out = lstm.forward(&x, None).unwrap();
    assert!(!out.y.is_tracked(), "nothing is saved for a frozen layer");
    let loss = head.forward(&out.y).unwrap().sum_all().unwrap();
    assert_eq!(loss.backward().unwrap().len(), 2);
    let params = lstm.parameters();
    params[1].set_trainable(true);
    let gradients = lstm.forward(&x, None).unwrap().y.sum_all().unwrap().backward().unwrap();
    assert_eq!(gradients.len(), 1);
    assert!(gradients.get(&params[1]).is_some());
}

fn parameters_keep_their_shape(device: &Device) {
    let param = Param::new(&random(device, 12, &[2, 3])).unwrap();
    let before = param.value();
    assert_eq!(param.version(), 0);
    param.set(&Tensor::ones(device, &[2, 3]).unwrap()).unwrap();
    assert_eq!(param.version(), 1);
    assert_ne!(before.to_vec().unwrap(), [1.0; 6], "an earlier value does not change");
    let error = param.set(&Tensor::ones(device, &[3, 2]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("[3, 2]"), "{error}");
    let indices = Tensor::from_indices(device, &[0; 6], &[2, 3]).unwrap();
    assert!(param.set(&indices).is_err() && Param::new(&indices).is_err());
    param.to_device(&Device::cpu()).unwrap();
    assert!(param.device().is_cpu());
    assert_eq!(param.value().to_vec().unwrap(), [1.0; 6]);
}
