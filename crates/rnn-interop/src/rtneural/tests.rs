//! Files as RTNeural's exporter writes them: arrays of Keras, which are transposed, with gates i, f, c, o and z, r, h.

use super::from_json;
use rnn_api::Array;
use rnn_api::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `[rows, columns]` as nested lists, transposed, with blocks of `columns` in another order.
fn kernel(array: &Array, order: &[usize]) -> Value {
    let (values, [rows, columns]) = (array.to_vec().unwrap(), [array.dims()[0], array.dims()[1]]);
    let block = rows / order.len();
    let rows: Vec<usize> = order.iter().flat_map(|gate| gate * block..(gate + 1) * block).collect();
    json!(
        (0..columns)
            .map(|k| rows.iter().map(|row| values[row * columns + k]).collect())
            .collect::<Vec<Vec<f32>>>()
    )
}

fn bias(array: &Array, order: &[usize]) -> Vec<f32> {
    let values = array.to_vec().unwrap();
    let block = values.len() / order.len();
    order.iter().flat_map(|gate| values[gate * block..(gate + 1) * block].to_vec()).collect()
}

fn layer(class: &str, activation: &str, width: usize, weights: &[Value]) -> Value {
    json!({"type": class, "activation": activation, "shape": [null, null, width], "weights": weights})
}

fn lstm(dict: &BTreeMap<String, Array>, width: usize) -> Value {
    let order = [0, 1, 2, 3];
    let [ih, hh] = ["bias_ih_l0", "bias_hh_l0"].map(|name| bias(&dict[name], &order));
    let sum: Vec<f32> = ih.iter().zip(&hh).map(|(a, b)| a + b).collect();
    let kernels = ["weight_ih_l0", "weight_hh_l0"].map(|name| kernel(&dict[name], &order));
    layer("lstm", "tanh", width, &[kernels[0].clone(), kernels[1].clone(), json!(sum)])
}

fn gru(dict: &BTreeMap<String, Array>, width: usize) -> Value {
    let order = [1, 0, 2];
    let biases = ["bias_ih_l0", "bias_hh_l0"].map(|name| bias(&dict[name], &order));
    let kernels = ["weight_ih_l0", "weight_hh_l0"].map(|name| kernel(&dict[name], &order));
    layer("gru", "tanh", width, &[kernels[0].clone(), kernels[1].clone(), json!(biases)])
}

fn dense(dict: &BTreeMap<String, Array>, width: usize, class: &str, activation: &str) -> Value {
    layer(class, activation, width, &[kernel(&dict["weight"], &[0]), json!(dict["bias"].to_vec().unwrap())])
}

fn file(inputs: usize, layers: &[Value]) -> String {
    json!({"in_shape": [null, null, inputs], "layers": layers}).to_string()
}

#[test]
fn a_network_of_all_layers_agrees_with_the_same_layers_here() {
    let device = Device::cpu();
    let first = LstmConfig::new(2, 7).init(&device, 1).unwrap();
    let second = GruConfig::new(7, 5).init(&device, 2).unwrap();
    let [inner, last] =
        [(5, 6, 3), (6, 2, 4)].map(|(i, o, seed)| LinearConfig::new(i, o).init(&device, seed).unwrap());
    let text = file(
        2,
        &[
            lstm(&first.state_dict(), 7),
            gru(&second.state_dict(), 5),
            dense(&inner.state_dict(), 6, "time-distributed-dense", "sigmoid"),
            layer("activation", "elu", 6, &[]),
            dense(&last.state_dict(), 2, "dense", "softmax"),
        ],
    );
    let x: Vec<f32> = (0..24).map(|k| (k as f32 * 0.7).sin()).collect();
    let mut y = vec![0.0; 24];
    from_json(&text).unwrap().process(&x, &mut y).unwrap();
    let h = first.forward(&Tensor::from_slice(&device, &x, &[12, 1, 2]).unwrap(), None).unwrap().y;
    let h = second.forward(&h, None).unwrap().y;
    // ELU of a sigmoid is that sigmoid.
    let h = inner.forward(&h).unwrap().unary(UnaryOp::Sigmoid).unwrap();
    let want = last.forward(&h).unwrap().softmax().unwrap().to_vec().unwrap();
    for (got, want) in y.iter().zip(want) {
        // The biases of the LSTM are added in another order, in f32.
        assert!((got - want).abs() < 2e-6, "{got} {want}");
    }
}

#[test]
fn activations_are_those_of_keras() {
    let x = [-0.75f32, 0.5];
    let sum: f64 = x.iter().map(|&x| f64::from(x).exp()).sum();
    type Function = fn(f64) -> f64;
    let cases: [(&str, Function); 5] = [
        ("", |x| x),
        ("tanh", f64::tanh),
        ("relu", |x| x.max(0.0)),
        ("sigmoid", |x| 1.0 / (1.0 + (-x).exp())),
        ("elu", |x| if x < 0.0 { x.exp() - 1.0 } else { x }),
    ];
    let run = |name: &str| {
        let mut y = [0.0; 2];
        from_json(&file(2, &[layer("activation", name, 2, &[])])).unwrap().process(&x, &mut y).unwrap();
        y.map(f64::from)
    };
    for (name, f) in cases {
        for (got, x) in run(name).iter().zip(x) {
            assert!((got - f(f64::from(x))).abs() < 1e-6, "{name}");
        }
    }
    assert!((run("softmax")[0] - f64::from(x[0]).exp() / sum).abs() < 1e-6);
}

fn refused(text: &str, part: &str) {
    let error = from_json(text).map(drop).unwrap_err().to_string();
    assert!(error.contains(part), "{part:?} is not in {error:?}");
}

#[test]
fn what_is_not_supported_is_listed_by_name() {
    let conv = layer("conv1d", "tanh", 2, &[]);
    let text = file(1, &[conv, layer("dense", "swish", 1, &[json!([[1.0]])]), layer("prelu", "", 1, &[])]);
    for part in [
        "layer 0: layers of type `conv1d`",
        "layer 1: the activation `swish`",
        "layer 2: layers of type `prelu`",
    ] {
        refused(&text, part);
    }
    let kernels = [json!([[0.0, 0.0, 0.0]]), json!([[0.0, 0.0, 0.0]])];
    let one_bias = [&kernels[..], &[json!([0.0, 0.0, 0.0])]].concat();
    refused(&file(1, &[layer("gru", "tanh", 1, &one_bias)]), "reset_after");
    refused(&file(1, &[layer("gru", "relu", 1, &kernels)]), "activation `relu`");
}

#[test]
fn damaged_files_are_refused() {
    refused("{", "EOF");
    refused("[]", "in_shape");
    refused(r#"{"in_shape": [null, null], "layers": []}"#, "in_shape");
    refused(r#"{"in_shape": [0], "layers": []}"#, "in_shape");
    refused(r#"{"in_shape": [1]}"#, "layers");
    let dense = |weights: &[Value]| file(2, &[layer("dense", "", 1, weights)]);
    refused(&dense(&[]), "1 arrays");
    refused(&dense(&[json!([[1.0], [1.0, 2.0]])]), "equal lengths");
    refused(&dense(&[json!([[1.0], ["a"]])]), "numbers");
    refused(&dense(&[json!([[1e60], [1.0]])]), "beyond f32");
    refused(&dense(&[json!([[], [1.0]])]), "empty list");
    refused(&dense(&[json!([[1.0]])]), "for 1 inputs, it has 2");
    refused(&dense(&[json!([[1.0], [1.0]]), json!([1.0, 2.0])]), "the bias must be [1]");
    let kernels = [json!([[0.0, 0.0, 0.0, 0.0]]), json!([[0.0]])];
    refused(&file(1, &[layer("lstm", "", 1, &kernels)]), "recurrent kernel");
    refused(&file(1, &[json!({"type": "lstm", "shape": [1e30]})]), "shape");
    refused(&file(1, &[layer("lstm", "", usize::MAX, &kernels)]), "too many");
    assert!(matches!(super::load("no such file"), Err(crate::Error::Io { .. })));
}

/// Numbers of a few bytes that ask for memory: they are refused before it is taken.
#[test]
fn widths_beyond_the_memory_are_refused() {
    for width in [1u64 << 40, 1 << 62, u64::MAX] {
        let shaped = |layer: Value| json!({"in_shape": [width], "layers": [layer]}).to_string();
        for activation in ["tanh", "softmax", ""] {
            let layer = json!({"type": "activation", "activation": activation, "shape": [width]});
            refused(&shaped(layer), &width.to_string());
        }
        refused(&json!({"in_shape": [width], "layers": []}).to_string(), &width.to_string());
        let weights = json!([[[1.0]], [0.0]]);
        for class in ["dense", "lstm", "gru", "activation"] {
            let layer =
                json!({"type": class, "activation": "tanh", "shape": [width], "weights": weights.clone()});
            assert!(from_json(&json!({"in_shape": [1], "layers": [layer]}).to_string()).is_err(), "{class}");
        }
    }
}
