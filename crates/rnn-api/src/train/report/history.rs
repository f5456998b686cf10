//! [`History`]: the data of a run that a report keeps, in bounded memory.

use super::curve::Curve;
use super::entry::{End, Entry, Epoch, Start, Step};
use super::exhibit::Exhibit;
use super::html::shortened;
use super::insight::Insight;
use crate::optim::Goal;
use crate::train::event::Validation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Buckets of a curve, and of a row of a heat map.
const FINE: usize = 400;
const COARSE: usize = 60;
/// The most of each that a report holds.
const MOST_PARAMETERS: usize = 128;
const MOST_SCORES: usize = 8;
const MOST_NOTES: usize = 20;
const MOST_EXHIBITS: usize = 40;
/// Characters of a title or a name, and of a note.
const LONGEST_NAME: usize = 200;
const LONGEST_NOTE: usize = 600;

/// The scores of one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Scores {
    pub(super) name: String,
    pub(super) goal: Goal,
    pub(super) values: Curve,
    pub(super) baseline: Curve,
}

/// A run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    pub(super) name: String,
    pub(super) start: Start,
    /// The norm to which gradients are scaled down.
    pub(super) clip: Option<f64>,
    /// Settings that the program added.
    pub(super) own_settings: BTreeMap<String, String>,
    pub(super) loss: Curve,
    pub(super) rate: Curve,
    pub(super) grad_norm: Curve,
    pub(super) ratio: Curve,
    pub(super) ratios: BTreeMap<String, Curve>,
    pub(super) scores: Vec<Scores>,
    pub(super) epoch_loss: Curve,
    pub(super) best: Option<Validation>,
    pub(super) step: u64,
    pub(super) epoch: u64,
    pub(super) seconds: f64,
    /// 1 for steps whose gradients were clipped, else 0.
    pub(super) clipped: Curve,
    /// Steps that a loss scale skipped.
    pub(super) skipped: u64,
    pub(super) end: Option<End>,
    pub(super) notes: Vec<String>,
    pub(super) insight: Insight,
    pub(super) exhibits: Vec<(String, Exhibit)>,
}

impl History {
    pub(super) fn new(name: impl Into<String>) -> Self {
        let [loss, rate, grad_norm, ratio, epoch_loss, clipped] = [FINE; 6].map(Curve::new);
        History {
            name: shortened(&name.into(), LONGEST_NAME),
            start: Start::default(),
            clip: None,
            own_settings: BTreeMap::new(),
            loss,
            rate,
            grad_norm,
            ratio,
            ratios: BTreeMap::new(),
            scores: Vec::new(),
            epoch_loss,
            best: None,
            step: 0,
            epoch: 0,
            seconds: 0.0,
            clipped,
            skipped: 0,
            end: None,
            notes: Vec::new(),
            insight: Insight::default(),
            exhibits: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Started(start) => self.started(start),
            Entry::Step(step) => self.stepped(&step),
            Entry::Internals(internals) => {
                self.insight.add_flow(internals.step, &internals.gradient);
                self.insight.set_gates(internals.step, &internals.gates);
            }
            Entry::Validated(validation) => self.validated(validation),
            Entry::Epoch(epoch) => self.epoch_ended(&epoch),
            Entry::Damaged { path, error } => self.note(format!("damaged checkpoint {path}: {error}")),
            Entry::Ended(end) => self.ended(end),
            Entry::Saved { step } => self.step = self.step.max(step),
            Entry::Unknown => {}
        }
    }

    fn started(&mut self, start: Start) {
        if start.resumed_step > 0 {
            self.note(format!("resumed after step {}", start.resumed_step));
        }
        (self.step, self.end) = (start.resumed_step, None);
        self.clip = start.settings.get("optimizer.clip_norm").and_then(|norm| norm.parse().ok());
        self.start = start;
    }

    fn stepped(&mut self, step: &Step) {
        (self.step, self.epoch) = (step.step, step.epoch);
        self.seconds = step.seconds.unwrap_or(self.seconds);
        self.loss.push(step.step, step.loss.map_or(f64::NAN, f64::from));
        if let Some(rate) = step.lr {
            self.rate.push(step.step, rate);
        }
        let norm = step.grad_norm.map_or(f64::NAN, f64::from);
        self.grad_norm.push(step.step, norm);
        if let Some(limit) = self.clip {
            self.clipped.push(step.step, f64::from(u8::from(norm > limit)));
        }
        self.skipped += u64::from(step.skipped);
        if let Some(ratio) = step.update_ratio {
            self.ratio.push(step.step, ratio);
        }
        for (name, ratio) in &step.update_ratios {
            if self.ratios.len() < MOST_PARAMETERS || self.ratios.contains_key(name) {
                let curve = self.ratios.entry(name.clone()).or_insert_with(|| Curve::new(COARSE));
                curve.push(step.step, ratio.unwrap_or(f64::NAN));
            }
        }
    }

    fn validated(&mut self, validation: Validation) {
        let score = &validation.score;
        let at = match self.scores.iter().position(|scores| scores.name == score.name) {
            Some(at) => Some(at),
            None if self.scores.len() < MOST_SCORES => {
                let (name, goal) = (score.name.clone(), score.goal);
                self.scores.push(Scores { name, goal, values: Curve::new(FINE), baseline: Curve::new(FINE) });
                Some(self.scores.len() - 1)
            }
            None => None,
        };
        if let Some(scores) = at.map(|at| &mut self.scores[at]) {
            scores.values.push(validation.step, score.value);
            if let Some(baseline) = score.baseline {
                scores.baseline.push(validation.step, baseline);
            }
        }
        self.step = self.step.max(validation.step);
        if validation.is_best {
            self.best = Some(validation);
        }
    }

    fn epoch_ended(&mut self, epoch: &Epoch) {
        self.epoch_loss.push(epoch.step, epoch.loss.unwrap_or(f64::NAN));
        (self.step, self.epoch) = (self.step.max(epoch.step), epoch.epoch);
        self.seconds = epoch.seconds.unwrap_or(self.seconds);
    }

    fn ended(&mut self, end: End) {
        self.step = self.step.max(end.steps);
        self.seconds = end.seconds.unwrap_or(self.seconds);
        self.best = end.best.clone().or(self.best.take());
        if !end.findings.is_empty() {
            self.insight.set_findings(&end.findings);
        }
        self.end = Some(end);
    }

    /// Adds a remark that the reader should see.
    pub(super) fn note(&mut self, text: String) {
        let text = shortened(&text, LONGEST_NOTE);
        if self.notes.len() < MOST_NOTES && !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Adds or replaces what the program shows under a title.
    pub(super) fn show(&mut self, title: &str, exhibit: Exhibit) {
        let title = shortened(title, LONGEST_NAME);
        match self.exhibits.iter().position(|(name, _)| *name == title) {
            Some(at) => self.exhibits[at].1 = exhibit,
            None if self.exhibits.len() < MOST_EXHIBITS => self.exhibits.push((title, exhibit)),
            None => self.note(format!("a report shows at most {MOST_EXHIBITS} results; others are left out")),
        }
    }

    /// Settings of the run and those of the program. One that is a JSON object is a setting for each of its fields.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, value) in &self.start.settings {
            match serde_json::from_str(value) {
                Ok(object @ Value::Object(_)) => flatten(name, &object, &mut all),
                _ => drop(all.insert(name.clone(), value.clone())),
            }
        }
        all.insert("epochs".into(), self.start.epochs.to_string());
        all.insert("device".into(), self.start.device.clone());
        all.insert("parameters".into(), self.start.num_parameters.to_string());
        all.extend(self.own_settings.clone());
        all.retain(|_, value| !value.is_empty() && value != "null");
        all
    }

    /// The state after this step, from which a run goes on.
    pub(super) fn cut(&mut self, step: u64) {
        let curves =
            [&mut self.loss, &mut self.rate, &mut self.grad_norm, &mut self.clipped, &mut self.ratio];
        let curves = curves.into_iter().chain([&mut self.epoch_loss]);
        curves.chain(self.ratios.values_mut()).for_each(|curve| curve.cut(step));
        for scores in &mut self.scores {
            scores.values.cut(step);
            scores.baseline.cut(step);
        }
        self.best = self.best.take().filter(|best| best.step <= step);
        (self.step, self.end) = (step, None);
    }

    /// Whether the numbers, which come from a file, make sense.
    pub(super) fn is_sound(&self) -> bool {
        let curves = [&self.loss, &self.rate, &self.grad_norm, &self.clipped, &self.ratio, &self.epoch_loss];
        let scores = self.scores.iter().flat_map(|scores| [&scores.values, &scores.baseline]);
        self.seconds.is_finite()
            && curves.into_iter().chain(self.ratios.values()).chain(scores).all(Curve::is_sound)
    }
}

/// The leaves of a value by their paths.
fn flatten(path: &str, value: &Value, all: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, all));
        }
        Value::String(text) => drop(all.insert(path.into(), text.clone())),
        value => drop(all.insert(path.into(), value.to_string())),
    }
}
