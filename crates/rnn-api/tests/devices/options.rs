//! The options of recurrent layers through the public interface, on every device: against the f64 oracle, and the
//! properties that hold with all options.

mod any;
mod memory;
mod noise;
mod refused;
mod sequences;

use crate::common::{DeviceTest, device_test};
use any::{Any, Case};
use rnn_api::StackSpec;
use rnn_api::nn::AnyRnnConfig;
use rnn_api::prelude::*;
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::{to_f64, uniform};

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(first_half_of_the_combinations_matches_the_oracle),
        device_test!(second_half_of_the_combinations_matches_the_oracle),
        device_test!(a_split_sequence_equals_the_whole),
        device_test!(a_stream_equals_the_batch),
        device_test!(a_learnt_state_is_used_and_learns),
        device_test!(configurations_survive_json),
        device_test!(sequences::a_reverse_layer_is_a_forward_layer_on_turned_rows),
        device_test!(sequences::padding_is_invisible),
        device_test!(sequences::pooling_sees_valid_steps_only),
        device_test!(sequences::resets_separate_episodes),
        device_test!(memory::checkpoints_change_no_gradient),
        device_test!(memory::checkpoints_save_memory),
        device_test!(memory::what_does_not_fit_at_once_runs_in_segments).gpu_only(),
        device_test!(memory::what_cannot_be_cut_in_time_runs_in_groups_of_rows).gpu_only(),
        device_test!(memory::traces_match_the_oracle),
        device_test!(memory::traced_passes_are_ordinary),
        device_test!(noise::masks_of_a_sequence_continue_with_the_state),
        device_test!(noise::zoneout_mixes_in_inference),
        device_test!(noise::dropped_weights_get_no_gradient),
        device_test!(refused::bad_sequences_name_the_row),
        device_test!(refused::bad_options_name_themselves),
        device_test!(refused::values_that_would_make_weights_infinite_are_refused),
        device_test!(refused::states_of_another_cell_are_refused),
        device_test!(refused::arrays_of_another_device_are_refused).gpu_only(),
    ]
}

/// Two orders of the same sums of f32, relative to the largest value.
const SAME: f64 = 2e-6;
/// f32 against f64 over a few steps and layers, as in the runtime's tests.
const BOUND: f64 = 1e-4;

fn random(device: &Device, seed: u64, dims: &[usize]) -> Tensor {
    Tensor::from_slice(device, &uniform(seed, dims.iter().product()), dims).unwrap()
}

#[track_caller]
fn close(name: &str, got: &Tensor, want: &Tensor) {
    assert_eq!(got.dims(), want.dims(), "{name}");
    let error = max_rel_err(&got.to_vec().unwrap(), &to_f64(&want.to_vec().unwrap()));
    assert!(error <= SAME, "{name}: {error:.1e}");
}

/// A dozen and more of the combinations that users ask for, by name. On a GPU all tests have three or four rows of them,
/// and where rows are ragged there are resets, too: that is one set of kernels.
fn combinations(device: &Device) -> Vec<(&'static str, Any)> {
    combinations_with(device, None)
}

/// These combinations, the ones of one direction with a checkpoint at every `every`th step.
fn combinations_with(device: &Device, every: Option<usize>) -> Vec<(&'static str, Any)> {
    let lstm = || LstmConfig::new(4, 10);
    let gru = || GruConfig::new(4, 10);
    let mgu = || MguConfig::new(4, 10);
    let rnn = || RnnConfig::new(4, 10);
    let hard = Activation::HARD_SIGMOID;
    let lecun = Activation::ScaledTanh { alpha: 1.7159, beta: 2.0 / 3.0 };
    let both = |config: LstmConfig| config.with_num_layers(2).with_bidirectional(true);
    let lstms = [
        ("lstm", lstm()),
        ("lstm, two layers, directions summed", both(lstm()).with_merge(Merge::Sum)),
        ("lstm, two layers, both directions, projected", both(lstm()).with_proj_size(3)),
        ("lstm, peephole, clips", lstm().with_peephole(true).with_clip(0.4).with_cell_clip(0.5)),
        ("lstm, coupled, peephole", lstm().with_coupled_gates(true).with_peephole(true)),
        ("lstm, zoneout, projected", lstm().with_zoneout(0.2, 0.4).with_proj_size(6)),
        (
            "lstm, other activations, averaged",
            lstm()
                .with_bidirectional(true)
                .with_merge(Merge::Mean)
                .with_gate_activation(hard)
                .with_candidate_activation(lecun)
                .with_output_activation(Activation::Softsign),
        ),
        ("lstm, layer norm", lstm().with_layer_norm(true)),
        (
            "lstm, two layers, all noise",
            lstm()
                .with_num_layers(2)
                .with_dropout(0.2)
                .with_input_dropout(0.1)
                .with_output_dropout(0.2)
                .with_recurrent_dropout(0.3)
                .with_candidate_dropout(0.2)
                .with_weight_dropout(0.2)
                .with_zoneout(0.1, 0.2),
        ),
    ];
    let grus = [
        ("gru, directions multiplied", gru().with_bidirectional(true).with_merge(Merge::Mul)),
        ("gru, reset before", gru().with_reset_after(false).with_num_layers(2)),
        (
            "gru, reset before, both directions, no bias",
            gru().with_reset_after(false).with_bidirectional(true).with_bias(false),
        ),
        ("gru, zoneout, hard sigmoid", gru().with_zoneout(0.3).with_gate_activation(hard)),
        ("gru, layer norm", gru().with_layer_norm(true)),
    ];
    let mgus = [
        (
            "mgu, two layers, directions averaged",
            mgu().with_num_layers(2).with_bidirectional(true).with_merge(Merge::Mean),
        ),
        ("mgu, layer norm", mgu().with_layer_norm(true)),
        (
            "mgu, all noise, hard sigmoid, clip",
            mgu()
                .with_num_layers(2)
                .with_gate_activation(hard)
                .with_candidate_activation(lecun)
                .with_clip(0.6)
                .with_dropout(0.2)
                .with_recurrent_dropout(0.3)
                .with_candidate_dropout(0.2)
                .with_zoneout(0.1),
        ),
    ];
    let rnns = [
        ("rnn, elu, clip", rnn().with_activation(Activation::Elu { alpha: 0.7 }).with_clip(0.8)),
        ("rnn, independent", rnn().with_independent(true).with_bidirectional(true).with_num_layers(2)),
        ("rnn, identity relu", rnn().with_identity_relu(0.5)),
    ];
    macro_rules! layers {
        ($($kind:ident: $configs:expr),*) => {{
            let mut all = Vec::new();
            $(for (name, mut config) in $configs {
                config.checkpoint_every = every.filter(|_| config.direction == Direction::Forward);
                all.push((name, Any::$kind(config.init(device, 1).unwrap())));
            })*
            all
        }};
    }
    let all = layers!(Lstm: lstms, Gru: grus, Mgu: mgus, Rnn: rnns);
    // A layer's options reach every device in the same way, and the runtime's tests have every pair of them on a GPU: here
    // every third combination must do there. Each has kernels of its own to compile.
    all.into_iter().step_by(if device.is_cpu() { 1 } else { 3 }).collect()
}

/// Those of one direction, for tests of inference. That has kernels of its own: on a GPU every second must do.
fn of_one_direction(device: &Device) -> Vec<(&'static str, Any)> {
    let all =
        combinations(device).into_iter().filter(|(_, layer)| layer.spec().direction == Direction::Forward);
    all.step_by(if device.is_cpu() { 1 } else { 2 }).collect()
}

// Two trials, so that two devices compile kernels at once.
fn first_half_of_the_combinations_matches_the_oracle(device: &Device) {
    match_the_oracle(device, 0);
}

fn second_half_of_the_combinations_matches_the_oracle(device: &Device) {
    match_the_oracle(device, 1);
}

/// Values and gradients, of whole rows, ragged rows, interrupted rows, and both.
fn match_the_oracle(device: &Device, half: usize) {
    let mut failures = Vec::new();
    for (n, (name, layer)) in combinations(device).into_iter().enumerate().filter(|(n, _)| n % 2 == half) {
        layer.module().eval();
        for (kind, lengths, resets) in [
            ("whole", None, false),
            ("ragged", Some(vec![2, 6, 1, 4]), false),
            ("interrupted", None, true),
            ("ragged and interrupted", Some(vec![6, 3, 5, 1]), true),
        ] {
            if !device.is_cpu() && (kind == "ragged" || kind == "interrupted" && n % 3 != 0) {
                // Both are constants of the kernels; the runtime's tests have every cell with each.
                continue;
            }
            let case = Case::random(&layer, [6, 4], n as u64, lengths, resets);
            for (what, got, want) in case.compare(device, &layer) {
                let error = max_rel_err(&got, &want);
                if error > BOUND || error.is_nan() {
                    failures.push(format!("{name}, {kind}: {what} has relative error {error:.1e}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn a_split_sequence_equals_the_whole(device: &Device) {
    let lengths = Lengths::new([7, 4, 6]).unwrap();
    let resets: Vec<bool> = (0..7 * 3).map(|k| k % 5 == 3).collect();
    for (name, layer) in of_one_direction(device) {
        layer.module().eval();
        let x = random(device, 1, &[7, 3, 4]);
        let (h, c) = layer.some_state(device, 3);
        let whole_resets = Resets::new(resets.clone());
        let whole = layer.forward(&x, Some((&h, c.as_ref())), Some(&lengths), Some(&whole_resets));
        // Row 1 ends one step into the second part.
        let parts = [(0..3, [3, 3, 3]), (3..7, [4, 1, 3])];
        let (mut state, mut outputs) = ((h, c), Vec::new());
        for (range, lengths) in parts {
            let resets = Resets::new(&resets[range.start * 3..range.end * 3]);
            let part = x.slice(0, range).unwrap();
            let lengths = Lengths::new(lengths).unwrap();
            let given = Some((&state.0, state.1.as_ref()));
            let out = layer.forward(&part, given, Some(&lengths), Some(&resets));
            outputs.push(out.y);
            state = (out.h, out.c);
        }
        close(name, &Tensor::concat(&[&outputs[0], &outputs[1]], 0).unwrap(), &whole.y);
        close(name, &state.0, &whole.h);
        if let (Some(c), Some(want)) = (&state.1, &whole.c) {
            close(name, c, want);
        }
    }
}

fn a_stream_equals_the_batch(device: &Device) {
    for (name, layer) in of_one_direction(device) {
        layer.module().eval();
        let x = random(device, 2, &[5, 3, 4]);
        let whole = layer.forward(&x, None, None, None).y;
        for (t, y) in layer.stream(&x).into_iter().enumerate() {
            close(name, &y, &whole.select(0, t).unwrap());
        }
    }
}

fn a_learnt_state_is_used_and_learns(device: &Device) {
    let config = LstmConfig::new(4, 6).with_num_layers(2).with_proj_size(3).with_learnable_state(true);
    let lstm = config.init(device, 3).unwrap();
    let params = lstm.named_parameters();
    let param = |name: &str| params.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let (h_0, c_0) = (param("h_0"), param("c_0"));
    assert_eq!((h_0.dims(), c_0.dims()), (&[2, 1, 3][..], &[2, 1, 6][..]));
    let x = random(device, 4, &[3, 5, 4]);
    let plain = config.clone().with_learnable_state(false).init(device, 3).unwrap();
    close("zero at first", &lstm.forward(&x, None).unwrap().y, &plain.forward(&x, None).unwrap().y);

    h_0.set(&random(device, 5, &[2, 1, 3])).unwrap();
    c_0.set(&random(device, 6, &[2, 1, 6])).unwrap();
    let given = LstmState::new(
        h_0.value().broadcast_to(&[2, 5, 3]).unwrap().detach().requires_grad(),
        c_0.value().broadcast_to(&[2, 5, 6]).unwrap().detach().requires_grad(),
        1,
    );
    let weights = random(device, 7, &[3, 5, 3]);
    let learnt = lstm.forward(&x, None).unwrap().y;
    let want = plain.forward(&x, Some(&given)).unwrap().y;
    close("used", &learnt, &want);
    let (got, want) = (learnt.backward_with(&weights).unwrap(), want.backward_with(&weights).unwrap());
    for (param, given) in [(&h_0, &given.h), (&c_0, &given.c)] {
        let sum = want.get(given).unwrap().sum_axis(1).unwrap().reshape(param.dims()).unwrap();
        assert!(sum.to_vec().unwrap().iter().any(|&d| d != 0.0));
        close("its gradient is the sum over the rows", &got.get(param).unwrap(), &sum);
    }
    let start = lstm.zero_state(5).unwrap();
    close("streams start in it", &start.h, &given.h);
    let y = lstm.stream(5).unwrap().step(&x.select(0, 0).unwrap()).unwrap();
    close("the first step", &y, &learnt.select(0, 0).unwrap());
    // Another state replaces it.
    let zero = LstmState::zeros(lstm.spec(), device, 5).unwrap();
    close("a given state", &lstm.forward(&x, Some(&zero)).unwrap().y, &plain.forward(&x, None).unwrap().y);
}

fn configurations_survive_json(device: &Device) {
    let lstm = LstmConfig::new(3, 8)
        .with_peephole(true)
        .with_coupled_gates(true)
        .with_proj_size(4)
        .with_cell_clip(3.0)
        .with_clip(2.5)
        .with_layer_norm(true)
        .with_zoneout(0.1, 0.2)
        .with_weight_dropout(0.3)
        .with_forget_lag(50.0)
        .with_bidirectional(true)
        .with_merge(Merge::Mean)
        .with_learnable_state(true)
        .with_gate_activation(Activation::HardSigmoid { alpha: 0.25, beta: 0.5 });
    let json = serde_json::to_string(&lstm).unwrap();
    assert_eq!(serde_json::from_str::<LstmConfig>(&json).unwrap(), lstm);
    let gru = GruConfig::new(3, 8).with_reset_after(false).with_input_dropout(0.25);
    let json = serde_json::to_string(&gru).unwrap();
    assert_eq!(serde_json::from_str::<GruConfig>(&json).unwrap(), gru);
    let mgu = MguConfig::new(3, 8).with_zoneout(0.25).with_candidate_activation(Activation::Softsign);
    let json = serde_json::to_string(&mgu).unwrap();
    assert_eq!(serde_json::from_str::<MguConfig>(&json).unwrap(), mgu);
    let rnn = RnnConfig::new(3, 8).with_independent(true).with_recurrent_dropout(0.5);
    let json = serde_json::to_string(&rnn).unwrap();
    assert_eq!(serde_json::from_str::<RnnConfig>(&json).unwrap(), rnn);

    // What was written before there were options still means the plain layer.
    let old = r#"{"input_size":3,"hidden_size":8,"num_layers":2,"bidirectional":true,"bias":true,"dropout":0.25,
        "input_init":"XavierUniform","recurrent_init":{"Orthogonal":1.0},"bias_init":"Zeros",
        "inference_weights":"F32","forget_bias":1.0,"gate_activation":"Sigmoid","candidate_activation":"Tanh",
        "output_activation":"Tanh"}"#;
    let want = LstmConfig::new(3, 8).with_num_layers(2).with_bidirectional(true).with_dropout(0.25);
    let read: LstmConfig = serde_json::from_str(old).unwrap();
    assert_eq!(read, want);
    let (a, b) = (read.init(device, 9).unwrap(), want.init(device, 9).unwrap());
    let x = random(device, 8, &[2, 2, 3]);
    assert_eq!(
        a.forward(&x, None).unwrap().y.to_vec().unwrap(),
        b.forward(&x, None).unwrap().y.to_vec().unwrap()
    );
    // A flag said whether there are both directions before there were three.
    let backwards = GruConfig::new(3, 8).with_direction(Direction::Reverse);
    let json = serde_json::to_string(&backwards).unwrap();
    assert!(json.contains(r#""direction":"Reverse""#), "{json}");
    assert_eq!(serde_json::from_str::<GruConfig>(&json).unwrap(), backwards);
    for (given, direction) in [
        (r#""bidirectional":true"#, Direction::Bidirectional),
        (r#""bidirectional":false"#, Direction::Forward),
        (r#""direction":"Bidirectional""#, Direction::Bidirectional),
        (r#""bias":true"#, Direction::Forward),
    ] {
        let json = format!(r#"{{"input_size":3,"hidden_size":8,{given}}}"#);
        let want = GruConfig::new(3, 8).with_direction(direction);
        assert_eq!(serde_json::from_str::<GruConfig>(&json).unwrap(), want, "{json}");
        let any = json.replacen('{', r#"{"cell":"gru","#, 1);
        assert_eq!(serde_json::from_str::<AnyRnnConfig>(&any).unwrap(), want.clone().into(), "{any}");
        let spec = *want.init(device, 1).unwrap().spec();
        let now = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<StackSpec>(&now).unwrap(), spec);
        let flag = direction == Direction::Bidirectional;
        let then =
            now.replace(&format!(r#""direction":"{direction:?}""#), &format!(r#""bidirectional":{flag}"#));
        assert_ne!(now, then);
        assert_eq!(serde_json::from_str::<StackSpec>(&then).unwrap(), spec);
    }
    for wrong in
        [r#""direction":"Backward""#, r#""bidirectional":1"#, r#""bidirectional":true,"direction":"Reverse""#]
    {
        let json = format!(r#"{{"input_size":3,"hidden_size":8,{wrong}}}"#);
        let error = serde_json::from_str::<GruConfig>(&json).unwrap_err().to_string();
        assert!(error.contains("direction") || error.contains("Reverse"), "{error}");
    }
    // A misspelt option is not a default.
    let wrong = r#"{"input_size":3,"hidden_size":8,"regularization":{"zoneout":0.1}}"#;
    assert!(serde_json::from_str::<LstmConfig>(wrong).unwrap_err().to_string().contains("zoneout"));
}
