//! Configs as the versions of Keras write them.

use super::{Call, Merge, Model, RecurrentKind, Settings, Source, parse};

fn sequential(layers: &str) -> String {
    format!(r#"{{"class_name": "Sequential", "config": [{layers}]}}"#)
}

fn first(layers: &str, version: Option<&str>) -> Settings {
    parse(&sequential(layers), version).unwrap().layers.remove(0).settings
}

#[test]
fn keras_1_has_names_of_its_own() {
    let lstm = r#"{"class_name": "LSTM", "config": {"name": "a", "output_dim": 3, "inner_activation": "sigmoid",
        "dropout_W": 0.25, "go_backwards": true}}"#;
    let Settings::Recurrent(lstm) = first(lstm, Some("1.2.2")) else { panic!() };
    assert_eq!((lstm.kind, lstm.units, lstm.dropout), (RecurrentKind::Lstm, 3, 0.25));
    assert_eq!((&*lstm.activation, &*lstm.recurrent_activation), ("tanh", "sigmoid"));
    assert!(lstm.go_backwards && lstm.use_bias && !lstm.return_sequences);
    let dense = r#"{"class_name": "Dense", "config": {"name": "d", "output_dim": 2, "bias": false}}"#;
    let expected = Settings::Dense { units: 2, activation: "linear".to_string(), use_bias: false };
    assert_eq!(first(dense, Some("1.2.2")), expected);
}

#[test]
fn defaults_are_those_of_the_version() {
    let gru = r#"{"class_name": "GRU", "config": {"name": "g", "units": 4}}"#;
    for (version, gates, reset_after) in [
        (Some("1.0.8"), "hard_sigmoid", false),
        (Some("2.2.4-tf"), "hard_sigmoid", false),
        (None, "hard_sigmoid", false),
        (Some("3.1.0"), "sigmoid", true),
    ] {
        let Settings::Recurrent(gru) = first(gru, version) else { panic!() };
        assert_eq!((&*gru.recurrent_activation, gru.reset_after), (gates, reset_after), "{version:?}");
    }
}

#[test]
fn a_backward_layer_is_the_forward_one_reversed() {
    let layer = r#"{"class_name": "Bidirectional", "config": {"name": "b", "merge_mode": null, "layer":
        {"class_name": "LSTM", "config": {"name": "l", "units": 4, "return_sequences": true}}}}"#;
    let Settings::Bidirectional(both) = first(layer, Some("2.3.1")) else { panic!() };
    assert_eq!(both.merge, Merge::Separate);
    assert!(!both.forward.go_backwards && both.backward.go_backwards && both.backward.return_sequences);
}

fn functional(inbound: &str) -> Result<Model, String> {
    let text = format!(
        r#"{{"class_name": "Functional", "config": {{"layers": [
        {{"class_name": "InputLayer", "name": "x", "config": {{"name": "x", "batch_shape": [null, 7]}}, "inbound_nodes": []}},
        {{"class_name": "Dense", "name": "y", "config": {{"name": "y", "units": 1}}, "inbound_nodes": {inbound}}}],
        "input_layers": ["x", 0, 0], "output_layers": [["y", 0, 0]]}}}}"#
    );
    parse(&text, Some("3.0.0"))
}

#[test]
fn links_of_all_versions_are_read() {
    let old = r#"[[["x", 0, 0, {}]]]"#;
    let new = r#"[{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 7], "dtype": "float32",
        "keras_history": ["x", 0, 0]}}], "kwargs": {"mask": null}}]"#;
    for inbound in [old, new] {
        let model = functional(inbound).unwrap();
        let source = |layer: &str| Source { layer: layer.to_string(), node: 0, tensor: 0 };
        assert_eq!(model.layers[1].inbound, [Call::of("x")]);
        assert_eq!((&model.inputs[..], &model.outputs[..]), (&[source("x")][..], &[source("y")][..]));
        assert_eq!(model.layers[0].input_shape, Some(vec![None, Some(7)]));
    }
    let error = functional(r#"[[["z", 0, 0, {}]]]"#).unwrap_err();
    assert!(error.contains("refers to `z`"), "{error}");
}
