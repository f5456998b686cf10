//! A section in a process of its own: whatever a driver does to it, hang, crash or a lock that is never released, ends with
//! the process.

use crate::runner::Findings;
use anyhow::{Context, Result, bail};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Time between two looks whether a process has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Runs a process that writes its findings to a file with [`leave`]. It is ended after `time`.
///
/// # Errors
/// The process cannot start, does not end by itself, crashes, or leaves no findings. The file is removed.
pub fn run(command: &mut Command, file: &Path, time: Duration) -> Result<Findings> {
    remove(file)?;
    let mut child = command.spawn().context("the section's process does not start")?;
    let ended = wait(&mut child, time);
    let left = std::fs::read_to_string(file);
    remove(file)?;
    let Some(status) = ended? else {
        bail!("it did not end in {:.0} s and was ended", time.as_secs_f64());
    };
    // What a process has left counts also if it crashed at its end.
    match left {
        Ok(text) => {
            let mut findings: Findings = serde_json::from_str(&text).context("its findings")?;
            if !status.success() {
                findings.failures.push(format!("its process ended badly: {status}"));
            }
            Ok(findings)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("its process ended without findings: {status}")
        }
        Err(error) => Err(error).context("its findings"),
    }
}

/// Writes the findings of this process.
///
/// # Errors
/// The file cannot be written.
pub fn leave(findings: &Findings, file: &Path) -> Result<()> {
    // Under another name first: a file is whole or not there.
    let part = file.with_extension("part");
    std::fs::write(&part, serde_json::to_string(findings)?)
        .and_then(|()| std::fs::rename(&part, file))
        .with_context(|| format!("writing {}", file.display()))
}

/// Waits for the end of a process; `None` if it had to be ended.
fn wait(child: &mut Child, time: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= time {
            child.kill()?;
            // A process that waits inside the kernel for a driver may stay for ever. It is left behind then.
            let grace = Instant::now();
            while child.try_wait()?.is_none() && grace.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(LOOK);
            }
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

fn remove(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", file.display()))
        }
        _ => Ok(()),
    }
}
