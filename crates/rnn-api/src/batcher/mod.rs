//! [`Batcher`]: threads that make the steps of many streams, as many in a batch as are ready.

mod config;
mod guard;
mod ids;
mod queue;
mod ticket;
mod worker;

pub use config::BatcherConfig;
pub use ticket::Ticket;

use crate::error::{Error, Result};
use crate::slots::SlotId;
use guard::{guarded, message};
use queue::{Queue, Step, Streams};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use ticket::pair;
use worker::Counts;

/// A stream of a [`Batcher`]. It stays unique, also after the stream was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    worker: usize,
    slot: SlotId,
}

/// What a [`Batcher`] has done so far, and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatcherStats {
    /// Streams that are open.
    pub streams: usize,
    /// Steps that wait for a batch.
    pub waiting: usize,
    /// Steps that were made.
    pub steps: u64,
    /// Batches that these steps were made in.
    pub batches: u64,
}

/// Makes the steps of many streams on worker threads. X is the input of a step, Y its output, of one row.
///
/// Every stream belongs to a worker, which has the states of its streams as [`Slots`](crate::Slots) on a device of its own. A worker takes
/// all steps that are ready, up to a maximum, at most one of a stream, and makes them as one batch; meanwhile the next ones
/// come. So batches grow with the load, and nobody waits for a batch to fill. Requests of one stream take effect in the order
/// in which they came.
///
/// Queues are bounded: a step that finds one full is refused with [`Error::Busy`]. On the CPU the bits of a stream do not
/// depend on who shares its batches, see [`Slots`](crate::Slots).
///
/// ```
/// use rnn_api::BatcherConfig;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let gru = GruConfig::new(2, 8).init(&Device::cpu(), 1)?; // trained, or loaded
/// gru.eval();
/// let initial = gru.zero_state(1)?;
/// let batcher = BatcherConfig::new().with_workers(2).start(|device| {
///     let (gru, device) = (gru.clone(), device.clone());
///     let step = move |x: &[[f32; 2]], state: &GruState| {
///         let x = Tensor::from_slice(&device, x.as_flattened(), &[1, x.len(), 2])?; // [T = 1, B, I]
///         let out = gru.forward(&x, Some(state))?;
///         let y = out.y.to_vec()?;
///         Ok((y.chunks_exact(8).map(<[f32]>::to_vec).collect(), out.state))
///     };
///     Ok((initial.clone(), step))
/// })?;
/// let (a, b) = (batcher.open()?.wait()?, batcher.open()?.wait()?);
/// let tickets = [batcher.submit(a, [0.1, 0.2])?, batcher.submit(b, [0.3, 0.4])?];
/// for ticket in tickets {
///     assert_eq!(ticket.wait()?.len(), 8); // or `ticket.await?`
/// }
/// let kept = batcher.save(a)?.wait()?;
/// batcher.finish()?; // all accepted steps have been made
/// # Ok(()) }
/// ```
pub struct Batcher<X, Y> {
    workers: Vec<Handle<X, Y>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Open streams, and those that are being opened.
    streams: Arc<AtomicUsize>,
    max_streams: usize,
}

struct Handle<X, Y> {
    queue: Arc<Queue<X, Y>>,
    counts: Arc<Counts>,
    /// As [`Batcher::streams`], of this worker.
    streams: Arc<AtomicUsize>,
}

/// A place among the streams, which is free again when this is dropped.
struct Place(Option<Counted>);

/// The counts of open streams that a stream is part of: of the batcher and of its worker.
type Counted = [Arc<AtomicUsize>; 2];

impl Place {
    /// The stream is open and keeps its place.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for count in self.0.iter().flatten() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<X: Send + 'static, Y: Send + 'static> Batcher<X, Y> {
    /// Starts a stream in the initial state, at the worker that has the fewest.
    ///
    /// # Errors
    /// [`Error::Busy`] with as many streams as may be open; [`Error::Ended`]. In the ticket: no memory.
    pub fn open(&self) -> Result<Ticket<StreamId>> {
        self.opening("Batcher::open", self.idlest(), None, |streams| streams.open())
    }

    /// Starts a stream in the state that [`save`](Self::save) returned, also by another batcher.
    ///
    /// # Errors
    /// As [`open`](Self::open). In the ticket: as [`Slots::load`](crate::Slots::load).
    pub fn load(&self, bytes: Vec<u8>) -> Result<Ticket<StreamId>> {
        self.opening("Batcher::load", self.idlest(), None, move |streams| streams.load(&bytes))
    }

    /// Starts a stream in the state of another one, after the steps that this one has been given so far.
    ///
    /// # Errors
    /// As [`open`](Self::open). In the ticket: a closed or foreign id.
    pub fn fork(&self, id: StreamId) -> Result<Ticket<StreamId>> {
        self.opening("Batcher::fork", id.worker, Some(id.slot), move |streams| streams.fork(id.slot))
    }

    /// Gives a stream its next input. The ticket has the output.
    ///
    /// # Errors
    /// [`Error::Busy`] with as many steps waiting as may, of the worker or of the stream; [`Error::Ended`]. In the ticket: a
    /// closed or foreign id, an error of the step function, or [`Error::Panicked`]. The state of the stream is then as before
    /// the step.
    pub fn submit(&self, id: StreamId, x: X) -> Result<Ticket<Y>> {
        const OP: &str = "Batcher::submit";
        let (promise, ticket) = pair(OP);
        self.worker(OP, id.worker)?.queue.step(OP, Step { id: id.slot, x, promise })?;
        Ok(ticket)
    }

    /// Sets a stream back to the initial state, after the steps that it has been given so far.
    ///
    /// # Errors
    /// [`Error::Ended`]. In the ticket: a closed or foreign id.
    pub fn reset(&self, id: StreamId) -> Result<Ticket<()>> {
        self.call("Batcher::reset", id.worker, Some(id.slot), move |streams| streams.reset(id.slot))
    }

    /// Ends a stream, after the steps that it has been given so far.
    ///
    /// # Errors
    /// [`Error::Ended`]. In the ticket: a closed or foreign id.
    pub fn close(&self, id: StreamId) -> Result<Ticket<()>> {
        const OP: &str = "Batcher::close";
        let counts = [self.streams.clone(), self.worker(OP, id.worker)?.streams.clone()];
        self.call(OP, id.worker, Some(id.slot), move |streams| {
            streams.close(id.slot)?;
            drop(Place(Some(counts)));
            Ok(())
        })
    }

    /// The state of a stream as bytes, after the steps that it has been given so far.
    ///
    /// # Errors
    /// [`Error::Ended`]. In the ticket: as [`Slots::save`](crate::Slots::save).
    pub fn save(&self, id: StreamId) -> Result<Ticket<Vec<u8>>> {
        self.call("Batcher::save", id.worker, Some(id.slot), move |streams| streams.save(id.slot))
    }

    /// What was done so far, and what waits.
    pub fn stats(&self) -> BatcherStats {
        let mut stats =
            BatcherStats { streams: self.streams.load(Ordering::Relaxed), ..BatcherStats::default() };
        for worker in &self.workers {
            stats.waiting += worker.queue.waiting();
            stats.steps += worker.counts.steps.load(Ordering::Relaxed);
            stats.batches += worker.counts.batches.load(Ordering::Relaxed);
        }
        stats
    }

    fn worker(&self, op: &'static str, worker: usize) -> Result<&Handle<X, Y>> {
        let foreign = || Error::value(op, "id", "a stream of this batcher", "one of another");
        self.workers.get(worker).ok_or_else(foreign)
    }

    /// The worker with the fewest streams.
    fn idlest(&self) -> usize {
        let count = |&worker: &usize| self.workers[worker].streams.load(Ordering::Relaxed);
        (0..self.workers.len()).min_by_key(count).unwrap_or(0)
    }

    /// Has a worker call `call` after the earlier requests of the stream.
    fn call<T: Send + 'static>(
        &self,
        op: &'static str,
        worker: usize,
        id: Option<SlotId>,
        call: impl FnOnce(&mut dyn Streams) -> Result<T> + Send + 'static,
    ) -> Result<Ticket<T>> {
        let (promise, ticket) = pair(op);
        let queue = &self.worker(op, worker)?.queue;
        queue.call(op, id, Box::new(move |streams| promise.keep(guarded(op, || call(streams)))))?;
        Ok(ticket)
    }

    /// Has a worker start a stream by `open`.
    fn opening(
        &self,
        op: &'static str,
        worker: usize,
        id: Option<SlotId>,
        open: impl FnOnce(&mut dyn Streams) -> Result<SlotId> + Send + 'static,
    ) -> Result<Ticket<StreamId>> {
        let place = self.place(op, self.worker(op, worker)?)?;
        self.call(op, worker, id, move |streams| {
            let slot = open(streams)?;
            place.keep();
            Ok(StreamId { worker, slot })
        })
    }

    fn place(&self, op: &'static str, worker: &Handle<X, Y>) -> Result<Place> {
        let limit = self.max_streams;
        let more = |open| (open < limit).then_some(open + 1);
        let taken = self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|open| Error::Busy { op, what: "streams", waiting: open, limit })?;
        let of_worker = worker.streams.clone();
        of_worker.fetch_add(1, Ordering::Relaxed);
        Ok(Place(Some([self.streams.clone(), of_worker])))
    }
}

impl<X, Y> Batcher<X, Y> {
    /// Accepts nothing more, and returns when all accepted requests are done and the workers have ended. States of streams
    /// are lost, unless they were saved before.
    ///
    /// # Errors
    /// [`Error::Panicked`] if a worker did not end by itself; the tickets that it had say [`Error::Ended`].
    pub fn finish(&self) -> Result<()> {
        for worker in &self.workers {
            worker.queue.end();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        for thread in threads {
            if let Err(payload) = thread.join() {
                result = Err(Error::Panicked { op: "Batcher::finish", message: message(payload) });
            }
        }
        result
    }
}

/// Ends as [`Batcher::finish`] does.
impl<X, Y> Drop for Batcher<X, Y> {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "a worker of a batcher has failed");
        }
    }
}

impl<X, Y> fmt::Debug for Batcher<X, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = self.streams.load(Ordering::Relaxed);
        write!(f, "Batcher({} workers, {streams} streams)", self.workers.len())
    }
}
