//! The runs, and what they show.

use crate::terminal::{Screen, Terminal, texts};
use libtest_mimic::{Arguments, Trial};
use rnn_api::data::{BatchConfig, Batches};
use rnn_api::prelude::*;
use rnn_api::train::{Event, Flow, Interrupt, Progress, Score, TrainerConfig};
use std::process::{Command, Stdio};

/// Tells the child how many steps to take before it is interrupted.
const STOP_AFTER: &str = "RNN_PROGRESS_STOP_AFTER";
const EPOCHS: u64 = 3;
const TOTAL: u64 = 12;

/// Runs the tests, or what they show if one of them has started this process.
pub(crate) fn main() {
    if let Ok(stop_after) = std::env::var(STOP_AFTER) {
        return train(stop_after.parse().unwrap());
    }
    let tests: [(&str, fn()); 3] = [
        ("the_bar_fits_its_line_and_goes_at_the_end", the_bar_fits_its_line_and_goes_at_the_end),
        ("an_interrupted_run_stays_at_its_step", an_interrupted_run_stays_at_its_step),
        ("a_file_gets_a_line_for_each_epoch", a_file_gets_a_line_for_each_epoch),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.map(trial).into()).exit();
}

/// Trains for three epochs of four steps and shows it.
fn train(stop_after: u64) {
    let device = Device::cpu();
    let model = LinearConfig::new(1, 1).init(&device, 1).unwrap();
    let sgd = SgdConfig::new(0.1).init(&model).unwrap();
    let mut trainer = TrainerConfig::new(EPOCHS).init(&model, sgd).unwrap();
    let x = Tensor::ones(&device, &[2, 1]).unwrap();
    let loss = || model.forward(&x)?.mse(&x);
    let interrupt = Interrupt::new();
    trainer.interrupt(&interrupt).on_event(Progress::new());
    let outcome = trainer
        .run()
        .validate(|| Ok(Score::min("squares", loss()?.item()?.into()).with_baseline(0.5)))
        .on_event(|event: &Event<'_>| {
            if matches!(event, Event::Step(step) if step.step == stop_after) {
                interrupt.set();
            }
            Ok(Flow::Continue)
        })
        .fit(Batches::new(8, &BatchConfig::new(2)).unwrap(), |_| loss());
    outcome.unwrap();
}

/// The child, with that standard error.
fn start(stop_after: u64, stderr: impl Into<Stdio>) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(STOP_AFTER, stop_after.to_string()).env("TERM", "xterm").env_remove("NO_COLOR");
    command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
}

/// What the child writes to a terminal of this width.
fn in_terminal(columns: u16, stop_after: u64) -> String {
    let terminal = Terminal::open(columns);
    let mut child = start(stop_after, terminal.end());
    let text = terminal.read_all();
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

/// The texts that were drawn at the place of the bar.
fn bars(text: &str) -> Vec<String> {
    let position = format!("/{TOTAL} ");
    let drawn = texts(text).into_iter().filter(|line| line.contains(&position));
    // A line above the bar is as long as the terminal is wide, and the bar follows.
    drawn.map(|line| line[line.find('[').unwrap()..].to_string()).collect()
}

fn the_bar_fits_its_line_and_goes_at_the_end() {
    for columns in [60, 80, 120] {
        let text = in_terminal(columns, u64::MAX);
        let bars = bars(&text);
        assert!(bars.iter().any(|bar| bar.contains(">") && bar.contains(" 1/12 loss ")), "{bars:?}");
        assert!(bars.iter().all(|bar| bar.len() < columns.into()), "{columns}: {bars:?}");
        // The last score stands in every bar after the first validation.
        let late: Vec<_> = bars.iter().filter(|bar| bar.contains(" 9/12 ")).collect();
        assert!(!late.is_empty() && late.iter().all(|bar| bar.contains("squares 0.")), "{columns}: {bars:?}");
        let baseline = bars.iter().any(|bar| bar.contains("(baseline 0.5000)"));
        assert_eq!(baseline, columns == 120, "{columns}: {bars:?}");
        let epoch = late.iter().all(|bar| bar.contains("] epoch 3/3, step 9/12 "));
        assert_eq!(epoch, columns == 120, "{columns}: {bars:?}");

        let lines = Screen::after(&text, columns).lines();
        assert!(lines[0].starts_with("2 parameters on ") && lines[0].ends_with(", 3 epochs"), "{lines:#?}");
        for (epoch, line) in lines[1..=3].iter().enumerate() {
            let start = format!("epoch {}/3: loss ", epoch + 1);
            assert!(line.starts_with(&start) && line.contains(", squares 0."), "{lines:#?}");
        }
        let end = lines[4..].concat();
        assert!(end.starts_with("all epochs are done: 12 steps in "), "{lines:#?}");
        assert!(end.ends_with("(baseline 0.5000)") && !end.contains('['), "{lines:#?}");
        assert_eq!(text.matches("all epochs are done").count(), 1);
    }
}

/// It jumped to the last step.
fn an_interrupted_run_stays_at_its_step() {
    for columns in [60, 80, 120] {
        let text = in_terminal(columns, 6);
        let bars = bars(&text);
        assert!(bars.iter().any(|bar| bar.contains(" 6/12 ")), "{bars:?}");
        assert!(!text.contains("12/12"), "{bars:?}");
        let lines = Screen::after(&text, columns).lines();
        // The last line may be longer than the terminal is wide.
        let end = lines[2..].concat();
        assert!(
            end.starts_with("interrupted: 6 of 12 steps in ") && end.ends_with("(baseline 0.5000)"),
            "{lines:#?}"
        );
        assert_eq!(end.matches("interrupted").count(), 1);
    }
}

fn a_file_gets_a_line_for_each_epoch() {
    let output = start(u64::MAX, Stdio::piped()).wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !text.contains(['\r', '\x1b']), "{text:?}");
    let starts: Vec<_> = text.lines().map(|line| line.split([':', ' ']).next().unwrap()).collect();
    assert_eq!(starts, ["2", "epoch", "epoch", "epoch", "all"], "{text}");
}
