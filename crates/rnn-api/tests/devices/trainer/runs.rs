//! Closures that belong to one run of a trainer, and sources by value or by reference.

use super::steps::{ROWS, Rows};
use crate::folder::Folder;
use crate::language::{Language, streams};
use rnn_api::Result;
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::{Callback, EarlyStopping, Event, Flow, Score, StopReason, TrainerConfig};
use std::cell::RefCell;

/// Asks for the ratios of updates, and notes whether they came.
struct Ratios<'a>(&'a RefCell<Vec<String>>);

impl Callback for Ratios<'_> {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        match event {
            Event::Step(step) if step.step == 1 => {
                self.0.borrow_mut().push(format!("ratio {}", step.update_ratio.is_some()));
            }
            Event::Ended(_) => self.0.borrow_mut().push("run ended".into()),
            _ => {}
        }
        Ok(Flow::Continue)
    }

    fn wants_update_ratios(&self) -> bool {
        true
    }
}

/// What is declared after the trainer could not be borrowed by its closures.
pub(crate) fn a_run_has_closures_of_its_own(device: &Device) {
    let rows = Rows::new(device);
    let model = rows.model();
    let early = RefCell::new(Vec::new());
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let mut trainer = TrainerConfig::new(2).init(&model, sgd).unwrap();
    trainer.validate(|| Ok(Score::min("of the trainer", 2.0))).on_event(|event: &Event<'_>| {
        if let Event::Ended(_) = event {
            early.borrow_mut().push("trainer ended".to_string());
        }
        Ok(Flow::Continue)
    });

    let batches = Batches::new(ROWS, &BatchConfig::new(8).with_shuffle(4)).unwrap();
    let loss = |indices: &[usize]| rows.loss(&model, indices);
    let all: Vec<usize> = (0..ROWS).collect();
    let mut scores = Vec::new();
    let outcome = trainer
        .run()
        .validate(|| {
            let value = loss(&all)?.item()?.into();
            scores.push(value);
            Ok(Score::min("of the run", value))
        })
        .on_event(Ratios(&early))
        .on_event(|event: &Event<'_>| match event {
            Event::Epoch(_) => Ok(Flow::Stop("one epoch is enough".into())),
            _ => Ok(Flow::Continue),
        })
        .fit(&mut batches.clone(), |batch| loss(&batch.indices))
        .unwrap();
    assert_eq!(outcome.reason, StopReason::Requested { why: "one epoch is enough".into() });
    assert_eq!(outcome.last.unwrap(), Score::min("of the run", scores[0]));
    assert_eq!(*early.borrow(), ["ratio true", "trainer ended", "run ended"]);

    // The next run has only what the trainer has.
    let outcome = trainer.fit_weighted(batches, |batch| Ok((loss(&batch.indices)?, 1.0))).unwrap();
    assert_eq!((outcome.reason, outcome.steps), (StopReason::Completed, 6));
    assert_eq!(outcome.last.unwrap().name, "of the trainer");
    assert_eq!(early.borrow()[3..], ["trainer ended"]);
}

pub(crate) fn a_validation_of_the_run_satisfies_early_stopping(device: &Device) {
    let rows = Rows::new(device);
    let model = rows.model();
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let stopping = EarlyStopping::new().with_patience(1);
    let mut trainer = TrainerConfig::new(9).with_early_stopping(stopping).init(&model, sgd).unwrap();
    let batches = Batches::new(ROWS, &BatchConfig::new(8)).unwrap();
    let outcome = trainer
        .run()
        .validate(|| Ok(Score::min("constant", 1.0)))
        .fit(batches.clone(), |batch| rows.loss(&model, &batch.indices))
        .unwrap();
    assert_eq!(outcome.reason, StopReason::NoImprovement { validations: 1 });
    let refused = trainer.fit(batches, |batch| rows.loss(&model, &batch.indices)).unwrap_err().to_string();
    assert!(refused.contains("patience must be absent"), "{refused}");
}

/// `fit` took a source by value and `fit_streams` did not.
pub(crate) fn streams_come_by_value_or_by_reference(device: &Device) {
    let steps = |by_value: bool| {
        let model = Language::new(device, 0.0);
        let sgd = SgdConfig::new(0.5).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(1).init(&model, sgd).unwrap();
        let mut text = streams(9);
        if by_value {
            // The types of chunk and state are known from the streams and the loss.
            trainer.fit_streams(text, |chunk, state| model.loss(chunk, state)).unwrap();
        } else {
            trainer.run().fit_streams(&mut text, |chunk, state| model.loss(chunk, state)).unwrap();
            assert_eq!(text.cursor().epoch, 1);
        }
        model.bits()
    };
    assert!(steps(true) == steps(false));
}

/// Saved on one device, used on another one.
pub(crate) fn a_model_and_a_stream_go_on_elsewhere(device: &Device) {
    let folder = Folder::empty(device, "elsewhere");
    let [model, state] = ["model", "state"].map(|what| folder.0.join(what));
    let config = LstmConfig::new(3, 4);
    let lstm = config.init(device, 1).unwrap();
    let ones = |device: &Device| Tensor::ones(device, &[2, 3]).unwrap();
    let mut stream = lstm.stream(2).unwrap();
    stream.step(&ones(device)).unwrap();
    rnn_api::io::save_model(&model, &lstm, &config).unwrap();
    stream.save(&state).unwrap();
    let expected = stream.step(&ones(device)).unwrap().to_vec().unwrap();

    for other in [&Device::cpu(), device] {
        let (lstm, _) = rnn_api::io::load_model::<LstmConfig>(&model, other).unwrap();
        let mut stream = lstm.stream(2).unwrap();
        stream.load(&state).unwrap();
        let y = stream.step(&ones(other)).unwrap();
        assert_eq!(y.device().is_cpu(), other.is_cpu());
        for (a, b) in y.to_vec().unwrap().iter().zip(&expected) {
            // Sums of seven products, rounded differently by two devices.
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
