//! Models of Deeplearning4j. Its sequences are `[B, features, T]`.

use super::{BOUND, common, error, exported};
use libtest_mimic::Trial;
use rnn_api::io::TensorFile;
use rnn_api::nn::Module;
use rnn_api::{Device, Tensor, no_grad};
use rnn_interop::dl4j::{self, Array};
use rnn_interop::{Model, Value};
use std::path::{Path, PathBuf};

pub(crate) fn trials(folder: &Path) -> Vec<Trial> {
    let folder = folder.join("dl4j");
    let case = |name: &str, body: fn(&Path, &Device)| {
        let folder: PathBuf = folder.clone();
        common::trials_of(&format!("dl4j::{name}"), move |device| body(&folder, device))
    };
    let all = [
        case("recorded_output_of_the_character_model", character_model),
        case("first_batch_of_the_recorded_run", recorded_run),
        case("older_files_run", older_files),
    ];
    all.into_iter().flatten().collect()
}

/// `[B, features, T]` to `[T, B, features]`.
fn sequences(array: &Array, device: &Device) -> Tensor {
    Tensor::from_slice(device, &array.values, &array.shape).unwrap().permute(&[2, 0, 1]).unwrap()
}

/// The model, and on the CPU the same by way of a file of ONNX.
fn both(model: Model, device: &Device) -> Vec<Model> {
    let again = device.is_cpu().then(|| {
        let again = exported::exported(&model);
        assert_eq!(exported::unnamed(&again), exported::unnamed(&model));
        again
    });
    [model].into_iter().chain(again).collect()
}

fn character_model(folder: &Path, device: &Device) {
    let array = |part: &str| {
        let name = format!("GravesLSTMCharModelingExample_{part}100b4.bin");
        Array::read(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let (model, _) = dl4j::load(folder.join("GravesLSTMCharModelingExample_100b4.bin"), device).unwrap();
    let x = sequences(&array("Input_"), device);
    let want = sequences(&array("Output_"), device).to_vec().unwrap();
    let want: Vec<f64> = want.into_iter().map(f64::from).collect();
    for model in both(model, device) {
        let out = no_grad(|| model.run(&[("input", Value::from(&x))])).unwrap();
        let got = out.tensor(&model.outputs()[0].name).unwrap().to_vec().unwrap();
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        let far = error(&got, &want);
        assert!(far <= BOUND, "off by {far:e}");
    }
}

/// The probabilities of the untrained model for its first ten sequences.
fn recorded_run(folder: &Path, device: &Device) {
    let (model, _) = dl4j::load(folder.join("RnnCsv1.zip"), device).unwrap();
    let record = TensorFile::read(folder.join("lstm10_uci.safetensors")).unwrap();
    let x = record.upload("x_train", device).unwrap().slice(0, 0..10).unwrap().permute(&[1, 0, 2]).unwrap();
    let want = record.upload("probabilities_first_batch", device).unwrap();
    for model in both(model, device) {
        let out = no_grad(|| model.run(&[("input", Value::from(&x))])).unwrap();
        let got = out.tensor(&model.outputs()[0].name).unwrap();
        assert_eq!(got.dims(), want.dims());
        let [got, want] = [got, &want]
            .map(|tensor| tensor.to_vec().unwrap().into_iter().map(f64::from).collect::<Vec<_>>());
        let far = error(&got, &want);
        assert!(far <= BOUND, "off by {far:e}");
    }
}

/// Weights of 1, 2, 3, ...: the results are probabilities of the right shape.
fn older_files(folder: &Path, device: &Device) {
    for name in [
        "060_ModelSerializer_Regression_LSTM_1",
        "071_ModelSerializer_Regression_CG_LSTM_1",
        "080_ModelSerializer_Regression_LSTM_1",
    ] {
        let (model, _) = dl4j::load(folder.join(format!("{name}.zip")), device).unwrap();
        for model in both(model, device) {
            let input = &model.inputs()[0].name;
            let x = Tensor::full(device, &[3, 2, 3], 0.01).unwrap();
            let out = no_grad(|| model.run(&[(input, x.into())])).unwrap();
            let y = out.tensor(&model.outputs()[0].name).unwrap();
            assert_eq!(y.dims(), [3, 2, 5], "{name}");
            let sums = y.sum_axis(2).unwrap().to_vec().unwrap();
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{name}");
            assert!(model.num_parameters() > 0);
        }
    }
}
