//! The summary of a model says what its layers are, and what a pass costs.

use rnn_api::Error;
use rnn_api::nn::LayerKind;
use rnn_api::prelude::*;

struct Tagger {
    embedding: Embedding,
    norm: LayerNorm,
    lstm: Lstm,
    head: Sequential,
    tied: Linear,
    scale: Param,
}
rnn_api::module!(Tagger { embedding, norm, lstm, head, tied, scale });

fn tagger(device: &Device) -> Tagger {
    let embedding = EmbeddingConfig::new(11, 6).init(device, 1).unwrap();
    let lstm = LstmConfig::new(6, 8).with_num_layers(2).with_bidirectional(true).with_proj_size(5);
    Tagger {
        norm: LayerNormConfig::new(6).init(device).unwrap(),
        lstm: lstm.init(device, 2).unwrap(),
        head: Sequential::new()
            .with(LinearConfig::new(10, 6).init(device, 3).unwrap())
            .with(UnaryOp::Relu)
            .with(DropoutConfig::new(0.25).init(4).unwrap()),
        tied: Linear { weight: embedding.weight.clone(), bias: None },
        embedding,
        scale: Param::new(&Tensor::ones(device, &[3]).unwrap()).unwrap(),
    }
}

/// Weights of the LSTM's matrices by its definition: W, U and the projection of both layers and directions.
const LSTM: u64 = 2 * (32 * 6 + 32 * 5 + 5 * 8) + 2 * (32 * 10 + 32 * 5 + 5 * 8);

pub(crate) fn a_summary_counts_by_definition(device: &Device) {
    let model = tagger(device);
    model.tied.weight.set_trainable(false);
    let (steps, batch) = (7, 3);
    let found = summary(&model, &[steps, batch]).unwrap();
    assert_eq!(found.name, Some("Tagger"));
    let paths: Vec<&str> = found.layers.iter().map(|layer| layer.path.as_str()).collect();
    assert_eq!(paths, ["embedding", "norm", "lstm", "head.0", "head.1", "head.2", "tied", "scale"]);
    assert_eq!(found.num_parameters, model.num_parameters() as u64);
    assert_eq!(found.num_trainable, found.num_parameters - 11 * 6);
    assert_eq!(
        (found.weight_bytes, found.gradient_bytes),
        (4 * found.num_parameters, 4 * found.num_trainable)
    );

    let rows = (steps * batch) as u64;
    let flops: Vec<u64> = found.layers.iter().map(|layer| layer.flops).collect();
    assert_eq!(flops, [0, 0, 2 * LSTM * rows, 2 * 60 * rows, 0, 0, 2 * 66 * rows, 0]);
    assert_eq!(found.flops, flops.iter().sum::<u64>());

    let widths: Vec<Option<usize>> = found
        .layers
        .iter()
        .map(|layer| layer.calls.first().map(|calls| *calls.output.last().unwrap()))
        .collect();
    assert_eq!(widths, [Some(6), Some(6), Some(10), Some(6), Some(6), Some(6), Some(11), None]);
    assert_eq!(found.layers[0].calls[0].input, [steps, batch]);
    let lstm = device.explain(model.lstm.spec(), steps, batch).unwrap().kept_bytes;
    let kept: Vec<u64> = found.layers.iter().map(|layer| layer.kept_bytes).collect();
    let wide = |size: u64| 4 * size * rows;
    assert_eq!(kept, [wide(6), wide(6), lstm, wide(6), wide(6), wide(6), wide(11), 0]);
    assert_eq!(found.kept_bytes, kept.iter().sum::<u64>());
}

pub(crate) fn a_traced_summary_sees_the_calls(device: &Device) {
    let model = tagger(device);
    let symbols = Tensor::from_indices(device, &[1, 10, 0, 4, 4, 2], &[3, 2]).unwrap();
    let pass = || {
        let x = model.norm.forward(&model.embedding.forward(&symbols)?)?;
        let first = model.lstm.forward(&x, None)?;
        let mut state = first.state.clone();
        for _ in 0..4 {
            state = model.lstm.forward(&x.slice(0, 0..1)?, Some(&state))?.state;
        }
        model.tied.forward(&model.head.forward(&first.last()?)?)
    };
    let found = Summary::traced(&model, pass).unwrap();
    let calls = |path: &str| {
        let layer = found.layers.iter().find(|layer| layer.path == path).unwrap();
        let shapes = layer.calls.iter().map(|calls| (calls.input.clone(), calls.output.clone(), calls.count));
        (shapes.collect::<Vec<_>>(), layer.flops)
    };
    assert_eq!(calls("embedding"), (vec![(vec![3, 2], vec![3, 2, 6], 1)], 0));
    let lstm = vec![(vec![3, 2, 6], vec![3, 2, 10], 1), (vec![1, 2, 6], vec![1, 2, 10], 4)];
    assert_eq!(calls("lstm"), (lstm, 2 * LSTM * (3 * 2 + 4 * 2)));
    assert_eq!(calls("head.0"), (vec![(vec![2, 10], vec![2, 6], 1)], 2 * 60 * 2));
    assert_eq!(calls("tied"), (vec![(vec![2, 6], vec![2, 11], 1)], 2 * 66 * 2));
    assert_eq!(calls("head.1"), (vec![], 0));

    // A layer that is not called costs nothing, and a failing pass says why.
    let idle = Summary::traced(&model, || model.embedding.forward(&symbols)).unwrap();
    assert_eq!((idle.flops, idle.num_parameters), (0, model.num_parameters() as u64));
    let wrong = || model.tied.forward(&Tensor::ones(device, &[2, 5])?);
    assert!(Summary::traced(&model, wrong).unwrap_err().to_string().contains("[2, 5]"));
}

pub(crate) fn a_summary_is_a_table(device: &Device) {
    let model = Sequential::new()
        .with(LinearConfig::new(1000, 300).init(device, 1).unwrap())
        .with(UnaryOp::Tanh)
        .with(LinearConfig::new(300, 2).init(device, 2).unwrap());
    let want = "\
Sequential [50, 4, 1000]
  layer  kind                output        parameters     products
  0      Linear 1000 -> 300  [50, 4, 300]     300,300     120 MFLOP
  1      Tanh                [50, 4, 300]           0             -
  2      Linear 300 -> 2     [50, 4, 2]           602    240 kFLOP
300,902 parameters (all trainable), 1.20 MB
products: 120 MFLOP forward, about 361 MFLOP in a training step
training: 2.89 MB and the optimizer's state; weights 1.20 MB, gradients 1.20 MB, kept for the backward pass 482 kB";
    let got = summary(&model, &[50, 4, 1000]).unwrap().to_string();
    let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(words(&got), words(want));
    // The columns stand below one another, and no line is wider than a terminal of 120 columns.
    let ends: Vec<usize> = got.lines().skip(1).take(4).map(str::len).collect();
    assert!(ends.iter().all(|&end| end == ends[0]) && got.lines().all(|line| line.len() < 120), "{got}");
}

pub(crate) fn summaries_refuse_other_shapes(device: &Device) {
    let lstm = LstmConfig::new(3, 4).init(device, 1).unwrap();
    let embedding = EmbeddingConfig::new(5, 3).init(device, 1).unwrap();
    let pair = (&embedding, &lstm);
    let refused = |result: rnn_api::Result<Summary>, words: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(summary(&lstm, &[3]), "[T, B, I] or [T, B], got [3]");
    refused(summary(&lstm, &[2, 2, 3, 1]), "[T, B, I] or [T, B]");
    refused(summary(&lstm, &[2, 0, 3]), "at least 1");
    refused(summary(&lstm, &[2, 2, 4]), "[T, B, 3], as the first layer takes, got [2, 2, 4]");
    refused(summary(&pair, &[2, 2, 3]), "symbols");
    assert!(summary(&lstm, &[usize::MAX, usize::MAX, 3]).is_err());
    let linear = LinearConfig::new(3, 4).init(device, 1).unwrap();
    refused(summary(&linear, &[usize::MAX, usize::MAX]), "2^64");
    assert!(matches!(summary(&linear, &[1 << 40, 1 << 20]), Err(Error::Runtime(_))));
    // Without I, layers say it themselves.
    let found = summary(&lstm, &[2, 5]).unwrap();
    assert_eq!(found.layers[0].calls[0].input, [2, 5, 3]);
    assert!(matches!(found.layers[0].kind, Some(LayerKind::Recurrent(spec)) if spec.hidden_size == 4));
    // A model without layers.
    assert_eq!(summary(&Sequential::new(), &[2, 5]).unwrap().num_parameters, 0);
}
