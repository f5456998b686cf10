//! The models of the files, computed in f64 from the converted weights, give the outputs that Keras gave.

use super::files;
use crate::keras::config::{Merge, Recurrent, RecurrentKind, Settings};
use crate::keras::convert::{CellArrays, cell, dense, embedding};
use crate::keras::hdf5::{Array, File};
use crate::keras::{read, weights::Weight};
use rnn_api::io::Archive;

/// One sequence: the values of each step, and whether the step counts.
type Steps = Vec<(Vec<f64>, bool)>;

fn apply(activation: &str, x: &mut [f64]) {
    let one = |x: &mut [f64], f: fn(f64) -> f64| x.iter_mut().for_each(|x| *x = f(*x));
    match activation {
        "linear" => (),
        "tanh" => one(x, f64::tanh),
        "relu" => one(x, |x| x.max(0.0)),
        "sigmoid" => one(x, |x| 1.0 / (1.0 + (-x).exp())),
        "softmax" => {
            one(x, f64::exp);
            let sum: f64 = x.iter().sum();
            x.iter_mut().for_each(|x| *x /= sum);
        }
        other => panic!("{other}"),
    }
}

/// Keras 3 has relu6(x + 3) / 6, those before it 0.2 x + 0.5.
fn gate(activation: &str, keras: u32, x: &mut [f64]) {
    match (activation, keras) {
        ("hard_sigmoid", 3) => x.iter_mut().for_each(|x| *x = (*x / 6.0 + 0.5).clamp(0.0, 1.0)),
        ("hard_sigmoid", _) => x.iter_mut().for_each(|x| *x = (0.2 * *x + 0.5).clamp(0.0, 1.0)),
        _ => apply(activation, x),
    }
}

/// W x + b.
fn affine(weight: &[f32], bias: &[f32], x: &[f64]) -> Vec<f64> {
    let rows = weight.chunks_exact(x.len()).zip(bias);
    rows.map(|(row, b)| f64::from(*b) + row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>())
        .collect()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn step(settings: &Recurrent, keras: u32, p: &CellArrays, x: &[f64], h: &mut Vec<f64>, c: &mut [f64]) {
    let n = p.hidden;
    let wx = affine(&p.weight_ih, &p.bias_ih, x);
    let uh = affine(&p.weight_hh, &p.bias_hh, h);
    let (act, inner) = (&*settings.activation, &*settings.recurrent_activation);
    match settings.kind {
        RecurrentKind::SimpleRnn => {
            *h = sum(&wx, &uh);
            apply(act, h);
        }
        RecurrentKind::Lstm => {
            let mut all = sum(&wx, &uh);
            let (ifg, o) = all.split_at_mut(3 * n);
            let (i_f, g) = ifg.split_at_mut(2 * n);
            gate(inner, keras, i_f);
            gate(inner, keras, o);
            apply(act, g);
            (0..n).for_each(|k| c[k] = i_f[n + k] * c[k] + i_f[k] * g[k]);
            let mut out = c.to_vec();
            apply(act, &mut out);
            *h = out.iter().zip(o).map(|(c, o)| c * *o).collect();
        }
        RecurrentKind::Gru => {
            let mut rz = sum(&wx[..2 * n], &uh[..2 * n]);
            gate(inner, keras, &mut rz);
            let mut new = match settings.reset_after {
                true => (0..n).map(|k| wx[2 * n + k] + rz[k] * uh[2 * n + k]).collect::<Vec<_>>(),
                false => {
                    let reset: Vec<f64> = (0..n).map(|k| rz[k] * h[k]).collect();
                    sum(&wx[2 * n..], &affine(&p.weight_hh[2 * n * n..], &p.bias_hh[2 * n..], &reset))
                }
            };
            apply(act, &mut new);
            *h = (0..n).map(|k| (1.0 - rz[n + k]) * new[k] + rz[n + k] * h[k]).collect();
        }
    }
}

/// All outputs in the order in which they were computed, or the last.
fn recurrent(settings: &Recurrent, keras: u32, arrays: &[Weight], mut x: Steps) -> Steps {
    let p = cell(settings, arrays).unwrap();
    if settings.go_backwards {
        x.reverse();
    }
    let (mut h, mut c) = (vec![0.0; p.hidden], vec![0.0; p.hidden]);
    let mut outputs = Vec::new();
    for (x, counts) in x {
        if counts {
            step(settings, keras, &p, &x, &mut h, &mut c);
        }
        outputs.push((h.clone(), counts));
    }
    if settings.return_sequences { outputs } else { vec![(h, true)] }
}

fn layer(settings: &Settings, keras: u32, arrays: &[Weight], mut x: Steps) -> Steps {
    match settings {
        Settings::Input | Settings::Dropout { .. } => x,
        Settings::Recurrent(settings) => recurrent(settings, keras, arrays, x),
        Settings::Bidirectional(both) => {
            let (forward, backward) = arrays.split_at(arrays.len() / 2);
            let forward = recurrent(&both.forward, keras, forward, x.clone());
            let mut backward = recurrent(&both.backward, keras, backward, x);
            backward.reverse();
            let pairs = forward.into_iter().zip(backward);
            let merged = pairs.map(|((f, counts), (b, _))| match both.merge {
                Merge::Concat => ([f, b].concat(), counts),
                Merge::Sum => (sum(&f, &b), counts),
                _ => panic!("{:?}", both.merge),
            });
            merged.collect()
        }
        Settings::Embedding { input_dim, output_dim, mask_zero } => {
            let table = embedding(*input_dim, *output_dim, arrays).unwrap();
            let row = |id: f64| {
                let row = &table[id as usize * output_dim..][..*output_dim];
                (row.iter().map(|&x| f64::from(x)).collect(), !mask_zero || id != 0.0)
            };
            x.into_iter().map(|(ids, _)| row(ids[0])).collect()
        }
        Settings::Dense { units, activation, use_bias } => {
            let (weight, bias) = dense(*units, *use_bias, arrays).unwrap();
            for (x, _) in &mut x {
                *x = affine(&weight, bias.as_ref().unwrap(), x);
                apply(activation, x);
            }
            x
        }
        Settings::Activation(activation) => {
            x.iter_mut().for_each(|(x, _)| apply(activation, x));
            x
        }
        Settings::Masking { mask_value } => {
            let counts = |x: &[f64]| x.iter().any(|x| x != mask_value);
            x.into_iter()
                .map(|(x, _)| if counts(&x) { (x, true) } else { (vec![0.0; x.len()], false) })
                .collect()
        }
        // Steps of one number are those already.
        Settings::Reshape(target) if target[..] == [x.len() as i64, 1] => x,
        Settings::Flatten => vec![(x.into_iter().flat_map(|(x, _)| x).collect(), true)],
        other => panic!("{other:?}"),
    }
}

/// An array of `numpy.save` of f32, int32 or int64.
fn npy(bytes: &[u8]) -> Array {
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let data = &bytes[10 + length..];
    let shape = header.split(['(', ')']).nth(1).unwrap();
    let dims = shape.split(',').filter_map(|dim| dim.trim().parse().ok()).collect();
    let values = if header.contains("<f4") {
        data.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
    } else if header.contains("<i4") {
        data.chunks_exact(4).map(|x| i32::from_le_bytes(x.try_into().unwrap()) as f32).collect()
    } else {
        assert!(header.contains("<i8"), "{header}");
        data.chunks_exact(8).map(|x| i64::from_le_bytes(x.try_into().unwrap()) as f32).collect()
    };
    Array { dims, values }
}

/// The outputs of a model.
pub(super) fn outputs(file: &[u8], x: &Array) -> Vec<f64> {
    let (model, weights) = read(file).unwrap();
    let steps = x.dims[1];
    let width = x.dims.get(2).copied().unwrap_or(1);
    let mut outputs = Vec::new();
    for sample in x.values.chunks_exact(steps * width) {
        let step = |x: &[f32]| (x.iter().map(|&x| f64::from(x)).collect(), true);
        let mut x: Steps = sample.chunks_exact(width).map(step).collect();
        for known in &model.layers {
            let arrays = weights.get(&known.name).map_or(&[][..], |arrays| arrays);
            x = layer(&known.settings, model.keras, arrays, x);
        }
        outputs.extend(x.into_iter().flat_map(|(x, _)| x));
    }
    outputs
}

#[test]
fn models_of_keras_3_give_its_outputs() {
    let Some(files) = files() else { return };
    let bytes = |name: String| &files.iter().find(|(file, _)| *file == name).unwrap().1;
    for name in ["lstm_seq", "gru_reset_after", "bidi", "embed_mask"] {
        let archive = Archive::read(bytes(format!("{name}.npz"))).unwrap();
        let array = |name: &str| npy(&archive.get(name).unwrap().unwrap());
        for form in ["h5", "keras"] {
            let outputs = outputs(bytes(format!("{name}.{form}")), &array("x0.npy"));
            let expected = array("y.npy").values;
            assert_eq!(outputs.len(), expected.len());
            for (at, (output, expected)) in outputs.iter().zip(expected).enumerate() {
                // Keras computes in f32.
                let expected = f64::from(expected);
                assert!(
                    (output - expected).abs() < 1e-6,
                    "{name}.{form} at {at}: {output}, Keras {expected}"
                );
            }
        }
    }
}

/// Their outputs are not those of the models but what they were trained to give: the input, and a little noise. Near zero
/// they have learnt it.
#[test]
fn models_of_keras_1_and_2_do_what_they_were_trained_for() {
    let Some(files) = files() else { return };
    let mut count = 0;
    for (name, bytes) in &files {
        let Some(name) = name.strip_suffix("_inputs_and_outputs.h5") else { continue };
        let model = &files.iter().find(|(file, _)| *file == format!("{name}_model.h5")).unwrap().1;
        let file = File::parse(bytes).unwrap();
        let only = |group: &str| {
            let group = file.root().group(group).unwrap();
            group.datasets().next().unwrap().1.read().unwrap()
        };
        let (x, y) = (only("inputs"), only("outputs"));
        let pairs = outputs(model, &x).into_iter().zip(y.values).filter(|(_, y)| y.abs() < 3.0);
        let (error, size) = pairs.fold((0.0, 0.0), |(error, size), (output, y)| {
            (error + (output - f64::from(y)).abs(), size + f64::from(y.abs()))
        });
        assert!(error < 0.4 * size, "{name}: {error} of {size}");
        count += 1;
    }
    assert!(count == 6);
}
