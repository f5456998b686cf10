//! Resumed runs whose settings have changed.

use super::steps::{ROWS, Rows, bits};
use crate::folder::Folder;
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::optim::{EmaConfig, ReduceOnPlateau};
use rnn_api::prelude::*;
use rnn_api::train::{CheckpointConfig, EarlyStopping, Every, Score, TrainerConfig};
use rnn_api::{Error, Result};
use std::cell::RefCell;

/// What may change between two parts of a run.
struct Part {
    config: TrainerConfig,
    adam: AdamConfig,
    batches: BatchConfig,
    items: usize,
}

impl Part {
    fn new(folder: &Folder, max_steps: u64) -> Self {
        let checkpoints = CheckpointConfig::new(&folder.0).with_every(Every::Steps(1)).with_resume(true);
        let stopping = EarlyStopping::new().with_max_steps(max_steps);
        Part {
            // The doctor would compute the loss of the last item once more.
            config: TrainerConfig::new(9)
                .with_checkpoints(checkpoints)
                .with_early_stopping(stopping)
                .with_doctor(false),
            adam: AdamConfig::new(0.01),
            batches: BatchConfig::new(4).with_shuffle(3),
            items: ROWS,
        }
    }

    fn allowed(mut self) -> Self {
        let checkpoints = self.config.checkpoints.take().unwrap();
        self.config.checkpoints = Some(checkpoints.with_allow_changes(true));
        self
    }

    /// Trains and returns the rows of each step and the last rate.
    fn run(&self, rows: &Rows) -> Result<(Vec<Vec<usize>>, f64)> {
        let model = rows.model();
        let before = bits(&model);
        let mut trainer = self.config.init(&model, self.adam.init(&model)?)?;
        if self.config.plateau.is_some() {
            trainer.validate(|| Ok(Score::min("constant", 1.0)));
        }
        let seen = RefCell::new(Vec::new());
        let trained = trainer.fit(Batches::new(self.items, &self.batches)?, |batch| {
            seen.borrow_mut().push(batch.indices.clone());
            rows.loss(&model, &batch.indices)
        });
        if trained.is_err() {
            assert!(bits(&model) == before, "nothing is restored");
        }
        let lr = trainer.optimizer().lr();
        trained?;
        drop(trainer);
        Ok((seen.into_inner(), lr))
    }
}

/// A setting that changes, and how.
type Change = (&'static str, fn(&mut Part));

const CHANGES: [Change; 14] = [
    ("`batch_size` was 4 and is 5", |part| part.batches.batch_size = 5),
    ("`seed` was 3 and is 4", |part| part.batches.seed = Some(4)),
    ("`seed` was 3 and is absent", |part| part.batches.seed = None),
    ("`items` was 22 and is 21", |part| part.items = 21),
    ("`drop_last` was false and is true", |part| part.batches.drop_last = true),
    ("`lr` was 0.01 and is 0.02", |part| part.adam.lr = 0.02),
    ("`accumulate` was 1 and is 2", |part| part.config.accumulate = 2),
    ("`optimizer.beta2` was 0.999 and is 0.9", |part| part.adam.rule.beta2 = 0.9),
    ("`optimizer.weight_decay` was 0.0 and is 0.1", |part| part.adam.weight_decay = 0.1),
    ("`optimizer.clip_norm` was null and is 1.0", |part| part.adam.clip_norm = Some(1.0)),
    ("`optimizer.groups.bias` was absent", |part| {
        part.adam = part.adam.clone().with_group(ParamGroup::named(["bias"]).with_lr_scale(2.0));
    }),
    ("`schedule` was absent and is {", |part| {
        part.config.schedule = Some(Schedule::constant(0.01).unwrap());
    }),
    ("`plateau` was absent and is {", |part| part.config.plateau = Some(ReduceOnPlateau::new(0.01))),
    ("no", |part| part.config.ema = Some(EmaConfig::new(0.9))),
];

pub(crate) fn every_setting_that_has_changed_is_named(device: &Device) {
    let folder = Folder::new(device, "trainer-changes");
    let rows = Rows::new(device);
    Part::new(&folder, 3).run(&rows).unwrap();
    for (expected, change) in CHANGES {
        let mut part = Part::new(&folder, 5);
        change(&mut part);
        match part.run(&rows).unwrap_err() {
            Error::Checkpoint { problems, .. } => {
                assert!(problems.iter().any(|p| p.contains(expected)), "{expected}: {problems:?}");
            }
            error => panic!("{expected}: {error}"),
        }
    }
    let mut both = Part::new(&folder, 5);
    (both.batches.batch_size, both.adam.lr) = (7, 0.5);
    let error = both.run(&rows).unwrap_err().to_string();
    assert!(error.contains("`batch_size`") && error.contains("`lr`") && error.contains("with_allow_changes"));
    // What may change: the ends of the run, and how it is saved.
    let mut part = Part::new(&folder, 6);
    part.config.epochs = 4;
    part.config.checkpoints.as_mut().unwrap().keep = 5;
    let (seen, _) = part.run(&rows).unwrap();
    assert_eq!(seen.len(), 3);
}

pub(crate) fn allowed_changes_hold_from_the_next_item_on(device: &Device) {
    let folder = Folder::new(device, "trainer-allowed");
    let rows = Rows::new(device);
    let (first, _) = Part::new(&folder, 2).run(&rows).unwrap();
    let mut part = Part::new(&folder, 4).allowed();
    (part.batches.batch_size, part.adam.lr) = (7, 0.003);
    let (rest, lr) = part.run(&rows).unwrap();
    assert_eq!(lr, 0.003);
    // Positions that count batches would leave out six rows.
    let order = Batches::new(ROWS, &BatchConfig::new(ROWS).with_shuffle(3)).unwrap().next().unwrap().indices;
    assert_eq!([&first.concat()[..], &rest.concat()[..]].concat(), order);
    assert_eq!(rest.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7]);
    // The new settings are those of the next checkpoint.
    let mut part = Part::new(&folder, 5);
    (part.batches.batch_size, part.adam.lr) = (7, 0.003);
    part.run(&rows).unwrap();
    // Data that do not have the position are no setting.
    let mut short = Part::new(&folder, 6).allowed();
    short.items = 3;
    let folder = Folder::new(device, "trainer-short");
    short.config.checkpoints.as_mut().unwrap().path = folder.0.clone();
    Part::new(&folder, 3).run(&rows).unwrap();
    let error = short.run(&rows).unwrap_err().to_string();
    assert!(error.contains("at most the 3 items"), "{error}");
}

/// A trainer whose schedule has moved the rate of the optimizer.
pub(crate) fn a_second_part_of_one_trainer_has_the_same_settings(device: &Device) {
    let folder = Folder::new(device, "trainer-twice");
    let rows = Rows::new(device);
    let model = rows.model();
    let mut part = Part::new(&folder, 4);
    part.config.schedule = Some(Schedule::exponential(0.1, 0.5).unwrap());
    let mut trainer = part.config.init(&model, part.adam.init(&model).unwrap()).unwrap();
    for _ in 0..2 {
        let batches = Batches::new(ROWS, &part.batches).unwrap();
        let outcome = trainer.fit(batches, |batch| rows.loss(&model, &batch.indices)).unwrap();
        assert_eq!(outcome.steps, 4);
    }
}

pub(crate) fn rates_that_overflow_are_refused_at_the_start(device: &Device) {
    let rows = Rows::new(device);
    let refused = |schedule: Schedule, epochs: u64| {
        let model = rows.model();
        let adam = AdamConfig::new(0.01).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(epochs).with_schedule(schedule).init(&model, adam).unwrap();
        let batches = Batches::new(ROWS, &BatchConfig::new(11)).unwrap();
        let mut steps = 0;
        let trained = trainer.fit(batches, |batch| {
            steps += 1;
            rows.loss(&model, &batch.indices)
        });
        let error = trained.unwrap_err().to_string();
        assert!(error.contains("gamma") && steps == 0, "{steps}: {error}");
    };
    refused(Schedule::exponential(0.1, 10.0).unwrap(), 30);
    refused(Schedule::step(0.1, 3, 1e20).unwrap(), 5);
    let model = rows.model();
    let adam = AdamConfig::new(0.01).init(&model).unwrap();
    let plateau = ReduceOnPlateau::new(f64::NAN);
    let error = TrainerConfig::new(1).with_plateau(plateau).init(&model, adam).unwrap_err().to_string();
    assert!(error.contains("ReduceOnPlateau: lr"), "{error}");
}
