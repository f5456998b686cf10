//! Weights of Keras 3 in layers that are made here, against the outputs that Keras computed.

use super::{BOUND, arrays, common, error};
use libtest_mimic::Trial;
use rnn_api::nn::{GruConfig, LinearConfig, LstmConfig, Module};
use rnn_api::{Device, Tensor, no_grad};
use rnn_interop::keras;
use std::path::{Path, PathBuf};

pub(crate) fn trials(folder: &Path) -> Vec<Trial> {
    let folder = folder.join("keras");
    let case = |name: &str, body: fn(&Path, &Device)| {
        let folder: PathBuf = folder.clone();
        common::trials_of(&format!("keras::{name}"), move |device| body(&folder, device))
    };
    [case("lstm_seq", lstm_seq), case("gru_reset_after", gru_reset_after)].into_iter().flatten().collect()
}

/// Compares `y`, or its softmax, with the recorded output.
fn compare(y: &Tensor, recorded: &arrays::Array, softmax: bool) {
    let y = if softmax { y.softmax().unwrap() } else { y.clone() };
    assert_eq!(y.dims(), recorded.dims);
    let got: Vec<f64> = y.to_vec().unwrap().into_iter().map(f64::from).collect();
    let far = error(&got, &recorded.values);
    assert!(far <= BOUND, "off by {far:e}");
}

/// `[B, T, I]` to `[T, B, I]`.
fn input(array: &arrays::Array, device: &Device) -> Tensor {
    let values: Vec<f32> = array.values.iter().map(|&value| value as f32).collect();
    Tensor::from_slice(device, &values, &array.dims).unwrap().transpose(0, 1).unwrap()
}

fn lstm_seq(folder: &Path, device: &Device) {
    let recorded = arrays::npz(&folder.join("lstm_seq.npz"));
    for form in ["keras", "h5"] {
        let dicts = keras::state_dicts(folder.join(format!("lstm_seq.{form}")), device).unwrap();
        let first = LstmConfig::new(4, 5).init(device, 1).unwrap();
        let second = LstmConfig::new(5, 3).init(device, 1).unwrap();
        let head = LinearConfig::new(3, 2).init(device, 1).unwrap();
        first.load_state_dict(&dicts["lstm"]).unwrap();
        second.load_state_dict(&dicts["lstm_1"]).unwrap();
        head.load_state_dict(&dicts["dense"]).unwrap();
        let y = no_grad(|| {
            let y = first.forward(&input(&recorded["x0"], device), None)?.y;
            head.forward(&second.forward(&y, None)?.last()?)
        });
        compare(&y.unwrap(), &recorded["y"], true);
    }
}

fn gru_reset_after(folder: &Path, device: &Device) {
    let recorded = arrays::npz(&folder.join("gru_reset_after.npz"));
    for form in ["keras", "h5"] {
        let dicts = keras::state_dicts(folder.join(format!("gru_reset_after.{form}")), device).unwrap();
        let first = GruConfig::new(4, 5).init(device, 1).unwrap();
        let second = GruConfig::new(5, 3).with_reset_after(false).init(device, 1).unwrap();
        let head = LinearConfig::new(3, 2).init(device, 1).unwrap();
        first.load_state_dict(&dicts["gru"]).unwrap();
        second.load_state_dict(&dicts["gru_1"]).unwrap();
        head.load_state_dict(&dicts["dense_1"]).unwrap();
        let y = no_grad(|| {
            let y = first.forward(&input(&recorded["x0"], device), None)?.y;
            head.forward(&second.forward(&y, None)?.last()?)
        });
        compare(&y.unwrap(), &recorded["y"], false);
    }
}
