//! Exported and imported again: the parameters come back bit by bit, and the results agree.

use super::{Edge, Exporter, RecurrentEdges, export};
use crate::error::Result;
use crate::{Host, Model, Value};
use rnn_api::nn::Module;
use rnn_api::prelude::*;
use rnn_testing::data::uniform;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rnn-interop-export-{}-{name}.onnx", std::process::id()))
}

/// Exports a layer with one output for y and h each, and returns the model that the file holds. `own` is the layer's forward
/// pass, to y and h.
fn round_trip(
    traced: impl FnOnce(&mut Exporter, &Edge) -> Result<RecurrentEdges>,
    own: impl FnOnce(&Tensor) -> [Tensor; 2],
) -> Model {
    let path = path("round-trip");
    let x = Tensor::from_slice(&Device::cpu(), &uniform(3, 5 * 2 * 3), &[5, 2, 3]).unwrap();
    export(&path, |g| {
        let x = g.input("x", &x, &["T", "B", "3"])?;
        let out = traced(g, &x)?;
        g.output("y", &out.y, &["T", "B", "F"])?;
        g.output("h", &out.h, &["S", "B", "H"])
    })
    .unwrap();
    let model = Model::load(&path, &Device::cpu()).unwrap();
    std::fs::remove_file(&path).unwrap();
    // Other sizes of time and batch than the example's.
    let x = Tensor::from_slice(&Device::cpu(), &uniform(4, 4 * 3 * 3), &[4, 3, 3]).unwrap();
    let out = model.run(&[("x", Value::from(&x))]).unwrap();
    for (name, want) in ["y", "h"].into_iter().zip(own(&x)) {
        let (got, want) = (out.tensor(name).unwrap().to_vec().unwrap(), want.to_vec().unwrap());
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
    }
    model
}

/// The values of all parameters, sorted, because layers have other names in the file.
fn bits(module: &impl Module) -> Vec<u32> {
    let values = module.parameters().into_iter().flat_map(|param| param.value().to_vec().unwrap());
    let mut bits: Vec<u32> = values.map(f32::to_bits).collect();
    bits.sort_unstable();
    bits
}

#[test]
fn stacks_come_back() {
    let device = Device::cpu();
    let lstm_comes_back = |lstm: Lstm| {
        let model = round_trip(
            |g, x| g.lstm("rnn", &lstm, x),
            |x| lstm.forward(x, None).map(|out| [out.y, out.state.h]).unwrap(),
        );
        assert_eq!(bits(&model), bits(&lstm));
    };
    let lstm = LstmConfig::new(3, 4).with_num_layers(2).with_bidirectional(true).init(&device, 1).unwrap();
    lstm_comes_back(lstm);
    let lstm = LstmConfig::new(3, 4).with_num_layers(2).with_direction(Direction::Reverse);
    let lstm = lstm.init(&device, 6).unwrap();
    lstm_comes_back(lstm);
    let lstm = LstmConfig::new(3, 5)
        .with_peephole(true)
        .with_clip(0.3)
        .with_candidate_activation(Activation::Softsign);
    let lstm = lstm.init(&device, 2).unwrap();
    lstm_comes_back(lstm);
    let lstm = LstmConfig::new(3, 4)
        .with_coupled_gates(true)
        .with_peephole(true)
        .with_bias(false)
        .init(&device, 3)
        .unwrap();
    lstm_comes_back(lstm);
    for reset_after in [false, true] {
        let gru =
            GruConfig::new(3, 4).with_reset_after(reset_after).with_num_layers(3).init(&device, 4).unwrap();
        let model = round_trip(
            |g, x| g.gru("rnn", &gru, x),
            |x| gru.forward(x, None).map(|out| [out.y, out.state.h]).unwrap(),
        );
        assert_eq!(bits(&model), bits(&gru));
    }
    let activation = Activation::Elu { alpha: 0.7 };
    let rnn =
        RnnConfig::new(3, 4).with_activation(activation).with_bidirectional(true).init(&device, 5).unwrap();
    let model = round_trip(
        |g, x| g.rnn("rnn", &rnn, x),
        |x| rnn.forward(x, None).map(|out| [out.y, out.state.h]).unwrap(),
    );
    assert_eq!(bits(&model), bits(&rnn));
}

/// A language model: symbols to an embedding, an LSTM, and a softmax over symbols; and a classifier on the mean.
#[test]
fn whole_models_come_back() {
    let (device, path) = (Device::cpu(), path("language"));
    let embedding = EmbeddingConfig::new(7, 3).init(&device, 1).unwrap();
    let lstm = LstmConfig::new(3, 4).init(&device, 2).unwrap();
    let head = LinearConfig::new(4, 7).init(&device, 3).unwrap();
    let symbols = Host::new(vec![0, 6, 2, 3, 1, 5], [3, 2]).unwrap();
    export(&path, |g| {
        let symbols = g.indices("symbols", symbols.clone(), &["T", "B"])?;
        let x = g.embedding("embedding", &embedding, &symbols)?;
        let out = g.lstm("rnn", &lstm, &x)?;
        let logits = g.linear("head", &head, &out.y)?;
        let probabilities = g.softmax(&logits)?;
        g.output("probabilities", &probabilities, &["T", "B", "7"])?;
        let mean = g.mean(&out.y, 0)?;
        g.output("mean", &mean, &["B", "4"])?;
        let last = g.select(&out.y, 0, -1)?;
        g.output("last", &last, &["B", "4"])
    })
    .unwrap();
    let model = Model::load(&path, &device).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(bits(&model), bits(&(&embedding, &lstm, &head)));
    assert_eq!(model.inputs()[0].shape, "int64 [T, B]");
    assert_eq!(model.layer::<Lstm>("rnn").unwrap().spec().hidden_size, 4);
    let out = model.run(&[("symbols", symbols.into())]).unwrap();
    assert_eq!(out["probabilities"].dims(), [3, 2, 7]);
}

#[test]
fn what_onnx_lacks_is_refused_by_name() {
    let (device, path) = (Device::cpu(), path("refused"));
    let x = Tensor::zeros(&device, &[2, 1, 3]).unwrap();
    for (config, option) in [
        (LstmConfig::new(3, 4).with_proj_size(2), "projection"),
        (LstmConfig::new(3, 4).with_layer_norm(true), "layer normalisation"),
        (LstmConfig::new(3, 4).with_zoneout(0.1, 0.0), "zoneout"),
        (LstmConfig::new(3, 4).with_cell_clip(1.0), "bound of the cell state"),
        (LstmConfig::new(3, 4).with_learnable_state(true), "learnt initial state"),
        (LstmConfig::new(3, 4).with_candidate_activation(Activation::HardTanh), "HardTanh"),
    ] {
        let lstm = config.init(&device, 1).unwrap();
        lstm.eval();
        let error = export(&path, |g| {
            let x = g.input("x", &x, &["T", "B", "3"])?;
            g.lstm("rnn", &lstm, &x).map(drop)
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains(option), "{error}");
    }
    let error = export(&path, |g| g.input("x", &x, &["T", "B"]).map(drop)).unwrap_err().to_string();
    assert!(error.contains("must name the 3 axes of [2, 1, 3]"), "{error}");
    assert!(!path.exists());
}
