//! The thread that makes the steps of its streams, batch by batch.

use super::guard::{discard, guarded};
use super::ids::IdSet;
use super::places::Places;
use super::queue::{Queue, Request, Step, Streams};
use crate::autograd::no_grad;
use crate::carried::Carried;
use crate::error::{Error, Result};
use crate::slots::{SlotId, Slots};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const OP: &str = "Batcher";

/// What a worker has done.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) steps: AtomicU64,
    pub(super) batches: AtomicU64,
}

pub(super) struct Worker<S, X, Y, F> {
    pub(super) slots: Slots<S>,
    pub(super) step: F,
    pub(super) queue: Arc<Queue<X, Y>>,
    pub(super) counts: Arc<Counts>,
    /// With its number in these.
    pub(super) places: (Arc<Places>, usize),
    pub(super) max_batch: usize,
}

impl<S: Carried, X, Y, F> Worker<S, X, Y, F>
where
    F: FnMut(&[X], &S) -> Result<(Vec<Y>, S)>,
{
    /// Works until the queue has ended and is empty.
    pub(super) fn run(mut self) {
        let abandoned = Abandon(self.queue.clone(), self.places.clone());
        let mut pending = VecDeque::new();
        while self.queue.take(&mut pending) {
            let batch = self.next_batch(&mut pending);
            if !batch.is_empty() {
                self.make(batch);
            }
        }
        drop(abandoned);
    }

    /// Takes the steps out of `pending` that can be made now, at most one of a stream, and does the calls whose turn it is.
    fn next_batch(&mut self, pending: &mut VecDeque<Request<X, Y>>) -> Vec<Step<X, Y>> {
        let (mut batch, mut held, mut later) = (Vec::new(), IdSet::default(), Vec::new());
        while batch.len() < self.max_batch
            && let Some(request) = pending.pop_front()
        {
            // A request that waits holds up the later ones of its stream, and a step in the batch does too.
            let turn = request.id().is_none_or(|id| !held.contains(&id));
            match request {
                Request::Call(_, call) if turn => {
                    self.queue.called();
                    call(&mut self.slots);
                }
                Request::Step(step) if turn => {
                    held.insert(step.id);
                    batch.push(step);
                }
                request => {
                    held.extend(request.id());
                    later.push(request);
                }
            }
        }
        for request in later.into_iter().rev() {
            pending.push_front(request);
        }
        batch
    }

    /// Makes the steps of a batch and keeps the promises.
    fn make(&mut self, batch: Vec<Step<X, Y>>) {
        let all: Vec<SlotId> = batch.iter().map(|step| step.id).collect();
        self.queue.started(&all);
        let (mut ids, mut xs, mut promises) = (Vec::new(), Vec::new(), Vec::new());
        for Step { id, x, promise } in batch {
            match self.slots.expect_open(id) {
                Ok(()) => {
                    ids.push(id);
                    xs.push(x);
                    promises.push(promise);
                }
                Err(error) => {
                    discard(x);
                    promise.keep(Err(error));
                }
            }
        }
        if ids.is_empty() {
            return;
        }
        match self.attempt(&ids, &xs) {
            Ok(ys) => {
                for (promise, y) in promises.into_iter().zip(ys) {
                    promise.keep(Ok(y));
                }
            }
            Err(error) if ids.len() == 1 => {
                if let Some(promise) = promises.pop() {
                    promise.keep(Err(error));
                }
            }
            // One row may have failed the batch. No state has changed, so each makes its step alone.
            Err(error) => {
                discard(error);
                for ((id, x), promise) in ids.into_iter().zip(xs.chunks(1)).zip(promises) {
                    let one = self.attempt(&[id], x).map(|mut ys| ys.remove(0));
                    promise.keep(one);
                }
            }
        }
        xs.into_iter().for_each(discard);
    }

    /// Makes one step of these streams; an error or a panic leaves their states as they were.
    fn attempt(&mut self, ids: &[SlotId], xs: &[X]) -> Result<Vec<Y>> {
        guarded(OP, || no_grad(|| self.batch(ids, xs)))
    }

    fn batch(&mut self, ids: &[SlotId], xs: &[X]) -> Result<Vec<Y>> {
        let (ys, state) = (self.step)(xs, &self.slots.gather(ids)?)?;
        if ys.len() != ids.len() {
            let expected = format!("one for each of {} rows", ids.len());
            return Err(Error::value(OP, "outputs of the step", expected, ys.len()));
        }
        self.slots.scatter(ids, &state)?;
        self.counts.batches.fetch_add(1, Ordering::Relaxed);
        self.counts.steps.fetch_add(ids.len() as u64, Ordering::Relaxed);
        Ok(ys)
    }
}

/// Lets the submitters know when the worker is gone, however it ends.
struct Abandon<X, Y>(Arc<Queue<X, Y>>, (Arc<Places>, usize));

impl<X, Y> Drop for Abandon<X, Y> {
    fn drop(&mut self) {
        let (places, worker) = &self.1;
        // First, so that nobody opens a stream here.
        places.end(*worker);
        self.0.abandon();
    }
}

impl<S: Carried> Streams for Slots<S> {
    fn open(&mut self) -> Result<SlotId> {
        Slots::open(self)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<SlotId> {
        Slots::load(self, bytes)
    }

    fn fork(&mut self, id: SlotId) -> Result<SlotId> {
        Slots::fork(self, id)
    }

    fn reset(&mut self, id: SlotId) -> Result<()> {
        Slots::reset(self, id)
    }

    fn close(&mut self, id: SlotId) -> Result<()> {
        Slots::close(self, id)
    }

    fn save(&self, id: SlotId) -> Result<Vec<u8>> {
        Slots::save(self, id)
    }

    fn is_finite(&self, id: SlotId) -> Result<bool> {
        Slots::is_finite(self, id)
    }
}
