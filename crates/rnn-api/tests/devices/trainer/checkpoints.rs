//! Checkpoints: parts of a run are the run, what is damaged is passed over, what does not fit is refused.

use crate::folder::Folder;
use crate::language::{Language, streams};
use rnn_api::prelude::*;
use rnn_api::train::{
    Checkpoint, CheckpointConfig, EarlyStopping, Event, Every, Flow, Outcome, Score, StopReason,
    TrainerConfig,
};
use rnn_api::{Error, Result};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

fn config() -> TrainerConfig {
    TrainerConfig::new(3)
        .with_ema(rnn_api::optim::EmaConfig::new(0.9))
        .with_accumulate(2)
        .with_backward_steps(12)
        .with_plateau(rnn_api::optim::ReduceOnPlateau::new(0.02).with_patience(1).with_factor(0.5))
}

fn fit(model: &Language, config: &TrainerConfig, more: &mut dyn FnMut(&Event<'_>)) -> Result<Outcome> {
    let text = streams(1000).next();
    let adam = AdamWConfig::new(1.0).with_clip_norm(1.0).init(model)?;
    let mut trainer = config.init(model, adam)?;
    trainer.validate(|| {
        let (loss, _) = text.as_ref().map(|chunk| model.loss(chunk, None)).transpose()?.unzip();
        Ok(Score::min("nats", loss.map_or(Ok(0.0), |loss| loss.item())?.into()))
    });
    trainer.on_event(|event: &Event<'_>| {
        more(event);
        Ok(Flow::Continue)
    });
    trainer.keep("alphabet", &["a", "b", "c"])?;
    let outcome = trainer.fit_streams(&mut streams(6), |chunk, state| model.loss(chunk, state))?;
    Ok(outcome)
}

fn silent(_: &Event<'_>) {}

pub(crate) fn a_run_in_parts_is_the_whole_run(device: &Device) {
    let folder = Folder::new(device, "trainer-parts");
    let whole = Language::new(device, 0.3);
    let reference = fit(&whole, &config(), &mut silent).unwrap();
    assert_eq!(reference.steps, 12);
    for (k, every) in [Every::Steps(1), Every::Steps(3), Every::Epochs(1)].into_iter().enumerate() {
        let path = folder.0.join(k.to_string());
        let checkpoints = CheckpointConfig::new(&path).with_every(every).with_resume(true);
        let mut stop_at = 2;
        loop {
            // A new process: everything is made anew.
            let model = Language::new(device, 0.3);
            let stopping = EarlyStopping::new().with_max_steps(stop_at);
            let part = config().with_checkpoints(checkpoints.clone()).with_early_stopping(stopping);
            let outcome = fit(&model, &part, &mut silent).unwrap();
            if outcome.reason == StopReason::StepLimit {
                assert_eq!(outcome.steps, stop_at);
                stop_at += 5;
                continue;
            }
            assert_eq!((&outcome.reason, outcome.steps), (&StopReason::Completed, reference.steps));
            let compare = |epochs: &Outcome| -> Vec<(u64, f64, f64)> {
                epochs.epochs.iter().map(|e| (e.step, e.loss, e.score.as_ref().unwrap().value)).collect()
            };
            assert_eq!(compare(&outcome), compare(&reference), "{every:?}");
            // Validations at the ends of the parts may have found a better moment; the last weights are the same.
            let last = Checkpoint::last(&path).unwrap();
            last.load_last(&model).unwrap();
            assert!(model.bits() == last_bits(device), "{every:?}");
            break;
        }
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            names.iter().filter(|name| *name != ".run.lock").count() <= 2,
            "two checkpoints stay: {names:?}"
        );
    }
}

/// The weights after the last step of the whole run.
fn last_bits(device: &Device) -> Vec<(String, Vec<u32>)> {
    let model = Language::new(device, 0.3);
    let adam = AdamWConfig::new(1.0).with_clip_norm(1.0).init(&model).unwrap();
    let text = streams(1000).next().unwrap();
    let mut trainer = config().init(&model, adam).unwrap();
    trainer.validate(|| Ok(Score::min("nats", model.loss(&text, None)?.0.item()?.into())));
    trainer.fit_streams(&mut streams(6), |chunk, state| model.loss(chunk, state)).unwrap();
    trainer.restore_last().unwrap();
    model.bits()
}

fn newest(path: &Path) -> PathBuf {
    Checkpoint::last(path).unwrap().path().to_path_buf()
}

pub(crate) fn a_damaged_checkpoint_is_passed_over(device: &Device) {
    let folder = Folder::new(device, "trainer-damaged");
    let checkpoints = CheckpointConfig::new(&folder.0).with_every(Every::Steps(2)).with_resume(true);
    let part = |steps| {
        let stopping = EarlyStopping::new().with_max_steps(steps);
        config().with_checkpoints(checkpoints.clone()).with_early_stopping(stopping)
    };
    fit(&Language::new(device, 0.3), &part(6), &mut silent).unwrap();
    // A bit of a weight, which no format notices.
    let victim = newest(&folder.0).join("model.safetensors");
    let mut bytes = fs::read(&victim).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(&victim, bytes).unwrap();
    let damaged = RefCell::new(Vec::new());
    let mut resumed = None;
    fit(&Language::new(device, 0.3), &part(8), &mut |event| match event {
        Event::Damaged { path, error } => damaged.borrow_mut().push((path.to_path_buf(), error.to_string())),
        Event::Started(started) => resumed = Some(started.resumed_step),
        _ => {}
    })
    .unwrap();
    let damaged = damaged.into_inner();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert!(damaged[0].1.contains("model.safetensors is not what was written"), "{}", damaged[0].1);
    // Steps 4 and 6 are there; 6 was written again after the last validation and replaced the first.
    assert_eq!(resumed, Some(4));
    // Cut files, missing files, and nonsense.
    for (name, content) in
        [("manifest.json", Some("{")), ("run.json", None), ("optimizer.safetensors", Some(""))]
    {
        let victim = newest(&folder.0).join(name);
        match content {
            Some(text) => fs::write(victim, text).unwrap(),
            None => fs::remove_file(victim).unwrap(),
        }
        if Checkpoint::last(&folder.0).is_err() {
            break;
        }
    }
    let error = fit(&Language::new(device, 0.3), &part(8), &mut silent).unwrap_err();
    assert!(error.to_string().contains("step-"), "all are damaged: {error}");
    let error = Checkpoint::last(&folder.0).unwrap_err();
    assert!(error.to_string().contains("step-"), "{error}");
}

/// One of a later version is no damage: a run that does not know it must not go on from an older one and remove it.
pub(crate) fn a_later_format_is_refused_and_stays(device: &Device) {
    let folder = Folder::new(device, "trainer-later");
    let checkpoints = CheckpointConfig::new(&folder.0).with_every(Every::Steps(2)).with_resume(true);
    let part = |steps| {
        let stopping = EarlyStopping::new().with_max_steps(steps);
        config().with_checkpoints(checkpoints.clone()).with_early_stopping(stopping)
    };
    fit(&Language::new(device, 0.3), &part(6), &mut silent).unwrap();
    let later = newest(&folder.0);
    let manifest = later.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap().replace("\"format\": 1", "\"format\": 2");
    fs::write(&manifest, &text).unwrap();
    let errors = [
        fit(&Language::new(device, 0.3), &part(8), &mut silent).unwrap_err(),
        Checkpoint::last(&folder.0).unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("has format 2, this program reads 1"), "{error}");
    }
    assert_eq!(fs::read_to_string(&manifest).unwrap(), text);
}

/// A callback that has seen enough when the first checkpoint is there.
pub(crate) fn a_callback_ends_the_run_at_a_checkpoint(device: &Device) {
    let folder = Folder::new(device, "trainer-enough");
    let model = Language::new(device, 0.3);
    let adam = AdamConfig::new(0.01).init(&model).unwrap();
    let checkpoints = CheckpointConfig::new(&folder.0).with_every(Every::Steps(2));
    let mut trainer = TrainerConfig::new(2).with_checkpoints(checkpoints).init(&model, adam).unwrap();
    trainer.on_event(|event: &Event<'_>| {
        Ok(match event {
            Event::Saved { .. } => Flow::Stop("saved".into()),
            _ => Flow::Continue,
        })
    });
    let outcome = trainer.fit_streams(&mut streams(6), |chunk, state| model.loss(chunk, state)).unwrap();
    assert_eq!((outcome.reason, outcome.steps), (StopReason::Requested { why: "saved".into() }, 2));
}

pub(crate) fn what_does_not_fit_is_refused_and_changes_nothing(device: &Device) {
    let folder = Folder::new(device, "trainer-misfit");
    let checkpoints = CheckpointConfig::new(&folder.0).with_every(Every::Steps(2)).with_resume(true);
    let stopping = EarlyStopping::new().with_max_steps(4);
    let part = config().with_checkpoints(checkpoints.clone()).with_early_stopping(stopping);
    fit(&Language::new(device, 0.3), &part, &mut silent).unwrap();
    let listing = || {
        let mut names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = listing();

    // Not asked to go on.
    let fresh = config().with_checkpoints(checkpoints.clone().with_resume(false));
    let error = fit(&Language::new(device, 0.3), &fresh, &mut silent).unwrap_err();
    assert!(error.to_string().contains("has checkpoints already"), "{error}");
    // Another architecture.
    let other = LstmConfig::new(5, 9).init(device, 1).unwrap();
    let bits =
        |model: &Lstm| model.state_dict().into_values().map(|a| a.to_vec().unwrap()).collect::<Vec<_>>();
    let own = bits(&other);
    let sgd = SgdConfig::new(0.1).init(&other).unwrap();
    let config_ = TrainerConfig::new(1).with_checkpoints(checkpoints.clone());
    let mut trainer = config_.init(&other, sgd).unwrap();
    let error = trainer
        .fit_streams(&mut streams(6), |_, _: Option<&LstmState>| unreachable!("nothing is to be trained"))
        .unwrap_err();
    assert!(matches!(&error, Error::Checkpoint { .. }), "{error}");
    assert_eq!(bits(&other), own);
    // No average of the weights, another optimizer, another text.
    let mut plain = config().with_checkpoints(checkpoints.clone());
    plain.ema = None;
    let error = fit(&Language::new(device, 0.3), &plain, &mut silent).unwrap_err();
    assert!(error.to_string().contains("no average of the weights"), "{error}");
    let model = Language::new(device, 0.3);
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let mut config_ = config().with_checkpoints(checkpoints);
    config_.plateau = None;
    let mut trainer = config_.init(&model, sgd).unwrap();
    let error = trainer.fit_streams(&mut streams(6), |chunk, state| model.loss(chunk, state)).unwrap_err();
    assert!(error.to_string().contains("SgdConfig"), "{error}");
    assert_eq!(listing(), before);

    let error = Checkpoint::last(folder.0.join("nowhere")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }));
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let keep = CheckpointConfig::new(&folder.0).with_keep(0);
    assert!(TrainerConfig::new(1).with_checkpoints(keep).init(&model, sgd).is_err());
}

pub(crate) fn the_best_and_what_was_kept_come_back(device: &Device) {
    let folder = Folder::new(device, "trainer-best");
    let model = Language::new(device, 0.0);
    let outcome =
        fit(&model, &config().with_checkpoints(CheckpointConfig::new(&folder.0)), &mut silent).unwrap();
    let best = outcome.best.unwrap();
    let loaded = Language::new(device, 0.0);
    let checkpoint = Checkpoint::last(&folder.0).unwrap();
    assert_eq!(checkpoint.step(), outcome.steps);
    checkpoint.load_best(&loaded).unwrap();
    assert!(loaded.bits() == model.bits());
    let text = streams(1000).next().unwrap();
    assert_eq!(f64::from(loaded.loss(&text, None).unwrap().0.item().unwrap()), best.score.value);
    let alphabet: Vec<String> = checkpoint.kept("alphabet").unwrap();
    assert_eq!(alphabet, ["a", "b", "c"]);
    let error = checkpoint.kept::<Vec<u32>>("alphabet").unwrap_err();
    assert!(error.to_string().contains("`alphabet[0]`: invalid type: string"), "{error}");
    let error = checkpoint.kept::<u32>("numbers").unwrap_err();
    assert!(error.to_string().contains("nothing is kept as `numbers`"), "{error}");
    let other = LinearConfig::new(2, 2).init(device, 1).unwrap();
    assert!(matches!(checkpoint.load_best(&other), Err(Error::Checkpoint { .. })));
}

pub(crate) fn a_log_goes_on_where_the_run_does(device: &Device) {
    use rnn_api::train::JsonLog;
    let folder = Folder::new(device, "trainer-log");
    // In a folder that is not there.
    let log = folder.0.join("logs").join("run.jsonl");
    let run = |steps: u64, folder: &Path| {
        let model = Language::new(device, 0.3);
        let adam = AdamConfig::new(0.01).init(&model).unwrap();
        let checkpoints =
            CheckpointConfig::new(folder).with_every(Every::Steps(4)).with_keep(3).with_resume(true);
        let stopping = EarlyStopping::new().with_max_steps(steps);
        let config = TrainerConfig::new(2).with_checkpoints(checkpoints).with_early_stopping(stopping);
        let mut trainer = config.init(&model, adam).unwrap();
        trainer.on_event(JsonLog::new(&log));
        trainer.fit_streams(&mut streams(6), |chunk, state| model.loss(chunk, state)).unwrap()
    };
    let lines = || -> Vec<serde_json::Value> {
        let text = fs::read_to_string(&log).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    run(9, &folder.0);
    // The process was killed: the checkpoint of step 9 is not there, and the last line is cut.
    fs::remove_dir_all(newest(&folder.0)).unwrap();
    let mut text = fs::read_to_string(&log).unwrap();
    text.push_str("{\"event\":\"saved\",\"path\":\"\u{e9}");
    // Inside the last character.
    fs::write(&log, &text.as_bytes()[..text.len() - 1]).unwrap();
    // And the checkpoint of step 8 has lost a file.
    let damaged = newest(&folder.0);
    fs::remove_file(damaged.join("run.json")).unwrap();
    let outcome = run(1000, &folder.0);
    let steps: Vec<u64> = lines()
        .iter()
        .filter(|line| line["event"] == "step")
        .map(|line| {
            assert!(line["loss"].as_f64().unwrap() > 0.0 && line["lr"] == 0.01);
            assert!(
                line["grad_norm"].as_f64().unwrap() > 0.0 && line["update_ratio"].as_f64().unwrap() > 0.0
            );
            assert!(line["update_ratios"]["lstm.weight_hh_l1"].as_f64().unwrap() > 0.0);
            line["step"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(steps, (1..=outcome.steps).collect::<Vec<_>>());
    let events: Vec<String> =
        lines().iter().map(|line| line["event"].as_str().unwrap().to_string()).collect();
    let of = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!((of("started"), of("epoch"), of("ended"), of("damaged")), (2, 2, 1, 1));
    assert_eq!(lines().last().unwrap()["reason"], "completed");
}
