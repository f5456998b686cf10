//! Models that are read, written and read again compute the same.

use super::super::super::proto::{
    AttributeProto, DataType, Dimension, GraphProto, ModelProto, NodeProto, ShapeProto, TensorProto,
    TensorType, TypeProto, ValueInfo,
};
use super::super::super::tests::{classifier, floats, int, integers, model, node, parse};
use super::super::nodes::{float, graph, ints, text};
use super::export_graph;
use crate::{Model, Value};
use prost::Message;
use rnn_api::nn::Module;
use rnn_api::prelude::*;
use rnn_testing::data::uniform;
use std::path::PathBuf;

struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        File(std::env::temp_dir().join(format!("rnn-interop-graph-{}-{name}.onnx", std::process::id())))
    }

    /// The file's opset, and the model that it holds.
    fn read(&self) -> (i64, ModelProto, Model) {
        let bytes = std::fs::read(&self.0).unwrap();
        let proto = ModelProto::decode(&*bytes).unwrap();
        (proto.opset_import[0].version, proto, Model::load(&self.0, &Device::cpu()).unwrap())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Numbers of any type, which f64 holds.
fn numbers(value: &Value) -> (Vec<usize>, Vec<f64>) {
    let values = match value {
        Value::Float(tensor) => tensor.to_vec().unwrap().into_iter().map(f64::from).collect(),
        Value::Int(host) => host.values.iter().map(|&value| value as f64).collect(),
        Value::Bool(host) => host.values.iter().map(|&value| f64::from(u8::from(value))).collect(),
    };
    (value.dims().to_vec(), values)
}

/// The model by way of a file computes the same numbers; the opset of the file.
fn same_results(name: &str, own: &Model, inputs: &[(&str, Value)]) -> i64 {
    let file = File::new(name);
    export_graph(own, &file.0).unwrap();
    let (opset, _, again) = file.read();
    let (want, got) = (own.run(inputs).unwrap(), again.run(inputs).unwrap());
    for port in own.outputs() {
        assert_eq!(numbers(&got[&port.name]), numbers(&want[&port.name]), "{name}: {}", port.name);
    }
    opset
}

fn x() -> Value {
    Tensor::from_slice(&Device::cpu(), &uniform(3, 24), &[2, 3, 4]).unwrap().into()
}

/// One node from x `[2, 3, 4]` and constants to y.
fn one(op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    node(op, inputs, &["y"], attributes)
}

#[test]
fn every_op_comes_back() {
    let weights = || {
        vec![
            floats("a", &[2, 3, 4], &uniform(5, 24)),
            floats("matrix", &[4, 2], &uniform(6, 8)),
            floats("matrix4", &[2, 4], &uniform(9, 8)),
            floats("kernel", &[2, 3, 2], &uniform(7, 12)),
            floats("four", &[4], &uniform(8, 4)),
            floats("half", &[], &[0.5]),
            floats("two", &[], &[2.0]),
            integers("one_axis", &[1]),
            integers("sizes", &[1, 3]),
            integers("pads", &[0, 1, 0, 0, 0, 2]),
            integers("rows", &[1, 0, 1]),
            integers("shape", &[2, -1]),
            integers("wide", &[2, 2, 3, 4]),
        ]
    };
    let cases = vec![
        (17, one("Softplus", &["x"], vec![])),
        (17, one("Erf", &["x"], vec![])),
        (20, one("Gelu", &["x"], vec![text("approximate", "tanh")])),
        (17, one("HardSigmoid", &["x"], vec![float("alpha", 0.3), float("beta", 0.4)])),
        (17, one("LeakyRelu", &["x"], vec![float("alpha", 0.3)])),
        (17, one("Elu", &["x"], vec![float("alpha", 0.3)])),
        (17, one("Reciprocal", &["x"], vec![])),
        (17, one("Sum", &["x", "a", "four"], vec![])),
        (17, one("Sum", &["x"], vec![])),
        (17, one("Max", &["x", "a", "four"], vec![])),
        (17, one("Pow", &["x", "two"], vec![])),
        (17, one("Clip", &["x"], vec![float("min", -0.25)])),
        (17, one("Clip", &["x", "", "half"], vec![])),
        (17, one("Gemm", &["matrix", "flat"], vec![float("alpha", 0.5), int("transA", 1)])),
        (17, one("Conv", &["x", "kernel"], vec![ints("pads", &[1, 0]), ints("strides", &[2])])),
        (17, one("MaxPool", &["x"], vec![ints("kernel_shape", &[2])])),
        (17, one("LogSoftmax", &["x"], vec![int("axis", 1)])),
        (17, one("LayerNormalization", &["x", "four"], vec![float("epsilon", 0.1)])),
        (17, one("ReduceMean", &["x"], vec![ints("axes", &[0, 2]), int("keepdims", 0)])),
        (17, one("ReduceMax", &["x", "one_axis"], vec![])),
        (18, one("ReduceMin", &["x", "counted"], vec![])),
        (17, one("ReduceSum", &["x", "counted"], vec![int("keepdims", 0)])),
        (17, one("ReduceL2", &["x"], vec![int("noop_with_empty_axes", 1)])),
        (17, one("ReduceProd", &["dims"], vec![int("keepdims", 0)])),
        (17, one("ArgMax", &["x"], vec![int("axis", 2), int("keepdims", 0)])),
        (17, one("Size", &["x"], vec![])),
        (17, one("Shape", &["x"], vec![int("start", 1), int("end", -1)])),
        (17, one("Mod", &["rows", "dims"], vec![])),
        (17, one("ConstantOfShape", &["dims"], vec![])),
        (17, one("Gather", &["x", "rows"], vec![int("axis", 1)])),
        (17, one("Slice", &["x"], vec![ints("starts", &[1]), ints("ends", &[-1]), ints("axes", &[2])])),
        (17, node("Split", &["x", "sizes"], &["y", "z"], vec![int("axis", 2)])),
        (18, node("Split", &["x"], &["y", "z"], vec![int("axis", 2)])),
        (17, one("Pad", &["x"], vec![ints("pads", &[0, 1, 0, 0, 0, 2]), float("value", 0.5)])),
        (17, one("Pad", &["x", "pads", "half"], vec![])),
        (18, one("Pad", &["x", "sizes", "half", "one_axis"], vec![])),
        (17, one("Reshape", &["x", "shape"], vec![])),
        (17, one("Flatten", &["x"], vec![int("axis", 2)])),
        (17, one("Transpose", &["x"], vec![ints("perm", &[2, 0, 1])])),
        (17, one("Expand", &["x", "wide"], vec![])),
        (17, one("Unsqueeze", &["x"], vec![ints("axes", &[1])])),
        (17, one("Where", &["less", "x", "a"], vec![])),
        (17, one("Equal", &["x", "one_axis"], vec![])),
        (17, one("And", &["less", "less"], vec![])),
        (17, one("DynamicQuantizeLinear", &["x"], vec![])),
        (17, one("Identity", &["x"], vec![])),
    ];
    for (n, (opset, last)) in cases.into_iter().enumerate() {
        // What some of the nodes read: sizes, a matrix, truths, and axes that are no constant.
        let mut nodes = vec![
            node("Shape", &["x"], &["dims"], vec![]),
            node("Transpose", &["matrix4"], &["flat"], vec![]),
            node("Less", &["x", "half"], &["less"], vec![]),
            node("Slice", &["dims"], &["counted"], vec![ints("starts", &[0]), ints("ends", &[1])]),
        ];
        let op = last.op_type.clone();
        let count = last.output.len();
        nodes.push(last);
        let outputs = if count == 2 { vec!["y", "z"] } else { vec!["y"] };
        let own = parse(&model(nodes, weights(), &["x"], &outputs)).unwrap();
        assert_eq!(same_results(&format!("op-{n}"), &own, &[("x", x())]), opset, "{op}");
    }
}

#[test]
fn quantised_nodes_and_old_softmax_come_back() {
    let weights = vec![
        floats("scales", &[3], &[0.5, 0.25, 2.0]),
        integers("zeros", &[1, 2, 3]),
        floats("big", &[], &[40.0]),
        TensorProto { dims: vec![4, 2], ..integers("factor", &[3, -1, 4, 1, -5, 9, 2, -6]) },
        integers("zero", &[2]),
    ];
    let nodes = vec![
        node("Mul", &["x", "big"], &["large"], vec![]),
        node("Cast", &["large"], &["whole"], vec![int("to", 6)]),
        node("DequantizeLinear", &["whole", "scales", "zeros"], &["y"], vec![int("axis", -2)]),
        node("DynamicQuantizeLinear", &["x"], &["q", "scale", "point"], vec![]),
        node("MatMulInteger", &["q", "factor", "point", "zero"], &["product"], vec![]),
        node("Cast", &["product"], &["z"], vec![int("to", 1)]),
    ];
    // The type of x, from which the number of axes follows.
    let mut proto = ModelProto::decode(&*model(nodes, weights, &["x"], &["y", "z", "scale"])).unwrap();
    let typed = |proto: &mut ModelProto| {
        let dim = ["2", "T", "4"].map(|text| match text.parse() {
            Ok(size) => Dimension { value: Some(size), param: None },
            Err(_) => Dimension { value: None, param: Some(text.into()) },
        });
        let tensor =
            TensorType { elem_type: DataType::Float as i32, shape: Some(ShapeProto { dim: dim.into() }) };
        proto.graph.as_mut().unwrap().input[0].r#type = Some(TypeProto { tensor: Some(tensor) });
    };
    typed(&mut proto);
    let own = parse(&proto.encode_to_vec()).unwrap();
    same_results("quantised", &own, &[("x", x())]);

    // Before opset 13 softmax is over all axes from one on.
    let nodes = vec![node("Softmax", &["x"], &["y"], vec![int("axis", 1)])];
    let mut proto = ModelProto::decode(&*model(nodes, vec![], &["x"], &["y"])).unwrap();
    proto.opset_import[0].version = 11;
    same_results("softmax", &parse(&proto.encode_to_vec()).unwrap(), &[("x", x())]);
    typed(&mut proto);
    let own = parse(&proto.encode_to_vec()).unwrap();
    assert_eq!(same_results("softmax-typed", &own, &[("x", x())]), 17);
    let file = File::new("sizes");
    export_graph(&own, &file.0).unwrap();
    assert_eq!(file.read().2.inputs()[0].shape, "float [2, T, 4]");
}

/// A side of a condition reads what is outside of it, and one that returns a value as it is.
#[test]
fn conditions_come_back() {
    let side = |nodes: Vec<NodeProto>, result: &str| {
        let output = vec![ValueInfo { name: result.into(), r#type: None }];
        GraphProto { node: nodes, name: "side".into(), output, ..Default::default() }
    };
    let sides = vec![
        graph("then_branch", side(vec![node("Mul", &["x", "w"], &["twice"], vec![])], "twice")),
        graph("else_branch", side(vec![node("Identity", &["sum"], &["same"], vec![])], "same")),
    ];
    let nodes = vec![
        node("Add", &["x", "w"], &["sum"], vec![]),
        node("ReduceMax", &["x"], &["most"], vec![int("keepdims", 0)]),
        node("Greater", &["most", "bound"], &["large"], vec![]),
        node("If", &["large"], &["y"], sides),
        node("Identity", &["x"], &["x2"], vec![]),
    ];
    let weights = vec![floats("w", &[4], &uniform(8, 4)), floats("bound", &[], &[10.0])];
    let own = parse(&model(nodes, weights, &["x"], &["y", "sum", "x2", "w"])).unwrap();
    same_results("condition", &own, &[("x", x())]);
    let Value::Float(small) = x() else { panic!("floats") };
    same_results("condition", &own, &[("x", small.scale(1000.0).unwrap().into())]);
}

/// What was trained on is in the file, under the names that it had.
#[test]
fn a_trained_model_is_written_as_it_is() {
    let own = parse(&classifier()).unwrap();
    for param in own.parameters() {
        param.set(&param.value().scale(-0.5).unwrap()).unwrap();
    }
    let file = File::new("trained");
    export_graph(&own, &file.0).unwrap();
    let (_, _, again) = file.read();
    let bits = |model: &Model| {
        let params = model.named_parameters().into_iter();
        params.map(|(name, param)| (name, param.value().to_vec().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(bits(&again), bits(&own));
}

/// Nodes that share their weights stay one layer.
#[test]
fn shared_weights_stay_shared() {
    let recurrent = |x: &str, y: &str| node("RNN", &[x, "w", "r"], &[y], vec![int("hidden_size", 4)]);
    let nodes = vec![
        recurrent("x", "y4"),
        node("Squeeze", &["y4", "axis"], &["between"], vec![]),
        recurrent("between", "y"),
    ];
    let weights = vec![
        floats("w", &[1, 4, 4], &uniform(1, 16)),
        floats("r", &[1, 4, 4], &uniform(2, 16)),
        integers("axis", &[1]),
    ];
    let own = parse(&model(nodes, weights, &["x"], &["y"])).unwrap();
    assert_eq!(own.num_parameters(), 32);
    same_results("shared", &own, &[("x", x())]);
    let file = File::new("shared");
    export_graph(&own, &file.0).unwrap();
    let (_, proto, again) = file.read();
    assert_eq!(again.num_parameters(), 32);
    assert_eq!(proto.graph.unwrap().initializer.iter().filter(|w| w.name.contains(".l0.")).count(), 2);
}

/// A stack whose states are parts of one array, written and read any number of times, is one node.
#[test]
fn a_stack_with_states_does_not_grow() {
    let part = |n: i64, name: &str| {
        let ends = vec![ints("starts", &[n]), ints("ends", &[n + 1]), ints("axes", &[0])];
        node("Slice", &["h0"], &[name], ends)
    };
    let recurrent = |x: &str, h: &str, y: &str, last: &str, w: &str| {
        let inputs = [x, w, w, "", "", h];
        node("RNN", &inputs, &[y, last], vec![int("hidden_size", 4)])
    };
    let nodes = vec![
        part(0, "ha"),
        recurrent("x", "ha", "ya", "la", "w"),
        node("Squeeze", &["ya"], &["between"], vec![ints("axes", &[1])]),
        part(1, "hb"),
        recurrent("between", "hb", "y", "lb", "r"),
        node("Concat", &["la", "lb"], &["last"], vec![int("axis", 0)]),
    ];
    let weights = vec![floats("w", &[1, 4, 4], &uniform(1, 16)), floats("r", &[1, 4, 4], &uniform(2, 16))];
    let mut own = parse(&model(nodes, weights, &["x", "h0"], &["y", "last"])).unwrap();
    let h0 = Tensor::from_slice(&Device::cpu(), &uniform(4, 24), &[2, 3, 4]).unwrap();
    for _ in 0..3 {
        assert_eq!(own.parts().nodes.len(), 1);
        same_results("states", &own, &[("x", x()), ("h0", Value::from(&h0))]);
        let file = File::new("grows");
        export_graph(&own, &file.0).unwrap();
        own = file.read().2;
    }
}

/// All nodes that ONNX lacks are named, and there is no file.
#[cfg(any(feature = "dl4j", feature = "keras"))]
#[test]
fn what_onnx_lacks_is_listed_at_once() {
    let device = Device::cpu();
    let mut builder = crate::graph::Builder::new(&device);
    let port = builder.port("x", Some(["T", "B", "3"].map(String::from).to_vec()));
    let mut value = port.slot;
    for (name, sizes) in [("one", [3, 4]), ("two", [4, 4])] {
        builder.begin(name, "LSTM");
        let lstm = LstmConfig::new(sizes[0], sizes[1]).with_candidate_activation(Activation::HardTanh);
        let layer = crate::graph::Layer::Lstm(lstm.init(&device, 1).unwrap());
        let recurrent =
            crate::graph::Recurrent { passes: vec![layer], batch_first: false, above: Vec::new() };
        value = builder.node(crate::graph::Op::Recurrent(recurrent.into()), &[value]);
        value = builder.at(value, 1, 0);
    }
    let output = crate::Port::new("y", value);
    let own = Model::new(builder.finish(vec![port], vec![output]), &device).unwrap();
    let file = File::new("refused");
    let error = export_graph(&own, &file.0).unwrap_err().to_string();
    for node in ["node `one` (LSTM)", "node `two` (LSTM)"] {
        assert!(error.contains(&format!("{node}: `activations`: ONNX has no HardTanh")), "{error}");
    }
    assert!(!file.0.exists());
}

/// Where the file cannot be written, a file that is there stays.
#[test]
fn a_folder_that_is_missing_is_an_error() {
    let own = parse(&classifier()).unwrap();
    let path = std::env::temp_dir().join("rnn-interop-no-such-folder/m.onnx");
    assert!(matches!(export_graph(&own, &path), Err(crate::Error::Io { .. })));
}
