//! Models against what Keras 2 and 3 computed (`tools/reference/keras_models.py`), and configs that are wrong.

mod hostile;

use super::parts;
use crate::keras::config::{Settings, parse};
use crate::keras::hdf5::Array;
use crate::keras::layers::state_dict;
use crate::keras::weights::{Weight, Weights};
use crate::value::Value;
use crate::{Model, Outputs};
use rnn_api::nn::{Lstm, Module};
use rnn_api::optim::{Optimizer, SgdConfig};
use rnn_api::{Device, Gradients, Tensor, no_grad};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Sums of some terms in f32, as Keras computes, over five steps.
const BOUND: f32 = 2e-6;

fn cases() -> Vec<Json> {
    serde_json::from_str(include_str!("../../../tests/fixtures/keras.json")).unwrap()
}

fn case(name: &str) -> Json {
    cases().into_iter().find(|case| case["name"] == name).unwrap()
}

fn array(json: &Json) -> Array {
    let values = json["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32);
    let dims = json["dims"].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap() as usize);
    Array { dims: dims.collect(), values: values.collect() }
}

fn weights(json: &Json) -> Weights {
    let named = |(name, array): (usize, Array)| Weight { name: name.to_string(), array };
    let layers = json.as_object().unwrap().iter();
    let arrays = |json: &Json| json.as_array().unwrap().iter().map(array).enumerate().map(named).collect();
    layers.map(|(layer, json)| (layer.clone(), arrays(json))).collect()
}

fn model(case: &Json) -> Model {
    let config = parse(case["config"].as_str().unwrap(), case["version"].as_str()).unwrap();
    let device = Device::cpu();
    let parts = parts(&config, &weights(&case["weights"]), &device);
    let parts = parts.unwrap_or_else(|problems| panic!("{}: {problems:?}", case["name"]));
    Model::new(parts, &device).unwrap()
}

fn run(model: &Model, inputs: &Json, further: &[(&str, Value)]) -> Outputs {
    no_grad(|| outputs(model, inputs, further))
}

fn outputs(model: &Model, inputs: &Json, further: &[(&str, Value)]) -> Outputs {
    let arrays: Vec<Array> = inputs.as_array().unwrap().iter().map(array).collect();
    let value =
        |array: &Array| Tensor::from_slice(model.device(), &array.values, &array.dims).unwrap().into();
    let names = model.inputs().iter().map(|port| port.name.as_str());
    let mut inputs: Vec<(&str, Value)> = names.zip(arrays.iter().map(value)).collect();
    inputs.extend_from_slice(further);
    model.run(&inputs).unwrap()
}

/// The largest difference over the largest value.
fn error(got: &Value, want: &Json) -> f32 {
    let want = array(want);
    assert_eq!(got.dims(), want.dims);
    let got = got.float().unwrap_or_else(|why| panic!("{}", why.text())).to_vec().unwrap();
    let largest = want.values.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let far = got.iter().zip(&want.values).map(|(got, want)| (got - want).abs());
    far.fold(0.0, |worst: f32, far| if far.is_nan() { f32::INFINITY } else { worst.max(far) }) / largest
}

#[test]
fn models_compute_what_keras_computes() {
    let mut wrong = Vec::new();
    for case in cases() {
        let model = model(&case);
        let outputs = run(&model, &case["runs"][0]["inputs"], &[]);
        let expected = case["runs"][0]["outputs"].as_array().unwrap();
        for (port, want) in model.outputs().iter().zip(expected) {
            let far = error(&outputs[&port.name], want);
            if far > BOUND {
                wrong.push(format!("{}: {} is off by {far:e}", case["name"], port.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Models of Keras, written to ONNX and read again, give the same results. States that a run may leave out are zero.
#[cfg(feature = "onnx")]
#[test]
fn exported_models_compute_what_keras_computes() {
    let path = std::env::temp_dir().join(format!("rnn-interop-keras-{}.onnx", std::process::id()));
    let mut wrong = Vec::new();
    for case in cases() {
        let own = model(&case);
        crate::onnx::export_graph(&own, &path).unwrap();
        let model = Model::load(&path, &Device::cpu()).unwrap();
        let inputs = &case["runs"][0]["inputs"];
        let batch = array(&inputs[0]).dims[0];
        let zeros = own.inputs().iter().filter(|port| port.optional).map(|port| {
            let units = port.sizes.as_ref().unwrap()[2].parse().unwrap();
            (port.name.as_str(), Value::from(Tensor::zeros(&Device::cpu(), &[batch, 1, units]).unwrap()))
        });
        let outputs = run(&model, inputs, &zeros.collect::<Vec<_>>());
        let expected = case["runs"][0]["outputs"].as_array().unwrap();
        for (port, want) in model.outputs().iter().zip(expected) {
            let far = error(&outputs[&port.name], want);
            if far > BOUND {
                wrong.push(format!("{}: {} is off by {far:e}", case["name"], port.name));
            }
        }
        // A value of ONNX has one name and is made once.
        let names = model.inputs().iter().chain(model.outputs()).map(|port| &port.name);
        assert!(names.clone().collect::<BTreeSet<_>>().len() == names.count(), "{}", case["name"]);
    }
    std::fs::remove_file(&path).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The gradients of the loss of `tools/reference/keras_models.py`.
fn gradients(model: &Model, inputs: &Json) -> Gradients {
    let outputs = outputs(model, inputs, &[]);
    let squares = outputs.iter().map(|(_, y)| {
        let y = y.float().unwrap_or_else(|why| panic!("{}", why.text()));
        y.mul(y).unwrap().mean_all().unwrap()
    });
    squares.reduce(|a, b| a.add(&b).unwrap()).unwrap().backward().unwrap()
}

/// The gradient of each weight in Keras as that of a parameter here.
fn expected_gradients(case: &Json) -> Vec<(String, Tensor)> {
    let config = parse(case["config"].as_str().unwrap(), case["version"].as_str()).unwrap();
    let mut expected = Vec::new();
    for (name, arrays) in weights(&case["gradients"]) {
        let layer = config.layers.iter().find(|layer| layer.name == name).unwrap();
        let dict = state_dict(layer, &arrays, &Device::cpu()).unwrap();
        expected.extend(
            dict.into_iter().map(|(param, array)| (format!("{name}.{param}"), Tensor::from_array(array))),
        );
    }
    expected
}

#[test]
fn gradients_are_those_of_keras() {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for case in cases().iter().filter(|case| case["gradients"].is_object()) {
        let model = model(case);
        let found = gradients(&model, &case["runs"][0]["inputs"]);
        let expected = expected_gradients(case);
        for (path, param) in model.named_parameters().into_iter().filter(|(_, param)| param.is_trainable()) {
            // Cells of their own for both directions.
            let name = path.replace(".forward.", ".");
            let name =
                if name.contains(".backward.") { name.replace(".backward.", ".") + "_reverse" } else { name };
            let (_, want) = expected.iter().find(|(known, _)| *known == name).unwrap();
            let got =
                found.get(&param).map_or_else(|| vec![0.0; param.len()], |tensor| tensor.to_vec().unwrap());
            let want = want.to_vec().unwrap();
            let largest = want.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
            let far = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
            // Sums over steps and rows, some of which cancel.
            if far > 1e-5 * largest {
                wrong.push(format!("{}: {path} is off by {far:e} of {largest:e}", case["name"]));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty() && compared > 100, "{compared} compared\n{}", wrong.join("\n"));
}

#[test]
fn a_trained_model_is_saved_and_loaded() {
    let case = case("keras_3_masks_meet");
    let (trained_one, fresh) = (model(&case), model(&case));
    let inputs = &case["runs"][0]["inputs"];
    let step = gradients(&trained_one, inputs);
    SgdConfig::new(0.1).init(&trained_one).unwrap().step(&step).unwrap();
    let state =
        trained_one.named_parameters().into_iter().map(|(name, param)| (name, param.value().into_array()));
    fresh.load_state_dict(&state.collect()).unwrap();
    let (a, b) = (run(&trained_one, inputs, &[]), run(&fresh, inputs, &[]));
    for port in fresh.outputs() {
        let [a, b] = [&a, &b].map(|outputs| outputs.tensor(&port.name).unwrap().to_vec().unwrap());
        assert_eq!(a, b, "{}", port.name);
    }
}

#[test]
fn a_stateful_layer_goes_on_from_given_states() {
    for name in ["keras_2_stateful", "keras_3_stateful"] {
        let case = case(name);
        let model = model(&case);
        let first = run(&model, &case["runs"][0]["inputs"], &[]);
        let states = ["carried.h", "carried.c"].map(|name| (name, first[name].clone()));
        let second = run(&model, &case["runs"][1]["inputs"], &states);
        assert!(error(&second["carried"], &case["runs"][1]["outputs"][0]) < BOUND, "{name}");
        let afresh = run(&model, &case["runs"][1]["inputs"], &[]);
        assert!(error(&afresh["carried"], &case["runs"][1]["outputs"][0]) > 0.01, "{name}");
    }
}

#[test]
fn calls_of_one_layer_share_its_parameters() {
    let model = model(&case("keras_3_masks_meet"));
    let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("shared")).count(), 4, "{names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    let layer: Lstm = model.layer("shared").unwrap();
    assert_eq!(layer.spec().hidden_size, 2);
}

#[test]
fn a_second_bias_that_keras_lacks_is_not_trained() {
    let trained = |name: &str, bias: &str| {
        let params = model(&case(name)).named_parameters();
        params
            .iter()
            .filter(|(path, _)| path.contains(bias))
            .map(|(_, param)| param.is_trainable())
            .collect::<Vec<_>>()
    };
    assert_eq!(trained("keras_3_holes", "lstm.bias_hh"), [false]);
    assert_eq!(trained("keras_3_holes", "lstm.bias_ih"), [true]);
    // Two rows of biases.
    assert_eq!(trained("keras_3_holes", "gru.bias_hh"), [true]);
    assert_eq!(trained("keras_3_gru_reset_before", "gru_1.bias_hh"), [false]);
    assert_eq!(trained("keras_3_holes", "simple_rnn.bias"), [false; 0]);
}

/// The problems of a Sequential model without weights.
fn problems(layers: &str) -> Vec<String> {
    let config = format!(r#"{{"class_name": "Sequential", "config": [{layers}]}}"#);
    let model = parse(&config, Some("2.15.0")).unwrap();
    parts(&model, &Weights::new(), &Device::cpu()).map(|_| ()).unwrap_err()
}

#[test]
fn everything_that_is_not_supported_is_listed_at_once() {
    let found = problems(
        r#"{"class_name": "Conv1D", "config": {"name": "a"}},
        {"class_name": "LSTM", "config": {"name": "b", "units": 2, "time_major": true}},
        {"class_name": "Flatten", "config": {"name": "c", "data_format": "channels_first"}},
        {"class_name": "Activation", "config": {"name": "d", "activation": "own"}},
        {"class_name": "TimeDistributed", "config": {"name": "e", "layer": {"class_name": "Lambda", "config": {"name": "f"}}}},
        {"class_name": "TimeDistributed", "config": {"name": "g", "layer": {"class_name": "Flatten", "config": {"name": "h"}}}},
        {"class_name": "LSTM", "registered_name": "mine>LSTM", "config": {"name": "i", "units": 2}},
        {"class_name": "Bidirectional", "config": {"name": "j", "layer":
            {"class_name": "GRU", "config": {"name": "k", "units": 2, "go_backwards": true}}}},
        {"class_name": "Dense", "config": {"name": "l", "units": 2}}"#,
    );
    assert_eq!(
        found,
        [
            "layer `a` (Conv1D): the class is not supported",
            "layer `b` (LSTM): `time_major` true is not supported",
            "layer `c` (Flatten): `data_format` \"channels_first\" is not supported",
            "layer `d` (Activation): `activation` `own` is not supported",
            "layer `e` (TimeDistributed): its layer `f` (Lambda): the class is not supported",
            "layer `g` (TimeDistributed): its layer `h` (Flatten) is not supported there",
            "layer `i` (LSTM): the class of `mine>LSTM` is not supported",
            "layer `j` (Bidirectional): expected one layer forwards and one backwards",
            "layer `l` (Dense): a Dense layer must have 2 arrays, got 0",
        ]
    );
}

/// The problems of the masked model of states with its config changed.
fn changed(from: &str, to: &str) -> String {
    let case = case("keras_3_states");
    let text = case["config"].as_str().unwrap();
    assert!(text.contains(from), "{text}");
    let config = match parse(&text.replace(from, to), Some("3.0.0")) {
        Ok(config) => config,
        Err(error) => return error,
    };
    let parts = parts(&config, &weights(&case["weights"]), &Device::cpu());
    parts.map(|_| ()).unwrap_err().join("; ")
}

#[test]
fn graphs_that_cannot_run_are_refused() {
    for (from, to, expected) in [
        (r#"["masked_x", 0, 0]"#, r#"["encoder", 0, 0]"#, "in a cycle, or wait for one: `encoder`"),
        (r#"["encoder", 0, 2]"#, r#"["encoder", 0, 3]"#, "reads output 3 of `encoder`, which has 3"),
        (
            r#"["encoder", 0, 2]"#,
            r#"["encoder", 7, 2]"#,
            "reads call 7 of `encoder`, which is not in the file",
        ),
        (r#"["encoder", 0, 2]"#, r#"["nobody", 0, 2]"#, "refers to `nobody`"),
        (r#""units": 3"#, r#""units": 4611686018427387904"#, "units are too many"),
        (r#""units": 3"#, r#""units": 4"#, "the kernel must be [any, 16], got [2, 12]"),
        (
            r#""activation": "tanh""#,
            r#""activation": "softmax""#,
            "`activation` `softmax` is not supported in a cell",
        ),
        (r#""args": ["#, r#""args": [{"keras_history": ["y", 0, 0]}, "#, "expected one input, got 2"),
        (r#""kwargs": {}"#, r#""kwargs": {"training": true}"#, "the argument `training` of a call"),
    ] {
        let found = changed(from, to);
        assert!(found.contains(expected), "{to}: {found}");
    }
}

#[test]
fn products_with_masks_are_refused_in_keras_3_alone() {
    for (name, refused) in [("keras_3_masks_meet", true), ("keras_2_masks_meet", false)] {
        let case = case(name);
        let text =
            case["config"].as_str().unwrap().replace(r#""class_name": "Add""#, r#""class_name": "Multiply""#);
        let config = parse(&text, case["version"].as_str()).unwrap();
        let made = parts(&config, &weights(&case["weights"]), &Device::cpu()).map(|_| ());
        match refused {
            true => assert!(made.unwrap_err()[0].contains("layer `add` (Multiply): its inputs have masks")),
            false => made.unwrap(),
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let model = model(&case("keras_3_masks_meet"));
    let of = |dims: &[usize], value: f32| Value::from(Tensor::full(model.device(), dims, value).unwrap());
    let run = |b: Value, ids: Value| {
        let inputs = [("a", of(&[4, 5, 2], 1.0)), ("b", b), ("ids", ids)];
        model.run(&inputs).map(|_| ()).unwrap_err().to_string()
    };
    let error = run(of(&[4, 5, 2], 1.0), of(&[4, 5], 7.0));
    assert!(error.contains("`table` (Embedding): ids must be whole numbers from 0 to 6, got 7"), "{error}");
    let error = run(of(&[4, 5, 2], 1.0), of(&[4, 5], f32::NAN));
    assert!(error.contains("got NaN"), "{error}");
    let error = run(of(&[4, 5, 3], 1.0), of(&[4, 5], 1.0));
    assert!(error.contains("`shared` (LSTM)"), "{error}");
    let error = model.run(&[("a", of(&[4, 5, 2], 1.0))]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("input `b`: missing, expected [B, 5, 2]"), "{error}");
}

#[test]
fn unknown_layers_are_in_the_description() {
    let config =
        r#"{"class_name": "Sequential", "config": [{"class_name": "Conv1D", "config": {"name": "a"}}]}"#;
    let layers = parse(config, None).unwrap().layers;
    assert_eq!(layers[0].settings, Settings::Unsupported("the class is not supported".to_string()));
}
