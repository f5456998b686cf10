//! [`Report`]: the page of a run, written during the run.

use super::exhibit::Exhibit;
use super::history::History;
use super::pace::{Pace, Steps};
use super::page::{self, Written};
use super::read::runs_of;
use super::state::Origin;
use crate::doctor::{Finding, GateStatistics, GradientFlow, MemoryHorizon};
use crate::error::{Error, Result};
use crate::io::write_atomically;
use crate::metrics::ConfusionMatrix;
use crate::nn::Trace;
use crate::train::event::{Callback, Event, Flow};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use web_time::{Instant, UNIX_EPOCH};

/// By default the update-to-parameter ratios of every step of this many.
const RATIOS_EVERY: u64 = 25;
/// The most logs of one page.
const MOST_LOGS: usize = 24;

/// Writes a page about a run: one HTML file that needs no network, for any browser.
///
/// It is rewritten after validations and reloads itself until the run ends. It shows the best score beside the baseline,
/// losses, learning rate, gradient norms, update-to-parameter ratios, the model and all settings; and what the program adds
/// by a [`Page`]. Memory and file stay small however many steps there are: neighbouring steps are drawn as one.
///
/// ```no_run
/// # use rnn_api::train::prelude::*;
/// use rnn_api::train::Report;
/// # fn train(trainer: &mut Trainer<'_>) -> rnn_api::Result<()> {
/// let report = Report::new("runs/vowels.html").with_setting("hidden", 64);
/// let page = report.page();
/// page.save()?;                                  // a clear error now if the file cannot be written
/// trainer.on_event(report);
/// // .. trainer.fit(..)
/// page.text("sample", "what the network writes");
/// page.save()?;
/// # Ok(()) }
/// ```
///
/// **A run never stops because of its report.** If the file cannot be written, the run goes on and
/// [`Page::problem`] says why; so does a warning of `tracing`. [`Page::save`] returns the error.
///
/// **Cost.** Pages after validations are left out where writing would take more than half a percent of the run's time,
/// except the one after the first validation. Update-to-parameter ratios are computed at every 25th step; another callback that wants
/// them more often pays for them. `docs/report.md` has measurements.
///
/// A resumed run continues the page that is there. A run that starts anew replaces it. Where two runs write to one file, the one that
/// started later has it, and the other reports a problem.
#[derive(Debug)]
pub struct Report {
    page: Page,
    ratios_every: u64,
    pace: Pace,
    written: bool,
}

impl Report {
    /// A report in this file. Its folder is created if necessary.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let id = RandomState::new().hash_one(&path);
        let inner = Inner { run: History::new(name), path, problem: None, id, last: None };
        let page = Page { inner: Arc::new(Mutex::new(inner)) };
        Report { page, ratios_every: RATIOS_EVERY, pace: Pace::new(Steps::Paced), written: false }
    }

    /// Sets the title; by default the name of the file.
    #[must_use]
    pub fn with_title(self, title: impl Into<String>) -> Self {
        self.page.lock().run.name = title.into();
        self
    }

    /// Adds a setting of the program, such as the size of a layer or the command line, to the trainer's own.
    #[must_use]
    pub fn with_setting(self, name: impl Into<String>, value: impl ToString) -> Self {
        self.page.lock().run.own_settings.insert(name.into(), value.to_string());
        self
    }

    /// Computes update-to-parameter ratios at every step of this many; never for 0.
    #[must_use]
    pub fn with_update_ratios_every(self, steps: u64) -> Self {
        Report { ratios_every: steps, ..self }
    }

    /// A handle by which the program adds results, also after the run.
    pub fn page(&self) -> Page {
        self.page.clone()
    }

    /// Watches gates and gradients by time step at every step of this many; never for 0. By default it watches as many
    /// steps as one percent of the run's time allows, evenly, at most 24, and none of fewer than 200 steps.
    #[must_use]
    pub fn with_internals_every(self, steps: u64) -> Self {
        Report { pace: Pace::new(Steps::Every(steps)), ..self }
    }

    /// Writes the page, unless it would take too much of the run's time.
    fn write(&mut self, must: bool) {
        if !must && self.written && !self.pace.may_write() {
            return;
        }
        let before = Instant::now();
        self.page.lock().write();
        self.pace.wrote(before);
        self.written = true;
    }
}

impl Callback for Report {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        match event {
            Event::Started(started) => {
                self.pace.start(started.planned_steps.saturating_sub(started.resumed_step));
                self.page.lock().begin(started.resumed_step);
            }
            Event::Internals(_) => self.pace.watched(),
            Event::Step(_) => self.pace.step(),
            _ => {}
        }
        self.page.lock().run.add(event.into());
        match event {
            Event::Started(_) => {
                self.write(true);
                // The page after the first validation is the first with an answer.
                self.written = false;
            }
            Event::Ended(_) => self.write(true),
            Event::Validated(_) | Event::Epoch(_) => self.write(false),
            // The step goes on.
            Event::Internals(_) => return Ok(Flow::Continue),
            _ => {}
        }
        self.pace.mark();
        Ok(Flow::Continue)
    }

    fn wants_update_ratios(&self) -> bool {
        self.ratios_every > 0 && self.pace.steps().is_multiple_of(self.ratios_every)
    }

    fn wants_internals(&self) -> bool {
        self.pace.wants_watch()
    }
}

/// The page of a [`Report`]: adds results of the program to it. What is added under a title replaces what was there.
/// It appears when the page is next written.
#[derive(Clone, Debug)]
pub struct Page {
    inner: Arc<Mutex<Inner>>,
}

impl Page {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows text, such as a generated sample. The first 20,000 characters are shown.
    pub fn text(&self, title: &str, text: &str) {
        self.lock().run.show(title, Exhibit::text(text));
    }

    /// Shows a confusion matrix; of more than 40 classes the first 40.
    pub fn confusion(&self, title: &str, matrix: &ConfusionMatrix) {
        self.lock().run.show(title, Exhibit::confusion(matrix));
    }

    /// Shows predictions over true values, and a histogram of the errors, in the unit of the values.
    ///
    /// # Errors
    /// Not as many predictions as true values.
    pub fn forecast(&self, title: &str, truth: &[f32], predicted: &[f32]) -> Result<()> {
        let exhibit = Exhibit::forecast(truth, predicted)?;
        self.lock().run.show(title, exhibit);
        Ok(())
    }

    /// Shows what the units of a layer hold after every step of a sequence, tanh(c) of an LSTM and h of other cells: row
    /// `row` of a trace of `forward_traced`. `labels` are what was read at each step, or nothing. At most 48 units, those
    /// that change most, and the first 240 steps are shown.
    ///
    /// # Errors
    /// A row that the trace lacks, another number of labels than steps, or a failing device.
    pub fn activations(&self, title: &str, trace: &Trace, row: usize, labels: &[String]) -> Result<()> {
        let exhibit = Exhibit::activations(trace, row, labels)?;
        self.lock().run.show(title, exhibit);
        Ok(())
    }

    /// Shows how far back the gradient reaches, in the row of the current training step.
    pub fn gradient_flow(&self, flow: &GradientFlow) {
        let mut inner = self.lock();
        let step = inner.run.step;
        inner.run.insight.add_flow(step, flow);
    }

    /// Shows the gates and states of recurrent layers and the time constants of their units.
    pub fn gates(&self, gates: &GateStatistics) {
        let mut inner = self.lock();
        let step = inner.run.step;
        inner.run.insight.set_gates(step, gates);
    }

    /// Shows how far back the output depends on the input.
    pub fn memory(&self, memory: &MemoryHorizon) {
        self.lock().run.insight.memory = Some(memory.clone());
    }

    /// Shows what rules found, at the top of the page.
    pub fn findings(&self, findings: &[Finding]) {
        self.lock().run.insight.set_findings(findings);
    }

    /// Adds a setting, see [`Report::with_setting`].
    pub fn setting(&self, name: &str, value: impl ToString) {
        self.lock().run.own_settings.insert(name.into(), value.to_string());
    }

    /// Why the page could not be written the last time.
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// Writes the page now.
    ///
    /// # Errors
    /// The folder cannot be made or the file cannot be written; another run has taken the file over.
    pub fn save(&self) -> Result<()> {
        self.lock().save()
    }
}

#[derive(Debug)]
struct Inner {
    run: History,
    path: PathBuf,
    problem: Option<String>,
    /// Names this report in its pages.
    id: u64,
    /// When this run last wrote the page.
    last: Option<u64>,
}

impl Inner {
    /// Forgets an earlier run of this report, and takes up the one of the page if this run goes on with it.
    fn begin(&mut self, resumed_step: u64) {
        let settings = std::mem::take(&mut self.run.own_settings);
        let exhibits = std::mem::take(&mut self.run.exhibits);
        let name = std::mem::take(&mut self.run.name);
        self.run = History::new("");
        if resumed_step > 0 {
            match fs::read_to_string(&self.path).ok().and_then(|page| page::read_back(&page)) {
                Some(mut earlier) => {
                    earlier.cut(resumed_step);
                    self.run = earlier;
                }
                None => self
                    .run
                    .note(format!("the first {resumed_step} steps are in no page that could be continued")),
            }
        }
        (self.run.name, self.run.own_settings) = (name, settings);
        exhibits.into_iter().for_each(|(title, exhibit)| self.run.show(&title, exhibit));
        (self.problem, self.last) = (None, None);
    }

    /// Writes, and keeps the problem if there is one.
    fn write(&mut self) {
        if let Err(error) = self.save() {
            // Once, not at every validation.
            if self.problem.is_none() {
                tracing::warn!(%error, "the report cannot be written; the run goes on");
            }
            self.problem = Some(error.to_string());
        } else {
            self.problem = None;
        }
    }

    fn save(&mut self) -> Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|source| Error::Io { path: self.path.clone(), source })?;
        }
        self.expect_own()?;
        // A page is never older than the one before, also if the clock was set back.
        let written = self.written(now().max(self.last.unwrap_or(0)));
        write_atomically(&self.path, page::of_run(&self.run, Origin::Run, written).as_bytes())?;
        self.last = Some(written.at);
        Ok(())
    }

    fn written(&self, at: u64) -> Written {
        Written { at, by: self.id }
    }

    /// Refuses to replace the page of a run that started later.
    fn expect_own(&self) -> Result<()> {
        let Some(last) = self.last else { return Ok(()) };
        let own = self.written(last).mark();
        // The mark is behind the style, which is shorter than this.
        const START: u64 = 64 << 10;
        let mut start = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(START).read_to_end(&mut start));
        if read.is_err() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(&start);
        if found.contains(&own) || !found.contains("data-written=") {
            return Ok(());
        }
        let why =
            format!("the report {} now belongs to another run, which started later", self.path.display());
        Err(Error::other(why))
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = web_time::SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Writes a page from logs of [`JsonLog`](crate::train::JsonLog): of one run, or of several side by side, with their
/// curves over one another, their best values, and the settings that differ.
///
/// Logs of runs that go on or were killed are fine; the page says what is missing. A log with several runs behind one another
/// gives several.
///
/// # Errors
/// There is no log, or there are more than 24 runs. A file cannot be read, is no log, or is a log of a later format. The page
/// cannot be written.
pub fn report_of_logs(logs: &[impl AsRef<Path>], to: impl AsRef<Path>) -> Result<()> {
    let mut runs = Vec::new();
    for log in logs {
        runs.extend(runs_of(log.as_ref())?);
    }
    name_apart(&mut runs);
    let written = Written { at: now(), by: 0 };
    let page = match &runs[..] {
        [] => return Err(Error::value("report_of_logs", "logs", "at least one", 0)),
        [run] => page::of_run(run, Origin::Log, written),
        runs if runs.len() <= MOST_LOGS => page::of_runs(runs, written),
        runs => {
            return Err(Error::value(
                "report_of_logs",
                "logs",
                format!("at most {MOST_LOGS} runs"),
                runs.len(),
            ));
        }
    };
    let to = to.as_ref();
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|source| Error::Io { path: to.to_path_buf(), source })?;
    }
    write_atomically(to, page.as_bytes())
}

/// Numbers runs of the same name.
fn name_apart(runs: &mut [History]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (n, run) in runs.iter_mut().enumerate() {
        let earlier = names[..n].iter().filter(|name| **name == names[n]).count();
        if earlier > 0 {
            run.name = format!("{} [{}]", names[n], earlier + 1);
        }
    }
}
