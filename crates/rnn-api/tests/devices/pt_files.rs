//! Files that torch 2.15 wrote with `torch.save`. The expected values are those that Python's own `pickle`, `zipfile` and
//! `struct` read from them.
//!
//! The files are looked for in `RNN_CONFORMANCE`, else in `../shared/conformance` beside the checkout. Without them the
//! tests show as ignored, and the run says so.

use libtest_mimic::Trial;
use rnn_api::io::{LoadOptions, TensorFile, load, load_with};
use rnn_api::module;
use rnn_api::prelude::*;
use std::path::{Path, PathBuf};

/// Shown as ignored where there are no files.
pub(crate) fn trials() -> Vec<Trial> {
    let folder = file("");
    let absent = !folder.exists();
    if absent {
        eprintln!("ignored: no {}; set RNN_CONFORMANCE to the folder of recorded runs", folder.display());
    }
    let tests: [(&str, fn()); 7] = [
        ("pt_files::state_dicts_load_into_the_layer", state_dicts_load_into_the_layer),
        ("pt_files::values_are_those_that_python_reads", values_are_those_that_python_reads),
        ("pt_files::every_type_is_read", every_type_is_read),
        ("pt_files::a_checkpoint_is_searched_for_the_model", a_checkpoint_is_searched_for_the_model),
        ("pt_files::tied_tensors_load_into_one_parameter", tied_tensors_load_into_one_parameter),
        ("pt_files::what_does_not_fit_is_refused_by_name", what_does_not_fit_is_refused_by_name),
        ("pt_files::damaged_files_are_refused", damaged_files_are_refused),
    ];
    let trial = |(name, test): (&str, fn())| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(absent)
    };
    tests.map(trial).into()
}

fn file(name: &str) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    std::env::var_os("RNN_CONFORMANCE").map_or_else(beside, PathBuf::from).join("pt").join(name)
}

/// `nn.LSTM(3, 4, num_layers=2, bidirectional=True)`, as in the state dicts.
fn lstm(seed: u64) -> Lstm {
    LstmConfig::new(3, 4).with_num_layers(2).with_bidirectional(true).init(&Device::cpu(), seed).unwrap()
}

fn values(model: &impl Module) -> Vec<(String, Vec<f32>)> {
    let params = model.named_parameters().into_iter();
    params.map(|(name, param)| (name, param.value().to_vec().unwrap())).collect()
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

/// A plain one, one without metadata, one with `module.` before every name, and a pickled module.
fn state_dicts_load_into_the_layer() {
    let plain = lstm(1);
    load(&plain, file("state_dict.pt")).unwrap();
    let loaded = values(&plain);
    let recorded = [
        ("weight_ih_l0", 1.0079283714294434),
        ("bias_hh_l1", -2.601463794708252),
        ("weight_hh_l1_reverse", -4.270610690116882),
    ];
    for (name, expected) in recorded {
        let (_, values) = loaded.iter().find(|(own, _)| own == name).unwrap();
        assert_eq!(sum(values), expected, "{name}");
    }
    for (seed, name) in (2..).zip(["ordered_no_meta.pt", "data_parallel.pt", "module.pt"]) {
        let other = lstm(seed);
        load(&other, file(name)).unwrap();
        assert_eq!(values(&other), loaded, "{name}");
    }
}

fn values_are_those_that_python_reads() {
    let file = TensorFile::read(file("checkpoint.pt")).unwrap();
    let recorded = [
        ("model.rnn.weight_ih_l0", &[12, 3][..], -2.1159505620598793),
        ("model.rnn.bias_hh_l0", &[12], -2.411554329097271),
        ("model.fc.weight", &[3, 4], -0.21285457164049149),
        ("model.tied.weight", &[3, 4], -0.21285457164049149),
        ("model.bn.running_var", &[4], 4.0),
        ("optimizer.state.7.exp_avg", &[3], 3.0),
        ("optimizer.state.0.step", &[], 1.0),
    ];
    for (name, dims, expected) in recorded {
        let tensor = &file.tensors[name];
        assert_eq!((&tensor.dims[..], sum(tensor.values.as_ref().unwrap())), (dims, expected), "{name}");
    }
    assert_eq!(file.tensors["model.bn.num_batches_tracked"].integers, Some(vec![0]));
    // 13 of the model, and a step and two moments for 6 parameters; not the numbers and texts beside them.
    assert_eq!(file.tensors.len(), 13 + 6 * 3);
    let parameters = TensorFile::read(self::file("parameters.pt")).unwrap();
    assert_eq!(parameters.tensors.keys().collect::<Vec<_>>(), ["buf", "p"]);
    assert_eq!(sum(parameters.tensors["p"].values.as_ref().unwrap()), -4.832473952323198);
}

/// One matrix in four types, and integers.
fn every_type_is_read() {
    let file = TensorFile::read(file("dtypes.pt")).unwrap();
    let exact = TensorFile::read(self::file("parameters.pt")).unwrap();
    let exact = exact.tensors["p"].values.clone().unwrap();
    // Units of rounding: 11 bits, 8 bits, and none.
    for (name, unit) in [("f16", 2f32.powi(-11)), ("bf16", 2f32.powi(-8)), ("f64", 0.0)] {
        let tensor = &file.tensors[name];
        assert_eq!(tensor.dims, [6, 8]);
        let got = tensor.values.as_ref().unwrap();
        let near = |(got, want): (&f32, &f32)| (got - want).abs() <= unit * want.abs();
        assert!(got.iter().zip(&exact).all(near), "{name}");
        assert!(unit == 0.0 || *got != exact, "{name}");
    }
    assert_eq!(file.tensors["i64"].integers, Some(vec![0, 1, 2, 3, 4]));
    assert_eq!(file.tensors["u8"].integers, Some(vec![0, 1, 2]));
    let positive: Vec<i64> = exact.iter().map(|&value| (value > 0.0).into()).collect();
    assert_eq!(file.tensors["bool"].integers, Some(positive));
}

struct Model {
    rnn: Gru,
    fc: Linear,
}
module!(Model { rnn, fc });

fn model(seed: u64) -> Model {
    let device = Device::cpu();
    let rnn = GruConfig::new(3, 4).init(&device, seed).unwrap();
    Model { rnn, fc: LinearConfig::new(4, 3).init(&device, seed).unwrap() }
}

fn a_checkpoint_is_searched_for_the_model() {
    let gru = model(1).rnn;
    // The GRU is alone with its names; `model.rnn.` has no others.
    load(&gru, file("checkpoint.pt")).unwrap();
    assert_eq!(sum(&values(&gru)[0].1), -2.1159505620598793);

    // The model has tensors beside those of this one: they are an error, unless they may be ignored.
    let model = model(2);
    let before = values(&model);
    let error = load(&model, file("checkpoint.pt")).unwrap_err().to_string();
    assert!(error.contains("`bn.weight` is unknown") && error.contains("`tied.bias` is unknown"), "{error}");
    assert_eq!(values(&model), before);
    load_with(&model, file("checkpoint.pt"), &LoadOptions::new().with_ignore_extra(true)).unwrap();
    assert_eq!(
        values(&model)[..4],
        values(&gru).into_iter().map(|(name, values)| (format!("rnn.{name}"), values)).collect::<Vec<_>>()
    );
    assert_eq!(sum(&values(&model)[4].1), -0.21285457164049149);

    // Two layers of the checkpoint fit one here.
    let linear = LinearConfig::new(4, 3).init(&Device::cpu(), 3).unwrap();
    let error = load(&linear, file("checkpoint.pt")).unwrap_err().to_string();
    assert!(error.contains("the prefixes `model.fc.`, `model.tied.` all fit"), "{error}");
    load_with(&linear, file("checkpoint.pt"), &LoadOptions::new().with_prefix("model.tied.")).unwrap();
    assert_eq!(sum(&values(&linear)[0].1), -0.21285457164049149);

    // Under other names.
    let options = LoadOptions::new().with_rename("model.rnn.", "encoder.").with_prefix("encoder.");
    let other = GruConfig::new(3, 4).init(&Device::cpu(), 4).unwrap();
    load_with(&other, file("checkpoint.pt"), &options).unwrap();
    assert_eq!(values(&other), values(&gru));
}

struct Tied {
    fc: Linear,
    tied: Linear,
}
module!(Tied { fc, tied });

fn tied_tensors_load_into_one_parameter() {
    let fc = LinearConfig::new(4, 3).init(&Device::cpu(), 1).unwrap();
    let model = Tied { tied: fc.clone(), fc };
    let options = LoadOptions::new().with_prefix("model.").with_ignore_extra(true);
    load_with(&model, file("checkpoint.pt"), &options).unwrap();
    assert_eq!(model.parameters().len(), 2);
    assert_eq!(sum(&values(&model)[0].1), -0.21285457164049149);
}

fn what_does_not_fit_is_refused_by_name() {
    let small = LstmConfig::new(3, 4).init(&Device::cpu(), 1).unwrap();
    let before = values(&small);
    let error = load(&small, file("state_dict.pt")).unwrap_err().to_string();
    for text in ["state_dict.pt", "`weight_ih_l1` is unknown", "`bias_hh_l1_reverse` is unknown"] {
        assert!(error.contains(text), "{error}");
    }
    let wide = LstmConfig::new(5, 4).init(&Device::cpu(), 1).unwrap();
    let options = LoadOptions::new().with_ignore_extra(true);
    let error = load_with(&wide, file("state_dict.pt"), &options).unwrap_err().to_string();
    assert!(error.contains("`weight_ih_l0` must be [16, 5], got [16, 3]"), "{error}");
    assert_eq!(values(&small), before);
}

/// Files that are cut off anywhere. Changed bytes: see the unit tests of `io::torch`.
fn damaged_files_are_refused() {
    let folder = std::env::temp_dir().join(format!("rnn-api-pt-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let damaged = folder.join("damaged.pt");
    for name in ["parameters.pt", "module.pt", "checkpoint.pt"] {
        let whole = std::fs::read(file(name)).unwrap();
        for length in (0..whole.len()).step_by(97) {
            std::fs::write(&damaged, &whole[..length]).unwrap();
            let error = TensorFile::read(&damaged).unwrap_err().to_string();
            assert!(error.contains("damaged.pt"), "{error}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}
