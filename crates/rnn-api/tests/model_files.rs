//! Models in one file: what is saved comes back, what cannot be used is refused by name, and nothing is half assigned.

use rnn_api::data::{Classes, Normaliser, Scaling, Sequence, Vocabulary, VocabularyConfig};
use rnn_api::io::{self, ModelFile, ModelWriter};
use rnn_api::prelude::*;
use rnn_api::{Error, Result};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

model!(struct Tagger, TaggerConfig { embedding: EmbeddingConfig, rnn: rnn_api::nn::AnyRnnConfig, head: LinearConfig });

fn config(units: usize) -> TaggerConfig {
    TaggerConfig {
        embedding: EmbeddingConfig::new(5, 3),
        rnn: GruConfig::new(3, units).into(),
        head: LinearConfig::new(units, 2),
    }
}

/// A file in the temporary folder, removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        File(std::env::temp_dir().join(format!("rnn-model-{}-{name}.safetensors", std::process::id())))
    }

    /// A model of 4 units with a vocabulary.
    fn saved(name: &str) -> (Self, Tagger) {
        let file = File::new(name);
        let model = config(4).init(&Device::cpu(), 3).unwrap();
        let vocabulary = VocabularyConfig::characters().fit(["abcde"]).unwrap();
        let writer = ModelWriter::new(&config(4)).unwrap().keep("vocabulary", &vocabulary).unwrap();
        writer.save(&model, &file.0).unwrap();
        (file, model)
    }

    fn refusal(&self) -> String {
        match ModelFile::read(&self.0) {
            Err(error @ Error::Checkpoint { .. }) => error.to_string(),
            other => panic!("expected Error::Checkpoint, got {:?}", other.map(drop)),
        }
    }

    /// Writes the file again, as another tool for safetensors would.
    fn edit(&self, change: impl FnOnce(&mut HashMap<String, String>, &mut BTreeMap<String, Vec<f32>>)) {
        let bytes = std::fs::read(&self.0).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let mut metadata = header.metadata().clone().unwrap_or_default();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let floats = |view: &TensorView<'_>| {
            view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let mut values: BTreeMap<String, Vec<f32>> =
            tensors.iter().map(|(name, view)| (name.to_string(), floats(&view))).collect();
        change(&mut metadata, &mut values);
        let bytes: BTreeMap<&String, Vec<u8>> =
            values.iter().map(|(name, v)| (name, v.iter().flat_map(|x| x.to_le_bytes()).collect())).collect();
        let view = |(name, view): (&str, TensorView<'_>)| {
            let name = name.to_string();
            let data = &bytes[&name];
            (name.clone(), TensorView::new(view.dtype(), view.shape().to_vec(), data).unwrap())
        };
        let views: Vec<_> = tensors.iter().map(view).collect();
        std::fs::write(&self.0, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn weights(model: &impl Module) -> Vec<f32> {
    model.parameters().iter().flat_map(|param| param.value().to_vec().unwrap()).collect()
}

#[test]
fn a_model_comes_back_with_what_is_kept_beside() {
    let (file, model) = File::saved("back");
    let (loaded, loaded_config) = io::load_model::<TaggerConfig>(&file.0, &Device::cpu()).unwrap();
    assert_eq!(loaded_config, config(4));
    assert_eq!(weights(&loaded), weights(&model));
    let read = ModelFile::read(&file.0).unwrap();
    assert_eq!(read.kept_names().collect::<Vec<_>>(), ["vocabulary"]);
    assert_eq!(read.kept::<Vocabulary>("vocabulary").unwrap().tokens()[2], "c");
}

/// A configuration of a program's own, with layers that are made by hand.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    units: usize,
    rate: f64,
    kind: Option<Kind>,
    normaliser: Normaliser,
    classes: Classes,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Sum(Vec<u64>),
}

fn own() -> (Own, Linear) {
    let x = Sequence::new(vec![0.1, 0.7, 0.3], 1).unwrap();
    let normaliser = Normaliser::fit(Scaling::ZScore, [&x]).unwrap();
    let classes = Classes::from_names(vec!["rest".into(), "walk".into()]).unwrap();
    let own = Own { units: 3, rate: 0.1, kind: Some(Kind::Sum(vec![u64::MAX])), normaliser, classes };
    (own, LinearConfig::new(1, 3).init(&Device::cpu(), 1).unwrap())
}

#[test]
fn any_configuration_of_serde_serves() {
    let (own, model) = own();
    let file = File::new("own");
    io::save_model(&file.0, &model, &own).unwrap();
    let read = ModelFile::read(&file.0).unwrap();
    assert_eq!(read.config::<Own>().unwrap(), own);
    let other = LinearConfig::new(1, 3).init(&Device::cpu(), 2).unwrap();
    read.load_into(&other).unwrap();
    assert_eq!(weights(&other), weights(&model));
    // Saved again under the same name, and as plain weights.
    io::save_model(&file.0, &other, &own).unwrap();
    io::load(&model, &file.0).unwrap();
}

#[test]
fn dropout_is_off_in_a_loaded_model() {
    let config = LstmConfig::new(2, 8).with_num_layers(2).with_dropout(0.5);
    let file = File::new("dropout");
    io::save_model(&file.0, &config.init(&Device::cpu(), 1).unwrap(), &config).unwrap();
    let (lstm, _) = io::load_model::<LstmConfig>(&file.0, &Device::cpu()).unwrap();
    let x = Tensor::ones(&Device::cpu(), &[3, 1, 2]).unwrap();
    let y = || lstm.forward(&x, None).unwrap().y.to_vec().unwrap();
    assert_eq!(y(), y());
}

#[test]
fn other_tools_see_names_shapes_and_values() {
    let (file, model) = File::saved("tools");
    let bytes = std::fs::read(&file.0).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("rnn.weight_hh_l0").unwrap().shape(), [12, 4]);
    assert_eq!(tensors.len(), model.named_parameters().len());
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let config: serde_json::Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["rnn.config"]).unwrap();
    assert_eq!((&config["rnn"]["cell"], &config["rnn"]["hidden_size"]), (&"gru".into(), &4.into()));
    // A tool that writes the same content in its own way leaves a good file.
    file.edit(|metadata, _| drop(metadata.insert("format".into(), "pt".into())));
    io::load_model::<TaggerConfig>(&file.0, &Device::cpu()).unwrap();
}

#[test]
fn files_that_are_none_are_named() {
    let file = File::new("none");
    assert!(matches!(ModelFile::read(&file.0), Err(Error::Io { .. })));
    // The first local header of a zip archive, and nothing after it.
    let header = [&b"PK\x03\x04"[..], &[0; 22], b"\x08\0\0\0data.pkl"].concat();
    std::fs::write(&file.0, header).unwrap();
    assert!(file.refusal().contains("torch.save"), "{}", file.refusal());
    io::save(&config(4).init(&Device::cpu(), 1).unwrap(), &file.0).unwrap();
    assert!(file.refusal().contains("weights without a configuration; io::load"), "{}", file.refusal());
    assert!(file.refusal().contains(&file.0.display().to_string()));
}

#[test]
fn other_versions_and_missing_parts_are_named() {
    for (key, value, problem) in [
        ("rnn.model", Some("2"), "of version \"2\"; this program reads version 1"),
        ("rnn.model", None, "`rnn.model` is missing"),
        ("rnn.config", None, "`rnn.config` is missing"),
        ("rnn.crc32", None, "`rnn.crc32` is missing"),
        ("rnn.config", Some("{"), "`rnn.config` in the metadata is no JSON"),
        ("rnn.kept.vocabulary", Some("x"), "`rnn.kept.vocabulary` in the metadata is no JSON"),
        ("rnn.config", Some("{}"), "the content has changed"),
        ("rnn.kept.vocabulary", None, "the content has changed"),
    ] {
        let (file, _) = File::saved("parts");
        file.edit(|metadata, _| match value {
            Some(value) => drop(metadata.insert(key.into(), value.into())),
            None => drop(metadata.remove(key)),
        });
        assert!(file.refusal().contains(problem), "{key} {value:?}: {}", file.refusal());
    }
    let (file, _) = File::saved("weights");
    file.edit(|_, values| values.get_mut("head.bias").unwrap()[1] += 0.5);
    assert!(file.refusal().contains("the content has changed"), "{}", file.refusal());
}

/// Every length that a file may have been cut to, and one bit of every byte.
#[test]
fn damage_is_found_wherever_it_is() {
    let (file, _) = File::saved("damage");
    let bytes = std::fs::read(&file.0).unwrap();
    let is_refused = |damaged: &[u8], what: &str| {
        std::fs::write(&file.0, damaged).unwrap();
        let result = io::load_model::<TaggerConfig>(&file.0, &Device::cpu());
        assert!(matches!(result, Err(Error::Checkpoint { .. })), "{what}");
    };
    for length in (0..bytes.len()).step_by(7) {
        is_refused(&bytes[..length], &format!("cut to {length} bytes"));
    }
    let header = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        // Between the parts of the header white space may change.
        if at < header && bytes[at].is_ascii_whitespace() && damaged[at].is_ascii_whitespace() {
            continue;
        }
        is_refused(&damaged, &format!("byte {at}"));
    }
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let (file, _) = File::saved("fit");
    let read = ModelFile::read(&file.0).unwrap();
    let larger = config(6).init(&Device::cpu(), 9).unwrap();
    let before = weights(&larger);
    let error = read.load_into(&larger).unwrap_err().to_string();
    assert!(error.contains("`rnn.weight_hh_l0` must be [18, 6], got [12, 4]"), "{error}");
    assert!(error.contains("`head.weight`") && !error.contains("embedding"), "{error}");
    assert_eq!(weights(&larger), before);

    let text = |result: Result<()>| match result {
        Err(error @ Error::Checkpoint { .. }) => error.to_string(),
        other => panic!("expected Error::Checkpoint, got {other:?}"),
    };
    let error = text(read.config::<LstmConfig>().map(drop));
    assert!(error.contains("`config`: missing field `input_size`"), "{error}");
    #[derive(Debug, Deserialize)]
    struct Parts {
        #[allow(dead_code, reason = "its type is refused")]
        head: Head,
    }
    #[derive(Debug, Deserialize)]
    struct Head {
        #[allow(dead_code, reason = "its type is refused")]
        output_size: String,
    }
    let error = text(read.config::<Parts>().map(drop));
    assert!(
        error.contains("`config.head.output_size`: invalid type: integer `2`, expected a string"),
        "{error}"
    );
    let error = text(read.kept::<Normaliser>("normaliser").map(drop));
    assert!(error.contains("nothing is kept as `normaliser`; there is [\"vocabulary\"]"), "{error}");
    let error = text(read.kept::<Normaliser>("vocabulary").map(drop));
    assert!(error.contains("`vocabulary.symbols`: unknown field `symbols`"), "{error}");
}

#[test]
fn what_could_not_be_loaded_is_not_saved() {
    let file = File::new("refused");
    let model = LinearConfig::new(1, 1).init(&Device::cpu(), 1).unwrap();
    let refused = |result: Result<()>, part: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(!Path::new(&file.0).exists());
    };
    refused(io::save_model(&file.0, &model, &f32::NAN), "NaN");
    refused(ModelWriter::new(&1).unwrap().keep("rates", &[f64::INFINITY]).map(drop), "for `rates`");
    let nan = Tensor::full(&Device::cpu(), &[1, 1], f32::NAN).unwrap();
    model.weight.set(&nan).unwrap();
    refused(io::save_model(&file.0, &model, &1), "`weight` must be finite, got NaN");
}
