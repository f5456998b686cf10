//! Measured plans of recurrences, in memory and in a file of the cache directory.
//!
//! The file has a line per case: `pass lanes outputs depth directions batch steps`, then the plan and its
//! seconds. A file that cannot be parsed is reported once, ignored, and replaced at the next measurement.

use super::algorithm::Algorithm;
use super::plan::{Plan, Work};
use crate::AdapterInfo;
use rnn_base::args::recurrence::LayerDims;
use rnn_base::cache::{CacheDir, CacheFile};
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::Fetch;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

/// The pass that a recurrence belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PassKind {
    Forward,
    Backward,
}

impl PassKind {
    /// Sizes with the steps that a pass runs: backward there is one more, which ends in the gradient of h0.
    pub(super) fn dims(self, dims: LayerDims) -> LayerDims {
        LayerDims { steps: dims.steps + usize::from(self == PassKind::Backward), ..dims }
    }
}

/// Key of a measurement: the sizes of a step's product, and the number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Case {
    pass: PassKind,
    /// lanes, outputs and depth of the [`Work`]; directions, batch, steps
    sizes: [usize; 6],
}

impl Case {
    pub(super) fn new(pass: PassKind, dims: LayerDims, work: Work) -> Self {
        let Work { lanes, outputs, depth, .. } = work;
        Case { pass, sizes: [lanes, outputs, depth, dims.directions, dims.batch, dims.steps] }
    }
}

/// What the estimate of a plan depends on besides the adapter: bytes that kernels may hold, sizes, and the algorithm asked
/// for.
type Question = (Option<u32>, (usize, bool), LayerDims, Work, Option<Algorithm>);

/// Questions whose answers are kept; comparing this many takes a microsecond.
const KNOWN_PLANS: usize = 128;

/// The fastest plan of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tuned {
    pub(super) plan: Plan,
    /// Seconds of the whole recurrence.
    pub(super) seconds: f64,
}

/// The table of one device.
pub(crate) struct Tuning {
    /// Plans with the lowest estimate, because a search takes as long as some dispatches.
    estimated: Mutex<Vec<(Question, Plan)>>,
    table: Mutex<BTreeMap<Case, Tuned>>,
    file: Option<CacheFile>,
}

impl Tuning {
    /// The table that an earlier run on this adapter and driver wrote, or an empty one.
    pub(crate) fn open(info: &AdapterInfo, dir: &CacheDir) -> Self {
        let file = info.cache_file(dir, "tuning");
        let text = file.as_ref().and_then(CacheFile::read).unwrap_or_default();
        let table = parse(&String::from_utf8_lossy(&text)).unwrap_or_else(|line| {
            tracing::warn!(line, "the table of measured plans cannot be parsed and is ignored");
            BTreeMap::new()
        });
        Tuning { estimated: Mutex::default(), table: Mutex::new(table), file }
    }

    /// The plan that `search` finds, or found for the same question before.
    pub(super) fn estimated(&self, question: Question, search: impl FnOnce() -> Plan) -> Plan {
        let mut known = self.estimated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = known.iter().find(|(other, _)| *other == question) {
            return *plan;
        }
        // Sequences of all lengths would fill any memory.
        if known.len() == KNOWN_PLANS {
            known.clear();
        }
        let plan = search();
        known.push((question, plan));
        plan
    }

    pub(super) fn get(&self, case: &Case) -> Option<Tuned> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).get(case).copied()
    }

    pub(super) fn put(&self, case: Case, tuned: Tuned) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(case, tuned);
        if let Some(file) = &self.file {
            file.write(print(&table).as_bytes());
        }
    }
}

const FETCHES: [Fetch; 5] =
    [Fetch::Subgroup, Fetch::Workgroup, Fetch::Held, Fetch::HeldWeights, Fetch::KeptWeights];

fn fetch_name(fetch: Fetch) -> &'static str {
    match fetch {
        Fetch::Subgroup => "subgroup",
        Fetch::Workgroup => "workgroup",
        Fetch::Held => "held",
        Fetch::HeldWeights => "held_weights",
        Fetch::KeptWeights => "kept_weights",
    }
}

fn print(table: &BTreeMap<Case, Tuned>) -> String {
    let mut text = String::new();
    for (Case { pass, sizes }, Tuned { plan, seconds }) in table {
        let Plan { algorithm, fetch, rows, workgroup, split, across, count } = plan;
        let pass = if *pass == PassKind::Forward { "forward" } else { "backward" };
        let fetch = fetch_name(*fetch);
        let _ = write!(text, "{pass}");
        sizes.iter().for_each(|size| text.push_str(&format!(" {size}")));
        let _ =
            writeln!(text, " {algorithm} {fetch} {rows} {workgroup} {split} {across} {count} {seconds:e}");
    }
    text
}

/// Parses the table; an error is the first line that cannot be parsed.
fn parse(text: &str) -> Result<BTreeMap<Case, Tuned>, String> {
    let line = |line: &str| -> Option<(Case, Tuned)> {
        let words: Vec<&str> = line.split(' ').collect();
        let [pass, a, b, c, d, e, f, algorithm, fetch, rows, workgroup, split, across, count, seconds] =
            words[..]
        else {
            return None;
        };
        let pass = match pass {
            "forward" => PassKind::Forward,
            "backward" => PassKind::Backward,
            _ => return None,
        };
        let fetch = FETCHES.into_iter().find(|&kind| fetch_name(kind) == fetch)?;
        let number = |word: &str| word.parse::<usize>().ok().filter(|&n| n > 0);
        let mut sizes = [0; 6];
        for (size, word) in sizes.iter_mut().zip([a, b, c, d, e, f]) {
            *size = number(word)?;
        }
        let plan = Plan {
            // A persistent plan is never measured.
            algorithm: algorithm.parse().ok().filter(|&algorithm| algorithm != Algorithm::Persistent)?,
            fetch,
            // Kernels are written for these numbers, and their indices are not checked.
            rows: number(rows).filter(|&rows| rows <= 32 && rows.is_power_of_two())?,
            workgroup: number(workgroup).filter(|&size| size <= 1024 && size.is_multiple_of(8))?,
            split: number(split).filter(|&split| split <= 32 && split.is_power_of_two())?,
            across: number(across)?,
            count: number(count)?,
        };
        // Workgroups that share the units of a row can only meet at the end of a dispatch, so they need a
        // dispatch per step.
        let ordered = plan.across == 1 || (plan.count == 1 && plan.algorithm == Algorithm::Step);
        let seconds = seconds.parse().ok().filter(|&seconds: &f64| seconds.is_finite() && seconds >= 0.0)?;
        let whole = plan.workgroup.is_multiple_of(plan.split);
        (ordered && whole).then_some((Case { pass, sizes }, Tuned { plan, seconds }))
    };
    text.lines().map(|text| line(text).ok_or_else(|| text.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> BTreeMap<Case, Tuned> {
        let plan = Plan {
            algorithm: Algorithm::Sequence,
            fetch: Fetch::Subgroup,
            rows: 16,
            workgroup: 64,
            split: 1,
            across: 1,
            count: 25,
        };
        let step = Plan { algorithm: Algorithm::Step, fetch: Fetch::Workgroup, across: 3, count: 1, ..plan };
        let held = Plan { fetch: Fetch::HeldWeights, split: 8, ..plan };
        BTreeMap::from([
            (
                Case { pass: PassKind::Forward, sizes: [8, 3, 8, 1, 32, 50] },
                Tuned { plan: held, seconds: 1e-4 },
            ),
            (
                Case { pass: PassKind::Forward, sizes: [64, 4, 64, 1, 32, 50] },
                Tuned { plan, seconds: 1.5e-3 },
            ),
            (
                Case { pass: PassKind::Backward, sizes: [130, 4, 256, 2, 5, 7] },
                Tuned { plan: step, seconds: 0.25 },
            ),
        ])
    }

    #[test]
    fn a_table_reads_back() {
        assert_eq!(parse(&print(&table())).unwrap(), table());
        assert_eq!(parse("").unwrap(), BTreeMap::new());
    }

    /// Every line of the table with one word changed, too many or too few words.
    #[test]
    fn a_damaged_line_is_refused() {
        let text = print(&table());
        for (from, to) in [
            ("forward", "forwards"),
            ("subgroup", "group"),
            ("sequence", "sequences"),
            ("sequence", "persistent"),
            (" 16 ", " 0 "),
            (" 16 ", " 33 "),
            (" 16 ", " 12 "),
            (" 64 1 1 25 ", " 60 1 1 25 "),
            (" 64 1 1 25 ", " 2048 1 1 25 "),
            (" 64 1 1 25 ", " 64 3 1 25 "),
            (" 64 1 1 25 ", " 64 1 2 25 "),
            (" 64 1 3 1 ", " 64 1 3 2 "),
            ("1.5e-3", "NaN"),
            ("1.5e-3", ""),
            ("1.5e-3", "1.5e-3 1"),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert_ne!(damaged, text, "{from}");
            assert!(parse(&damaged).is_err(), "{from} -> {to}");
        }
    }
}
