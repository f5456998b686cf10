//! Healthy runs raise nothing.

use crate::task::{Data, train};
use rnn_api::data::{BatchConfig, Batches, StreamConfig, Streams};
use rnn_api::doctor::Finding;
use rnn_api::nn::ForwardArgs;
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Score, TrainerConfig};
use rnn_api::{Device, LossOptions, Result};

fn lstm_with_clipping() -> Result<Vec<Finding>> {
    let device = Device::cpu();
    let model = (LstmConfig::new(1, 12).init(&device, 1)?, LinearConfig::new(12, 1).init(&device, 2)?);
    let mean = |x: &[f32]| x.iter().sum::<f32>() / x.len() as f32 * 3.0;
    let (data, held_out) = (Data::new(256, 12, 1, mean), Data::new(64, 12, 2, mean));
    let adam = AdamConfig::new(0.01).with_clip_norm(1.0).init(&model)?;
    let outcome = train(&model, adam, &TrainerConfig::new(15), (&data, &held_out), |x| {
        model.1.forward(&model.0.forward(x, None)?.last()?)
    })?;
    assert!(outcome.best.is_some_and(|best| best.score.skill().unwrap() > 0.8));
    Ok(outcome.findings)
}

fn bidirectional_gru_with_dropout_until_no_improvement() -> Result<Vec<Finding>> {
    let device = Device::cpu();
    let config = GruConfig::new(1, 10).with_bidirectional(true).with_output_dropout(0.1);
    let model = (config.init(&device, 1)?, LinearConfig::new(20, 1).init(&device, 2)?);
    let target = |x: &[f32]| x[0] - x[9];
    let (data, held_out) = (Data::new(192, 10, 1, target), Data::new(64, 10, 2, target));
    let adam = AdamWConfig::new(5e-3).init(&model)?;
    let config = TrainerConfig::new(40).with_early_stopping(EarlyStopping::new().with_patience(5));
    let outcome = train(&model, adam, &config, (&data, &held_out), |x| {
        model.1.forward(&model.0.forward(x, None)?.last()?)
    })?;
    Ok(outcome.findings)
}

fn elman_network_on_a_short_task() -> Result<Vec<Finding>> {
    let device = Device::cpu();
    let model = (RnnConfig::new(1, 12).init(&device, 1)?, LinearConfig::new(12, 1).init(&device, 2)?);
    let target = |x: &[f32]| x[24] - x[23];
    let (data, held_out) = (Data::new(256, 25, 1, target), Data::new(64, 25, 2, target));
    let adam = AdamConfig::new(5e-3).init(&model)?;
    let outcome = train(&model, adam, &TrainerConfig::new(20), (&data, &held_out), |x| {
        model.1.forward(&model.0.forward(x, None)?.last()?)
    })?;
    Ok(outcome.findings)
}

fn ragged_tagger() -> Result<Vec<Finding>> {
    let device = Device::cpu();
    let model = (LstmConfig::new(1, 10).init(&device, 1)?, LinearConfig::new(10, 2).init(&device, 2)?);
    let data = Data::new(64, 14, 1, |x| x[0]);
    let adam = AdamConfig::new(0.01).init(&model)?;
    let mut trainer = TrainerConfig::new(15).init(&model, adam)?;
    // Whether the sum so far is above 0, at every step.
    let loss = |rows: &[usize]| {
        let (x, _) = data.batch(rows)?;
        let lengths: Vec<usize> = rows.iter().map(|row| 6 + row % 9).collect();
        let mut sums = vec![0.0; rows.len()];
        let mut labels = Vec::new();
        for t in 0..14 {
            for (sum, &row) in sums.iter_mut().zip(rows) {
                *sum += data.x[row][t];
                labels.push(u32::from(*sum > 0.0));
            }
        }
        let labels = Tensor::from_indices(&device, &labels, &[14, rows.len()])?;
        let valid = Lengths::new(lengths.clone())?;
        let out =
            model.0.forward_with(&x, ForwardArgs { lengths: Some(&valid), ..ForwardArgs::default() })?;
        let over = LossOptions::new().with_lengths(&lengths);
        model.1.forward(&out.y)?.cross_entropy_over(&labels, &CrossEntropyOptions::default(), &over)
    };
    let score = || Ok(Score::min("loss", loss(&(0..32).collect::<Vec<_>>())?.item()?.into()));
    let batches = Batches::new(64, &BatchConfig::new(8).with_shuffle(1))?;
    Ok(trainer.run().validate(score).fit(batches, |batch| loss(&batch.indices))?.findings)
}

fn language_model_with_carried_state() -> Result<Vec<Finding>> {
    let device = Device::cpu();
    let text = "the quick brown fox jumps over the lazy dog and the small cat sleeps in the sun. ".repeat(40);
    let text: Vec<u32> = text.bytes().map(|byte| u32::from(byte.saturating_sub(b' ')).min(94)).collect();
    let model = (
        EmbeddingConfig::new(95, 8).init(&device, 1)?,
        LstmConfig::new(8, 32).with_num_layers(2).with_dropout(0.1).init(&device, 2)?,
        LinearConfig::new(32, 95).init(&device, 3)?,
    );
    let adam = AdamConfig::new(5e-3).with_clip_norm(1.0).init(&model)?;
    let mut trainer = TrainerConfig::new(6).init(&model, adam)?;
    let streams = Streams::of_indices(vec![text], &StreamConfig::new(8, 20))?;
    let outcome = trainer.fit_streams(streams, |chunk, state: Option<&LstmState>| {
        let x = model.0.forward(&chunk.x.to_tensor(&device)?)?;
        let out = model.1.forward(&x, state)?;
        Ok((model.2.forward(&out.y)?.cross_entropy(&chunk.y.to_tensor(&device)?)?, out.state))
    })?;
    Ok(outcome.findings)
}

fn network_without_recurrence() -> Result<Vec<Finding>> {
    let device = Device::cpu();
    let model = LinearConfig::new(12, 1).init(&device, 1)?;
    let mean = |x: &[f32]| x.iter().sum::<f32>() / x.len() as f32 * 3.0;
    let (data, held_out) = (Data::new(128, 12, 1, mean), Data::new(64, 12, 2, mean));
    let sgd = SgdConfig::new(0.05).init(&model)?;
    let outcome = train(&model, sgd, &TrainerConfig::new(20), (&data, &held_out), |x| {
        model.forward(&x.permute(&[1, 2, 0])?.reshape(&[x.dims()[1], 12])?)
    })?;
    Ok(outcome.findings)
}

type Run = fn() -> Result<Vec<Finding>>;

#[test]
fn healthy_runs_raise_nothing() {
    let runs: [(&str, Run); 6] = [
        ("lstm_with_clipping", lstm_with_clipping),
        ("bidirectional_gru", bidirectional_gru_with_dropout_until_no_improvement),
        ("elman_network", elman_network_on_a_short_task),
        ("ragged_tagger", ragged_tagger),
        ("language_model", language_model_with_carried_state),
        ("network_without_recurrence", network_without_recurrence),
    ];
    let mut sick = Vec::new();
    for (name, run) in runs {
        let findings = run().unwrap();
        if !findings.is_empty() {
            sick.push(format!("{name}: {findings:#?}"));
        }
    }
    assert!(sick.is_empty(), "{}", sick.join("\n"));
}
