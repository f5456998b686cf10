//! What all classifiers do: divide the items, train, choose the epoch, test, save, predict.

use crate::classifier::ModelArgs;
use crate::common::{Common, Results};
use crate::files::Files;
use crate::flag::{not_negative, positive, size};
use crate::protocol::{HeldOut, Items, Protocol};
use crate::report::Report;
use anyhow::{Context, Result};
use clap::Args;
use rnn_api::data::{BatchConfig, Batches, Classes, Labels, Parts};
use rnn_api::io::{ModelFile, ModelWriter};
use rnn_api::nn::ModelConfig;
use rnn_api::prelude::*;
use rnn_api::train::{Score, StopReason};
use serde_json::Value;
use std::fmt::Write;
use std::time::Instant;

/// Items whose logits are computed at once, without gradients.
const CHUNK: usize = 100;

/// Steps of the optimizer that the default number of epochs aims at.
const STEPS: usize = 6000;

/// Options of training.
#[derive(Args)]
pub struct Learning {
    /// Items per step of the optimizer.
    #[arg(long, default_value_t = 16, value_parser = size)]
    batch: usize,
    /// Peak learning rate of AdamW, with cosine decay to zero.
    #[arg(long, default_value_t = 3e-3, value_parser = positive)]
    lr: f64,
    /// Decoupled weight decay.
    #[arg(long, default_value_t = 0.01, value_parser = not_negative)]
    weight_decay: f64,
}

/// A network, and how items become its input.
pub trait Task {
    /// The configuration of the network.
    type Config: ModelConfig;

    /// What the network was made from.
    fn config(&self) -> &Self::Config;

    /// The network.
    fn model(&self) -> &<Self::Config as ModelConfig>::Model;

    /// What else a prediction needs, by name: it is kept in checkpoints and model files.
    fn kept(&self) -> &[(&'static str, Value)];

    /// Steps of an item.
    fn steps(&self, item: usize) -> usize;

    /// Logits `[B, classes]` of items.
    ///
    /// # Errors
    /// Any error of the network.
    fn logits(&self, items: &[usize]) -> rnn_api::Result<Tensor>;
}

/// The probability of every class for each item, of a network in evaluation mode.
///
/// # Errors
/// Any error of the network.
fn probabilities(task: &impl Task, items: &[usize]) -> rnn_api::Result<Vec<Vec<f32>>> {
    let mut all = Vec::new();
    for chunk in items.chunks(CHUNK) {
        let rows = no_grad(|| task.logits(chunk)?.softmax())?;
        let classes = rows.dims()[1];
        all.extend(rows.to_vec()?.chunks(classes).map(<[f32]>::to_vec));
    }
    Ok(all)
}

/// The most probable class of each item.
fn most_probable(rows: &[Vec<f32>]) -> Vec<u32> {
    let best = |row: &Vec<f32>| {
        let largest = row.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
        largest.map_or(0, |(class, _)| class as u32)
    };
    rows.iter().map(best).collect()
}

/// Predictions as CSV: number of the item, its label where known, the predicted class, the probability of each class.
fn csv(
    classes: &Classes,
    items: impl IntoIterator<Item = (usize, Option<u32>)>,
    rows: &[Vec<f32>],
) -> String {
    let quoted = |name: &str| match name.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_string(),
    };
    let name = |class: u32| quoted(classes.name(class).unwrap_or("?"));
    let items: Vec<(usize, Option<u32>)> = items.into_iter().collect();
    let labelled = items.iter().any(|(_, label)| label.is_some());
    let names: Vec<String> = classes.names().iter().map(|name| quoted(name)).collect();
    let label = if labelled { "label," } else { "" };
    let mut text = format!("item,{label}class,{}\n", names.join(","));
    for (((number, label), row), class) in items.into_iter().zip(rows).zip(most_probable(rows)) {
        let label = label.map_or(String::new(), |label| name(label) + ",");
        let row: Vec<String> = row.iter().map(|probability| format!("{probability:.6}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{number},{label}{},{}", name(class), row.join(","));
    }
    text
}

/// The options of every classifier.
#[derive(Args)]
pub struct Options {
    /// The network.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How the items are divided.
    #[command(flatten)]
    pub protocol: Protocol,
    /// How the networks are trained.
    #[command(flatten)]
    pub learning: Learning,
    /// What is written and read.
    #[command(flatten)]
    pub files: Files,
    /// Device, seed, length, progress.
    #[command(flatten)]
    pub common: Common,
}

impl Options {
    /// Prints or writes the predictions for all items of a task, whose network comes from a file.
    ///
    /// # Errors
    /// Any error of the network and of files.
    pub fn predict(&self, saved: &ModelFile, task: &impl Task, count: usize) -> Result<()> {
        let items: Vec<usize> = (0..count).collect();
        let rows = probabilities(task, &items)?;
        let text = csv(&saved.kept("classes")?, items.iter().map(|item| (item + 1, None)), &rows);
        match self.files.out {
            Some(_) => self.files.write(&text)?,
            None => print!("{text}"),
        }
        Ok(())
    }
}

/// Labels of the items of all files in one list: first those to divide, then those of --valid, then those of --test.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// The label of every item.
    pub labels: Vec<String>,
    /// Its group, or empty if there are none.
    pub groups: Vec<String>,
    /// How many items are those of --valid.
    pub valid: usize,
    /// How many items are those of --test.
    pub test: usize,
}

impl Dataset {
    /// Items of one file.
    pub fn of(labels: &Labels) -> Self {
        Dataset { labels: labels.values().to_vec(), ..Dataset::default() }
    }

    /// Adds the labels and groups of the file of a part.
    pub fn add(&mut self, part: HeldOut, other: Dataset) {
        match part {
            HeldOut::Validation => self.valid = other.labels.len(),
            HeldOut::Test => self.test = other.labels.len(),
        }
        self.labels.extend(other.labels);
        self.groups.extend(other.groups);
    }

    /// The classes, and the class of every item.
    ///
    /// # Errors
    /// A label that only --valid or --test has: it cannot be learnt.
    fn classes(&self) -> Result<(Classes, Vec<u32>)> {
        let given = self.labels.len() - self.valid - self.test;
        let classes = Classes::fit(&Labels::new(&self.labels[..given]))?;
        let numbers = classes.encode(&Labels::new(&self.labels))?;
        Ok((classes, numbers))
    }
}

/// Trains and tests a network per division. `start` makes a network for so many classes that has seen nothing but these
/// training items.
///
/// # Errors
/// Any error of the division, of training, and of files.
pub fn run<T: Task>(
    options: &Options,
    dataset: &Dataset,
    start: impl Fn(&[usize], usize) -> Result<T>,
    started: Instant,
) -> Result<()> {
    let (classes, numbers) = dataset.classes()?;
    let groups = (!dataset.groups.is_empty()).then_some(&dataset.groups[..]);
    let items = Items { labels: &numbers, groups, valid: dataset.valid, test: dataset.test };
    Job { options, items, classes: &classes }.run(start, started)
}

struct Job<'a> {
    options: &'a Options,
    items: Items<'a>,
    classes: &'a Classes,
}

impl Job<'_> {
    fn run<T: Task>(&self, start: impl Fn(&[usize], usize) -> Result<T>, started: Instant) -> Result<()> {
        let common = &self.options.common;
        let (count, classes) = (self.items.labels.len(), self.classes.len());
        common.say(format!("{count} items of {classes} classes; on {}", common.device()?.name()));
        let all_parts = self.options.protocol.parts(&self.items)?;
        let mut report = Report::new(self.classes)?;
        let mut tested = Vec::new();
        for (number, parts) in all_parts.iter().enumerate() {
            self.say_parts(parts);
            let task = start(&parts.train, classes)?;
            let (interrupted, results) = match all_parts.len() {
                1 => self.train(&task, parts, common)?,
                _ => self.train(&task, parts, &common.part(&format!("fold-{}", number + 1)))?,
            };
            let right = most_probable(&probabilities(&task, &parts.validation)?);
            let right = right.iter().zip(self.labels(&parts.validation)).filter(|(a, b)| **a == *b).count();
            let accuracy = right as f64 / parts.validation.len() as f64;
            common.say(format!("accuracy on the validation part, which chose the epoch: {accuracy:.4}"));
            let rows = probabilities(&task, &parts.test)?;
            report.add(&most_probable(&rows), &self.labels(&parts.test), &self.labels(&parts.train))?;
            tested.extend(parts.test.iter().copied().zip(rows));
            let title =
                if number == 0 { "Test part".into() } else { format!("Test parts of {} folds", number + 1) };
            results.add(|page| {
                page.confusion(&title, report.confusion());
                Ok(())
            })?;
            self.save(&task)?;
            if interrupted && number + 1 < all_parts.len() {
                common.say(format!("only {} of {} folds ran", number + 1, all_parts.len()));
                break;
            }
        }
        self.write(tested)?;
        report.print(common, started);
        Ok(())
    }

    fn save(&self, task: &impl Task) -> Result<()> {
        let Some(path) = &self.options.files.save else { return Ok(()) };
        let mut writer = ModelWriter::new(task.config())?.keep("classes", self.classes)?;
        for (name, value) in task.kept() {
            writer = writer.keep(name, value)?;
        }
        writer.save(task.model(), path).with_context(|| format!("--save {}", path.display()))
    }

    /// Whether training was interrupted. It chooses the epoch by the likelihood of the validation part, because the accuracy
    /// of few items has only few values.
    fn train<T: Task>(
        &self,
        task: &T,
        parts: &Parts<Vec<usize>>,
        common: &Common,
    ) -> Result<(bool, Results)> {
        let learning = &self.options.learning;
        // Items of similar length share a batch, which reduces padding.
        let lengths: Vec<usize> = parts.train.iter().map(|&item| task.steps(item)).collect();
        let config = BatchConfig::new(learning.batch).with_shuffle(common.seed).with_bucket_width(4);
        let mut batches = Batches::by_length(&lengths, &config)?;
        let per_epoch = batches.batches_per_epoch();
        let epochs = common.epochs(STEPS.div_ceil(per_epoch).clamp(10, 100) as u64);
        let (lr, decay) = (learning.lr, learning.weight_decay);
        let adam = AdamWConfig::new(lr).with_weight_decay(decay).with_clip_norm(1.0).init(task.model())?;
        let schedule = Schedule::cosine(lr, 0.0, epochs * per_epoch as u64)?;
        let mut trainer = common.trainer(epochs).with_schedule(schedule).init(task.model(), adam)?;
        trainer.keep("classes", self.classes)?;
        for (name, value) in task.kept() {
            trainer.keep(name, value)?;
        }
        trainer.validate(|| {
            let mut total = 0.0;
            for items in parts.validation.chunks(CHUNK) {
                let nats = no_grad(|| self.loss(task, items))?.item()?;
                total += f64::from(nats) * items.len() as f64 / parts.validation.len() as f64;
            }
            Ok(Score::min("nats", total).with_baseline((self.classes.len() as f64).ln()))
        });
        let results = common.equip(&mut trainer)?;
        let outcome = trainer.fit(batches, |batch| self.loss(task, &batch.copy(&parts.train)?))?;
        self.options.common.say(format!("{} after {} steps", outcome.reason, outcome.steps));
        Ok((outcome.reason == StopReason::Interrupted, results))
    }

    fn loss(&self, task: &impl Task, items: &[usize]) -> rnn_api::Result<Tensor> {
        let logits = task.logits(items)?;
        let labels = Tensor::from_indices(logits.device(), &self.labels(items), &[items.len()])?;
        logits.cross_entropy(&labels)
    }

    fn labels(&self, items: &[usize]) -> Vec<u32> {
        items.iter().map(|&item| self.items.labels[item]).collect()
    }

    fn say_parts(&self, parts: &Parts<Vec<usize>>) {
        self.options.common.say(format!(
            "{} to learn from, {} for validation, {} for the test",
            parts.train.len(),
            parts.validation.len(),
            parts.test.len(),
        ));
    }

    /// Writes the predictions of all test parts, in the order of the items of their file.
    fn write(&self, mut tested: Vec<(usize, Vec<f32>)>) -> Result<()> {
        tested.sort_unstable_by_key(|&(item, _)| item);
        let first = if self.items.test > 0 { self.items.labels.len() - self.items.test } else { 0 };
        let label = |item: usize| (item - first + 1, Some(self.items.labels[item]));
        let (items, rows): (Vec<usize>, Vec<Vec<f32>>) = tested.into_iter().unzip();
        self.options.files.write(&csv(self.classes, items.into_iter().map(label), &rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_csv() {
        let classes = Classes::from_names(vec!["a,b".into(), "c\"".into()]).unwrap();
        let rows = [vec![0.25, 0.75], vec![0.9, 0.1]];
        let text = csv(&classes, [(1, None), (2, None)], &rows);
        assert_eq!(
            text,
            "item,class,\"a,b\",\"c\"\"\"\n1,\"c\"\"\",0.250000,0.750000\n2,\"a,b\",0.900000,0.100000\n"
        );
        let text = csv(&classes, [(7, Some(0))], &rows[..1]);
        assert_eq!(text.lines().nth(1), Some("7,\"a,b\",\"c\"\"\",0.250000,0.750000"));
    }
}
