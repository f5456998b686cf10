//! The report's folder: JSON lines, a summary, plots.

use crate::runner::Outcome;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// One JSON object per line, each with its section.
const LINES: &str = "report.jsonl";
const SUMMARY: &str = "summary.md";

/// Where the report is written.
pub struct Folder {
    path: PathBuf,
    lines: Mutex<File>,
}

impl Folder {
    /// Makes the folder, and an empty file for lines in it.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        let file = path.join(LINES);
        File::create(&file).with_context(|| format!("writing {}", file.display()))?;
        Self::open(path)
    }

    /// A folder that another process has made. Lines are added to those in it.
    ///
    /// # Errors
    /// The file for lines cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(LINES);
        let lines = File::options().append(true).open(&file);
        let lines = lines.with_context(|| format!("writing {}", file.display()))?;
        Ok(Folder { path: path.to_path_buf(), lines: Mutex::new(lines) })
    }

    /// Where a section's process leaves its findings.
    pub fn findings(&self) -> PathBuf {
        self.path.join("section.json")
    }

    /// Adds a line at once, so that it is there whatever happens next.
    pub fn line(&self, section: &str, mut value: Value) -> Result<()> {
        value["section"] = json!(section);
        let mut file = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // In one write, so that a process that is ended leaves whole lines.
        file.write_all(format!("{value}\n").as_bytes()).context(LINES)
    }

    /// Writes a file of the folder.
    pub fn file(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.path.join(name), text).with_context(|| format!("writing {name}"))
    }

    /// The summary of what has been run so far. It is written after every section.
    pub fn summary(&self, head: &str, outcomes: &[Outcome]) -> Result<()> {
        let mut text = format!("# GPU report\n\n{head}\n");
        text += "\n| section | seconds | verdict |\n|---|---|---|\n";
        for outcome in outcomes {
            let verdict = outcome.findings.verdict();
            text += &format!("| {} | {:.1} | {verdict} |\n", outcome.title, outcome.seconds);
        }
        for outcome in outcomes {
            text += &format!("\n## {}\n\n", outcome.title);
            for line in &outcome.findings.text {
                text += line;
                text.push('\n');
            }
            if !outcome.findings.failures.is_empty() {
                text += "\nFailures:\n\n";
            }
            for failure in &outcome.findings.failures {
                text += &format!("- {}\n", failure.trim().replace('\n', "\n  "));
            }
        }
        self.file(SUMMARY, &text)
    }
}
