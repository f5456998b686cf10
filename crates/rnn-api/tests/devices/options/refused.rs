//! Bad input: typed errors that name the row, the axis or the option.

use super::random;
use rnn_api::Error;
use rnn_api::prelude::*;

#[track_caller]
fn says<T>(result: rnn_api::Result<T>, parts: &[&str]) {
    let error = result.err().expect("refused").to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error:?} without one of {parts:?}");
}

pub(crate) fn bad_sequences_name_the_row(device: &Device) {
    says(Lengths::new([3, 0, 2]), &["lengths", "at least 1 step", "0 in row 1"]);
    says(Lengths::new([0, 0]), &["lengths", "0 in row 0"]);
    says(Lengths::new([]), &["lengths", "at least one row"]);
    let lstm = LstmConfig::new(3, 4).with_bidirectional(true).init(device, 1).unwrap();
    let x = random(device, 1, &[5, 2, 3]);
    let with_lengths = |lengths: &[usize]| {
        let lengths = Lengths::new(lengths).unwrap();
        lstm.forward_with(&x, ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() })
    };
    says(with_lengths(&[5, 6]), &["lengths", "from 1 to T = 5", "6 in row 1"]);
    says(with_lengths(&[5, 5, 5]), &["lengths", "B = 2", "3"]);
    says(with_lengths(&[5]), &["lengths", "B = 2", "1"]);
    let with_resets = |resets: Vec<bool>| {
        let resets = Resets::new(resets);
        lstm.forward_with(&x, ForwardArgs { resets: Some(&resets), ..ForwardArgs::default() })
    };
    says(with_resets(vec![true; 9]), &["resets", "[T, B] = [5, 2]", "9"]);
    says(with_resets(vec![]), &["resets", "[T, B] = [5, 2]", "0"]);
    // An input of the wrong rank is not mistaken for wrong lengths.
    let lengths = Lengths::new([1]).unwrap();
    let flat = random(device, 2, &[5, 3]);
    let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
    says(lstm.forward_with(&flat, args), &["x", "[T, B, I]", "[5, 3]"]);
    // After an error the layer works as before.
    assert!(with_lengths(&[5, 1]).unwrap().y.to_vec().unwrap().iter().all(|y| y.is_finite()));

    let projected = LstmConfig::new(3, 8).with_proj_size(2).init(device, 1).unwrap();
    let state = LstmState::new(random(device, 3, &[1, 2, 8]), random(device, 4, &[1, 2, 8]), 1);
    says(projected.forward(&x, Some(&state)), &["h0", "[L*D, B, P]", "[1, 2, 2]"]);
    let state = LstmState::new(random(device, 3, &[1, 2, 2]), random(device, 4, &[1, 2, 2]), 1);
    says(projected.forward(&x, Some(&state)), &["c0", "[L*D, B, H]", "[1, 2, 8]"]);
    says(lstm.stream(2), &["bidirectional"]);
    let reverse = LstmConfig::new(3, 4).with_direction(Direction::Reverse).init(device, 1).unwrap();
    let error = reverse.stream(2).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    says(reverse.stream(2), &["backwards in time", "starts at the end of the sequence"]);
}

/// NaN and infinity reach no parameter, whichever setting they come from.
pub(crate) fn values_that_would_make_weights_infinite_are_refused(device: &Device) {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for init in [
            Init::Constant(bad),
            Init::Uniform(bad),
            Init::Normal(bad),
            Init::Orthogonal(bad),
            Init::Identity(bad),
        ] {
            let lstm = LstmConfig::new(3, 4);
            says(lstm.clone().with_input_init(init).init(device, 1), &["LstmConfig", "input_init"]);
            says(lstm.clone().with_recurrent_init(init).init(device, 1), &["LstmConfig", "recurrent_init"]);
            says(lstm.with_bias_init(init).init(device, 1), &["LstmConfig", "bias_init"]);
            let independent = RnnConfig::new(3, 4).with_independent(true).with_recurrent_init(init);
            says(independent.init(device, 1), &["RnnConfig", "recurrent_init"]);
            says(LinearConfig::new(3, 4).with_init(init).init(device, 1), &["LinearConfig", "init"]);
            says(EmbeddingConfig::new(3, 4).with_init(init).init(device, 1), &["EmbeddingConfig", "init"]);
        }
        says(
            LstmConfig::new(3, 4).with_forget_bias(bad).init(device, 1),
            &["LstmConfig", "forget_bias", "finite"],
        );
        says(LstmConfig::new(3, 4).with_forget_lag(bad).init(device, 1), &["LstmConfig", "forget_bias"]);
        says(DropoutConfig::new(bad).init(1), &["DropoutConfig", "probability"]);
        says(LayerNormConfig::new(3).with_eps(bad).init(device), &["LayerNormConfig", "eps"]);
        says(
            random(device, 1, &[2, 3]).layer_norm(&random(device, 2, &[3]), &random(device, 3, &[3]), bad),
            &["eps"],
        );
    }
    says(LayerNormConfig::new(3).with_eps(-1e-5).init(device), &["LayerNormConfig", "eps", "positive"]);
    // Finite, but its draws are not.
    let wide = LinearConfig::new(64, 64).with_init(Init::Normal(3e38));
    says(wide.init(device, 1), &["LinearConfig", "init", "no draw is infinite"]);
    let widest = LinearConfig::new(64, 64).with_init(Init::Normal(4e37)).init(device, 1).unwrap();
    assert!(widest.weight.value().to_vec().unwrap().iter().all(|x| x.is_finite()));
}

/// Layers whose cell is chosen at run time take states of each other's type.
pub(crate) fn states_of_another_cell_are_refused(device: &Device) {
    let init = |config: AnyRnnConfig| config.init(device, 1).unwrap();
    let (lstm, gru) = (init(LstmConfig::new(3, 4).into()), init(GruConfig::new(3, 4).into()));
    let x = random(device, 1, &[2, 1, 3]);
    let (of_lstm, of_gru) = (lstm.zero_state(1).unwrap(), gru.zero_state(1).unwrap());
    says(lstm.forward(&x, Some(&of_gru)), &["the state's c", "present", "absent"]);
    says(gru.forward(&x, Some(&of_lstm)), &["the state's c", "absent", "present"]);
    says(lstm.stream(1).unwrap().set_state(&of_gru), &["set_state", "the state's c"]);
    says(gru.stream(1).unwrap().set_state(&of_lstm), &["set_state", "the state's c"]);
    lstm.stream(1).unwrap().set_state(&of_lstm).unwrap();
}

/// Every argument of another device is named, with both devices, before anything runs or is drawn.
pub(crate) fn arrays_of_another_device_are_refused(gpu: &Device) {
    #[track_caller]
    fn refused<T>(result: rnn_api::Result<T>, arg: &str, [own, other]: [&Device; 2]) {
        match result.err() {
            Some(Error::Runtime(rnn_runtime::Error::DeviceMismatch {
                arg: got_arg, expected, got, ..
            })) => {
                assert_eq!(got_arg, arg);
                // Two handles of one adapter are told apart by a number.
                assert!(
                    expected.starts_with(&own.name()) && got.starts_with(&other.name()),
                    "{expected} {got}"
                );
                assert_ne!(expected, got);
            }
            other => panic!("{arg}: expected an error, got {:?}", other.map(|error| error.to_string())),
        }
    }
    let again = &Device::gpu(()).unwrap();
    for [own, other] in [[gpu, &Device::cpu()], [&Device::cpu(), gpu], [gpu, again]] {
        let lstm = LstmConfig::new(3, 4).with_zoneout(0.1, 0.1).init(own, 1).unwrap();
        let moved = LstmConfig::new(3, 4).init(other, 1).unwrap();
        let (x, elsewhere) = (random(own, 1, &[2, 1, 3]), random(other, 1, &[2, 1, 3]));
        let (state, foreign) = (lstm.zero_state(1).unwrap(), moved.zero_state(1).unwrap());
        refused(lstm.forward(&elsewhere, None), "x", [own, other]);
        refused(lstm.forward(&x, Some(&foreign)), "the state's h", [own, other]);
        let mixed = LstmState::new(state.h.clone(), foreign.c.clone(), 1);
        refused(lstm.forward(&x, Some(&mixed)), "the state's c", [own, other]);
        assert!(
            lstm.draw_positions().values().all(|&position| position == 0),
            "a refused call draws nothing"
        );
        let mut stream = lstm.stream(1).unwrap();
        refused(stream.set_state(&foreign), "the state's h", [own, other]);
        refused(stream.set_state(&mixed), "the state's c", [own, other]);
        refused(stream.step(&random(other, 1, &[1, 3])), "x", [own, other]);
        stream.step(&random(own, 1, &[1, 3])).unwrap();
        // The stream keeps its state where the layer was.
        lstm.to_device(other).unwrap();
        refused(stream.step(&random(other, 1, &[1, 3])), "the state's h", [other, own]);
        let linear = LinearConfig::new(3, 4).init(own, 1).unwrap();
        refused(linear.forward(&elsewhere), "weight", [other, own]);
        linear.bias.as_ref().unwrap().to_device(other).unwrap();
        refused(linear.forward(&x), "bias", [own, other]);
        let norm = LayerNormConfig::new(3).init(own).unwrap();
        assert!(norm.forward(&elsewhere).unwrap_err().to_string().contains(&own.name()));
    }
    // Two handles of one adapter have the same name.
    let lstm = LstmConfig::new(3, 4).init(gpu, 1).unwrap();
    says(lstm.forward(&random(again, 1, &[2, 1, 3]), None), &["(opened device "]);
}

pub(crate) fn bad_options_name_themselves(device: &Device) {
    #[track_caller]
    fn refused<T>(result: rnn_api::Result<T>, option: &str, expected: &str) {
        match result.err() {
            Some(Error::Config { field, expected: got, .. }) => {
                assert!(field == option && got.contains(expected), "{option}: {field} must be {got}");
            }
            other => panic!("{option}: expected an error, got {other:?}"),
        }
    }
    let lstm = |change: &dyn Fn(LstmConfig) -> LstmConfig| change(LstmConfig::new(3, 4)).init(device, 1);
    for rate in [-0.1, 1.0, f32::NAN] {
        refused(lstm(&|c| c.with_dropout(rate)), "dropout", "in [0, 1)");
        refused(lstm(&|c| c.with_input_dropout(rate)), "input_dropout", "in [0, 1)");
        refused(lstm(&|c| c.with_output_dropout(rate)), "output_dropout", "in [0, 1)");
        refused(lstm(&|c| c.with_recurrent_dropout(rate)), "recurrent_dropout", "in [0, 1)");
        refused(lstm(&|c| c.with_candidate_dropout(rate)), "candidate_dropout", "in [0, 1)");
        refused(lstm(&|c| c.with_zoneout(rate, 0.0)), "zoneout_h", "in [0, 1)");
        refused(lstm(&|c| c.with_zoneout(0.0, rate)), "zoneout_c", "in [0, 1)");
        refused(lstm(&|c| c.with_weight_dropout(rate)), "weight_dropout", "in [0, 1)");
    }
    for bound in [0.0, -1.0, f32::INFINITY, f32::NAN] {
        refused(lstm(&|c| c.with_clip(bound)), "clip", "finite and above 0");
        refused(lstm(&|c| c.with_cell_clip(bound)), "cell_clip", "finite and above 0");
    }
    for size in [4, 5] {
        refused(lstm(&|c| c.with_proj_size(size)), "proj_size", "below hidden_size, 4");
    }
    refused(lstm(&|c| c.with_merge(Merge::Sum)), "merge", "Concat with one direction");
    refused(lstm(&|c| c.with_forget_lag(1.0)), "forget_bias", "at least 2 steps");
    let flat = Activation::HardSigmoid { alpha: 0.0, beta: 0.5 };
    refused(lstm(&|c| c.with_gate_activation(flat)), "gate_activation", "alpha other than 0");
    let falling = Activation::LeakyRelu { alpha: -0.1 };
    refused(lstm(&|c| c.with_candidate_activation(falling)), "candidate_activation", "alpha not below 0");
    let endless = Activation::Affine { alpha: f32::INFINITY, beta: 0.0 };
    refused(lstm(&|c| c.with_output_activation(endless)), "output_activation", "finite");

    let gru = |change: &dyn Fn(GruConfig) -> GruConfig| change(GruConfig::new(3, 4)).init(device, 1);
    let before = |c: GruConfig| c.with_reset_after(false).with_layer_norm(true);
    refused(gru(&before), "layer_norm", "resets after");
    let zoned_c = Regularization { zoneout_c: 0.1, ..Regularization::default() };
    refused(gru(&|c| c.with_regularization(zoned_c)), "zoneout_c", "only for an LSTM");
    let mgu = |change: &dyn Fn(MguConfig) -> MguConfig| change(MguConfig::new(3, 4)).init(device, 1);
    refused(mgu(&|c| c.with_regularization(zoned_c)), "zoneout_c", "only for an LSTM");
    let rnn = |change: &dyn Fn(RnnConfig) -> RnnConfig| change(RnnConfig::new(3, 4)).init(device, 1);
    refused(rnn(&|c| c.with_independent(true).with_layer_norm(true)), "layer_norm", "a recurrent product");
    let candidate = Regularization { candidate_dropout: 0.1, ..Regularization::default() };
    refused(rnn(&|c| c.with_regularization(candidate)), "candidate_dropout", "only for a cell with gates");
}
