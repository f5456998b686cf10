//! Loaded models against the reference in f64.

use super::forward::outputs;
use super::{files, is_model};
use crate::keras::config::{Model, Settings};
use crate::keras::hdf5::Array;
use crate::keras::{lower, read};
use rnn_api::{Device, Tensor, no_grad};

/// Inputs for a model: ids for a table, else numbers, among which a masked step stands now and then.
fn example(model: &Model) -> Array {
    let shape = model.layers[0].input_shape.as_ref().unwrap();
    let dims: Vec<usize> = shape.iter().map(|size| size.unwrap_or(3)).collect();
    let width = dims.get(2).copied().unwrap_or(1);
    let settings = || model.layers.iter().map(|layer| &layer.settings);
    let ids = settings().any(|settings| matches!(settings, Settings::Embedding { .. }));
    let mask = settings().find_map(|settings| match settings {
        Settings::Masking { mask_value } => Some(*mask_value as f32),
        _ => None,
    });
    let number = |n: usize| match mask.filter(|_| n / width % 4 == 1) {
        Some(mask) => mask,
        None if ids => (n * 7 % 4) as f32,
        None => (n * 7 % 11) as f32 / 5.0 - 0.9,
    };
    Array { values: (0..dims.iter().product()).map(number).collect(), dims }
}

/// For files without outputs. The bound is that of the conformance tests.
#[test]
fn loaded_models_compute_what_the_reference_computes() {
    let device = Device::cpu();
    let mut count = 0;
    for (name, bytes) in files().into_iter().flatten().filter(|(name, _)| is_model(name)) {
        let (described, weights) = read(&bytes).unwrap();
        let x = example(&described);
        let model = crate::Model::new(lower::parts(&described, &weights, &device).unwrap(), &device);
        let input = Tensor::from_slice(&device, &x.values, &x.dims).unwrap();
        let results = no_grad(|| model.run(&[(&model.inputs()[0].name, input.into())])).unwrap();
        let results = results.tensor(&model.outputs()[0].name).unwrap().to_vec().unwrap();
        let expected = outputs(&bytes, &x);
        assert_eq!(results.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        let far = results.iter().zip(&expected).map(|(got, want)| (f64::from(*got) - want).abs());
        let far = far.fold(0.0, f64::max);
        assert!(far < 1e-5 * largest, "{name}: {far} of {largest}");
        count += 1;
    }
    assert!(count == 0 || count == 22, "{count}");
}

#[test]
fn a_file_of_weights_alone_is_sent_to_its_function() {
    let Some(files) = files() else { return };
    let (_, bytes) = files.iter().find(|(name, _)| name == "lstm_seq.weights.h5").unwrap();
    let error = read(bytes).unwrap_err();
    assert!(error.contains("no attribute `model_config`") && error.contains("load_weights"), "{error}");
}
