//! A whole network as one object, against the same layers as a model.

use super::*;

/// Sums of 24 products in two orders, through a tanh: a few units in the last place of values below 2.
const SUMS: Tolerance = Tolerance { abs: 2e-6, rel: 0.0 };

struct Parts {
    gru: Gru,
    lstm: Lstm,
    head: Sequential,
}

impl Parts {
    fn new(device: &Device) -> Self {
        Parts {
            gru: GruConfig::new(2, 19).with_num_layers(2).init(device, 1).unwrap(),
            lstm: LstmConfig::new(19, 24).init(device, 2).unwrap(),
            head: Sequential::new()
                .with(LinearConfig::new(24, 70).init(device, 3).unwrap())
                .with(UnaryOp::Tanh)
                .with(DropoutConfig::new(0.5).init(4).unwrap())
                .with(
                    Sequential::new()
                        .with(LinearConfig::new(70, 2).with_bias(false).init(device, 5).unwrap()),
                ),
        }
    }

    fn pipeline(&self) -> Pipeline {
        let recurrent = Pipeline::builder(2).unwrap().recurrent(&self.gru).unwrap().recurrent(&self.lstm);
        recurrent.unwrap().layer(&self.head).unwrap().residual().unwrap().build().unwrap()
    }

    /// The results of [`Parts::pipeline`] by the layers' own forward passes, over a whole sequence of one row.
    fn model(&self, x: &[f32]) -> Vec<f32> {
        self.head.eval();
        let input = Tensor::from_slice(&cpu(), x, &[x.len() / 2, 1, 2]).unwrap();
        let h = self.gru.forward(&input, None).unwrap().y;
        let h = self.lstm.forward(&h, None).unwrap().y;
        self.head.forward(&h).unwrap().add(&input).unwrap().to_vec().unwrap()
    }
}

#[test]
fn a_pipeline_agrees_with_its_model() {
    let parts = Parts::new(&cpu());
    let mut pipeline = parts.pipeline();
    let x = uniform(7, 2 * 40);
    let mut y = vec![0.0; 2 * 40];
    pipeline.process(&x, &mut y).unwrap();
    assert_close("y", &y, &to_f64(&parts.model(&x)), &[40, 2], SUMS);
    let mut again = vec![0.0; 2 * 40];
    pipeline.reset();
    for first in [0, 2, 14, 78] {
        let end = [2, 14, 78, 80][[0, 2, 14, 78].iter().position(|&at| at == first).unwrap()];
        pipeline.process(&x[first..end], &mut again[first..end]).unwrap();
    }
    assert_eq!(bits(&again), bits(&y));
}

#[test]
fn a_pipeline_runs_on_another_thread_and_goes_on_from_its_state() {
    fn sent<T: Send>(value: T) -> T {
        value
    }
    let parts = Parts::new(&cpu());
    let x = uniform(8, 2 * 10);
    let mut want = vec![0.0; 2 * 10];
    let mut pipeline = sent(parts.pipeline());
    pipeline.process(&x, &mut want).unwrap();
    pipeline.reset();
    let mut other = parts.pipeline();
    let state = std::thread::spawn(move || {
        pipeline.process(&uniform(8, 2 * 10)[..12], &mut [0.0; 12]).unwrap();
        pipeline.state()
    });
    let state = state.join().unwrap();
    let json = serde_json::to_string(&state).unwrap();
    other.set_state(&serde_json::from_str(&json).unwrap()).unwrap();
    let mut got = [0.0; 8];
    other.process(&x[12..], &mut got).unwrap();
    assert_eq!(bits(&got), bits(&want[12..]));
    let mut copied = state.clone();
    other.copy_state(&mut copied).unwrap();
    assert_eq!(copied, other.state());
    assert_ne!(copied, state);
    assert_eq!(copied.values().len(), 2 * 19 + 2 * 24);
}

#[test]
fn a_pipeline_starts_from_the_state_that_its_layer_has_learnt() {
    let layer = LstmConfig::new(1, 6).with_learnable_state(true).init(&cpu(), 1).unwrap();
    let mut values = layer.state_dict();
    for (name, fill) in [("h_0", 0.5), ("c_0", -0.25)] {
        let of = Tensor::full(&cpu(), values[name].dims(), fill).unwrap();
        values.insert(name.to_string(), of.into_array());
    }
    layer.load_state_dict(&values).unwrap();
    let mut pipeline = Pipeline::builder(1).unwrap().recurrent(&layer).unwrap().build().unwrap();
    assert_eq!(pipeline.state().values(), [[0.5; 6], [-0.25; 6]].concat());
    let (mut y, mut h) = ([0.0; 6], [0.0; 6]);
    pipeline.process(&[0.1], &mut y).unwrap();
    layer.stream(1).unwrap().step_into(&[0.1], &mut h).unwrap();
    assert_eq!(y, h);
    pipeline.reset();
    assert_eq!(pipeline.state().values(), [[0.5; 6], [-0.25; 6]].concat());
}

#[test]
fn stages_without_a_state_agree_with_their_ops() {
    let x = uniform(3, 5 * 21);
    let input = Tensor::from_slice(&cpu(), &x, &[5, 21]).unwrap();
    let run = |pipeline: rnn_api::Result<Pipeline>| {
        let mut y = vec![0.0; 5 * 21];
        pipeline.unwrap().process(&x, &mut y).unwrap();
        y
    };
    let start = || Pipeline::builder(21).unwrap();
    assert_eq!(run(start().build()), x);
    assert_eq!(run(start().softmax().build()), input.softmax().unwrap().to_vec().unwrap());
    for op in [UnaryOp::Relu, UnaryOp::Softplus, UnaryOp::Neg, UnaryOp::Tanh] {
        assert_eq!(run(start().unary(op).build()), input.unary(op).unwrap().to_vec().unwrap(), "{op:?}");
    }
    let tanh = run(start().activation(Activation::Tanh).build());
    assert_close("tanh", &tanh, &x.iter().map(|&x| f64::from(x).tanh()).collect::<Vec<_>>(), &[105], SUMS);
    // Only the first of the inputs.
    let sum = LinearConfig::new(21, 1).init(&cpu(), 1).unwrap();
    let mut y = [0.0; 5];
    let mut pipeline = start().linear(&sum).unwrap().residual().unwrap().build().unwrap();
    pipeline.process(&x, &mut y).unwrap();
    let want = sum.forward(&input).unwrap().to_vec().unwrap();
    let want: Vec<f64> = want.iter().zip(x.chunks(21)).map(|(y, x)| f64::from(y + x[0])).collect();
    assert_close("residual", &y, &want, &[5], SUMS);
}

/// Every number of inputs has its own rest after whole vectors, and its own length of vectors.
#[test]
fn linear_layers_of_every_width_match_sums_in_f64() {
    for inputs in 1..=70 {
        for outputs in [1, 3] {
            let linear = LinearConfig::new(inputs, outputs).init(&cpu(), inputs as u64).unwrap();
            let x = uniform(9, inputs);
            let mut y = vec![0.0; outputs];
            let builder = Pipeline::builder(inputs).unwrap().linear(&linear).unwrap();
            builder.build().unwrap().process(&x, &mut y).unwrap();
            let values = |name: &str| {
                let (_, parameter) =
                    linear.named_parameters().into_iter().find(|(of, _)| of == name).unwrap();
                to_f64(&parameter.value().to_vec().unwrap())
            };
            let (weight, bias) = (values("weight"), values("bias"));
            let sums = weight
                .chunks(inputs)
                .zip(&bias)
                .map(|(row, bias)| bias + row.iter().zip(&x).map(|(w, &x)| w * f64::from(x)).sum::<f64>());
            let want: Vec<f64> = sums.collect();
            assert_close(&format!("{inputs} inputs"), &y, &want, &[outputs], SUMS);
        }
    }
}
