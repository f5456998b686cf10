//! The report goes on after a section that fails, hangs or crashes.

use anyhow::{Result, bail};
use report::runner::{Clock, Findings, Section, run, without_panic};
use std::time::Duration;

fn section(name: &'static str, body: fn(&(), Clock) -> Result<Findings>) -> Section<()> {
    Section { name, title: name, weight: 1, body }
}

fn well(_: &(), _: Clock) -> Result<Findings> {
    Ok(Findings { text: vec!["fine".into()], ..Findings::default() })
}

#[test]
fn errors_and_panics_end_a_section_and_not_the_report() {
    let sections = [
        section("first", well),
        section("error", |_, _| bail!("the device was lost: driver reset")),
        section("after an error", well),
        section("panic", |_, _| panic!("index 7 is out of range")),
        section("after a panic", well),
    ];
    let mut seen = Vec::new();
    let execute = |section: &Section<()>, share| without_panic(|| (section.body)(&(), Clock::new(share)));
    let outcomes = run(&sections, Duration::from_secs(60), execute, |so_far| seen.push(so_far.len()));
    assert_eq!(seen, [1, 2, 3, 4, 5], "a summary after every section");
    let fine = outcomes.iter().filter(|outcome| outcome.findings.text == ["fine"]).count();
    assert_eq!(fine, 3);
    let problems: Vec<(&str, &str)> = outcomes
        .iter()
        .flat_map(|outcome| outcome.findings.failures.iter().map(|failure| (outcome.name, failure.as_str())))
        .collect();
    let [(error, lost), (panic, message)] = problems[..] else { panic!("{problems:?}") };
    assert_eq!([error, panic], ["error", "panic"]);
    assert!(lost.contains("the device was lost: driver reset"), "{lost}");
    assert!(message.contains("index 7 is out of range"), "{message}");
}

#[test]
fn sections_without_time_are_named_and_not_run() {
    let sections = [section("one", well), section("two", well)];
    let outcomes = run(&sections, Duration::ZERO, |_, _| unreachable!("no time is left"), |_| ());
    assert!(outcomes.iter().all(|outcome| outcome.findings.failures[0].contains("the time was over")));
}

#[test]
fn what_did_not_run_is_said() {
    let findings = |failures: &[&str], not_run| Findings {
        failures: failures.iter().map(ToString::to_string).collect(),
        not_run,
        ..Findings::default()
    };
    assert_eq!(findings(&[], 0).verdict(), "ok");
    assert_eq!(findings(&["y"], 0).verdict(), "1 FAILURES");
    assert_eq!(findings(&[], 16).verdict(), "no failure, 16 of its parts did not fit into the time");
}

#[cfg(unix)]
mod processes {
    use super::*;
    use report::child;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// A file of one test, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Place(std::env::temp_dir().join(format!("rnn-report-{name}-{}.json", std::process::id())))
        }

        /// Runs a shell command as a section of two seconds.
        fn run(&self, script: &str) -> Result<Findings> {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(&self.0);
            child::run(&mut command, &self.0, Duration::from_millis(2000))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.0));
        }
    }

    const FOUND: &str = r#"echo '{"text": ["fine"], "failures": [], "not_run": 3}' > "$1""#;

    #[test]
    fn a_process_hands_its_findings_over() {
        let place = Place::new("well");
        let findings = place.run(FOUND).unwrap();
        assert_eq!((findings.text, findings.failures, findings.not_run), (vec!["fine".into()], vec![], 3));
        assert!(!Path::new(&place.0).exists());
        let own = Findings { text: vec!["a".into()], failures: vec!["b".into()], not_run: 1 };
        child::leave(&own, &place.0).unwrap();
        let copied = Place::new("copied");
        let script = format!("cp {} \"$1\"", place.0.display());
        let read = copied.run(&script).unwrap();
        assert_eq!((read.text, read.failures, read.not_run), (own.text, own.failures, own.not_run));
    }

    #[test]
    fn crashes_and_hangs_are_errors_that_say_so() {
        let place = Place::new("bad");
        for (script, expected) in [
            ("kill -SEGV $$", "without findings: signal: 11"),
            ("exit 3", "without findings: exit status: 3"),
            ("exec sleep 60", "did not end in 2 s and was ended"),
            ("echo '{\"text' > \"$1\"", "its findings"),
        ] {
            let error = format!("{:#}", place.run(script).unwrap_err());
            assert!(error.contains(expected), "{script}: {error}");
        }
        // The findings of an earlier process are not those of a later one.
        std::fs::write(&place.0, "{}").unwrap();
        assert!(place.run("true").is_err());
        let late = place.run(&format!("{FOUND}; kill -ABRT $$")).unwrap();
        assert_eq!(late.text, ["fine"]);
        assert!(late.failures[0].contains("signal: 6"), "{:?}", late.failures);
        let missing = child::run(&mut Command::new("/nonexistent/program"), &place.0, Duration::from_secs(1));
        assert!(format!("{:#}", missing.unwrap_err()).contains("does not start"));
    }
}
