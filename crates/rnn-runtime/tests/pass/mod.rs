//! A case on a device: its arrays, the masks of its draws, and everything a pass yields beside the oracle's results.

use rnn_kernels::cell::{StackSpec, Storage, WeightFormat};
use rnn_runtime::ops::rnn::{
    CellWeights, DROPOUT_STREAM, INPUT_STREAM, NOISE_STREAM, OUTPUT_STREAM, Packed, Sequences, StackArgs,
    StackCotangents, StackDraws, StackOutput, Wanted, backward, forward, pack,
};
use rnn_runtime::{Array, Device, RngKey};
use rnn_testing::data::to_f32;
use rnn_testing::oracle::{Forward, Masks, StackCase};

/// Gates that are kept in f16 have an error of 2^-12 of their size; derivatives that are made from them, over a few steps
/// and layers, one of some times that. Outputs and states have none of it.
pub(crate) const HALF_BOUND: f64 = 4e-3;

pub(crate) fn array(device: &Device, values: &[f64], dims: &[usize]) -> Array {
    Array::from_f32(device, &to_f32(values), dims).unwrap()
}

pub(crate) fn weights(device: &Device, case: &StackCase) -> Vec<CellWeights> {
    let spec = &case.spec;
    let each = case.weights.iter().enumerate().map(|(n, w)| {
        let dims = |parameter| spec.parameter_dims(n / spec.num_directions(), parameter).unwrap();
        w.all().map(|(parameter, values)| (parameter, array(device, values, &dims(parameter)))).collect()
    });
    each.collect()
}

/// The masks that `draws` stands for, as ops::rnn documents them.
pub(crate) fn masks(spec: &StackSpec, t: usize, b: usize, draws: StackDraws) -> Masks {
    let StackDraws { key, first_step, sequence } = draws;
    let noise = &spec.regularization;
    let below = |bits: u32, rate: f32| f64::from(bits >> 8) < (f64::from(rate) * 16_777_216.0).round();
    let scaled = move |bits: u32, rate: f32| {
        if below(bits, rate) { 0.0 } else { 1.0 / (1.0 - f64::from(rate)) }
    };
    let (h, p, out, states) = (spec.hidden_size, spec.state_size(), spec.output_size(), spec.num_states());
    let of_state = |state: usize| key.derive(NOISE_STREAM, state as u32);
    let draw = |key: RngKey, step: u32, element: usize| key.pair(step, element as u32);
    // [T, B, width] of every state.
    let per_step = |rate: f32, width: usize, value: &dyn Fn(RngKey, u32, usize) -> f64| {
        (rate > 0.0).then(|| {
            let of = |state| {
                let element = move |k: usize| (first_step + (k / (b * width)) as u32, k % (b * width));
                (0..t * b * width).map(element).map(|(s, e)| value(of_state(state), s, e)).collect()
            };
            (0..states).map(of).collect()
        })
    };
    let shared = |stream: u32, layer: usize, rate: f32, width: usize| -> Vec<f64> {
        let key = key.derive(stream, layer as u32);
        (0..b * width).map(|k| scaled(draw(key, sequence, k)[0], rate)).collect()
    };
    let zoned = |bits: u32, rate: f32| f64::from(u8::from(below(bits, rate)));
    Masks {
        between: (spec.dropout > 0.0).then(|| {
            let of = |layer: usize| {
                let key = key.derive(DROPOUT_STREAM, layer as u32);
                let row = b * out;
                let value =
                    |k: usize| scaled(draw(key, first_step + (k / row) as u32, k % row)[0], spec.dropout);
                (0..t * row).map(value).collect()
            };
            (0..spec.num_layers - 1).map(of).collect()
        }),
        input: (noise.input_dropout > 0.0).then(|| {
            let of = |layer| shared(INPUT_STREAM, layer, noise.input_dropout, spec.layer_input_size(layer));
            (0..spec.num_layers).map(of).collect()
        }),
        output: (noise.output_dropout > 0.0).then(|| shared(OUTPUT_STREAM, 0, noise.output_dropout, out)),
        recurrent: (noise.recurrent_dropout > 0.0).then(|| {
            let of = |state| {
                let value =
                    |k| scaled(draw(of_state(state), sequence, k | 1 << 30)[0], noise.recurrent_dropout);
                (0..b * p).map(value).collect()
            };
            (0..states).map(of).collect()
        }),
        candidate: per_step(noise.candidate_dropout, h, &|key, s, e| {
            scaled(draw(key, s, e | 1 << 31)[0], noise.candidate_dropout)
        }),
        zoneout_h: per_step(noise.zoneout_h, p, &|key, s, e| zoned(draw(key, s, e)[0], noise.zoneout_h)),
        zoneout_c: per_step(noise.zoneout_c, h, &|key, s, e| zoned(draw(key, s, e)[1], noise.zoneout_c)),
    }
}

/// A case on a device.
pub(crate) struct OnDevice {
    pub(crate) packed: Packed,
    x: Array,
    h0: Option<Array>,
    c0: Option<Array>,
    sequences: Option<Sequences>,
}

impl OnDevice {
    pub(crate) fn new(device: &Device, case: &StackCase) -> Self {
        let (spec, input) = (&case.spec, &case.input);
        let state = |values: &Option<Vec<f64>>, width| {
            values.as_ref().map(|values| array(device, values, &[spec.num_states(), input.b, width]))
        };
        let ragged = input.lengths.is_some() || input.resets.is_some();
        OnDevice {
            packed: pack(spec, &weights(device, case)).unwrap(),
            x: array(device, &input.x, &[input.t, input.b, spec.input_size]),
            h0: state(&input.h0, spec.state_size()),
            c0: state(&input.c0, spec.hidden_size),
            sequences: ragged.then(|| {
                Sequences::new([input.t, input.b], input.lengths.as_deref(), input.resets.as_deref()).unwrap()
            }),
        }
    }

    pub(crate) fn sequences(&self) -> Option<&Sequences> {
        self.sequences.as_ref()
    }

    pub(crate) fn args<'a>(
        &'a self,
        spec: &'a StackSpec,
        draws: Option<StackDraws>,
        training: bool,
    ) -> StackArgs<'a> {
        StackArgs {
            spec,
            packed: &self.packed,
            x: &self.x,
            h0: self.h0.as_ref(),
            c0: self.c0.as_ref(),
            sequences: self.sequences.as_ref(),
            training,
            weights: WeightFormat::F32,
            storage: Storage::F32,
            draws,
        }
    }
}

/// Values and gradients of a pass by name, and those of the oracle.
pub(crate) type Results = Vec<(String, Vec<f32>, Vec<f64>)>;

/// y and the final states.
fn values(of: &str, out: &StackOutput, want: &Forward) -> Results {
    let host = |array: &Array| array.to_vec().unwrap();
    let mut all = vec![
        (format!("y{of}"), host(&out.y), want.y.clone()),
        (format!("h_n{of}"), host(&out.h_n), want.h_n.clone()),
    ];
    if let (Some(c_n), Some(want)) = (&out.c_n, &want.c_n) {
        all.push((format!("c_n{of}"), host(c_n), want.clone()));
    }
    all
}

/// A training pass, and where asked for an inference pass: on a GPU that takes another kernel.
pub(crate) fn run(
    device: &Device,
    case: &StackCase,
    draws: Option<StackDraws>,
    storage: Storage,
    inference: bool,
) -> Results {
    let (spec, input) = (&case.spec, &case.input);
    let on_device = OnDevice::new(device, case);
    let out = forward(&StackArgs { storage, ..on_device.args(spec, draws, true) }).unwrap();
    let want = case.forward();
    let want_grads = case.backward(&want);
    let host = |array: &Array| array.to_vec().unwrap();
    let mut all = values("", &out, &want);
    if inference {
        let out = forward(&on_device.args(spec, draws, false)).unwrap();
        all.extend(values(" in inference", &out, &want));
    }
    let states = |values: &Vec<f64>, width| array(device, values, &[spec.num_states(), input.b, width]);
    let dy = array(device, &case.dy, &[input.t, input.b, spec.output_size()]);
    let dh_n = states(&case.dh_n, spec.state_size());
    let dc_n = case.dc_n.as_ref().map(|dc_n| states(dc_n, spec.hidden_size));
    let cotangents = StackCotangents { dy: Some(&dy), dh_n: Some(&dh_n), dc_n: dc_n.as_ref() };
    let wanted = Wanted { dx: true, states: true };
    let grads = backward(spec, &on_device.packed, out.saved.unwrap(), &cotangents, wanted).unwrap();
    all.push(("dx".into(), host(grads.dx.as_ref().unwrap()), want_grads.dx));
    all.push(("dh0".into(), host(grads.dh0.as_ref().unwrap()), want_grads.dh0));
    if let (Some(dc0), Some(want)) = (&grads.dc0, want_grads.dc0) {
        all.push(("dc0".into(), host(dc0), want));
    }
    for (n, (got, want)) in grads.weights.iter().zip(&want_grads.weights).enumerate() {
        assert!(got.all().map(|(p, _)| p).eq(want.all().map(|(p, _)| p)), "{spec:?}");
        for ((parameter, got), (_, want)) in got.all().zip(want.all()) {
            all.push((format!("d {} of {n}", parameter.name()), host(got), want.clone()));
        }
    }
    all
}
