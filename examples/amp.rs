//! A guitar amplifier as a network: an LSTM learns what a device does to a sound, and processes another one in real time, as
//! in Wright et al. 2019, "Real-time black-box modelling with recurrent neural networks".
//!
//! ```sh
//! cargo run --release --example amp                                            # generated strings, a documented distortion
//! cargo run --release --example amp -- --out processed.wav
//! cargo run --release --example amp -- --dry guitar.wav --wet recorded.wav --hidden 32 --save amp.safetensors
//! cargo run --release --example amp -- --load amp.safetensors --process other.wav --out processed.wav
//! ```

#[path = "amp/circuit.rs"]
mod circuit;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rnn_api::data::audio::Sound;
use rnn_api::data::{Sequence, StreamConfig, Streams};
use rnn_api::io::{ModelFile, ModelWriter};
use rnn_api::live::Pipeline;
use rnn_api::prelude::*;
use rnn_api::train::Score;
use rnn_examples::common::{Common, print_result_with};
use rnn_examples::flag::{positive, size};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Learns what an amplifier does to a sound, and does it in real time.
///
/// The first 80 % of the sound are learnt. The next 10 % choose the epoch whose weights are kept. The error is that of the
/// last 10 %, by which nothing is chosen: the energy of the difference divided by the energy of the wet sound (the
/// error-to-signal ratio). The baseline is the dry sound at its best level.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    /// The sound before the device, as WAV; by default generated strings.
    #[arg(long, value_name = "WAV", requires = "wet")]
    dry: Option<PathBuf>,
    /// The sound after the device, with the same length and sample rate.
    #[arg(long, value_name = "WAV", requires = "dry")]
    wet: Option<PathBuf>,
    /// Units of the LSTM.
    #[arg(long, default_value_t = 16, value_parser = size)]
    hidden: usize,
    /// Parts of the sound that are learnt side by side.
    #[arg(long, default_value_t = 40, value_parser = size)]
    batch: usize,
    /// Time steps of a window of truncated BPTT.
    #[arg(long, default_value_t = 512, value_parser = size)]
    steps: usize,
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 1e-2, value_parser = positive)]
    lr: f64,
    /// Samples of a block in real time.
    #[arg(long, default_value_t = 64, value_parser = size)]
    block: usize,
    /// Write the processed sound here: the last 10 %, or that of --process.
    #[arg(long, value_name = "WAV")]
    out: Option<PathBuf>,
    /// Save the model in this file.
    #[arg(long, value_name = "MODEL", conflicts_with = "load")]
    save: Option<PathBuf>,
    /// Load the model of this file, for --process.
    #[arg(long, value_name = "MODEL", requires = "process")]
    load: Option<PathBuf>,
    /// Process this sound with the model of --load.
    #[arg(long, value_name = "WAV", requires = "load", conflicts_with_all = ["dry", "epochs", "log", "run"])]
    process: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

model!(struct Amp, AmpConfig { lstm: LstmConfig, head: LinearConfig });

impl Amp {
    /// The wet sound for the dry one, both `[T, B, 1]`: what the device adds is learnt.
    fn forward(&self, dry: &Tensor, state: Option<&LstmState>) -> rnn_api::Result<(Tensor, LstmState)> {
        let out = self.lstm.forward(dry, state)?;
        Ok((self.head.forward(&out.y)?.add(dry)?, out.state))
    }

    /// The model as a pipeline, which runs sample by sample in real time.
    fn pipeline(&self) -> rnn_api::Result<Pipeline> {
        Pipeline::builder(1)?.recurrent(&self.lstm)?.layer(&self.head)?.residual()?.build()
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    match (&args.load, &args.process) {
        (Some(model), Some(sound)) => process(model, sound, &args),
        _ => train(&args, Instant::now()),
    }
}

/// The dry and the wet sound, and samples per second.
fn sounds(args: &Args) -> Result<(Vec<f32>, Vec<f32>, u32)> {
    let (Some(dry), Some(wet)) = (&args.dry, &args.wet) else {
        let dry = circuit::strings(12.0, args.common.seed);
        let wet = circuit::distorted(&dry);
        return Ok((dry, wet, circuit::RATE));
    };
    let (dry, wet) = (Sound::read(dry).context("--dry")?, Sound::read(wet).context("--wet")?);
    let of = |sound: &Sound| (sound.samples().len(), sound.rate());
    let ((n, rate), (m, other)) = (of(&dry), of(&wet));
    ensure!(rate == other, "--dry has {rate} samples per second, --wet has {other}");
    ensure!(n == m, "--dry has {n} samples, --wet has {m}; cut both to the same part");
    Ok((dry.samples().to_vec(), wet.samples().to_vec(), rate))
}

fn train(args: &Args, started: Instant) -> Result<()> {
    let (common, device) = (&args.common, args.common.device()?);
    let (dry, wet, rate) = sounds(args)?;
    let (learnt, chosen) = (dry.len() / 10 * 8, dry.len() / 10 * 9);
    ensure!(learnt > args.batch * 2, "the sound is too short for --batch {}", args.batch);
    let parts = [learnt..chosen, chosen..dry.len()];
    let [validation, test] = parts.map(|part| (&dry[part.clone()], &wet[part]));
    ensure!(energy(validation.1) > 0.0 && energy(test.1) > 0.0, "the end of the wet sound is silent");

    let both = Sequence::from_columns(&[dry[..learnt].to_vec(), wet[..learnt].to_vec()])?;
    let streams = Streams::of_sequences(&[both], &StreamConfig::new(args.batch, args.steps))?;
    let epochs = common.epochs(60);
    let steps = epochs * streams.chunks_per_epoch() as u64;
    common.say(format!(
        "{:.1} s of sound to learn from, {:.1} s for validation, {:.1} s for the test, {rate} samples per second; on {}",
        learnt as f32 / rate as f32,
        validation.0.len() as f32 / rate as f32,
        test.0.len() as f32 / rate as f32,
        device.name()
    ));

    let config = AmpConfig { lstm: LstmConfig::new(1, args.hidden), head: LinearConfig::new(args.hidden, 1) };
    let model = config.init(&device, common.seed)?;
    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let trainer = common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let mut trainer = trainer.init(&model, adam)?;
    trainer.validate(|| {
        let (mut pipeline, mut out) = (on_cpu(&config, &model)?, vec![0.0; validation.0.len()]);
        pipeline.process(validation.0, &mut out).map_err(rnn_api::Error::other)?;
        Ok(Score::min("esr", error_to_signal(&out, validation.1)).with_baseline(baseline(validation)))
    });
    common.equip(&mut trainer)?;
    // The mean energy of a sample, so that the loss is an error-to-signal ratio.
    let scale = (learnt as f64 / energy(&wet[..learnt]).max(f64::MIN_POSITIVE)) as f32;
    trainer.fit_streams(streams, |chunk, state| {
        let pair = chunk.x.to_tensor(&device)?; // [T, B, 2]: dry and wet
        let (y, state) = model.forward(&pair.slice(2, 0..1)?, state)?;
        Ok((y.mse(&pair.slice(2, 1..2)?)?.scale(scale)?, state))
    })?;
    drop(trainer);

    if let Some(path) = &args.save {
        let writer = ModelWriter::new(&config)?.keep("rate", &rate)?;
        writer.save(&model, path).with_context(|| format!("--save {}", path.display()))?;
    }
    let out = in_real_time(on_cpu(&config, &model)?, test.0, rate, args)?;
    let more = format!("decibels={:.1} ", 10.0 * error_to_signal(&out, test.1).log10());
    print_result_with("esr", error_to_signal(&out, test.1), baseline(test), &more, started);
    Ok(())
}

/// The model as a pipeline, which runs on the CPU, wherever the model was trained.
fn on_cpu(config: &AmpConfig, model: &Amp) -> rnn_api::Result<Pipeline> {
    let copy = config.init(&Device::cpu(), 0)?;
    for (own, trained) in copy.parameters().iter().zip(model.parameters()) {
        own.set(&Tensor::from_vec(&Device::cpu(), trained.value().to_vec()?, trained.dims())?)?;
    }
    copy.pipeline()
}

/// Processes a sound block by block, as for a sound card, and prints how long that takes.
fn in_real_time(mut pipeline: Pipeline, dry: &[f32], rate: u32, args: &Args) -> Result<Vec<f32>> {
    let (mut out, mut slowest, all) = (vec![0.0; dry.len()], 0.0f64, Instant::now());
    for (dry, out) in dry.chunks(args.block).zip(out.chunks_mut(args.block)) {
        let started = Instant::now();
        pipeline.process(dry, out)?;
        slowest = slowest.max(started.elapsed().as_secs_f64());
    }
    let (taken, length) = (all.elapsed().as_secs_f64(), dry.len() as f64 / f64::from(rate));
    args.common.say(format!(
        "real time: {:.3} us a sample, {:.0} times faster than the sound; the slowest block of {} took {:.0} us of {:.0} us",
        taken / dry.len() as f64 * 1e6,
        length / taken,
        args.block,
        slowest * 1e6,
        args.block as f64 / f64::from(rate) * 1e6
    ));
    if let Some(path) = &args.out {
        Sound::new(out.clone(), rate)?.write(path).context("--out")?;
        args.common.say(format!("wrote {}", path.display()));
    }
    Ok(out)
}

/// Processes a sound with a saved model.
fn process(model: &Path, sound: &Path, args: &Args) -> Result<()> {
    let saved = ModelFile::read(model).context("--load")?;
    let (model, rate): (Amp, u32) = (saved.model::<AmpConfig>(&Device::cpu())?, saved.kept("rate")?);
    let sound = Sound::read(sound).context("--process")?;
    ensure!(
        sound.rate() == rate,
        "--process has {} samples per second, the model has learnt {rate}",
        sound.rate()
    );
    in_real_time(model.pipeline()?, sound.samples(), rate, args).map(drop)
}

fn energy(sound: &[f32]) -> f64 {
    sound.iter().map(|&x| f64::from(x).powi(2)).sum()
}

/// The energy of the difference over that of the wet sound.
fn error_to_signal(sound: &[f32], wet: &[f32]) -> f64 {
    let difference: Vec<f32> = sound.iter().zip(wet).map(|(a, b)| a - b).collect();
    energy(&difference) / energy(wet)
}

/// The error-to-signal ratio of the dry sound at its best level.
fn baseline((dry, wet): (&[f32], &[f32])) -> f64 {
    let common: f64 = dry.iter().zip(wet).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
    let level = (common / energy(dry).max(f64::MIN_POSITIVE)) as f32;
    error_to_signal(&dry.iter().map(|x| level * x).collect::<Vec<_>>(), wet)
}
