//! Numbers of a checkpoint at their limits, with a checksum that fits: an error or a run, never a panic or a loop without
//! end.

use super::Folder;
use super::run::{copy, edit};
use rnn_api::data::{Chunk, StreamConfig, Streams};
use rnn_api::optim::{EmaConfig, LossScale, ReduceOnPlateau};
use rnn_api::prelude::*;
use rnn_api::train::{Checkpoint, CheckpointConfig, EarlyStopping, Every, Outcome, Score, TrainerConfig};
use rnn_api::{Result, module};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

struct Model {
    embedding: Embedding,
    lstm: Lstm,
    head: Linear,
}
module!(Model { embedding, lstm, head });

impl Model {
    fn new() -> Self {
        let device = Device::cpu();
        Model {
            embedding: EmbeddingConfig::new(4, 2).init(&device, 1).unwrap(),
            lstm: LstmConfig::new(2, 2).with_recurrent_dropout(0.2).init(&device, 2).unwrap(),
            head: LinearConfig::new(2, 4).init(&device, 3).unwrap(),
        }
    }

    fn loss(&self, chunk: &Chunk<u32>, state: Option<&LstmState>) -> Result<(Tensor, LstmState)> {
        let device = Device::cpu();
        let out = self.lstm.forward(&self.embedding.forward(&chunk.x.to_tensor(&device)?)?, state)?;
        Ok((self.head.forward(&out.y)?.cross_entropy(&chunk.y.to_tensor(&device)?)?, out.state))
    }
}

/// A run with everything that a checkpoint can hold.
fn run(folder: &Path, steps: u64) -> Result<Outcome> {
    let model = Model::new();
    let text: Vec<u32> = (0..40).map(|n| (n * n + n / 3) % 4).collect();
    let mut streams = Streams::of_indices(vec![text], &StreamConfig::new(2, 4).with_shuffle(5))?;
    let first = streams.next();
    let adam = AdamConfig::new(0.1).with_loss_scale(LossScale::dynamic()).init(&model)?;
    let config = TrainerConfig::new(4)
        .with_ema(EmaConfig::new(0.9))
        .with_backward_steps(8)
        .with_plateau(ReduceOnPlateau::new(0.02).with_patience(1))
        .with_validate_every(2)
        .with_early_stopping(EarlyStopping::new().with_patience(9).with_max_steps(steps))
        .with_checkpoints(
            CheckpointConfig::new(folder).with_every(Every::Epochs(9)).with_keep(1).with_resume(true),
        );
    let mut trainer = config.init(&model, adam)?;
    trainer.validate(|| {
        let loss = first.as_ref().map(|chunk| model.loss(chunk, None)?.0.item()).transpose()?;
        Ok(Score::min("nats", loss.unwrap_or_default().into()))
    });
    trainer.fit_streams(&mut streams, |chunk, state| model.loss(chunk, state))
}

/// The paths of all values in a document that are no list or object.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(n, value)| leaves(value, &format!("{path}/{n}"), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), found));
        }
        _ => found.push(path.to_string()),
    }
}

#[test]
fn numbers_at_their_limits_end_in_an_error_or_a_run() {
    let folder = Folder::new("hostile");
    let whole = folder.file("whole");
    run(&whole, 7).unwrap();
    let checkpoint = Checkpoint::last(&whole).unwrap().path().to_path_buf();
    let document: Value =
        serde_json::from_slice(&std::fs::read(checkpoint.join("run.json")).unwrap()).unwrap();
    let mut paths = Vec::new();
    leaves(&document, "", &mut paths);
    // One number of each kind: reports of epochs are alike.
    let mut kinds = BTreeSet::new();
    let kind = |path: &str| path.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    paths.retain(|path| !path.starts_with("/settings") && kinds.insert(kind(path)));
    assert!(paths.len() > 30, "{paths:?}");
    let values = [json!(u64::MAX), json!(1u64 << 53), json!(1e308)];
    let (mut errors, mut runs) = (0, 0);
    let copied = folder.file("copied");
    for path in &paths {
        for value in &values {
            std::fs::create_dir_all(&copied).unwrap();
            let target = copied.join(checkpoint.file_name().unwrap());
            copy(&checkpoint, &target);
            edit(&target, "run.json", &|run| *run.pointer_mut(path).unwrap() = value.clone());
            match run(&copied, 8) {
                Ok(_) => runs += 1,
                Err(_) => errors += 1,
            }
            std::fs::remove_dir_all(&copied).unwrap();
        }
    }
    assert!(errors > 50 && runs > 30, "{errors} errors, {runs} runs");
}
