//! Models written by hand: training, hostile files, and errors. Recorded files are in `tests/conformance`.

use super::Model;
use super::proto::{
    AttributeProto, DataType, Entry, GraphProto, ModelProto, NodeProto, OperatorSetId, TensorProto, ValueInfo,
};
use crate::{Error, Value};
use prost::Message;
use rnn_api::nn::Module;
use rnn_api::optim::SgdConfig;
use rnn_api::prelude::*;
use rnn_testing::data::{SplitMix64, changed_files, uniform};
use std::path::Path;

pub(super) fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let (name, dims, data_type) = (name.into(), dims.to_vec(), DataType::Float as i32);
    TensorProto { name, dims, data_type, raw_data: Some(raw), ..Default::default() }
}

pub(super) fn integers(name: &str, values: &[i64]) -> TensorProto {
    let (name, dims, data_type) = (name.into(), vec![values.len() as i64], DataType::Int64 as i32);
    TensorProto { name, dims, data_type, int64_data: values.to_vec(), ..Default::default() }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, ..Default::default() }
}

pub(super) fn node(op: &str, input: &[&str], output: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let (name, op_type) = (output[0].to_uppercase(), op.into());
    NodeProto { input: names(input), output: names(output), name, op_type, attribute, ..Default::default() }
}

pub(super) fn model(
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    input: &[&str],
    output: &[&str],
) -> Vec<u8> {
    let ports =
        |names: &[&str]| names.iter().map(|name| ValueInfo { name: (*name).into(), r#type: None }).collect();
    let graph =
        GraphProto { node, initializer, input: ports(input), output: ports(output), ..Default::default() };
    let opset_import = vec![OperatorSetId { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, opset_import, graph: Some(graph) }.encode_to_vec()
}

pub(super) fn parse(bytes: &[u8]) -> crate::Result<Model> {
    Model::parse(Path::new("m.onnx"), bytes, &Device::cpu())
}

fn refusal(bytes: &[u8]) -> String {
    match parse(bytes) {
        Err(error @ Error::File { .. }) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("expected an error"),
    }
}

const SIZES: (usize, usize, usize) = (3, 4, 2);

/// GRU(3 -> 4), last state, linear layer to 2 by a transposed weight.
pub(super) fn classifier() -> Vec<u8> {
    let nodes = vec![
        node(
            "GRU",
            &["x", "w", "r", "b"],
            &["", "h"],
            vec![int("hidden_size", 4), int("linear_before_reset", 1)],
        ),
        node("Squeeze", &["h", "axes"], &["last"], vec![]),
        node("Transpose", &["fc.weight"], &["turned"], vec![]),
        node("MatMul", &["last", "turned"], &["product"], vec![]),
        node("Add", &["product", "fc.bias"], &["y"], vec![]),
        node("Relu", &["product"], &["unused"], vec![]),
    ];
    let (i, h, o) = SIZES;
    let weights = vec![
        floats("w", &[1, 3 * h as i64, i as i64], &uniform(1, 3 * h * i)),
        floats("r", &[1, 3 * h as i64, h as i64], &uniform(2, 3 * h * h)),
        floats("b", &[1, 6 * h as i64], &uniform(3, 6 * h)),
        floats("fc.weight", &[o as i64, h as i64], &uniform(4, o * h)),
        floats("fc.bias", &[o as i64], &uniform(5, o)),
        integers("axes", &[0]),
    ];
    let mut nodes = nodes;
    nodes[0].name = "gru".into();
    model(nodes, weights, &["x"], &["y"])
}

/// One step of SGD on an imported model, and on the same layers made here.
#[test]
fn an_imported_model_trains() {
    let device = Device::cpu();
    let imported = parse(&classifier()).unwrap();
    let names: Vec<String> = imported.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["fc.bias", "turned", "gru.weight_ih_l0", "gru.weight_hh_l0", "gru.bias_ih_l0", "gru.bias_hh_l0"]
    );

    let (i, h, o) = SIZES;
    let gru = GruConfig::new(i, h).init(&device, 1).unwrap();
    gru.load_state_dict(&imported.layer::<Gru>("gru").unwrap().state_dict()).unwrap();
    let fc = LinearConfig::new(h, o).init(&device, 1).unwrap();
    fc.weight.set(&Tensor::from_slice(&device, &uniform(4, o * h), &[o, h]).unwrap()).unwrap();
    fc.bias.as_ref().unwrap().set(&Tensor::from_slice(&device, &uniform(5, o), &[o]).unwrap()).unwrap();

    let x = Tensor::from_slice(&device, &uniform(6, 5 * 2 * i), &[5, 2, i]).unwrap();
    let labels = Tensor::from_indices(&device, &[1, 0], &[2]).unwrap();
    let out = imported.run(&[("x", (&x).into())]).unwrap();
    let loss = out.tensor("y").unwrap().cross_entropy(&labels).unwrap();
    let mut sgd = SgdConfig::new(0.5).init(&imported).unwrap();
    sgd.step(&loss.backward().unwrap()).unwrap();

    let y = fc.forward(&gru.forward(&x, None).unwrap().last().unwrap()).unwrap();
    let own = y.cross_entropy(&labels).unwrap();
    assert!((own.item().unwrap() - loss.item().unwrap()).abs() < 1e-6);
    let mut sgd = SgdConfig::new(0.5).init(&(&gru, &fc)).unwrap();
    sgd.step(&own.backward().unwrap()).unwrap();

    let after = imported.state_dict();
    let near = |name: &str, want: &Tensor| {
        let (got, want) = (after[name].to_vec().unwrap(), want.to_vec().unwrap());
        let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-6, "{name} is off by {far:e}");
    };
    for (name, param) in gru.named_parameters() {
        near(&format!("gru.{name}"), &param.value());
    }
    near("turned", &fc.weight.value().transpose(0, 1).unwrap());
    near("fc.bias", &fc.bias.as_ref().unwrap().value());
}

#[test]
fn layers_and_outputs_are_found_by_name() {
    let model = parse(&classifier()).unwrap();
    assert_eq!(model.layers().len(), 1);
    let error = model.layer::<Lstm>("gru").map(drop).unwrap_err().to_string();
    assert_eq!(error, "`gru`: the layer is a Gru, expected an Lstm");
    let error = model.layer::<Gru>("rnn").map(drop).unwrap_err().to_string();
    assert_eq!(error, "`rnn`: no such layer; there are gru");
    let x = Tensor::zeros(&Device::cpu(), &[2, 1, 3]).unwrap();
    let error = model.run(&[("z", x.clone().into())]).map(drop).unwrap_err().to_string();
    assert!(error.contains("input `z`: no such input; there are x"), "{error}");
    let error = model.run(&[]).map(drop).unwrap_err().to_string();
    assert!(error.contains("input `x`: missing"), "{error}");
    let flat = x.reshape(&[2, 3]).unwrap();
    let error = model.run(&[("x", flat.into())]).map(drop).unwrap_err().to_string();
    assert!(error.contains("node `gru` (GRU): the input must have three axes, got [2, 3]"), "{error}");
    let wide = Tensor::zeros(&Device::cpu(), &[2, 1, 5]).unwrap();
    let error = model.run(&[("x", wide.into())]).map(drop).unwrap_err().to_string();
    assert!(error.contains("node `gru` (GRU)") && error.contains('5'), "{error}");
    let out = model.run(&[("x", x.into())]).unwrap();
    let error = out.tensor("z").map(drop).unwrap_err().to_string();
    assert_eq!(error, "`z`: no such output; there are y");
}

#[test]
fn every_unsupported_node_is_listed() {
    let nodes = vec![
        node("FancyOp", &["x"], &["a"], vec![]),
        node("Softmax", &["a"], &["b"], vec![int("strange", 1)]),
        node("LSTM", &["b", "w", "r"], &["c"], vec![int("direction", 3)]),
        node("Relu", &["later"], &["d"], vec![]),
        node("Add", &["c", "d"], &["y"], vec![]),
    ];
    let error = refusal(&model(nodes, vec![], &["x"], &["y", "z"]));
    for part in [
        "m.onnx: node `A` (FancyOp): the op is not supported",
        "node `B` (Softmax): attribute `strange` is not supported",
        "node `C` (LSTM): nothing before it computes `w`",
        "node `D` (Relu): nothing before it computes `later`",
        "output `z`: no node computes it",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("`Y`"), "{error}");
}

#[test]
fn hostile_models_are_refused() {
    let huge = node("ConstantOfShape", &["shape"], &["y"], vec![]);
    let error = refusal(&model(vec![huge], vec![integers("shape", &[1 << 40])], &[], &["y"]));
    assert!(error.contains("too many elements"), "{error}");
    let expand = node("Expand", &["x", "shape"], &["y"], vec![]);
    let one = floats("x", &[1], &[1.0]);
    let error = refusal(&model(vec![expand], vec![one, integers("shape", &[1 << 20, 1 << 20])], &[], &["y"]));
    assert!(error.contains("too many elements"), "{error}");
    // 2^15 rows and columns are small, their sum is not; and so are rows that are gathered.
    let long: Vec<i64> = vec![0; 1 << 15];
    let column = TensorProto { dims: vec![1 << 15, 1], ..integers("a", &long) };
    let sum = node("Add", &["a", "b"], &["y"], vec![]);
    let error = refusal(&model(vec![sum], vec![column, integers("b", &long)], &[], &["y"]));
    assert!(error.contains("[32768, 32768] has too many elements"), "{error}");
    let row = TensorProto { dims: vec![1, 1 << 15], ..integers("a", &long) };
    let gather = node("Gather", &["a", "b"], &["y"], vec![]);
    let error = refusal(&model(vec![gather], vec![row, integers("b", &long)], &[], &["y"]));
    assert!(error.contains("[32768, 32768] has too many elements"), "{error}");
    let sizes = TensorProto { dims: vec![1 << 40, 1 << 40], ..floats("x", &[], &[1.0]) };
    let copy = node("Identity", &["x"], &["y"], vec![]);
    let error = refusal(&model(vec![copy.clone()], vec![sizes], &[], &["y"]));
    assert!(error.contains("initialiser `x`: sizes [1099511627776, 1099511627776] are too large"), "{error}");
    let negative = TensorProto { dims: vec![-1], ..floats("x", &[], &[1.0]) };
    assert!(
        refusal(&model(vec![copy.clone()], vec![negative], &[], &["y"])).contains("must not be negative")
    );
    for location in ["/etc/passwd", "../secret", "a/../../secret"] {
        let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
        let outside = TensorProto {
            raw_data: None,
            data_location: 1,
            external_data: vec![entry("location", location)],
            ..floats("x", &[1], &[])
        };
        let error = refusal(&model(vec![copy.clone()], vec![outside], &[], &["y"]));
        assert!(error.contains("outside of the model's folder"), "{error}");
    }
    assert!(refusal(b"\x08\x08\x12\x07pytorch").contains("opset must be 7 to 22"));
    assert!(refusal(b"not a model").contains("not a whole ONNX model"));
}

/// Nodes of a few bytes that ask for memory, in ways that each alone looks small.
#[test]
fn sizes_that_a_file_makes_up_are_refused() {
    let lists = |of: &[(&str, &[i64])]| -> Vec<AttributeProto> {
        let list = |&(name, ints): &(&str, &[i64])| AttributeProto {
            name: name.into(),
            ints: ints.to_vec(),
            ..Default::default()
        };
        of.iter().map(list).collect()
    };
    // A window whose elements are views of what the padding adds.
    let long = 1 << 26;
    let window = lists(&[("kernel_shape", &[long]), ("pads", &[0, long])]);
    let pool = node("MaxPool", &["x"], &["y"], window);
    let x = floats("x", &[1, 1, 8], &[1.0; 8]);
    let error = refusal(&model(vec![pool], vec![x], &[], &["y"]));
    assert!(error.contains("too many elements"), "{error}");
    // Without elements no value gives a size away, but strides do.
    let none = |name: &str, dims: &[i64]| TensorProto { dims: dims.to_vec(), ..integers(name, &[]) };
    let turn = node("Transpose", &["x"], &["y"], vec![]);
    let error = refusal(&model(vec![turn], vec![none("x", &[0, 1 << 40, 1 << 40])], &[], &["y"]));
    assert!(
        error.contains("initialiser `x`: sizes [0, 1099511627776, 1099511627776] are too large"),
        "{error}"
    );
    let join = node("Concat", &["x", "x", "x", "x"], &["y"], vec![int("axis", 1)]);
    let error = refusal(&model(vec![join], vec![none("x", &[0, 1 << 62])], &[], &["y"]));
    assert!(error.contains("the joined axis is too long"), "{error}");
    let many = vec!["x"; 1 << 14];
    let join = node("Concat", &many, &["y"], vec![int("axis", 0)]);
    let error = refusal(&model(vec![join], vec![integers("x", &[7; 1 << 15])], &[], &["y"]));
    assert!(error.contains("[536870912] has too many elements"), "{error}");
    // Each of these constants is small enough, all of them are not.
    let truth = TensorProto {
        data_type: DataType::Bool as i32,
        dims: vec![1],
        int32_data: vec![1],
        ..Default::default()
    };
    let value =
        || vec![AttributeProto { name: "value".into(), t: Some(truth.clone()), ..Default::default() }];
    let names: Vec<String> = (0..17).map(|n| format!("y{n}")).collect();
    let nodes = names.iter().map(|name| node("ConstantOfShape", &["shape"], &[name], value())).collect();
    let error = refusal(&model(nodes, vec![integers("shape", &[1 << 24])], &[], &["y16"]));
    assert!(error.contains("node `Y16`") && error.contains("constants that nodes compute"), "{error}");
    assert!(!error.contains("`Y15`"), "{error}");
}

/// 2,000 models with one to four bytes changed; `RNN_FUZZ` sets another number. They load and run, or there is an error.
#[test]
fn changed_bytes_are_an_error_or_a_model() {
    let count = changed_files(2_000);
    let whole = classifier();
    let x = Tensor::zeros(&Device::cpu(), &[2, 1, 3]).unwrap();
    let (mut rng, mut errors) = (SplitMix64::new(7), 0);
    for n in 0..count {
        let mut bytes = whole.clone();
        for _ in 0..=rng.next_below(4) {
            let at = rng.next_below(bytes.len());
            bytes[at] = rng.next_below(256) as u8;
        }
        match parse(&bytes) {
            Ok(model) if n % 16 == 0 => drop(model.run(&[("x", Value::from(&x))])),
            Ok(_) => {}
            Err(error) => {
                assert!(!error.to_string().is_empty());
                errors += 1;
            }
        }
    }
    assert!(errors > count / 10, "{errors} of {count}");
    for length in (0..whole.len()).step_by(7) {
        drop(parse(&whole[..length]));
    }
}
