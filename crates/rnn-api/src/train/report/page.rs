//! A page: one file that needs no other.

use super::answer;
use super::compare;
use super::curves;
use super::history::History;
use super::html::{escape, json_for_script, put};
use super::memory;
use super::results;
use super::state::{Origin, State};
use super::tables;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The most bytes of a page.
const MOST_BYTES: usize = 1_950_000;

/// Starts the data of a run inside its page, for a report that goes on after a resume.
const DATA: &str = "<script type=\"application/json\" id=\"run\">";

/// What a page says of its making.
#[derive(Clone, Copy)]
pub(super) struct Written {
    /// Milliseconds after 1970.
    pub(super) at: u64,
    /// The report that wrote it: random, because two may write in the same millisecond. Zero for a page of logs.
    pub(super) by: u64,
}

impl Written {
    /// How the page names its report.
    pub(super) fn mark(self) -> String {
        format!("data-report=\"{:016x}\"", self.by)
    }
}

/// The page of a run.
pub(super) fn of_run(run: &History, origin: Origin, written: Written) -> String {
    let state = State::of(run, origin);
    let mut out = head(&run.name, state.name(), written);
    put(&mut out, format_args!("<div class=\"head\"><h1>{}</h1>{}</div>", escape(&run.name), state.badge()));
    answer::write(run, state, &mut out);
    curves::write(run, &mut out);
    memory::write(&run.insight, &mut out);
    results::write(run, &mut out);
    tables::write(run, &mut out);
    foot(&mut out);
    if origin == Origin::Run {
        // All fields of a run have a form in JSON.
        let data = serde_json::to_string(run).unwrap_or_default();
        let data = json_for_script(&data);
        // Without it a resumed run begins a new page.
        if out.len() + data.len() < MOST_BYTES {
            put(&mut out, format_args!("{DATA}{data}</script>"));
        }
    }
    out.push_str("</body></html>\n");
    out
}

/// A page that compares runs.
pub(super) fn of_runs(runs: &[History], written: Written) -> String {
    let title = format!("{} runs", runs.len());
    let mut out = head(&title, "ended", written);
    put(&mut out, format_args!("<div class=\"head\"><h1>{title} side by side</h1></div>"));
    compare::write(runs, &mut out);
    foot(&mut out);
    out.push_str("</body></html>\n");
    out
}

/// The run inside a page, if it is one with a run.
pub(super) fn read_back(page: &str) -> Option<History> {
    let (_, rest) = page.rsplit_once(DATA)?;
    let (data, _) = rest.split_once("</script>")?;
    serde_json::from_str(data).ok().filter(History::is_sound)
}

fn head(title: &str, state: &str, written: Written) -> String {
    let (at, mark) = (written.at, written.mark());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{}</title><style>{STYLE}</style></head>\n\
         <body data-state=\"{state}\" data-written=\"{at}\" {mark}><main>",
        escape(title)
    )
}

fn foot(out: &mut String) {
    let version = env!("CARGO_PKG_VERSION");
    put(
        out,
        format_args!(
            "<footer><span id=\"age\"></span> Made by rnn-api {version}. This page is one file and loads nothing.</footer></main><script>{SCRIPT}</script>"
        ),
    );
}
