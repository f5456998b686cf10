//! Logs of runs as reports take them.

use super::entry::Entry;
use super::history::History;
use crate::error::{Error, Result};
use crate::io::expect_regular;
use crate::train::log::FORMAT;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The longest line, in bytes. Parameters of a line are thousands at most.
const LONGEST: u64 = 16 << 20;

/// What was wrong with the lines of a log.
#[derive(Default)]
struct Faults {
    unreadable: u64,
    first: u64,
    unknown: u64,
}

/// The runs of a log; several, if one was written behind another.
pub(super) fn runs_of(path: &Path) -> Result<Vec<History>> {
    let failed = |source| Error::Io { path: path.to_path_buf(), source };
    expect_regular(path).map_err(failed)?;
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut log = Log { path, name, runs: Vec::new(), faults: Faults::default() };
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if reader.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        number += 1;
        log.line(&line, number)?;
    }
    log.finish()
}

struct Log<'a> {
    path: &'a Path,
    name: String,
    runs: Vec<History>,
    faults: Faults,
}

impl Log<'_> {
    fn refused(&self, problem: String) -> Error {
        Error::Checkpoint { path: self.path.to_path_buf(), problems: vec![problem] }
    }

    fn line(&mut self, line: &[u8], number: u64) -> Result<()> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let entry = match serde_json::from_slice(line) {
            Ok(entry) => entry,
            Err(_) => {
                if self.faults.unreadable == 0 {
                    self.faults.first = number;
                }
                self.faults.unreadable += 1;
                return Ok(());
            }
        };
        match entry {
            Entry::Started(start) => {
                if start.format > FORMAT {
                    let found = start.format;
                    return Err(
                        self.refused(format!("a log of format {found}; this version reads up to {FORMAT}"))
                    );
                }
                if start.resumed_step == 0 || self.runs.is_empty() {
                    self.begin();
                }
                self.add(Entry::Started(start));
            }
            Entry::Unknown => self.faults.unknown += 1,
            entry => self.add(entry),
        }
        Ok(())
    }

    fn begin(&mut self) {
        let name = match self.runs.len() {
            0 => self.name.clone(),
            earlier => format!("{} ({})", self.name, earlier + 1),
        };
        self.runs.push(History::new(name));
    }

    fn add(&mut self, entry: Entry) {
        // The beginning of the log may be gone.
        if self.runs.is_empty() {
            self.begin();
            self.runs[0].note("the log has no beginning, so settings and device are not known".into());
        }
        if let Some(run) = self.runs.last_mut() {
            run.add(entry);
        }
    }

    fn finish(mut self) -> Result<Vec<History>> {
        let Faults { unreadable, first, unknown } = self.faults;
        let count = self.runs.len();
        let Some(last) = self.runs.last_mut() else {
            let problem = match unreadable {
                0 => "an empty log: no line of JsonLog".to_string(),
                _ => "not a log: no line of JsonLog can be read".into(),
            };
            return Err(self.refused(problem));
        };
        if unreadable > 0 {
            let which = if unreadable == 1 {
                format!("line {first} of the log")
            } else {
                format!("{unreadable} lines of the log, the first is {first},")
            };
            last.note(format!(
                "{which} cannot be read; after a killed process the last one may be incomplete"
            ));
        }
        if unknown > 0 {
            last.note(format!("{unknown} lines of kinds that this version does not know are left out"));
        }
        if count > 1 {
            last.note(format!("the log holds {count} runs, one behind the other"));
        }
        Ok(self.runs)
    }
}
