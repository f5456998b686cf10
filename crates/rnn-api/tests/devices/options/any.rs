//! A layer of any kind behind the calls that the tests make, and its counterpart in the oracle.

use rnn_api::prelude::*;
use rnn_api::{StackSpec, backward};
use rnn_testing::data::{indices, to_f32};
use rnn_testing::oracle::{StackCase, named_weights};
use rnn_testing::shapes::RnnShape;

pub(crate) enum Any {
    Lstm(Lstm),
    Gru(Gru),
    Mgu(Mgu),
    Rnn(Rnn),
}

/// `$body` with the layer of any cell.
macro_rules! any {
    ($any:expr, $layer:ident => $body:expr) => {
        match $any {
            Any::Lstm($layer) => $body,
            Any::Gru($layer) => $body,
            Any::Mgu($layer) => $body,
            Any::Rnn($layer) => $body,
        }
    };
}

/// `$of_lstm` with an LSTM, `$body` with the layer of any other cell.
macro_rules! any_but_lstm {
    ($any:expr, $lstm:ident => $of_lstm:expr, $layer:ident => $body:expr) => {
        match $any {
            Any::Lstm($lstm) => $of_lstm,
            Any::Gru($layer) => $body,
            Any::Mgu($layer) => $body,
            Any::Rnn($layer) => $body,
        }
    };
}

/// The results of a pass, for every cell.
pub(crate) struct Outputs {
    pub(crate) y: Tensor,
    pub(crate) h: Tensor,
    pub(crate) c: Option<Tensor>,
}

impl Any {
    pub(crate) fn spec(&self) -> &StackSpec {
        any!(self, layer => layer.spec())
    }

    pub(crate) fn module(&self) -> &dyn Module {
        any!(self, layer => layer)
    }

    /// A non-zero state: a zero one hides mistakes.
    pub(crate) fn some_state(&self, device: &Device, batch: usize) -> (Tensor, Option<Tensor>) {
        let spec = self.spec();
        let state = |seed, width| super::random(device, seed, &[spec.num_states(), batch, width]);
        (state(90, spec.state_size()), matches!(self, Any::Lstm(_)).then(|| state(91, spec.hidden_size)))
    }

    pub(crate) fn forward(
        &self,
        x: &Tensor,
        state: Option<(&Tensor, Option<&Tensor>)>,
        lengths: Option<&Lengths>,
        resets: Option<&Resets>,
    ) -> Outputs {
        let directions = self.spec().num_directions();
        let hidden = state.map(|(h, _)| HiddenState::new(h.clone(), directions));
        let args = ForwardArgs { state: hidden.as_ref(), lengths, resets };
        any_but_lstm!(self,
            lstm => {
                let state = state.map(|(h, c)| LstmState::new(h.clone(), c.unwrap().clone(), directions));
                let args = ForwardArgs { state: state.as_ref(), lengths, resets };
                let out = lstm.forward_with(x, args).unwrap();
                Outputs { y: out.y, h: out.state.h, c: Some(out.state.c) }
            },
            layer => {
                let out = layer.forward_with(x, args).unwrap();
                Outputs { y: out.y, h: out.state.h, c: None }
            }
        )
    }

    /// With the traces of all layers.
    pub(crate) fn forward_traced(
        &self,
        x: &Tensor,
        (h, c): (&Tensor, Option<&Tensor>),
        lengths: Option<&Lengths>,
        resets: Option<&Resets>,
    ) -> (Outputs, Vec<Trace>) {
        let directions = self.spec().num_directions();
        let layers: Vec<usize> = (0..self.spec().num_layers).collect();
        let hidden = HiddenState::new(h.clone(), directions);
        let args = ForwardArgs { state: Some(&hidden), lengths, resets };
        any_but_lstm!(self,
            lstm => {
                let state = LstmState::new(h.clone(), c.unwrap().clone(), directions);
                let args = ForwardArgs { state: Some(&state), lengths, resets };
                let (out, traces) = lstm.forward_traced(x, args, &layers).unwrap();
                (Outputs { y: out.y, h: out.state.h, c: Some(out.state.c) }, traces)
            },
            layer => {
                let (out, traces) = layer.forward_traced(x, args, &layers).unwrap();
                (Outputs { y: out.y, h: out.state.h, c: None }, traces)
            }
        )
    }

    /// The outputs of a stream from zero.
    pub(crate) fn stream(&self, x: &Tensor) -> Vec<Tensor> {
        let [steps, batch, _] = *x.dims() else { panic!("[T, B, I]") };
        let steps = (0..steps).map(|t| x.select(0, t).unwrap());
        any!(self, layer => {
            let mut stream = layer.stream(batch).unwrap();
            steps.map(|x| stream.step(&x).unwrap()).collect()
        })
    }

    /// Gives the layer the weights of a case.
    pub(crate) fn load(&self, device: &Device, case: &StackCase) {
        let named = named_weights(&case.spec, &case.weights);
        for (name, param) in self.module().named_parameters() {
            let (_, values) = named.iter().find(|(n, _)| *n == name).unwrap();
            param.set(&Tensor::from_slice(device, &to_f32(values), param.dims()).unwrap()).unwrap();
        }
    }
}

/// Random weights, input, state and cotangents of a layer.
pub(crate) struct Case {
    pub(crate) of: StackCase,
    lengths: Option<Lengths>,
    resets: Option<Resets>,
}

impl Case {
    pub(crate) fn random(
        layer: &Any,
        [t, b]: [usize; 2],
        seed: u64,
        lengths: Option<Vec<usize>>,
        interrupted: bool,
    ) -> Self {
        let spec = *layer.spec();
        let shape = RnnShape { t, b, i: spec.input_size, h: spec.hidden_size };
        let mut of = StackCase::random(spec, shape, true, seed);
        let resets =
            interrupted.then(|| indices(seed, t * b, 4).into_iter().map(|k| k == 0).collect::<Vec<_>>());
        (of.input.lengths, of.input.resets) = (lengths.clone(), resets.clone());
        Case { of, lengths: lengths.map(|l| Lengths::new(l).unwrap()), resets: resets.map(Resets::new) }
    }

    /// The layer's traced pass.
    pub(crate) fn traced(&self, device: &Device, layer: &Any) -> (Outputs, Vec<Trace>) {
        let (input, spec) = (&self.of.input, &self.of.spec);
        layer.load(device, &self.of);
        let tensor =
            |values: &[f64], dims: [usize; 3]| Tensor::from_slice(device, &to_f32(values), &dims).unwrap();
        let x = tensor(&input.x, [input.t, input.b, spec.input_size]);
        let h0 = tensor(input.h0.as_ref().unwrap(), [spec.num_states(), input.b, spec.state_size()]);
        let c0 = input.c0.as_ref().map(|c0| tensor(c0, [spec.num_states(), input.b, spec.hidden_size]));
        layer.forward_traced(&x, (&h0, c0.as_ref()), self.lengths.as_ref(), self.resets.as_ref())
    }

    /// Every value and gradient by name, as the layer has it and as the oracle does.
    pub(crate) fn compare(&self, device: &Device, layer: &Any) -> Vec<(String, Vec<f32>, Vec<f64>)> {
        let (case, spec) = (&self.of, &self.of.spec);
        layer.load(device, case);
        let (t, b) = (case.input.t, case.input.b);
        let tensor = |values: &[f64], dims: [usize; 3]| {
            Tensor::from_slice(device, &to_f32(values), &dims).unwrap().requires_grad()
        };
        let states = [spec.num_states(), b, spec.state_size()];
        let cells = [spec.num_states(), b, spec.hidden_size];
        let x = tensor(&case.input.x, [t, b, spec.input_size]);
        let h0 = tensor(case.input.h0.as_ref().unwrap(), states);
        let c0 = case.input.c0.as_ref().map(|c0| tensor(c0, cells));
        let out = layer.forward(&x, Some((&h0, c0.as_ref())), self.lengths.as_ref(), self.resets.as_ref());
        let values = |tensor: &Tensor| tensor.to_vec().unwrap();
        let want = case.forward();
        let mut all = vec![
            ("y".to_string(), values(&out.y), want.y.clone()),
            ("h_n".into(), values(&out.h), want.h_n.clone()),
        ];
        let mut cotangents = vec![
            (out.y, tensor(&case.dy, [t, b, spec.output_size()]).into_array()),
            (out.h, tensor(&case.dh_n, states).into_array()),
        ];
        if let (Some(c), Some(c_n), Some(dc_n)) = (out.c, &want.c_n, &case.dc_n) {
            all.push(("c_n".into(), values(&c), c_n.clone()));
            cotangents.push((c, tensor(dc_n, cells).into_array()));
        }
        let got = backward(&cotangents).unwrap();
        let grads = case.backward(&want);
        all.push(("dx".into(), values(&got.get(&x).unwrap()), grads.dx));
        all.push(("dh0".into(), values(&got.get(&h0).unwrap()), grads.dh0));
        if let (Some(c0), Some(dc0)) = (&c0, grads.dc0) {
            all.push(("dc0".into(), values(&got.get(c0).unwrap()), dc0));
        }
        let named = named_weights(spec, &grads.weights);
        for (name, param) in layer.module().named_parameters() {
            let (_, want) = named.iter().find(|(n, _)| *n == name).unwrap();
            all.push((format!("d.{name}"), values(&got.get(&param).unwrap()), want.to_vec()));
        }
        all
    }
}
