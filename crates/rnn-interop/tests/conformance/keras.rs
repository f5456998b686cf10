//! Models of Keras against the outputs that Keras computed: each file is a case.

use super::{BOUND, arrays, common, error, host, sorted, value};
use libtest_mimic::Trial;
use rnn_api::{Device, Tensor, no_grad};
use rnn_interop::keras::{self, hdf5};
use rnn_interop::{Model, Value};
use std::path::{Path, PathBuf};

pub(crate) fn trials(folder: &Path) -> Vec<Trial> {
    let mut trials = Vec::new();
    for path in sorted(&folder.join("keras")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let body: fn(&Path, &Device) = match () {
            () if name.ends_with(".npz") || name.contains("inputs_and_outputs") => continue,
            () if path.with_extension("").with_extension("npz").exists() => of_keras_3,
            () => before_keras_3,
        };
        trials.extend(common::trials_of(&format!("keras::{name}"), move |device| body(&path, device)));
    }
    trials
}

/// A `.weights.h5` file goes with the config in the `.keras` file beside it.
fn load(path: &Path, device: &Device) -> Model {
    if !path.to_string_lossy().ends_with(".weights.h5") {
        return keras::load(path, device).unwrap();
    }
    let beside = path.with_extension("").with_extension("keras");
    let config = String::from_utf8(arrays::zip(&beside)["config.json"].clone()).unwrap();
    keras::load_weights(path, &config, device).unwrap()
}

fn only_output(model: &Model, x: Value) -> Value {
    let [(input, output)] = [(&model.inputs()[0].name, &model.outputs()[0].name)];
    no_grad(|| model.run(&[(input, x)])).unwrap()[output].clone()
}

fn of_keras_3(path: &Path, device: &Device) {
    let recorded = arrays::npz(&path.with_extension("").with_extension("npz"));
    let y = only_output(&load(path, device), value(&recorded["x0"], device));
    assert_eq!(y.dims(), recorded["y"].dims);
    let far = error(&host(&y), &recorded["y"].values);
    assert!(far <= BOUND, "off by {far:e}");
}

/// The arrays beside some of these models are what they were trained on: the target is the input and a little noise. The
/// models compute on the CPU what the f64 reference of the unit tests computes. Here they compute the same on each device,
/// and come near what they were trained for.
fn before_keras_3(path: &Path, device: &Device) {
    let model = load(path, device);
    let name = path.file_name().unwrap().to_string_lossy().replace("_model.h5", "_inputs_and_outputs.h5");
    let beside: PathBuf = path.with_file_name(name);
    if beside == path || !beside.exists() {
        return runs(path, &model, device);
    }
    let bytes = std::fs::read(&beside).unwrap();
    let file = hdf5::File::parse(&bytes).unwrap();
    let only = |group: &str| file.root().group(group).unwrap().datasets().next().unwrap().1.read().unwrap();
    let (x, targets) = (only("inputs"), only("outputs"));
    let y = as_on_the_cpu(path, &model, Tensor::from_slice(device, &x.values, &x.dims).unwrap().into());
    assert_eq!(y.dims(), targets.dims);
    // Far from zero they have not learnt it.
    let pairs = host(&y).into_iter().zip(targets.values).filter(|(_, target)| target.abs() < 3.0);
    let (far, size) = pairs.fold((0.0, 0.0), |(far, size), (y, target)| {
        (far + (y - f64::from(target)).abs(), size + f64::from(target.abs()))
    });
    assert!(far < 0.4 * size, "off by {far} of {size}");
}

fn as_on_the_cpu(path: &Path, model: &Model, x: Value) -> Value {
    let cpu = Device::cpu();
    let want = only_output(&load(path, &cpu), x.clone());
    let got = only_output(model, x);
    let far = error(&host(&got), &host(&want));
    assert!(far <= BOUND, "off by {far:e}");
    got
}

/// Models without arrays: the output has the shape of the config, and is finite.
fn runs(path: &Path, model: &Model, device: &Device) {
    let sizes = model.inputs()[0].shape.trim_matches(['[', ']']).split(", ");
    let dims: Vec<usize> = sizes.map(|size| size.parse().unwrap_or(2)).collect();
    let count: usize = dims.iter().product();
    // Whole numbers, which may be ids.
    let x: Vec<f32> = (0..count).map(|n| (n * 7 % 4) as f32).collect();
    let x = Tensor::from_slice(device, &x, &dims).unwrap().into();
    let y = host(&as_on_the_cpu(path, model, x));
    assert!(!y.is_empty() && y.iter().all(|y| y.is_finite() && y.abs() <= 1.0), "{y:?}");
}
