//! Processes that are killed at any moment and started again end with the weights of one that was left alone, bit for
//! bit: of its last step and of its best one.

use crate::common::{DeviceTest, device_tests};
use crate::language::{Language, streams};
use rnn_api::optim::{EmaConfig, ReduceOnPlateau};
use rnn_api::prelude::*;
use rnn_api::train::{Checkpoint, CheckpointConfig, Every, Score, TrainerConfig};
use rnn_testing::data::SplitMix64;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Says to a process of this test that it is a run, and where.
const RUN: &str = "RNN_TEST_RESUME_RUN";

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![killed_runs_end_with_the_same_bits]
}

/// Runs, where this process is one that the test has started to kill it.
pub(crate) fn ran_as_a_process_of_the_test() -> bool {
    let Ok(folder) = std::env::var(RUN) else { return false };
    let device = Device::from_name(&std::env::var("RNN_TEST_RESUME_DEVICE").unwrap()).unwrap();
    train(&device, Path::new(&folder));
    true
}

/// A run, or the rest of one.
fn train(device: &Device, folder: &Path) {
    let model = Language::new(device, 0.3);
    let text = streams(1000).next().unwrap();
    let adam = AdamWConfig::new(1.0).with_clip_norm(1.0).init(&model).unwrap();
    let config = TrainerConfig::new(6)
        .with_ema(EmaConfig::new(0.9))
        .with_accumulate(2)
        .with_backward_steps(12)
        .with_plateau(ReduceOnPlateau::new(0.03).with_patience(1).with_factor(0.5))
        .with_checkpoints(CheckpointConfig::new(folder).with_every(Every::Steps(1)).with_resume(true));
    let mut trainer = config.init(&model, adam).unwrap();
    trainer.validate(|| Ok(Score::min("nats", model.loss(&text, None)?.0.item()?.into())));
    trainer.fit_streams(&mut streams(6), |chunk, state| model.loss(chunk, state)).unwrap();
}

/// Bits of the last weights and of the best ones.
fn bits(device: &Device, folder: &Path) -> Vec<Vec<(String, Vec<u32>)>> {
    let checkpoint = Checkpoint::last(folder).unwrap();
    let model = Language::new(device, 0.3);
    checkpoint.load_last(&model).unwrap();
    let last = model.bits();
    checkpoint.load_best(&model).unwrap();
    vec![last, model.bits()]
}

fn killed_runs_end_with_the_same_bits(device: &Device) {
    // A process on the GPU takes a second to start, one on the CPU some milliseconds.
    let (name, wanted) = if device.is_cpu() { ("cpu", 30) } else { ("gpu", 4) };
    let root = std::env::temp_dir().join(format!("rnn-resume-{name}-{}", std::process::id()));
    let start = |folder: &Path| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(RUN, folder).env("RNN_TEST_RESUME_DEVICE", name).stdout(Stdio::null());
        // Another process may find the adapter too busy to measure it, and would plan by other facts.
        command.env("RNN_CALIBRATE", "off");
        command.spawn().unwrap()
    };
    let whole = root.join("whole");
    let began = Instant::now();
    assert!(start(&whole).wait().unwrap().success());
    let mut duration = began.elapsed();
    let reference = bits(device, &whole);

    let mut rng = SplitMix64::new(11);
    let (mut kills, mut runs) = (0, 0);
    while kills < wanted {
        let folder = root.join(runs.to_string());
        let mut is_first = true;
        loop {
            let mut process = start(&folder);
            // Anywhere from before the first step to after the last one.
            let wait = duration.mul_f64(0.1 + 0.7 * rng.next_below(1000) as f64 / 1000.0);
            std::thread::sleep(wait);
            if let Some(status) = process.try_wait().unwrap() {
                assert!(status.success());
                // The run that was left alone may have shared the machine, and its kernels were compiled.
                if is_first {
                    duration = duration.min(wait);
                }
                break;
            }
            is_first = false;
            process.kill().unwrap();
            process.wait().unwrap();
            kills += 1;
        }
        assert!(bits(device, &folder) == reference, "run {runs} after {kills} kills");
        runs += 1;
        assert!(began.elapsed() < Duration::from_secs(300), "{kills} kills in {runs} runs");
    }
    println!("{name}: {kills} kills in {runs} runs, each like the one that was left alone");
    std::fs::remove_dir_all(&root).unwrap();
}
