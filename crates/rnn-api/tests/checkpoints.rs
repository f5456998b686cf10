//! Files: round trips, PyTorch's names, and everything that can be wrong with them.

#[path = "checkpoints/folders.rs"]
mod folders;
#[path = "checkpoints/hostile.rs"]
mod hostile;
#[path = "checkpoints/locks.rs"]
mod locks;
#[path = "checkpoints/run.rs"]
mod run;
#[path = "checkpoints/saves.rs"]
mod saves;
#[path = "checkpoints/states.rs"]
mod states;

use rnn_api::prelude::*;
use rnn_api::{Error, io};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rnn-api-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn lstm(seed: u64) -> Lstm {
    let config = LstmConfig::new(3, 4).with_num_layers(2).with_bidirectional(true);
    config.init(&Device::cpu(), seed).unwrap()
}

fn values(module: &dyn Module) -> Vec<(String, Vec<f32>)> {
    let params = module.named_parameters().into_iter();
    params.map(|(name, param)| (name, param.value().to_vec().unwrap())).collect()
}

fn problems(path: &Path, result: rnn_api::Result<HashMap<String, String>>) -> Vec<String> {
    match result {
        Err(Error::Checkpoint { path: named, problems }) => {
            assert_eq!(named, path);
            problems
        }
        other => panic!("expected Checkpoint, got {other:?}"),
    }
}

/// Writes tensors of any type, as another program would.
fn write(path: &Path, tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) {
    let views = tensors
        .iter()
        .map(|(name, dtype, dims, bytes)| (*name, TensorView::new(*dtype, dims.to_vec(), bytes).unwrap()));
    fs::write(path, serialize(views, None).unwrap()).unwrap();
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn parameters_and_metadata_survive_a_round_trip() {
    let folder = Folder::new("round-trip");
    let path = folder.file("lstm.safetensors");
    let (saved, loaded) = (lstm(1), lstm(2));
    assert_ne!(values(&saved), values(&loaded));
    let metadata = HashMap::from([("config".to_string(), "{\"hidden\": 4}".to_string())]);
    io::save_with(&saved, &path, metadata.clone()).unwrap();
    assert_eq!(io::load(&loaded, &path).unwrap(), metadata);
    assert_eq!(values(&saved), values(&loaded));
    // Overwriting leaves nothing beside the file.
    io::save(&loaded, &path).unwrap();
    assert_eq!(folder.names(), ["lstm.safetensors"]);
    assert!(io::load(&loaded, &path).unwrap().is_empty());
}

#[test]
fn names_and_shapes_are_those_of_pytorch() {
    let folder = Folder::new("names");
    let path = folder.file("lstm.safetensors");
    io::save(&lstm(1), &path).unwrap();
    let file = io::TensorFile::read(&path).unwrap();
    assert_eq!(file.tensors.len(), 16);
    assert_eq!(file.tensors["weight_ih_l0"].dims, [16, 3]);
    assert_eq!(file.tensors["weight_ih_l1_reverse"].dims, [16, 8]);
    assert_eq!(file.tensors["weight_hh_l0_reverse"].dims, [16, 4]);
    assert_eq!(file.tensors["bias_hh_l1"].dims, [16]);
}

#[test]
fn a_prefix_selects_a_part() {
    let folder = Folder::new("prefix");
    let path = folder.file("both.safetensors");
    let (lstm, head) = (lstm(1), LinearConfig::new(8, 2).init(&Device::cpu(), 1).unwrap());
    struct Both {
        lstm: Lstm,
        head: Linear,
    }
    rnn_api::module!(Both { lstm, head });
    io::save(&Both { lstm: lstm.clone(), head }, &path).unwrap();
    let other = self::lstm(2);
    io::load_with(&other, &path, &io::LoadOptions::new().with_prefix("lstm.")).unwrap();
    assert_eq!(values(&lstm), values(&other));
    let wrong = io::load_with(&other, &path, &io::LoadOptions::new().with_prefix("gru."));
    assert_eq!(problems(&path, wrong).len(), 16, "every name is missing");
}

#[test]
fn every_problem_is_listed_and_nothing_is_assigned() {
    let folder = Folder::new("problems");
    let path = folder.file("bad.safetensors");
    let head = LinearConfig::new(2, 3).init(&Device::cpu(), 1).unwrap();
    let before = values(&head);
    write(
        &path,
        &[
            ("weight", Dtype::F32, &[2, 3], f32_bytes(&[0.5; 6])),
            ("extra", Dtype::F32, &[1], f32_bytes(&[0.5])),
        ],
    );
    let found = problems(&path, io::load(&head, &path));
    assert_eq!(found.len(), 3, "{found:?}");
    for part in ["`weight` must be [3, 2], got [2, 3]", "`bias` is missing", "`extra` is unknown"] {
        assert!(found.iter().any(|p| p == part), "{part} is not in {found:?}");
    }
    write(
        &path,
        &[("weight", Dtype::F32, &[2, 3], f32_bytes(&[0.5; 6])), ("bias", Dtype::I64, &[3], vec![0; 24])],
    );
    let found = problems(&path, io::load(&head, &path));
    assert_eq!(
        found,
        ["`weight` must be [3, 2], got [2, 3]", "`bias` must be F32, F64, F16 or BF16, got I64"]
    );
    assert_eq!(values(&head), before);
    match head.load_state_dict(&Default::default()) {
        Err(Error::StateDict { problems }) => assert_eq!(problems.len(), 2),
        other => panic!("expected StateDict, got {other:?}"),
    }
}

#[test]
fn halves_are_widened() {
    let folder = Folder::new("halves");
    let path = folder.file("half.safetensors");
    let halves = [1.5f32, -0.25, 65504.0, 6e-8, 0.0, -1.0].map(half::f16::from_f32);
    let bytes = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
    write(
        &path,
        &[("weight", Dtype::F16, &[3, 2], bytes), ("bias", Dtype::F32, &[3], f32_bytes(&[1.0, 2.0, 3.0]))],
    );
    let head = LinearConfig::new(2, 3).init(&Device::cpu(), 1).unwrap();
    io::load(&head, &path).unwrap();
    assert_eq!(head.weight.value().to_vec().unwrap(), halves.map(half::f16::to_f32));
}

#[test]
fn corrupt_files_are_errors_that_name_the_file() {
    let folder = Folder::new("corrupt");
    let whole = folder.file("whole.safetensors");
    let lstm = lstm(1);
    let before = values(&lstm);
    io::save(&self::lstm(2), &whole).unwrap();
    let bytes = fs::read(&whole).unwrap();
    let path = folder.file("cut.safetensors");
    for length in [0, 3, 8, 40, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let found = problems(&path, io::load(&lstm, &path));
        assert!(found[0].contains("not a whole safetensors file"), "{length}: {found:?}");
    }
    let mut huge = bytes.clone();
    huge[..8].fill(0xff);
    fs::write(&path, &huge).unwrap();
    problems(&path, io::load(&lstm, &path));
    let mut longer = bytes;
    longer.push(0);
    fs::write(&path, &longer).unwrap();
    problems(&path, io::load(&lstm, &path));
    assert_eq!(values(&lstm), before);
}

#[test]
fn files_that_cannot_be_reached_are_errors() {
    let folder = Folder::new("unreachable");
    let missing = folder.file("missing.safetensors");
    let error = io::load(&lstm(1), &missing).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == missing));
    assert!(error.to_string().contains("missing.safetensors"));
    let nowhere = folder.file("no-such-folder").join("x.safetensors");
    assert!(matches!(io::save(&lstm(1), nowhere), Err(Error::Io { .. })));
    assert!(matches!(io::save(&lstm(1), "/"), Err(Error::Io { .. })));
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let folder = Folder::new("not-finite");
    let path = folder.file("nan.safetensors");
    let head = LinearConfig::new(2, 3).init(&Device::cpu(), 1).unwrap();
    let before = values(&head);
    for (bad, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let weight = f32_bytes(&[0.5, 1.0, bad, 0.0, bad, 2.0]);
        write(
            &path,
            &[("weight", Dtype::F32, &[3, 2], weight), ("bias", Dtype::F32, &[3], f32_bytes(&[1.0; 3]))],
        );
        let found = problems(&path, io::load(&head, &path));
        assert_eq!(found, [format!("`weight` must be finite, got {text} at element 2 (2 in all)")]);
        assert_eq!(values(&head), before);
        let other = LinearConfig::new(2, 3).init(&Device::cpu(), 1).unwrap();
        io::load_with(&other, &path, &io::LoadOptions::new().with_non_finite(true)).unwrap();
        assert_eq!(other.weight.value().to_vec().unwrap()[2].to_bits(), bad.to_bits());
    }
    let half = half::f16::INFINITY.to_le_bytes().repeat(6);
    write(&path, &[("weight", Dtype::F16, &[3, 2], half), ("bias", Dtype::F32, &[3], f32_bytes(&[1.0; 3]))]);
    assert!(problems(&path, io::load(&head, &path))[0].contains("got inf at element 0 (6 in all)"));
}
