//! One run per folder.

use super::Folder;
use super::run::{names, run, silent};
use rnn_api::Error;
use rnn_api::train::{Checkpoint, Event};
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The folder of [`the_other_process`].
const FOLDER: &str = "RNN_TEST_LOCKED_FOLDER";

/// What [`the_other_process`] says when it has a checkpoint and waits.
const READY: &str = "the other process has a checkpoint";

fn in_use(folder: &Path) {
    let before = names(folder);
    let error = run(folder, 8, &mut silent).unwrap_err();
    assert!(matches!(&error, Error::InUse { path } if path == folder), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    assert_eq!(names(folder), before, "nothing was touched");
}

#[test]
fn a_second_trainer_in_a_folder_is_refused_and_the_first_goes_on() {
    let folder = Folder::new("two-trainers");
    let mut tries = 0;
    let outcome = run(&folder.0, 6, &mut |event| {
        if let Event::Saved { .. } | Event::Started(_) = event {
            // An unfinished checkpoint: a second run must not remove it.
            let unfinished = folder.file(".step-000000001.0123456789abcdef.tmp");
            fs::create_dir_all(&unfinished).unwrap();
            in_use(&folder.0);
            fs::remove_dir(unfinished).unwrap();
            tries += 1;
        }
    });
    assert_eq!((outcome.unwrap().steps, tries), (6, 7));
    assert_eq!(Checkpoint::last(&folder.0).unwrap().step(), 6);
    assert_eq!(run(&folder.0, 8, &mut silent).unwrap().steps, 8, "a run that has ended holds no lock");
}

#[cfg(unix)]
#[test]
fn another_name_of_a_folder_is_the_same_folder() {
    let folder = Folder::new("another-name");
    fs::create_dir(folder.file("run")).unwrap();
    std::os::unix::fs::symlink("run", folder.file("link")).unwrap();
    let (mut tries, link) = (0, folder.file("link"));
    run(&folder.file("run"), 2, &mut |event| {
        if let Event::Saved { .. } = event {
            in_use(&link);
            tries += 1;
        }
    })
    .unwrap();
    assert_eq!(tries, 2);
}

/// Not a test of its own: the process that `two_processes_in_a_folder` starts.
#[test]
#[ignore = "started by another test"]
fn the_other_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut waits = true;
    run(Path::new(&folder), 6, &mut |event| {
        if matches!(event, Event::Saved { .. }) && std::mem::take(&mut waits) {
            println!("{READY}");
            std::io::stdin().lock().read_line(&mut String::new()).unwrap();
        }
    })
    .unwrap();
}

/// Starts the other process and waits until it has a checkpoint.
fn start(folder: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "locks::the_other_process", "--nocapture"])
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(said.by_ref().any(|line| line.unwrap().contains(READY)), "it has ended");
    (other, said)
}

#[test]
fn two_processes_in_a_folder_do_not_kill_each_other() {
    let folder = Folder::new("two-processes");
    let (mut other, said) = start(&folder.0);
    in_use(&folder.0);
    other.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    said.for_each(drop);
    assert!(other.wait().unwrap().success());
    assert_eq!(Checkpoint::last(&folder.0).unwrap().step(), 6);

    // The system drops the lock of a killed process.
    let (mut killed, _said) = start(&folder.file("killed"));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(run(&folder.file("killed"), 3, &mut silent).unwrap().steps, 3);
}
