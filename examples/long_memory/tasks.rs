//! Generated tasks that need memory, and an endless source of new batches.

use clap::ValueEnum;
use rnn_api::data::Cursor;
use rnn_api::train::Source;
use rnn_api::{Result, RngKey};

/// The tasks.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Task {
    /// The sum of two marked numbers (Hochreiter and Schmidhuber 1997, section 5.4; Le et al. 2015).
    Adding,
    /// The order of two symbols among distractors (section 5.6): four classes.
    Order,
    /// The sign of the first number, under noise (Bengio et al. 1994): two classes.
    Latch,
    /// Ten symbols, to be repeated at the end (Arjovsky et al. 2016, section 5.1).
    Copy,
}

/// The number of symbols of the copy task, and how many are repeated.
const SYMBOLS: usize = 8;
const REPEATED: usize = 10;

/// A batch of sequences.
pub(crate) struct Item {
    /// [T, B, I]
    pub(crate) x: Vec<f32>,
    /// [B] of adding
    pub(crate) sums: Vec<f32>,
    /// [recall, B] of the others
    pub(crate) labels: Vec<u32>,
}

impl Task {
    /// Features of a step.
    pub(crate) fn inputs(self) -> usize {
        match self {
            Task::Adding | Task::Latch => 2,
            Task::Order => 6,
            Task::Copy => SYMBOLS + 2,
        }
    }

    /// Outputs of a step: classes, or one number.
    pub(crate) fn outputs(self) -> usize {
        match self {
            Task::Adding => 1,
            Task::Order => 4,
            Task::Latch => 2,
            Task::Copy => SYMBOLS,
        }
    }

    /// The number of steps at the end that have to be answered.
    pub(crate) fn recall(self) -> usize {
        if self == Task::Copy { REPEATED } else { 1 }
    }

    /// The smallest number of steps that the task needs.
    pub(crate) fn shortest(self) -> usize {
        match self {
            Task::Adding | Task::Latch => 2,
            Task::Order => 6,
            Task::Copy => 2 * REPEATED + 2,
        }
    }

    /// Batch number `number`; it depends only on the key.
    pub(crate) fn item(self, steps: usize, batch: usize, key: RngKey, number: u32) -> Item {
        let inputs = self.inputs();
        let mut item = Item { x: vec![0.0; steps * batch * inputs], sums: Vec::new(), labels: Vec::new() };
        if self == Task::Copy {
            item.labels = vec![0; REPEATED * batch];
        }
        for b in 0..batch {
            let key = key.derive(number, b as u32);
            let uniform = |draw: usize| key.uniform(0, draw as u32);
            let below = |draw: usize, bound: usize| (key.uniform(1, draw as u32) * bound as f32) as usize;
            let mut set = |t: usize, feature: usize, value: f32| {
                item.x[(t * batch + b) * inputs + feature] = value;
            };
            match self {
                Task::Adding => {
                    let (first, second) = (below(0, steps / 2), steps / 2 + below(1, steps - steps / 2));
                    (0..steps).for_each(|t| set(t, 0, uniform(t)));
                    [first, second].into_iter().for_each(|t| set(t, 1, 1.0));
                    item.sums.push(uniform(first) + uniform(second));
                }
                Task::Order => {
                    // In the second and the sixth tenth of the steps; distractors are features 2 to 5.
                    let tenth = (steps / 10).max(1);
                    let places = [tenth + below(0, tenth), 5 * tenth + below(1, tenth)];
                    let symbols = [below(2, 2), below(3, 2)];
                    (0..steps)
                        .filter(|t| !places.contains(t))
                        .for_each(|t| set(t, 2 + below(10 + t, 4), 1.0));
                    (0..2).for_each(|n| set(places[n], symbols[n], 1.0));
                    item.labels.push((2 * symbols[0] + symbols[1]) as u32);
                }
                Task::Latch => {
                    let class = below(0, 2);
                    set(0, 0, 2.0 * class as f32 - 1.0);
                    (1..steps).for_each(|t| set(t, 1, 0.4 * (uniform(t) - 0.5)));
                    item.labels.push(class as u32);
                }
                Task::Copy => {
                    let symbols: Vec<usize> = (0..REPEATED).map(|k| below(k, SYMBOLS)).collect();
                    for t in 0..steps {
                        let go = t + REPEATED + 1 == steps;
                        let blank = if go { SYMBOLS + 1 } else { SYMBOLS };
                        set(t, symbols.get(t).copied().unwrap_or(blank), 1.0);
                    }
                    for (k, &symbol) in symbols.iter().enumerate() {
                        item.labels[k * batch + b] = symbol as u32;
                    }
                }
            }
        }
        item
    }
}

/// An endless source of new batches, `per_epoch` per epoch. A batch depends only on its number, so a checkpoint
/// needs nothing but the number.
pub(crate) struct Fresh {
    pub(crate) task: Task,
    pub(crate) steps: usize,
    pub(crate) batch: usize,
    pub(crate) key: RngKey,
    pub(crate) per_epoch: usize,
    pub(crate) cursor: Cursor,
}

impl Source for Fresh {
    type Item = Item;

    fn next_item(&mut self) -> Result<Option<Item>> {
        let Cursor { epoch, position } = self.cursor;
        if position == self.per_epoch as u64 {
            self.cursor = Cursor { epoch: epoch + 1, position: 0 };
            return Ok(None);
        }
        self.cursor.position += 1;
        let number = epoch * self.per_epoch as u64 + position;
        Ok(Some(self.task.item(self.steps, self.batch, self.key, number as u32)))
    }

    fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn seek(&mut self, cursor: Cursor) -> Result<()> {
        self.cursor = cursor;
        Ok(())
    }

    fn items_per_epoch(&mut self) -> usize {
        self.per_epoch
    }
}
