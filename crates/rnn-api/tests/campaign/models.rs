//! Files of models, optimizers and runs: what does not fit is refused whole, and nothing has changed then.

use crate::target::{Target, folder};
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::{Checkpoint, CheckpointConfig, Every, TrainerConfig};
use rnn_api::{Result, io};
use std::fs;
use std::path::{Path, PathBuf};

struct Net {
    rnn: Rnn,
    head: Linear,
}
rnn_api::module!(Net { rnn, head });

impl Net {
    fn new() -> Self {
        let cpu = Device::cpu();
        Net {
            rnn: RnnConfig::new(2, 3).init(&cpu, 1).unwrap(),
            head: LinearConfig::new(3, 2).init(&cpu, 2).unwrap(),
        }
    }

    fn values(&self) -> Vec<f32> {
        self.named_parameters().into_iter().flat_map(|(_, param)| param.value().to_vec().unwrap()).collect()
    }

    fn bits(&self) -> Vec<u32> {
        self.values().into_iter().map(f32::to_bits).collect()
    }

    fn loss(&self) -> Result<Tensor> {
        let cpu = Device::cpu();
        let x = Tensor::from_slice(&cpu, &[0.5, -1.0, 2.0, 0.25, 1.0, 0.0, -0.5, 1.5], &[2, 2, 2])?;
        let labels = Tensor::from_indices(&cpu, &[0, 1], &[2])?;
        self.head.forward(&self.rnn.forward(&x, None)?.last()?)?.cross_entropy(&labels)
    }
}

fn bytes_of(save: impl FnOnce(&Path)) -> Vec<u8> {
    let path = folder().join("seed");
    save(&path);
    fs::read(path).unwrap()
}

pub(crate) fn targets() -> Vec<Target> {
    let adam = trained(&Net::new());
    vec![
        Target {
            name: "model",
            seeds: vec![bytes_of(|path| io::save(&Net::new(), path).unwrap())],
            has_checksums: false,
            run: model,
        },
        Target {
            name: "optimizer",
            seeds: vec![bytes_of(|path| adam.save(path).unwrap())],
            has_checksums: false,
            run: optimizer,
        },
        Target {
            name: "model_file",
            seeds: vec![bytes_of(|path| {
                let config = LinearConfig::new(2, 3);
                io::save_model(path, &config.init(&Device::cpu(), 1).unwrap(), &config).unwrap();
            })],
            has_checksums: true,
            run: model_file,
        },
        Target {
            name: "stream_state",
            seeds: vec![bytes_of(|path| stream().save(path).unwrap())],
            has_checksums: true,
            run: stream_state,
        },
        Target { name: "checkpoint", seeds: checkpoints(), has_checksums: true, run: checkpoint },
    ]
}

fn model(path: &Path) -> bool {
    let net = Net::new();
    let before = net.bits();
    match io::load(&net, path) {
        Ok(_) => {
            assert!(net.values().iter().all(|x| x.is_finite()));
            true
        }
        Err(_) => {
            assert_eq!(net.bits(), before, "a refused file changed the model");
            false
        }
    }
}

fn model_file(path: &Path) -> bool {
    match io::load_model::<LinearConfig>(path, &Device::cpu()) {
        Ok((linear, config)) => {
            assert_eq!(linear.weight.dims(), [config.output_size, config.input_size]);
            assert!(linear.weight.value().to_vec().unwrap().iter().all(|x| x.is_finite()));
            true
        }
        Err(_) => false,
    }
}

/// A stream after one step.
fn stream() -> LstmStream {
    let mut stream = LstmConfig::new(2, 3).init(&Device::cpu(), 1).unwrap().stream(2).unwrap();
    stream.step(&Tensor::ones(&Device::cpu(), &[2, 2]).unwrap()).unwrap();
    stream
}

fn stream_state(path: &Path) -> bool {
    let mut stream = stream();
    let values = |stream: &LstmStream| {
        let LstmState { h, c, .. } = stream.state();
        [h.to_vec().unwrap(), c.to_vec().unwrap()].concat()
    };
    let before = values(&stream);
    let accepted = stream.load(path).is_ok();
    assert!(values(&stream).iter().all(|x| x.is_finite()));
    assert!(accepted || values(&stream) == before, "a refused file changed the stream");
    accepted
}

fn trained(net: &Net) -> Adam {
    let mut adam = AdamConfig::new(0.1).init(net).unwrap();
    adam.step(&net.loss().unwrap().backward().unwrap()).unwrap();
    adam
}

fn optimizer(path: &Path) -> bool {
    let net = Net::new();
    let mut adam = AdamConfig::new(0.1).init(&net).unwrap();
    if adam.load(path).is_err() {
        assert_eq!(adam.steps(), 0, "a refused file changed the optimizer");
        return false;
    }
    // Adam takes gradients of at most 2^60, so larger means come from no run. Its steps then move by what fits no f32.
    let states = adam.state_dict().arrays.into_values().flat_map(|array| array.to_vec().unwrap());
    let largest = states.fold(0f32, |largest, x| largest.max(x.abs()));
    // It goes on, or says why not.
    if adam.step(&net.loss().unwrap().backward().unwrap()).is_ok() && largest < (1u64 << 60) as f32 {
        assert!(net.values().iter().all(|x| x.is_finite()));
    }
    true
}

fn run_folder() -> PathBuf {
    folder().join("checkpoint.run")
}

/// Trains for three steps and keeps two checkpoints.
fn train(path: &Path, resume: bool) -> Result<u64> {
    let net = Net::new();
    let checkpoints =
        CheckpointConfig::new(path).with_every(Every::Steps(1)).with_keep(2).with_resume(resume);
    let mut trainer =
        TrainerConfig::new(3).with_checkpoints(checkpoints).init(&net, AdamConfig::new(0.1).init(&net)?)?;
    Ok(trainer.fit(Batches::new(2, &BatchConfig::new(2))?, |_| net.loss())?.steps)
}

/// The files of the last checkpoint, in the order of their names.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut steps: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    steps.retain(|path| path.is_dir());
    steps.sort();
    let last = steps.pop().expect("a checkpoint");
    let mut files: Vec<PathBuf> = fs::read_dir(last).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The number of a file of the last checkpoint, then its bytes.
fn checkpoints() -> Vec<Vec<u8>> {
    let path = folder().join("checkpoint.seed");
    drop(fs::remove_dir_all(&path));
    train(&path, false).unwrap();
    let numbered = files(&path).into_iter().enumerate();
    numbered.map(|(n, file)| [vec![n as u8], fs::read(file).unwrap()].concat()).collect()
}

/// A run goes on from a folder of which one file was replaced: from the checkpoint, from the one before it, or not at all.
fn checkpoint(input: &Path) -> bool {
    let path = run_folder();
    drop(fs::remove_dir_all(&path));
    copy(&folder().join("checkpoint.seed"), &path);
    let bytes = fs::read(input).unwrap();
    let (number, content) = bytes.split_first().unwrap_or((&0, &[]));
    let files = files(&path);
    fs::write(&files[*number as usize % files.len()], content).unwrap();
    let accepted = match Checkpoint::last(&path) {
        Ok(last) => {
            let net = Net::new();
            if last.load_last(&net).is_ok() {
                assert!(net.values().iter().all(|x| x.is_finite()));
            }
            last.step() == 3
        }
        Err(_) => false,
    };
    if let Ok(steps) = train(&path, true) {
        assert_eq!(steps, 3, "a run of three epochs of one step");
    }
    accepted
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(path, to).unwrap()),
        }
    }
}
