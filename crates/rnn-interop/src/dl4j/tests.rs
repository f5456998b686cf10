//! Files of DL4J, and files written by hand where there are none: hostile ones, and normalizers.

use super::*;
use rnn_testing::data::changed_files;
use rnn_testing::zip;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance/dl4j");

/// A file of the conformance data; says so where it is absent.
fn file(name: &str) -> Option<Vec<u8>> {
    let bytes = std::fs::read(format!("{FOLDER}/{name}")).ok();
    if bytes.is_none() {
        eprintln!("{name} is absent: not compared");
    }
    bytes
}

const ZIPS: [&str; 4] = [
    "060_ModelSerializer_Regression_LSTM_1.zip",
    "071_ModelSerializer_Regression_CG_LSTM_1.zip",
    "080_ModelSerializer_Regression_LSTM_1.zip",
    "RnnCsv1.zip",
];

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// A row vector as version 0.8 writes it.
fn row(values: &[f32]) -> Vec<u8> {
    let n = values.len() as i32;
    let mut bytes = [text("HEAP"), 8i32.to_be_bytes().to_vec(), text("INT")].concat();
    [2, 1, n, 1, 1, 0, 1, 99].iter().for_each(|number: &i32| bytes.extend(number.to_be_bytes()));
    bytes.extend([text("HEAP"), n.to_be_bytes().to_vec(), text("FLOAT")].concat());
    values.iter().for_each(|value| bytes.extend(value.to_be_bytes()));
    bytes
}

#[test]
fn an_untrained_model_has_the_recorded_weights() {
    let (Some(bytes), Some(recorded)) = (file("RnnCsv1.zip"), file("lstm10_uci.safetensors")) else { return };
    let model = Description::read(&bytes).unwrap();
    let recorded = safetensors::SafeTensors::deserialize(&recorded).unwrap();
    let compare = |layer: usize, name: &str, key: &str| {
        let tensor = recorded.tensor(key).unwrap();
        let values = tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let wanted = (tensor.shape().to_vec(), values);
        assert_eq!(model.layers[layer].parameters[name], wanted, "{key}");
    };
    for name in ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"] {
        compare(0, name, &format!("init.{name}"));
    }
    compare(2, "weight", "init.head.weight");
    compare(2, "bias", "init.head.bias");
    assert_eq!(model.layers[1].kind, Kind::GlobalPooling(Pooling::Avg));
    let settings = &model.layers[0].settings;
    let adam = settings.updater.as_ref().unwrap();
    assert_eq!(
        (adam.name.as_str(), adam.numbers["learningRate"], adam.numbers["beta2"]),
        ("adam", 0.05, 0.999)
    );
    assert_eq!((settings.l1, settings.l2, settings.keep), (0.001, 0.001, None));
    assert_eq!(model.layers[2].settings.loss.as_ref().unwrap().name, "mcxent");
    assert_eq!(
        (model.seed, model.truncated, model.layers[2].inputs.as_slice()),
        (Some(12345), None, &["layer1".into()][..])
    );
    assert_eq!(model.updater_state.unwrap().len(), 1092);
}

#[test]
fn counted_weights_lie_where_they_should() {
    for name in &ZIPS[..3] {
        let Some(bytes) = file(name) else { continue };
        let model = Description::read(&bytes).unwrap();
        let at = |layer: usize, name: &str, at: usize| model.layers[layer].parameters[name].1[at];
        // The first unit of i, f, g and o: columns 12, 4, 0 and 8.
        assert_eq!([0, 12, 24, 36].map(|n| at(0, "weight_ih_l0", n)), [37., 13., 1., 25.]);
        assert_eq!([1, 3, 47].map(|n| at(0, "weight_ih_l0", n)), [38., 40., 36.]);
        assert_eq!([0, 16, 32, 48].map(|n| at(0, "weight_hh_l0", n)), [97., 65., 49., 81.]);
        assert_eq!([0, 3, 4, 8].map(|n| at(0, "weight_peephole_l0", n)), [121., 124., 113., 117.]);
        assert_eq!([0, 4, 8, 12].map(|n| at(0, "bias_ih_l0", n)), [137., 129., 125., 133.]);
        assert_eq!(at(1, "weight_ih_l0", 32), 141.);
        assert_eq!(at(1, "weight_hh_l0", 32), 205.);
        assert_eq!(at(1, "bias_ih_l0", 8), 281.);
        assert_eq!(at(1, "weight_ih_l0_reverse", 32), 297.);
        assert_eq!(at(1, "weight_hh_l0_reverse", 32), 361.);
        assert_eq!(at(1, "weight_peephole_l0_reverse", 4), 425.);
        assert_eq!(at(1, "bias_ih_l0_reverse", 8), 437.);
        assert_eq!([0, 4, 19].map(|n| at(2, "weight", n)), [453., 457., 472.]);
        assert_eq!(model.layers[2].parameters["bias"], (vec![5], vec![473., 474., 475., 476., 477.]));
        settings_are_read(&model);
    }
}

fn settings_are_read(model: &Description) {
    let [first, second, last] = &model.layers[..] else { panic!("{} layers", model.layers.len()) };
    let kind = |direction| Kind::Recurrent { cell: Cell::GravesLstm, direction, last_step: false };
    assert_eq!(first.kind, kind(Direction::Forward));
    assert_eq!(second.kind, kind(Direction::Both(Merge::Add)));
    assert_eq!((last.kind, second.inputs.as_slice()), (Kind::RnnOutput, &[first.name.clone()][..]));
    let activations = [first, second, last].map(|layer| layer.settings.activation.clone().unwrap().name);
    assert_eq!(activations, ["tanh", "softsign", "softmax"]);
    let settings = &first.settings;
    assert_eq!((settings.n_in, settings.n_out, settings.l1, settings.l2), (3, 4, 0.1, 0.2));
    let rmsprop = settings.updater.as_ref().unwrap();
    assert_eq!((rmsprop.name.as_str(), rmsprop.numbers["rmsDecay"]), ("rmsprop", 0.96));
    assert!(!rmsprop.numbers.contains_key("momentum"));
    assert_eq!(settings.keep, Some(0.6));
    assert_eq!((model.seed, model.updater_state.as_ref().map(Vec::len)), (Some(12345), Some(477)));
}

#[test]
fn the_character_model_and_its_arrays_are_read() {
    if let Some(bytes) = file("GravesLSTMCharModelingExample_100b4.bin") {
        let model = Description::read(&bytes).unwrap();
        assert_eq!(model.truncated, Some((50, 50)));
        assert_eq!(model.layers[0].parameters["weight_ih_l0"].0, [800, 77]);
        assert_eq!(model.layers[2].parameters["weight"].0, [77, 200]);
        assert_eq!(model.layers[1].settings.l2, 0.0001);
    }
    for name in ["Input", "Output"] {
        let Some(bytes) = file(&format!("GravesLSTMCharModelingExample_{name}_100b4.bin")) else { continue };
        let array = Array::read(&bytes).unwrap();
        assert_eq!(array.shape, [3, 77, 10]);
        let sum = |b: usize| (0..77).map(|c| array.values[(b * 77 + c) * 10]).sum::<f32>();
        assert!(
            name == "Input" || (0..3).all(|b| (sum(b) - 1.0).abs() < 1e-5),
            "no probabilities by strides"
        );
    }
}

#[test]
fn cut_and_changed_files_never_panic() {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for bytes in ZIPS.iter().filter_map(|name| file(name)) {
        for length in 0..bytes.len() {
            assert!(Description::read(&bytes[..length]).is_err());
        }
        let archive = Archive::read(&bytes).unwrap();
        let config = archive.get("configuration.json").unwrap().unwrap();
        let array = archive.get("coefficients.bin").unwrap().unwrap();
        for length in 0..array.len() {
            assert!(Array::read(&array[..length]).is_err());
        }
        for n in 0..changed_files(20_000) / ZIPS.len() {
            // The archive's checksums hide most of what lies within.
            let mut parts = [bytes.clone(), config.to_vec(), array[..200].to_vec()];
            for part in &mut parts {
                let at = random() % part.len();
                part[at] = if n % 2 == 0 { random() as u8 } else { b"0123456789"[random() % 10] };
            }
            let _ = Description::read(&parts[0]);
            if let Ok(mut model) = config::read(&parts[1]) {
                let _ = params::split(&[0.5; 477], &mut model.layers);
            }
            let _ = Array::read(&[&parts[2], &array[200..]].concat());
        }
    }
}

#[test]
fn a_zip_bomb_is_refused() {
    let bomb = zip(&[("configuration.json", &vec![b' '; 128 << 20])], true);
    assert!(bomb.len() < 1 << 20);
    assert!(Description::read(&bomb).unwrap_err().contains("too many"));
    // A directory that names fewer bytes than there are.
    let mut file = zip(&[("configuration.json", &[b' '; 1000])], true);
    let size = file.windows(4).position(|part| part == 1000u32.to_le_bytes()).unwrap();
    file[size] = 1;
    assert!(Description::read(&file).unwrap_err().contains("bytes that the directory names"));
}

#[test]
fn unknown_layers_are_listed_together() {
    let conf = |class: &str| format!(r#"{{"layer": {{"@class": "a.b.{class}", "nin": 1, "nout": 1}}}}"#);
    let wrapped = r#"{"layer": {"@class": "x.LastTimeStep", "underlying": {"@class": "x.Own"}}}"#.to_string();
    let confs = [conf("ConvolutionLayer"), conf("LSTM"), conf("Custom"), wrapped].join(",");
    let why = config::read(format!(r#"{{"confs": [{confs}]}}"#).as_bytes()).unwrap_err();
    assert_eq!(
        why,
        "layers that are not understood: ConvolutionLayer `0`, Custom `2`, LastTimeStep of Own `3`"
    );
}

#[test]
fn wrappers_and_normalizers_are_read() {
    let rnn = r#"{"@class": "x.SimpleRnn", "nin": 2, "nout": 1, "layerName": "r"}"#;
    let both = format!(r#"{{"@class": "x.Bidirectional", "fwd": {rnn}, "bwd": {rnn}, "mode": "CONCAT"}}"#);
    let layer = format!(r#"{{"@class": "x.LastTimeStep", "underlying": {both}, "layerName": null}}"#);
    let table = r#"{"@class": "x.EmbeddingLayer", "nin": 2, "nout": 2, "hasBias": false}"#;
    let config = format!(r#"{{"confs": [{{"layer": {layer}}}, {{"layer": {table}}}]}}"#);
    let normalizer =
        [text("NORMALIZER"), vec![0, 0, 0, 1], text("STANDARDIZE"), vec![0], row(&[1., 2.]), row(&[3., 4.])];
    let coefficients: Vec<f32> = (1..13).map(|n| n as f32).collect();
    let entries: [(&str, &[u8]); 3] = [
        ("configuration.json", config.as_bytes()),
        ("coefficients.bin", &row(&coefficients)),
        ("normalizer.bin", &normalizer.concat()),
    ];
    let model = Description::read(&zip(&entries, true)).unwrap();
    let direction = Direction::Both(Merge::Concat);
    assert_eq!(model.layers[0].kind, Kind::Recurrent { cell: Cell::SimpleRnn, direction, last_step: true });
    assert_eq!(model.layers[0].parameters["weight_hh_l0_reverse"], (vec![1, 1], vec![7.]));
    assert_eq!(model.layers[1].parameters["weight"], (vec![2, 2], vec![9., 11., 10., 12.]));
    let features = (vec![1., 2.], vec![3., 4.]);
    assert_eq!(model.normalizer, Some(Normalizer::Standardize { features, labels: None }));
    let range = [0f64.to_be_bytes(), 1f64.to_be_bytes()].concat();
    let head = [text("NORMALIZER"), vec![0, 0, 0, 1], text("MIN_MAX"), vec![1], range].concat();
    let bytes = [head, row(&[1.]), row(&[2.]), row(&[3.]), row(&[4.])].concat();
    let (features, labels) = ((vec![1.], vec![2.]), Some((vec![3.], vec![4.])));
    assert_eq!(Normalizer::read(&bytes), Ok(Normalizer::MinMax { target: (0., 1.), features, labels }));
    assert!((0..bytes.len()).all(|length| Normalizer::read(&bytes[..length]).is_err()));
}
