//! Small arrays whose values tell where they came from.

use super::*;

fn weight(name: &str, dims: &[usize], from: usize) -> Weight {
    let values = (0..dims.iter().product()).map(|n| (from + n) as f32).collect();
    Weight { name: name.to_string(), array: Array { dims: dims.to_vec(), values } }
}

fn settings(kind: RecurrentKind, units: usize, reset_after: bool) -> Recurrent {
    let (activation, recurrent_activation) = ("tanh".to_string(), "sigmoid".to_string());
    let (dropout, recurrent_dropout) = (0.0, 0.0);
    let (return_sequences, return_state, go_backwards, stateful) = (false, false, false, false);
    let (use_bias, zero_output_for_mask) = (true, false);
    #[rustfmt::skip]
    return Recurrent {
        kind, units, activation, recurrent_activation, use_bias, reset_after, return_sequences, return_state,
        go_backwards, stateful, zero_output_for_mask, dropout, recurrent_dropout,
    };
}

#[test]
fn gates_of_a_gru_change_places() {
    let weights = [weight("k", &[2, 3], 0), weight("r", &[1, 3], 10), weight("b", &[2, 3], 20)];
    let gru = cell(&settings(RecurrentKind::Gru, 1, true), &weights).unwrap();
    assert_eq!(gru.weight_ih, [1.0, 4.0, 0.0, 3.0, 2.0, 5.0]);
    assert_eq!(gru.weight_hh, [11.0, 10.0, 12.0]);
    assert_eq!((gru.bias_ih, gru.bias_hh), (vec![21.0, 20.0, 22.0], vec![24.0, 23.0, 25.0]));
    let error = cell(&settings(RecurrentKind::Gru, 1, false), &weights).unwrap_err();
    assert_eq!(error, "the bias must be [3], got [2, 3]");
}

#[test]
fn gates_of_keras_1_are_found_by_name() {
    let of = |gate: &str, n: usize| {
        [("W", [2, 1].to_vec(), 0), ("U", vec![1, 1], 2), ("b", vec![1], 3)]
            .map(|(letter, dims, from)| weight(&format!("lstm_1_{letter}_{gate}:0"), &dims, 10 * n + from))
    };
    let weights = [of("i", 0), of("c", 1), of("f", 2), of("o", 3)].concat();
    let lstm = cell(&settings(RecurrentKind::Lstm, 1, false), &weights).unwrap();
    assert_eq!(lstm.weight_ih, [0.0, 1.0, 20.0, 21.0, 10.0, 11.0, 30.0, 31.0]);
    assert_eq!(lstm.weight_hh, [2.0, 22.0, 12.0, 32.0]);
    assert_eq!((lstm.bias_ih, lstm.bias_hh), (vec![3.0, 23.0, 13.0, 33.0], vec![0.0; 4]));
    let mut other = weights;
    other[0].name = "param_0".to_string();
    let error = cell(&settings(RecurrentKind::Lstm, 1, false), &other).unwrap_err();
    assert_eq!(error, "expected one array whose name ends in `_W_i`");
}

#[test]
fn wrong_dimensions_are_named() {
    let weights = [weight("k", &[2, 8], 0), weight("r", &[3, 8], 0), weight("b", &[8], 0)];
    let error = cell(&settings(RecurrentKind::Lstm, 2, false), &weights).unwrap_err();
    assert_eq!(error, "the recurrent kernel must be [2, 8], got [3, 8]");
    let error = cell(&settings(RecurrentKind::SimpleRnn, 8, false), &weights[..2]).unwrap_err();
    assert_eq!(error, "a recurrent layer must have 3 arrays, got 2");
    let (kernel, bias) = dense(2, false, &[weight("k", &[3, 2], 0)]).unwrap();
    assert_eq!((kernel, bias), (vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0], None));
}
