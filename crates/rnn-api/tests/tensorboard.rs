//! Event files, read by TensorBoard's own reader: the test with it runs where the environment variable `RNN_PYTHON` names a
//! Python that has the package `tensorboard`.

#[path = "report/folder.rs"]
#[allow(dead_code, reason = "the tests of reports use more of it")]
mod folder;

use folder::Folder;
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::{Report, Score, StopReason, TensorBoard, TrainerConfig};
use std::path::Path;
use std::process::Command;

/// Trains two epochs of three steps, with events in this folder.
fn train(folder: &Path) -> (StopReason, Option<String>) {
    let device = Device::cpu();
    let model = LinearConfig::new(1, 1).init(&device, 1).unwrap();
    let x = Tensor::ones(&device, &[2, 1]).unwrap();
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let mut trainer = TrainerConfig::new(2).init(&model, sgd).unwrap();
    trainer
        .validate(|| Ok(Score::min("mse", model.forward(&x)?.mse(&x)?.item()?.into()).with_baseline(0.25)));
    let tensorboard = TensorBoard::new(folder);
    let board = tensorboard.board();
    trainer.on_event(tensorboard).on_event(Report::new(folder.join("x.html")).with_update_ratios_every(1));
    let batches = Batches::new(6, &BatchConfig::new(2)).unwrap();
    let outcome = trainer.fit(batches, |_| model.forward(&x)?.mse(&x)).unwrap();
    let values = [0.5, -1.5, 2.0, f32::NAN];
    if board.problem().is_none() {
        board.histogram("weights", 6, &values).unwrap();
        board.text("sample", 6, "ä | <b>").unwrap();
        board.scalar("own", 6, 3.5).unwrap();
        board.flush().unwrap();
    }
    (outcome.reason, board.problem())
}

#[test]
fn a_folder_that_cannot_be_made_stops_no_run() {
    let folder = Folder::new();
    let in_the_way = folder.write("file", "");
    let (reason, problem) = train(&in_the_way.join("below"));
    assert_eq!(reason, StopReason::Completed);
    assert!(problem.unwrap().contains("below"));
}

#[test]
fn files_are_records_with_lengths() {
    let folder = Folder::new();
    let (_, problem) = train(&folder.join("run"));
    assert_eq!(problem, None);
    let files: Vec<_> =
        std::fs::read_dir(folder.join("run")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let events: Vec<_> = files.iter().filter(|path| path.to_string_lossy().contains("tfevents")).collect();
    assert_eq!(events.len(), 1);
    let bytes = std::fs::read(events[0]).unwrap();
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        records.push(bytes[at + 12..at + 12 + length].to_vec());
        at += length + 16;
    }
    assert_eq!(at, bytes.len());
    let has = |record: &[u8], text: &str| record.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(
        has(&records[0], "brain.Event:2")
            && records.iter().any(|record| has(record, "validation/mse baseline"))
    );
    assert_eq!(records.iter().filter(|record| has(record, "loss/training")).count(), 6);
}

const READER: &str = r#"
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
a.Reload()
tags = a.Tags()
print("scalars", *sorted(tags["scalars"]), sep="|")
loss = a.Scalars("loss/training")
print("steps", *[e.step for e in loss], sep="|")
print("falls", loss[0].value > loss[-1].value > 0)
print("baseline", a.Scalars("validation/mse baseline")[0].value)
print("own", a.Scalars("own")[0].value)
h = a.Histograms("weights")[0].histogram_value
print("histogram", h.min, h.max, h.num, h.sum, sum(h.bucket), len(h.bucket) == len(h.bucket_limit))
text = a.Tensors("sample")[0].tensor_proto.string_val[0].decode()
print("text", text)
print("plugin", a.SummaryMetadata("sample").plugin_data.plugin_name)
print("settings", "optimizer" in a.Tensors("settings")[0].tensor_proto.string_val[0].decode())
"#;

#[test]
#[ignore = "needs RNN_PYTHON, a Python with the package tensorboard"]
fn tensorboard_reads_what_was_written() {
    let python = std::env::var("RNN_PYTHON").expect("RNN_PYTHON names a Python with the package tensorboard");
    let folder = Folder::new();
    train(&folder.join("run"));
    let out = Command::new(python).arg("-c").arg(READER).arg(folder.join("run")).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{errors}");
    for line in [
        "scalars|gradient_norm|learning_rate|loss/epoch|loss/training|own|update_ratio|update_ratio/bias|\
         update_ratio/weight|validation/mse|validation/mse baseline",
        "steps|1|2|3|4|5|6",
        "falls True",
        "baseline 0.25",
        "own 3.5",
        "histogram -1.5 2.0 3.0 1.0 3.0 True",
        "text ä | <b>",
        "plugin text",
        "settings True",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n--- in\n{text}\n{errors}");
    }
}
