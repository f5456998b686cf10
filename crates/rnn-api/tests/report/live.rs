//! The page of a run while it lives.

use crate::check_page;
use crate::folder::Folder;
use rnn_api::Result;
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::{
    CheckpointConfig, Event, Flow, JsonLog, Report, Score, StopReason, TrainerConfig, report_of_logs,
};
use rnn_testing::data::uniform;
use std::fs;

const ROWS: usize = 24;
const ALL: [usize; ROWS] = {
    let mut all = [0; ROWS];
    let mut row = 0;
    while row < ROWS {
        all[row] = row;
        row += 1;
    }
    all
};

/// A regression whose loss can be made infinite from a step on.
struct Rows {
    values: Vec<f32>,
    bad_from: usize,
}

impl Rows {
    fn new() -> Self {
        Rows { values: uniform(3, ROWS * 4), bad_from: usize::MAX }
    }

    fn loss(&self, model: &Linear, rows: &[usize]) -> Result<Tensor> {
        let device = Device::cpu();
        let of = |row: usize| &self.values[row * 4..row * 4 + 4];
        let x: Vec<f32> = rows.iter().flat_map(|&row| of(row)[..3].to_vec()).collect();
        let y: Vec<f32> = rows.iter().map(|&row| of(row)[0] * of(row)[1] + 0.3 * of(row)[3]).collect();
        let x = Tensor::from_vec(&device, x, &[rows.len(), 3])?;
        model.forward(&x)?.mse(&Tensor::from_vec(&device, y, &[rows.len(), 1])?)
    }
}

fn model() -> Linear {
    LinearConfig::new(3, 1).init(&Device::cpu(), 5).unwrap()
}

fn bits(model: &Linear) -> Vec<Vec<u32>> {
    let bits = |array: rnn_api::Array| array.to_vec().unwrap().into_iter().map(f32::to_bits).collect();
    model.state_dict().into_values().map(bits).collect()
}

fn batches() -> Batches {
    Batches::new(ROWS, &BatchConfig::new(8).with_shuffle(4)).unwrap()
}

#[test]
fn a_run_with_a_report_takes_the_same_steps() {
    let run = |report: Option<Report>| {
        let (rows, model) = (Rows::new(), model());
        let adam = AdamConfig::new(0.01).with_clip_norm(0.1).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(5).init(&model, adam).unwrap();
        trainer
            .validate(|| Ok(Score::min("mse", rows.loss(&model, &ALL)?.item()?.into()).with_baseline(0.5)));
        if let Some(report) = report {
            trainer.on_event(report);
        }
        trainer.fit(batches(), |batch| rows.loss(&model, &batch.indices)).unwrap();
        bits(&model)
    };
    let folder = Folder::new();
    let report = Report::new(folder.join("x.html")).with_update_ratios_every(2);
    assert!(run(None) == run(Some(report)));
}

#[test]
fn the_page_is_there_from_the_start_and_says_how_it_went() {
    let (folder, rows, model) = (Folder::new(), Rows::new(), model());
    let path = folder.join("below/a run.html");
    let report = Report::new(&path).with_setting("hidden <units>", 7).with_update_ratios_every(1);
    let adam = AdamConfig::new(0.01).with_clip_norm(1e-3).init(&model).unwrap();
    let mut trainer = TrainerConfig::new(4).init(&model, adam).unwrap();
    trainer.validate(|| Ok(Score::min("mse", rows.loss(&model, &ALL)?.item()?.into()).with_baseline(0.5)));
    trainer.on_event(report).on_event(JsonLog::new(folder.join("below/a run.jsonl")));
    let mut pages = Vec::new();
    let outcome = trainer
        .run()
        .on_event(|event: &Event<'_>| {
            if let Event::Started(_) | Event::Validated(_) | Event::Ended(_) = event {
                pages.push(fs::read_to_string(&path).unwrap());
            }
            Ok(Flow::Continue)
        })
        .fit(batches(), |batch| rows.loss(&model, &batch.indices))
        .unwrap();
    pages.iter().for_each(|page| check_page(page));
    assert!(pages[0].contains("data-state=\"running\"") && pages[0].contains("No step was taken yet"));
    assert!(pages[1].contains("data-state=\"running\"") && pages[1].contains("Best mse"));
    let last = pages.last().unwrap();
    let best = outcome.best.unwrap();
    for text in [
        "data-state=\"ended\"",
        "all epochs are done",
        "% below the baseline, 0.5",
        &format!("{:.3}", best.score.value)[..5],
        "Loss and validation",
        "Clipped in 100 % of the steps",
        "Update over parameter, by parameter",
        "<td>1 × 3</td>",
        "<title>a run</title>",
    ] {
        assert!(last.contains(text), "{text}");
    }
    assert!(last.contains("hidden &lt;units&gt;") && !last.contains("<units>"));

    // The log tells the same.
    report_of_logs(&[folder.join("below/a run.jsonl")], folder.join("log.html")).unwrap();
    let of_log = folder.read("log.html");
    check_page(&of_log);
    let learning = |page: &str| {
        let start = page.find("<h2>Learning").unwrap();
        page[start..start + page[start..].find("<h2>Model").unwrap()].to_string()
    };
    assert_eq!(learning(&of_log), learning(last));
}

#[test]
fn a_resumed_run_goes_on_with_its_page() {
    let folder = Folder::new();
    let part = |stop_at: u64| {
        let (rows, model) = (Rows::new(), model());
        let sgd = SgdConfig::new(0.05).init(&model).unwrap();
        let checkpoints = CheckpointConfig::new(folder.join("run")).with_resume(true);
        let mut trainer = TrainerConfig::new(4).with_checkpoints(checkpoints).init(&model, sgd).unwrap();
        trainer.validate(|| Ok(Score::min("mse", rows.loss(&model, &ALL)?.item()?.into())));
        trainer.on_event(Report::new(folder.join("x.html")));
        trainer.on_event(move |event: &Event<'_>| match event {
            Event::Step(step) if step.step == stop_at => Ok(Flow::Stop("enough".into())),
            _ => Ok(Flow::Continue),
        });
        trainer.fit(batches(), |batch| rows.loss(&model, &batch.indices)).unwrap();
    };
    part(5);
    let first = folder.read("x.html");
    assert!(first.contains("It ended: enough.") && !first.contains("resumed after step"));
    part(100);
    let second = folder.read("x.html");
    check_page(&second);
    assert!(second.contains("resumed after step 5") && second.contains("all epochs are done"));
    // Steps 1 to 12, from both parts.
    assert!(second.contains("&quot;x&quot;:[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0,10.0,11.0,12.0]"));
}

/// A network whose layers are watched in every second step takes the steps that it takes unwatched, with the same dropout.
#[test]
fn a_watched_network_takes_the_same_steps_and_shows_its_gates() {
    let (folder, device) = (Folder::new(), Device::cpu());
    let (steps, batch) = (7, 3);
    let x = Tensor::from_vec(&device, uniform(7, steps * batch * 2), &[steps, batch, 2]).unwrap();
    let run = |watched: bool| {
        let config = LstmConfig::new(2, 5).with_num_layers(2).with_dropout(0.3);
        let model = config.init(&device, 1).unwrap();
        let adam = AdamConfig::new(0.01).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(3).with_accumulate(2).init(&model, adam).unwrap();
        if watched {
            let report = Report::new(folder.join("x.html")).with_internals_every(2);
            trainer.on_event(report).on_event(JsonLog::new(folder.join("x.jsonl")));
        }
        let batches = Batches::new(12, &BatchConfig::new(2)).unwrap();
        let loss = || {
            let last = model.forward(&x, None)?.last()?;
            last.mul(&last)?.mean_all()
        };
        trainer.fit(batches, |_| loss()).unwrap();
        let bits = |array: rnn_api::Array| array.to_vec().unwrap().into_iter().map(f32::to_bits).collect();
        model.state_dict().into_values().map(bits).collect::<Vec<Vec<u32>>>()
    };
    assert!(run(false) == run(true));
    report_of_logs(&[folder.join("x.jsonl")], folder.join("log.html")).unwrap();
    for page in ["x.html", "log.html"].map(|name| folder.read(name)) {
        check_page(&page);
        for found in
            ["Gradient by time step: model, layer 1", "forget gate", "Time constants", "Openness of gates"]
        {
            assert!(page.contains(found), "{found}");
        }
        // Nine steps, of which those with odd numbers were watched.
        let rows = page.split("Gradient by time step: model, layer 0").nth(1).unwrap();
        let rows = &rows[..rows.find("</figure>").unwrap()];
        let names: Vec<&str> =
            rows.split("data-n=\"").skip(1).map(|row| &row[..row.find('"').unwrap()]).collect();
        assert_eq!(names, ["1", "3", "5", "7", "9"]);
    }
}

#[test]
fn a_page_that_cannot_be_written_stops_no_run() {
    let (folder, rows, model) = (Folder::new(), Rows::new(), model());
    let in_the_way = folder.write("file", "no folder");
    let report = Report::new(in_the_way.join("x.html"));
    let page = report.page();
    let refused = page.save().unwrap_err().to_string();
    assert!(refused.contains("x.html") && page.problem().is_none(), "{refused}");
    let mut trainer = TrainerConfig::new(2).init(&model, SgdConfig::new(0.1).init(&model).unwrap()).unwrap();
    trainer.on_event(report);
    let outcome = trainer.fit(batches(), |batch| rows.loss(&model, &batch.indices)).unwrap();
    assert_eq!((outcome.reason, outcome.steps), (StopReason::Completed, 6));
    assert!(page.problem().unwrap().contains("x.html"));
}

/// Many times, because both may write in the same millisecond.
#[test]
fn the_later_of_two_runs_has_the_page() {
    let folder = Folder::new();
    for _ in 0..40 {
        let [first, second] =
            ["first", "second"].map(|title| Report::new(folder.join("x.html")).with_title(title));
        let [one, two] = [first.page(), second.page()];
        one.save().unwrap();
        one.save().unwrap();
        two.save().unwrap();
        let refused = one.save().unwrap_err().to_string();
        assert!(refused.contains("belongs to another run"), "{refused}");
        two.save().unwrap();
        assert!(folder.read("x.html").contains("<title>second</title>"));
    }
}

#[test]
fn runs_that_go_wrong_have_pages_that_say_so() {
    let cases: [(usize, u64, &str); 3] = [
        // NaN in the third step; one step; no validation.
        (3, 2, "the loss of step 3 is"),
        (usize::MAX, 1, "the step limit was reached"),
        (1, 2, "the loss of step 1 is"),
    ];
    for (bad_from, epochs, why) in cases {
        let folder = Folder::new();
        let (rows, model) = (Rows { bad_from, ..Rows::new() }, model());
        let stopping = rnn_api::train::EarlyStopping::new();
        let stopping = if bad_from == usize::MAX { stopping.with_max_steps(1) } else { stopping };
        let sgd = SgdConfig::new(0.1).init(&model).unwrap();
        let mut trainer = TrainerConfig::new(epochs).with_early_stopping(stopping).init(&model, sgd).unwrap();
        trainer.on_event(Report::new(folder.join("x.html")));
        let mut step = 0;
        trainer
            .fit(batches(), |batch| {
                step += 1;
                let loss = rows.loss(&model, &batch.indices)?;
                if step >= rows.bad_from { loss.scale(f32::NAN) } else { Ok(loss) }
            })
            .unwrap();
        let page = folder.read("x.html");
        check_page(&page);
        assert!(page.contains(why) && page.contains("No"), "{why}");
        let state = if why.contains("loss") { "failed" } else { "ended" };
        assert!(page.contains(&format!("data-state=\"{state}\"")), "{why}");
    }
}
