//! Every rule, on a network that is built to be sick in that way.

use crate::task::{Data, Draw, found, rules, train};
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::doctor::{Doctor, Rule, Severity};
use rnn_api::nn::ForwardArgs;
use rnn_api::prelude::*;
use rnn_api::train::{Carried, Outcome, Score, StopReason, TrainerConfig};
use rnn_api::{Device, Result};
use std::cell::RefCell;

/// An LSTM with a head.
fn network(config: LstmConfig) -> Result<(Lstm, Linear)> {
    let device = Device::cpu();
    Ok((config.init(&device, 1)?, LinearConfig::new(config.hidden_size, 1).init(&device, 2)?))
}

fn forward((lstm, head): &(Lstm, Linear), x: &Tensor) -> Result<Tensor> {
    head.forward(&lstm.forward(x, None)?.last()?)
}

fn mean(x: &[f32]) -> f32 {
    x.iter().sum::<f32>() / x.len() as f32 * 3.0
}

/// A run of a network on the task, with nothing wrong but what is passed in.
fn run(config: LstmConfig, adam: AdamConfig, epochs: u64, [data, held_out]: [&Data; 2]) -> Result<Outcome> {
    let model = network(config)?;
    let optimizer = adam.init(&model)?;
    train(&model, optimizer, &TrainerConfig::new(epochs), (data, held_out), |x| forward(&model, x))
}

#[test]
fn a_state_that_is_carried_into_other_sequences() -> Result<()> {
    let model = network(LstmConfig::new(1, 4))?;
    let data = Data::new(32, 8, 1, mean);
    let carried: RefCell<Option<LstmState>> = RefCell::new(None);
    let loss = |rows: &[usize]| {
        let (x, y) = data.batch(rows)?;
        let out = model.0.forward(&x, carried.borrow().as_ref())?;
        *carried.borrow_mut() = Some(out.state.detached());
        model.1.forward(&out.last()?)?.mse(&y)
    };
    let fit = |batches: BatchConfig| -> Result<Outcome> {
        carried.replace(None);
        let mut trainer = TrainerConfig::new(2).init(&model, AdamConfig::new(0.01).init(&model)?)?;
        trainer.fit(Batches::new(32, &batches)?, |batch| loss(&batch.indices))
    };
    let shuffled = fit(BatchConfig::new(8).with_shuffle(1))?;
    assert_eq!(found(&shuffled.findings, Rule::ShuffledStreams).severity, Severity::Problem);
    assert_eq!(shuffled.findings[0].rule, Rule::ShuffledStreams);
    // In order, the state belongs to the sequences.
    let ordered = fit(BatchConfig::new(8))?;
    assert!(!rules(&ordered.findings).contains(&Rule::ShuffledStreams), "{:?}", ordered.findings);
    Ok(())
}

/// As a beginner would: a series of prices in the thousands.
#[test]
fn inputs_in_the_thousands() -> Result<()> {
    let of = |seed| {
        let mut data = Data::new(48, 12, seed, |x| x[11]);
        for (x, y) in data.x.iter_mut().zip(&mut data.y) {
            x.iter_mut().for_each(|x| *x = 3000.0 + 500.0 * *x);
            *y = 3000.0 + 500.0 * *y;
        }
        data
    };
    let outcome = run(LstmConfig::new(1, 8), AdamConfig::new(1e-3), 10, [&of(1), &of(2)])?;
    let finding = found(&outcome.findings, Rule::InputScale);
    assert!(finding.sentence.contains("too large"), "{finding}");
    assert_eq!(outcome.findings[0].rule, Rule::InputScale, "{:#?}", outcome.findings);

    let x = Tensor::full(&Device::cpu(), &[6, 2, 1], 1e-5)?;
    let (lstm, _) = network(LstmConfig::new(1, 4))?;
    let findings = Doctor::new().examine(&lstm, || lstm.forward(&x, None)?.y.mean_all())?;
    assert!(found(&findings, Rule::InputScale).sentence.contains("too small"));
    Ok(())
}

/// As a beginner would: rate 10.
#[test]
fn a_rate_of_ten() -> Result<()> {
    let (data, held_out) = (Data::new(64, 12, 1, mean), Data::new(32, 12, 2, mean));
    let outcome = run(LstmConfig::new(1, 8), AdamConfig::new(10.0), 10, [&data, &held_out])?;
    found(&outcome.findings, Rule::RateTooHigh);
    assert_eq!(outcome.findings[0].rule, Rule::RateTooHigh, "{:#?}", outcome.findings);

    let model = network(LstmConfig::new(1, 8))?;
    let sgd = SgdConfig::new(10.0).init(&model)?;
    let config = TrainerConfig::new(10);
    let outcome = train(&model, sgd, &config, (&data, &held_out), |x| forward(&model, x))?;
    assert_eq!(outcome.findings[0].rule, Rule::RateTooHigh, "{:#?}", outcome.findings);
    Ok(())
}

#[test]
fn a_rate_near_zero() -> Result<()> {
    let (data, held_out) = (Data::new(64, 12, 1, mean), Data::new(32, 12, 2, mean));
    let outcome = run(LstmConfig::new(1, 8), AdamConfig::new(1e-8), 30, [&data, &held_out])?;
    assert_eq!(found(&outcome.findings, Rule::RateTooLow).severity, Severity::Problem);
    assert_eq!(outcome.findings[0].rule, Rule::RateTooLow, "{:#?}", outcome.findings);
    found(&outcome.findings, Rule::Plateau);
    Ok(())
}

#[test]
fn a_missing_value_in_the_input() -> Result<()> {
    let mut data = Data::new(32, 12, 1, mean);
    data.x[20][7] = f32::NAN;
    let outcome = run(LstmConfig::new(1, 8), AdamConfig::new(0.01), 5, [&data, &Data::new(8, 12, 2, mean)])?;
    assert!(matches!(outcome.reason, StopReason::NonFinite(_)), "{}", outcome.reason);
    let finding = outcome.findings.iter().find(|finding| finding.rule == Rule::NonFinite).expect("found");
    assert!(finding.sentence.contains("at step 7"), "{finding}");
    assert_eq!(outcome.findings[0].rule, Rule::NonFinite, "{:#?}", outcome.findings);
    Ok(())
}

/// As a beginner would: forget bias -5, and a target from the start of the sequence.
#[test]
fn forget_gates_that_are_shut() -> Result<()> {
    let (data, held_out) = (Data::new(64, 40, 1, |x| x[2]), Data::new(32, 40, 2, |x| x[2]));
    let config = LstmConfig::new(1, 8).with_forget_bias(-5.0);
    let outcome = run(config, AdamConfig::new(3e-3), 10, [&data, &held_out])?;
    let finding = found(&outcome.findings, Rule::ShortMemory);
    assert!(finding.code.contains("LstmConfig::new(1, 8).with_forget_lag(40.0)"), "{finding}");
    assert_eq!(outcome.findings[0].rule, Rule::ShortMemory, "{:#?}", outcome.findings);
    Ok(())
}

/// As a beginner would: an Elman network on the adding problem.
#[test]
fn an_elman_network_on_a_long_task() -> Result<()> {
    let device = Device::cpu();
    let model = (RnnConfig::new(1, 16).init(&device, 1)?, LinearConfig::new(16, 1).init(&device, 2)?);
    let (data, held_out) = (Data::new(64, 50, 1, |x| x[3] + x[20]), Data::new(32, 50, 2, |x| x[3] + x[20]));
    let adam = AdamConfig::new(3e-3).init(&model)?;
    let outcome = train(&model, adam, &TrainerConfig::new(10), (&data, &held_out), |x| {
        model.1.forward(&model.0.forward(x, None)?.last()?)
    })?;
    let finding = found(&outcome.findings, Rule::GradientVanishes);
    assert!(finding.sentence.contains("of 50 steps"), "{finding}");
    assert!(finding.code.contains("LstmConfig::new(1, 16).with_forget_lag(50.0)"), "{finding}");
    assert_eq!(outcome.findings[0].rule, Rule::GradientVanishes, "{:#?}", outcome.findings);
    Ok(())
}

#[test]
fn a_recurrence_that_grows() -> Result<()> {
    let device = Device::cpu();
    let config = RnnConfig::new(1, 4).with_activation(Activation::Identity);
    let rnn = config.with_recurrent_init(Init::Identity(1.4)).init(&device, 1)?;
    let (x, _) = Data::new(4, 30, 1, mean).all()?;
    let findings = Doctor::new().examine(&rnn, || rnn.forward(&x, None)?.last()?.mean_all())?;
    let finding = found(&findings, Rule::GradientExplodes);
    assert!(finding.sentence.contains("29 steps back"), "{finding}");
    Ok(())
}

#[test]
fn relu_units_that_are_dead() -> Result<()> {
    let device = Device::cpu();
    let config = RnnConfig::new(1, 6).with_activation(Activation::Relu).with_bias_init(Init::Constant(-2.0));
    let rnn = config.init(&device, 1)?;
    let (x, _) = Data::new(4, 10, 1, mean).all()?;
    let findings = Doctor::new().examine(&rnn, || rnn.forward(&x, None)?.y.mean_all())?;
    assert!(found(&findings, Rule::DeadUnits).sentence.starts_with("6 of 6"));
    Ok(())
}

#[test]
fn gates_that_are_saturated() -> Result<()> {
    let (data, held_out) = (Data::new(64, 12, 1, mean), Data::new(32, 12, 2, mean));
    let config = LstmConfig::new(1, 8).with_input_init(Init::Uniform(500.0));
    let outcome = run(config, AdamConfig::new(1e-4), 3, [&data, &held_out])?;
    found(&outcome.findings, Rule::SaturatedGates);
    Ok(())
}

/// Classes of random sequences.
fn classify(
    head: LinearConfig,
    labels: impl Fn(usize) -> u32,
    adam: AdamConfig,
    epochs: u64,
) -> Result<Outcome> {
    let device = Device::cpu();
    let model = (LstmConfig::new(1, 4).init(&device, 1)?, head.init(&device, 2)?);
    let data = Data::new(64, 8, 1, mean);
    let mut trainer = TrainerConfig::new(epochs).init(&model, adam.init(&model)?)?;
    trainer.fit(Batches::new(64, &BatchConfig::new(64).with_shuffle(1))?, |batch| {
        let (x, _) = data.batch(&batch.indices)?;
        let labels: Vec<u32> = batch.indices.iter().map(|&row| labels(row)).collect();
        let labels = Tensor::from_indices(&device, &labels, &[64])?;
        model.1.forward(&model.0.forward(&x, None)?.last()?)?.cross_entropy(&labels)
    })
}

#[test]
fn a_last_layer_that_starts_certain() -> Result<()> {
    let head = LinearConfig::new(4, 5).with_init(Init::Uniform(200.0));
    let outcome = classify(head, |row| row as u32 % 5, AdamConfig::new(1e-3), 3)?;
    let finding = found(&outcome.findings, Rule::FirstLoss);
    assert!(finding.evidence.contains("ln 5 = 1.61"), "{finding}");
    Ok(())
}

#[test]
fn labels_of_one_class() -> Result<()> {
    let outcome =
        classify(LinearConfig::new(4, 3), |row| u32::from(row % 32 == 0), AdamConfig::new(1e-6), 3)?;
    let finding = found(&outcome.findings, Rule::UnbalancedLabels);
    assert!(finding.evidence.contains("62 of 64"), "{finding}");
    Ok(())
}

/// As a beginner would: targets that do not follow from the inputs.
#[test]
fn targets_that_say_nothing() -> Result<()> {
    let of = |seed: u64| {
        let draw = Draw::new(seed + 100);
        Data::new(64, 12, seed, |_| draw.next())
    };
    let outcome = run(LstmConfig::new(1, 8), AdamConfig::new(3e-3), 10, [&of(1), &of(2)])?;
    found(&outcome.findings, Rule::NotBetterThanBaseline);
    assert_eq!(outcome.findings[0].rule, Rule::NotBetterThanBaseline, "{:#?}", outcome.findings);
    Ok(())
}

#[test]
fn a_network_that_learns_by_heart() -> Result<()> {
    let draw = Draw::new(77);
    // Half of the target follows from the input.
    let data = Data::new(16, 8, 1, |x| x[7] + draw.next());
    let held_out = Data::new(32, 8, 2, |x| x[7] + draw.next());
    let outcome = run(LstmConfig::new(1, 32), AdamConfig::new(0.01), 300, [&data, &held_out])?;
    let finding = found(&outcome.findings, Rule::Overfitting);
    assert!(finding.evidence.contains("more than the 16 sequences"), "{finding}");
    Ok(())
}

#[test]
fn a_validation_part_that_is_too_easy() -> Result<()> {
    let model = network(LstmConfig::new(1, 8))?;
    let draw = Draw::new(5);
    let data = Data::new(64, 8, 1, |x| x[7] + draw.next());
    let easy = Data::new(64, 8, 2, |x| x[7]);
    let mut trainer = TrainerConfig::new(40).init(&model, AdamConfig::new(0.01).init(&model)?)?;
    let loss = |(x, y): (Tensor, Tensor)| forward(&model, &x)?.mse(&y);
    let outcome = trainer
        .run()
        .validate(|| Ok(Score::min("loss", loss(easy.all()?)?.item()?.into())))
        .fit(Batches::new(64, &BatchConfig::new(16))?, |batch| loss(data.batch(&batch.indices)?))?;
    found(&outcome.findings, Rule::ValidationBelowTraining);
    Ok(())
}

#[test]
fn a_bound_that_cuts_every_step() -> Result<()> {
    let model = network(LstmConfig::new(1, 8))?;
    let (data, held_out) = (Data::new(64, 12, 1, mean), Data::new(32, 12, 2, mean));
    let sgd = SgdConfig::new(0.1).with_clip_norm(1e-4).init(&model)?;
    let config = TrainerConfig::new(20);
    let outcome = train(&model, sgd, &config, (&data, &held_out), |x| forward(&model, x))?;
    let finding = found(&outcome.findings, Rule::Clipping);
    assert!(finding.sentence.contains("100 %"), "{finding}");
    Ok(())
}

#[test]
fn a_batch_of_padding() -> Result<()> {
    let (lstm, _) = network(LstmConfig::new(1, 4))?;
    let (x, _) = Data::new(4, 30, 1, mean).all()?;
    let lengths = Lengths::new([30, 2, 1, 3])?;
    let args = || ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
    let findings = Doctor::new().examine(&lstm, || lstm.forward_with(&x, args())?.last()?.mean_all())?;
    assert!(found(&findings, Rule::Padding).evidence.contains("36 valid steps of 120"));
    Ok(())
}

#[test]
fn a_run_that_stands_still() -> Result<()> {
    let (data, held_out) = (Data::new(64, 12, 1, mean), Data::new(32, 12, 2, mean));
    let model = network(LstmConfig::new(1, 8))?;
    let sgd = SgdConfig::new(0.0).init(&model)?;
    let config = TrainerConfig::new(30);
    let outcome = train(&model, sgd, &config, (&data, &held_out), |x| forward(&model, x))?;
    assert_eq!(found(&outcome.findings, Rule::Plateau).severity, Severity::Note);
    Ok(())
}

/// Without the doctor, nothing is computed that the run does not need.
#[test]
fn a_run_without_the_doctor() -> Result<()> {
    let data = Data::new(16, 6, 1, mean);
    let model = network(LstmConfig::new(1, 4))?;
    let calls = RefCell::new(0);
    for (doctor, wanted) in [(false, 3), (true, 4)] {
        calls.replace(0);
        let config = TrainerConfig::new(3).with_doctor(doctor);
        let mut trainer = config.init(&model, AdamConfig::new(10.0).init(&model)?)?;
        let outcome = trainer.fit(Batches::new(16, &BatchConfig::new(16))?, |batch| {
            *calls.borrow_mut() += 1;
            let (x, y) = data.batch(&batch.indices)?;
            forward(&model, &x)?.mse(&y)
        })?;
        assert_eq!((*calls.borrow(), outcome.findings.is_empty()), (wanted, !doctor));
    }
    Ok(())
}

/// Every rule has a section of its own in the documentation, and a name in JSON that is that of the section.
#[test]
fn every_rule_has_a_section() {
    let page = include_str!("../../../../docs/doctor.md");
    for rule in Rule::ALL {
        let name = rule.name();
        assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{name}\""));
        let headings = page.lines().filter(|line| line.trim_start_matches('#').trim() == name).count();
        assert_eq!(headings, 1, "## {name}");
    }
}
