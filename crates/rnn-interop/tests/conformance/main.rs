//! Files of other systems against what they compute there, each on the CPU and on a GPU.
//!
//! The files are looked for in `RNN_CONFORMANCE`, else in `../shared/conformance` beside the checkout. Without them there are
//! no cases: one test that shows as ignored, and the run says so. Where Python has ONNX Runtime, random nodes are compared
//! with it, too.

#[path = "../../../rnn-runtime/tests/common/mod.rs"]
#[allow(unused_macros, unused_imports, reason = "the cases are known only when the tests run")]
mod common;

mod arrays;
mod deeplearning4j;
mod differential;
mod exported;
mod keras;

use arrays::Array;
use libtest_mimic::{Arguments, Trial};
use rnn_api::{Device, Tensor};
use rnn_interop::{Host, Model, Value, onnx};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest difference over the largest value of an output: sums of some dozens of terms in f32, over some dozens of steps.
const BOUND: f64 = 1e-5;
/// [`BOUND`] for recorded runs that computed in f16 or multiplied quantised numbers.
const COARSE: f64 = 2e-3;

fn main() {
    common::set_up_software_driver();
    let (folder, arguments) = (folder(), Arguments::from_args());
    let mut trials = differential::trials(&folder);
    if folder.exists() {
        trials.extend(recorded_trials(&folder));
    } else {
        eprintln!("ignored: no {}; set RNN_CONFORMANCE to the folder of recorded files", folder.display());
        trials.push(Trial::test("recorded_files", || Ok(())).with_ignored_flag(true));
    }
    libtest_mimic::run(&arguments, trials).exit()
}

fn recorded_trials(folder: &Path) -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in node_cases(folder).into_iter().chain(npz_cases(folder)) {
        trials.extend(common::trials_of(&case.name.clone(), move |device| case.check(device)));
    }
    trials.extend(deeplearning4j::trials(folder));
    trials.extend(keras::trials(folder));
    trials
}

fn folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    std::env::var_os("RNN_CONFORMANCE").map_or_else(beside, PathBuf::from)
}

/// A model with recorded runs.
#[derive(Clone)]
struct Case {
    name: String,
    model: PathBuf,
    runs: Vec<Run>,
    bound: f64,
}

/// Inputs and outputs by name.
#[derive(Clone, Default)]
struct Run {
    inputs: BTreeMap<String, Array>,
    outputs: BTreeMap<String, Array>,
}

impl Case {
    fn check(&self, device: &Device) {
        let model = onnx::Model::load(&self.model, device).unwrap();
        self.agrees(&model, device);
        if device.is_cpu() {
            let again = exported::exported(&model);
            assert_eq!(exported::parameters(&again), exported::parameters(&model));
            self.agrees(&again, device);
        }
    }

    fn agrees(&self, model: &Model, device: &Device) {
        for run in &self.runs {
            let inputs: Vec<(&str, Value)> =
                run.inputs.iter().map(|(name, array)| (name.as_str(), value(array, device))).collect();
            let outputs = rnn_api::no_grad(|| model.run(&inputs)).unwrap();
            for (name, want) in &run.outputs {
                let got = outputs.get(name).unwrap_or_else(|| panic!("no output {name}"));
                assert_eq!(got.dims(), want.dims, "{name}");
                let error = error(&host(got), &want.values);
                assert!(error <= self.bound, "{name} is off by {error:e}, allowed {:e}", self.bound);
            }
        }
    }
}

fn value(array: &Array, device: &Device) -> Value {
    if array.integers {
        let integers = array.values.iter().map(|&value| value as i64).collect();
        return Host::new(integers, array.dims.clone()).unwrap().into();
    }
    let values: Vec<f32> = array.values.iter().map(|&value| value as f32).collect();
    Tensor::from_slice(device, &values, &array.dims).unwrap().into()
}

fn host(value: &Value) -> Vec<f64> {
    match value {
        Value::Float(tensor) => tensor.to_vec().unwrap().into_iter().map(f64::from).collect(),
        Value::Int(host) => host.values.iter().map(|&value| value as f64).collect(),
        Value::Bool(host) => host.values.iter().map(|&value| f64::from(u8::from(value))).collect(),
    }
}

fn error(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-30f64, |largest, value| largest.max(value.abs()));
    let difference = |(got, want): (&f64, &f64)| {
        assert!(got.is_finite(), "{got}");
        (got - want).abs()
    };
    got.iter().zip(want).map(difference).fold(0.0, f64::max) / largest
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The node tests of ONNX itself. Inputs are those of the model in the order of its files.
fn node_cases(folder: &Path) -> Vec<Case> {
    let case = |path: PathBuf| {
        let data = path.join("test_data_set_0");
        let mut run = Run::default();
        for file in sorted(&data) {
            let (name, array) = arrays::pb(&file);
            let input = file.file_name().unwrap().to_string_lossy().starts_with("input");
            if input { &mut run.inputs } else { &mut run.outputs }.insert(name, array);
        }
        let name = format!("onnx_node::{}", path.file_name().unwrap().to_string_lossy());
        Case { name, model: path.join("model.onnx"), runs: vec![run], bound: BOUND }
    };
    sorted(&folder.join("onnx_node")).into_iter().map(case).collect()
}

/// The runs of an `.npz` file with arrays `inK.NAME` and `outK.NAME` for every run K.
fn recorded(path: &Path) -> Vec<Run> {
    let mut runs: BTreeMap<String, Run> = BTreeMap::new();
    for (name, array) in arrays::npz(path) {
        let (kind, name) = name.split_once('.').unwrap();
        if let Some(run) = kind.strip_prefix("in") {
            runs.entry(run.into()).or_default().inputs.insert(name.into(), array);
        } else if let Some(run) = kind.strip_prefix("out") {
            runs.entry(run.into()).or_default().outputs.insert(name.into(), array);
        }
    }
    assert!(runs.values().all(|run| !run.outputs.is_empty()), "{}", path.display());
    runs.into_values().collect()
}

/// Models beside an `.npz` file.
fn npz_cases(folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in ["onnx_ops", "onnx_models", "onnx_models/external"] {
        for model in sorted(&folder.join(part)) {
            let beside = model.with_extension("npz");
            if model.extension().is_none_or(|extension| extension != "onnx") || !beside.exists() {
                continue;
            }
            let stem = model.file_stem().unwrap().to_string_lossy().into_owned();
            let coarse = stem.contains("f16") || stem.contains("int8");
            let name = format!("{}::{stem}", part.replace('/', "::"));
            let bound = if coarse { COARSE } else { BOUND };
            cases.push(Case { name, model, runs: recorded(&beside), bound });
        }
    }
    cases
}
