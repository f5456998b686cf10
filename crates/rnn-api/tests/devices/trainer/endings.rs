//! How runs end.

use super::steps::{ROWS, Rows, bits};
use crate::folder::Folder;
use rnn_api::Result;
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::optim::{EmaConfig, Goal};
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Event, Flow, Interrupt, Score, StopReason, Trainer, TrainerConfig};
use std::cell::RefCell;
use std::time::Duration;

fn batches() -> Batches {
    Batches::new(ROWS, &BatchConfig::new(8).with_shuffle(4)).unwrap()
}

/// A validation that follows a script, and the weights it saw.
struct Script<'a> {
    model: &'a Linear,
    scores: Vec<f64>,
    seen: RefCell<Vec<Vec<Vec<u32>>>>,
}

impl Script<'_> {
    fn score(&self) -> Result<Score> {
        let mut seen = self.seen.borrow_mut();
        seen.push(bits(self.model));
        let value = self.scores[(seen.len() - 1).min(self.scores.len() - 1)];
        Ok(Score::min("script", value).with_baseline(9.0))
    }
}

pub(crate) fn the_best_weights_stay_and_the_last_come_back(device: &Device) {
    let rows = Rows::new(device);
    let model = rows.model();
    let script = Script { model: &model, scores: vec![3.0, 1.0, 2.0, 1.0, 5.0], seen: RefCell::default() };
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let stopping = EarlyStopping::new().with_patience(3);
    let mut flags = Vec::new();
    let mut trainer = TrainerConfig::new(50).with_early_stopping(stopping).init(&model, sgd).unwrap();
    trainer.validate(|| script.score());
    trainer.on_event(|event: &Event<'_>| {
        if let Event::Validated(validation) = event {
            flags.push(validation.is_best);
        }
        Ok(Flow::Continue)
    });
    let outcome = trainer.fit(batches(), |batch| rows.loss(&model, &batch.indices)).unwrap();
    assert_eq!(outcome.reason, StopReason::NoImprovement { validations: 3 });
    let best = outcome.best.clone().unwrap();
    assert_eq!((best.score.value, best.epoch, best.step), (1.0, 1, 6));
    assert_eq!(outcome.last.as_ref().unwrap().value, 5.0);
    let seen = script.seen.borrow();
    assert_eq!((seen.len(), outcome.epochs.len(), outcome.steps), (5, 5, 15));
    assert_eq!(bits(&model), seen[1]);
    trainer.restore_last().unwrap();
    assert_eq!(bits(&model), seen[4]);
    drop(trainer);
    assert_eq!(flags, [true, true, false, false, false]);
}

pub(crate) fn every_condition_ends_a_run(device: &Device) {
    let rows = Rows::new(device);
    let run = |config: TrainerConfig, scores: Vec<f64>, set: &dyn Fn(&mut Trainer<'_>)| {
        let model = rows.model();
        let script = Script { model: &model, scores, seen: RefCell::default() };
        let sgd = SgdConfig::new(0.1).init(&model).unwrap();
        let mut trainer = config.init(&model, sgd).unwrap();
        trainer.validate(|| script.score());
        set(&mut trainer);
        trainer.fit(batches(), |batch| rows.loss(&model, &batch.indices)).unwrap()
    };
    let nothing = |_: &mut Trainer<'_>| {};
    let stopping = |stopping| TrainerConfig::new(20).with_early_stopping(stopping);

    let outcome = run(TrainerConfig::new(2), vec![1.0], &nothing);
    assert_eq!((outcome.reason, outcome.steps, outcome.epochs.len()), (StopReason::Completed, 6, 2));
    let outcome = run(stopping(EarlyStopping::new().with_target(0.5)), vec![2.0, 1.0, 0.5, 0.1], &nothing);
    assert_eq!((outcome.reason, outcome.steps), (StopReason::TargetReached, 9));
    let outcome = run(stopping(EarlyStopping::new().with_max_steps(4)), vec![2.0, 1.0], &nothing);
    // One validation after the first epoch, one for the step that was left.
    assert_eq!((outcome.reason, outcome.steps, outcome.best.unwrap().step), (StopReason::StepLimit, 4, 4));
    let outcome = run(stopping(EarlyStopping::new().with_max_time(Duration::ZERO)), vec![1.0], &nothing);
    assert_eq!((outcome.reason, outcome.steps), (StopReason::TimeUp, 0));
    let config = stopping(EarlyStopping::new().with_patience(2)).with_validate_every(2);
    let outcome = run(config, vec![1.0], &nothing);
    assert_eq!((outcome.reason, outcome.steps), (StopReason::NoImprovement { validations: 2 }, 6));

    let outcome = run(TrainerConfig::new(20), vec![1.0], &|trainer| {
        trainer.on_event(|event: &Event<'_>| {
            let enough = matches!(event, Event::Step(step) if step.step == 5);
            Ok(if enough { Flow::Stop("enough".into()) } else { Flow::Continue })
        });
    });
    assert_eq!((outcome.reason, outcome.steps), (StopReason::Requested { why: "enough".into() }, 5));
    let interrupt = Interrupt::new();
    let outcome = run(TrainerConfig::new(20), vec![1.0], &|trainer| {
        let wish = interrupt.clone();
        trainer.interrupt(&interrupt).on_event(move |event: &Event<'_>| {
            if matches!(event, Event::Step(step) if step.step == 7) {
                wish.set();
            }
            Ok(Flow::Continue)
        });
    });
    assert_eq!((outcome.reason, outcome.steps, outcome.best.unwrap().step), (StopReason::Interrupted, 7, 3));
    let outcome = run(TrainerConfig::new(20), vec![1.0, f64::NAN], &nothing);
    assert_eq!(outcome.reason.to_string(), "script after step 6 is NaN");
    assert_eq!(outcome.best.unwrap().step, 3);
}

/// The second run over the same batches begins with the first epoch, and a run that had ended before it was killed is not
/// trained on.
pub(crate) fn an_end_stays_an_end(device: &Device) {
    use rnn_api::train::CheckpointConfig;
    let rows = Rows::new(device);
    let folder = Folder::new(device, "trainer-end");
    let mut source = batches();
    let mut run = |checkpoints: bool| {
        let model = rows.model();
        let script = Script { model: &model, scores: vec![3.0, 1.0, 2.0, 2.0], seen: RefCell::default() };
        let sgd = SgdConfig::new(0.1).init(&model).unwrap();
        let mut config = TrainerConfig::new(20).with_early_stopping(EarlyStopping::new().with_patience(2));
        if checkpoints {
            config = config.with_checkpoints(CheckpointConfig::new(&folder.0).with_resume(true));
        }
        let mut trainer = config.init(&model, sgd).unwrap();
        trainer.validate(|| script.score());
        let outcome = trainer.fit(&mut source, |batch| rows.loss(&model, &batch.indices)).unwrap();
        trainer.restore_last().unwrap();
        drop(trainer);
        (outcome.reason, outcome.steps, bits(&model))
    };
    let whole = run(false);
    assert_eq!((&whole.0, whole.1), (&StopReason::NoImprovement { validations: 2 }, 12));
    assert!(run(false) == whole, "the same batches from their start");
    assert!(run(true) == whole);
    assert!(run(true) == whole, "an ended run, started again");
}

pub(crate) fn the_rate_falls_on_a_plateau(device: &Device) {
    let rows = Rows::new(device);
    let model = rows.model();
    let script = Script { model: &model, scores: vec![3.0, 2.0, 2.0, 2.0, 1.0], seen: RefCell::default() };
    let sgd = SgdConfig::new(7.0).init(&model).unwrap();
    let plateau = rnn_api::optim::ReduceOnPlateau::new(0.08).with_patience(1).with_factor(0.5);
    let mut trainer = TrainerConfig::new(6).with_plateau(plateau.clone()).init(&model, sgd).unwrap();
    trainer.validate(|| script.score());
    let outcome = trainer.fit(batches(), |batch| rows.loss(&model, &batch.indices)).unwrap();
    let rates: Vec<f64> = outcome.epochs.iter().map(|epoch| epoch.lr).collect();
    assert_eq!(rates, [0.08, 0.08, 0.08, 0.08, 0.04, 0.04]);
    let sgd = SgdConfig::new(7.0).init(&model).unwrap();
    let wrong = TrainerConfig::new(6).with_plateau(plateau.with_goal(Goal::Max));
    let mut trainer = wrong.init(&model, sgd).unwrap();
    trainer.validate(|| script.score());
    let error = trainer.fit(batches(), |batch| rows.loss(&model, &batch.indices)).unwrap_err();
    assert!(error.to_string().contains("that of the score `script`, Min"), "{error}");
}

pub(crate) fn settings_that_contradict_each_other_are_refused(device: &Device) {
    let rows = Rows::new(device);
    let model = rows.model();
    let refused = |config: TrainerConfig| {
        let sgd = SgdConfig::new(0.1).init(&model).unwrap();
        let result = config.init(&model, sgd).and_then(|mut trainer| {
            trainer.fit(batches(), |batch| rows.loss(&model, &batch.indices)).map(drop)
        });
        result.unwrap_err().to_string()
    };
    let plateau = rnn_api::optim::ReduceOnPlateau::new(0.1);
    let schedule = Schedule::constant(0.1).unwrap();
    assert!(refused(TrainerConfig::new(0)).contains("epochs must be at least 1"));
    assert!(refused(TrainerConfig::new(1).with_accumulate(0)).contains("accumulate must be at least 1"));
    assert!(
        refused(TrainerConfig::new(1).with_validate_every(2)).contains("absent without Trainer::validate")
    );
    assert!(refused(TrainerConfig::new(1).with_plateau(plateau.clone())).contains("plateau must be absent"));
    assert!(
        refused(TrainerConfig::new(1).with_plateau(plateau).with_schedule(schedule))
            .contains("with a schedule")
    );
    assert!(refused(TrainerConfig::new(1).with_ema(EmaConfig::new(1.5))).contains("decay"));
    let early = EarlyStopping::new().with_patience(1);
    assert!(refused(TrainerConfig::new(1).with_early_stopping(early)).contains("patience must be absent"));
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let trainer = TrainerConfig::new(1).init(&model, sgd).unwrap();
    assert!(trainer.restore_last().unwrap_err().to_string().contains("after a run"));
}
