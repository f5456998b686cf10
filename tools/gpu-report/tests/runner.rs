//! The report goes on after a section that fails.

use anyhow::{Result, bail};
use report::runner::{Clock, Findings, Section, run};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts the sections that ended well.
type Setup = AtomicUsize;

fn section(name: &'static str, body: fn(&Setup, Clock) -> Result<Findings>) -> Section<Setup> {
    Section { name, title: name, weight: 1, body }
}

fn well(setup: &Setup, _: Clock) -> Result<Findings> {
    setup.fetch_add(1, Ordering::Relaxed);
    Ok(Findings { text: vec!["fine".into()], ..Findings::default() })
}

#[test]
fn errors_panics_and_hangs_end_a_section_and_not_the_report() {
    let sections = [
        section("first", well),
        section("error", |_, _| bail!("the device was lost: driver reset")),
        section("after an error", well),
        section("panic", |_, _| panic!("index 7 is out of range")),
        section("after a panic", well),
        // As a call that waits for a driver which does not answer.
        section("hang", |_, _| {
            loop {
                std::thread::park();
            }
        }),
        section("after a hang", well),
    ];
    let (setup, mut seen) = (Arc::new(Setup::new(0)), Vec::new());
    let time = Duration::from_millis(700);
    let outcomes =
        run(&setup, &sections, time, Some(Duration::from_millis(50)), |so_far| seen.push(so_far.len()));
    assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7], "a summary after every section");
    assert_eq!(setup.load(Ordering::Relaxed), 4);
    let problems: Vec<(&str, &str)> = outcomes
        .iter()
        .flat_map(|outcome| outcome.findings.failures.iter().map(|failure| (outcome.name, failure.as_str())))
        .collect();
    let [(error, lost), (panic, message), (hang, left)] = problems[..] else { panic!("{problems:?}") };
    assert_eq!([error, panic, hang], ["error", "panic", "hang"]);
    assert!(lost.contains("the device was lost: driver reset"), "{lost}");
    assert!(message.contains("index 7 is out of range"), "{message}");
    assert!(left.contains("left behind"), "{left}");
}

#[test]
fn sections_without_time_are_named_and_not_run() {
    let sections = [section("one", well), section("two", well)];
    let setup = Arc::new(Setup::new(0));
    let outcomes = run(&setup, &sections, Duration::ZERO, None, |_| ());
    assert_eq!(setup.load(Ordering::Relaxed), 0);
    assert!(outcomes.iter().all(|outcome| outcome.findings.failures[0].contains("the time was over")));
}

#[test]
fn checks_that_did_not_run_are_said() {
    let findings = |failures: &[&str], not_run| Findings {
        failures: failures.iter().map(ToString::to_string).collect(),
        not_run,
        ..Findings::default()
    };
    assert_eq!(findings(&[], 0).verdict(), "ok");
    assert_eq!(findings(&["y"], 0).verdict(), "1 FAILURES");
    assert_eq!(findings(&[], 16).verdict(), "no failure, 16 checks did not fit into the time");
}
