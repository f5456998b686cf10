//! A small run with checkpoints, and its folder.

use rnn_api::Result;
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::{CheckpointConfig, EarlyStopping, Event, Every, Flow, Outcome, TrainerConfig};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Trains up to this step, with a checkpoint after every one.
pub(crate) fn run(folder: &Path, max_steps: u64, on_event: &mut dyn FnMut(&Event<'_>)) -> Result<Outcome> {
    let checkpoints = CheckpointConfig::new(folder).with_every(Every::Steps(1)).with_resume(true);
    run_with(checkpoints, max_steps, on_event)
}

pub(crate) fn run_with(
    checkpoints: CheckpointConfig,
    max_steps: u64,
    on_event: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome> {
    let device = Device::cpu();
    let model = LinearConfig::new(2, 1).init(&device, 1)?;
    let adam = AdamConfig::new(0.05).init(&model)?;
    let stopping = EarlyStopping::new().with_max_steps(max_steps);
    let config = TrainerConfig::new(9).with_checkpoints(checkpoints).with_early_stopping(stopping);
    let mut trainer = config.init(&model, adam)?;
    trainer.on_event(|event: &Event<'_>| {
        on_event(event);
        Ok(Flow::Continue)
    });
    trainer.keep("classes", &["a", "b"])?;
    trainer.fit(Batches::new(12, &BatchConfig::new(3).with_shuffle(2))?, |batch| {
        let x: Vec<f32> =
            batch.indices.iter().flat_map(|&i| [i as f32 / 12.0, (i % 5) as f32 / 5.0]).collect();
        let y: Vec<f32> = x.chunks(2).map(|x| x[0] - 2.0 * x[1]).collect();
        let rows = batch.indices.len();
        let x = Tensor::from_vec(&device, x, &[rows, 2])?;
        model.forward(&x)?.mse(&Tensor::from_vec(&device, y, &[rows, 1])?)
    })
}

pub(crate) fn silent(_: &Event<'_>) {}

/// The names of a folder's entries, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Copies a folder without subfolders.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// Changes a JSON file of a checkpoint, and its checksum.
pub(crate) fn edit(checkpoint: &Path, name: &str, change: &dyn Fn(&mut Value)) {
    let path = checkpoint.join(name);
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    let text = serde_json::to_string(&value).unwrap();
    fs::write(&path, &text).unwrap();
    if name != "manifest.json" {
        let entry = serde_json::json!([text.len(), crc32fast::hash(text.as_bytes())]);
        edit(checkpoint, "manifest.json", &|manifest| manifest["files"][name] = entry.clone());
    }
}
