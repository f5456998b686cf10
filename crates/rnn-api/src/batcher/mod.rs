//! [`Batcher`]: threads that make the steps of many streams, as many in a batch as are ready.

mod config;
mod guard;
mod ids;
mod places;
mod queue;
mod ticket;
mod worker;

pub use config::BatcherConfig;
pub use ticket::Ticket;

use crate::error::{Error, Result};
use crate::slots::SlotId;
use guard::{guarded, message};
use places::Places;
use queue::{Queue, Step, Streams};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
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
    /// Streams that are open, and those that are being opened, of the workers that have not ended.
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
    threads: Mutex<Threads>,
    places: Arc<Places>,
}

struct Handle<X, Y> {
    queue: Arc<Queue<X, Y>>,
    counts: Arc<Counts>,
    thread: ThreadId,
}

/// The threads of the workers.
#[derive(Default)]
struct Threads {
    running: Vec<JoinHandle<()>>,
    /// The text of the first panic that has ended a worker.
    panicked: Option<String>,
}

impl<X: Send + 'static, Y: Send + 'static> Batcher<X, Y> {
    /// Starts a stream in the initial state, at the worker that has the fewest.
    ///
    /// # Errors
    /// [`Error::Busy`] with as many streams as may be open, or as many requests beside steps as may wait for the worker;
    /// [`Error::Ended`]. In the ticket: no memory.
    pub fn open(&self) -> Result<Ticket<StreamId>> {
        self.opening("Batcher::open", None, |streams| streams.open())
    }

    /// Starts a stream in the state that [`save`](Self::save) returned, also by another batcher.
    ///
    /// # Errors
    /// As [`open`](Self::open). In the ticket: as [`Slots::load`](crate::Slots::load).
    pub fn load(&self, bytes: Vec<u8>) -> Result<Ticket<StreamId>> {
        self.opening("Batcher::load", None, move |streams| streams.load(&bytes))
    }

    /// Starts a stream in the state of another one, after the steps that this one has been given so far.
    ///
    /// # Errors
    /// As [`open`](Self::open). In the ticket: a closed or foreign id.
    pub fn fork(&self, id: StreamId) -> Result<Ticket<StreamId>> {
        self.opening("Batcher::fork", Some(id), move |streams| streams.fork(id.slot))
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
    /// [`Error::Busy`] with as many requests beside steps waiting for the worker as may; [`Error::Ended`]. In the ticket: a
    /// closed or foreign id.
    pub fn reset(&self, id: StreamId) -> Result<Ticket<()>> {
        self.call("Batcher::reset", id.worker, Some(id.slot), move |streams| streams.reset(id.slot))
    }

    /// Ends a stream, after the steps that it has been given so far.
    ///
    /// # Errors
    /// As [`reset`](Self::reset); the stream is open then.
    pub fn close(&self, id: StreamId) -> Result<Ticket<()>> {
        let places = self.places.clone();
        self.call("Batcher::close", id.worker, Some(id.slot), move |streams| {
            streams.close(id.slot)?;
            places.free(id.worker);
            Ok(())
        })
    }

    /// The state of a stream as bytes, after the steps that it has been given so far.
    ///
    /// # Errors
    /// As [`reset`](Self::reset). In the ticket: as [`Slots::save`](crate::Slots::save).
    pub fn save(&self, id: StreamId) -> Result<Ticket<Vec<u8>>> {
        self.call("Batcher::save", id.worker, Some(id.slot), move |streams| streams.save(id.slot))
    }

    /// Whether all values of a stream's state are finite, after the steps that it has been given so far. A NaN that enters a
    /// state stays there until a [`reset`](Self::reset).
    ///
    /// # Errors
    /// As [`reset`](Self::reset).
    pub fn is_finite(&self, id: StreamId) -> Result<Ticket<bool>> {
        self.call("Batcher::is_finite", id.worker, Some(id.slot), move |streams| streams.is_finite(id.slot))
    }

    /// What was done so far, and what waits.
    pub fn stats(&self) -> BatcherStats {
        let mut stats = BatcherStats { streams: self.places.count(), ..BatcherStats::default() };
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

    /// Has a worker start a stream by `open`: that of the stream `from`, or the idlest.
    fn opening(
        &self,
        op: &'static str,
        from: Option<StreamId>,
        open: impl FnOnce(&mut dyn Streams) -> Result<SlotId> + Send + 'static,
    ) -> Result<Ticket<StreamId>> {
        if let Some(from) = from {
            self.worker(op, from.worker)?;
        }
        let place = self.places.take(op, from.map(|from| from.worker))?;
        let worker = place.worker();
        self.call(op, worker, from.map(|from| from.slot), move |streams| {
            let slot = open(streams)?;
            place.keep();
            Ok(StreamId { worker, slot })
        })
    }
}

impl<X, Y> Batcher<X, Y> {
    /// Accepts nothing more, and returns when all accepted requests are done and the workers have ended. States of streams
    /// are lost, unless they were saved before. Every call has the same result, also calls at the same time.
    ///
    /// # Errors
    /// [`Error::Panicked`] if a worker did not end by itself; the tickets that it had say [`Error::Ended`].
    /// [`Error::Unsupported`] on a worker's own thread, as in a step function: it would wait for itself. The batcher accepts
    /// nothing more then, too.
    pub fn finish(&self) -> Result<()> {
        const OP: &str = "Batcher::finish";
        for worker in &self.workers {
            worker.queue.end();
        }
        let here = std::thread::current().id();
        if self.workers.iter().any(|worker| worker.thread == here) {
            let why = "it would wait for itself".into();
            return Err(Error::Unsupported { what: format!("{OP} on a thread of the batcher"), why });
        }
        // Whoever comes second waits here.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let Threads { running, panicked } = &mut *threads;
        for thread in running.drain(..) {
            if let Err(payload) = thread.join() {
                panicked.get_or_insert_with(|| message(payload));
            }
        }
        match panicked {
            None => Ok(()),
            Some(message) => Err(Error::Panicked { op: OP, message: message.clone() }),
        }
    }
}

/// Ends as [`Batcher::finish`] does. On a worker's own thread it does not wait.
impl<X, Y> Drop for Batcher<X, Y> {
    fn drop(&mut self) {
        let finished = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).running.is_empty();
        if let Err(error) = self.finish()
            && !finished
        {
            tracing::warn!(%error, "a worker of a batcher has failed");
        }
    }
}

impl<X, Y> fmt::Debug for Batcher<X, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batcher({} workers, {} streams)", self.workers.len(), self.places.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// No code of a program can end a worker; here its queue ends alone.
    #[test]
    fn streams_open_at_the_workers_that_have_not_ended() {
        let start = |_: &rnn_runtime::Device| Ok(((), |x: &[u8], (): &()| Ok((x.to_vec(), ()))));
        let batcher = BatcherConfig::new().with_workers(3).with_max_streams(4).start(start).unwrap();
        let first = batcher.open().unwrap().wait().unwrap();
        let lost = &batcher.workers[first.worker];
        lost.queue.end();
        // Its thread has ended when it has given its places back.
        while batcher.places.count() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(matches!(batcher.submit(first, 1), Err(Error::Ended { .. })));
        assert!(matches!(batcher.fork(first), Err(Error::Ended { .. })));
        let ids: Vec<StreamId> = (0..4).map(|_| batcher.open().unwrap().wait().unwrap()).collect();
        assert!(ids.iter().all(|id| id.worker != first.worker), "{ids:?}");
        assert!(matches!(batcher.open(), Err(Error::Busy { waiting: 4, limit: 4, .. })));
        assert_eq!(batcher.submit(ids[3], 7).unwrap().wait().unwrap(), 7);
        batcher.finish().unwrap();
        assert!(matches!(batcher.open(), Err(Error::Ended { .. })));
    }
}
