//! The queue of a worker: requests in the order in which they came.

use super::guard::discard;
use super::ids::IdMap;
use super::ticket::Promise;
use crate::error::{Error, Result};
use crate::slots::SlotId;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a worker does outside of batches, with its streams.
pub(super) type Call = Box<dyn FnOnce(&mut dyn Streams) + Send>;

/// The streams of a worker, whatever their state.
pub(super) trait Streams {
    fn open(&mut self) -> Result<SlotId>;
    fn load(&mut self, bytes: &[u8]) -> Result<SlotId>;
    fn fork(&mut self, id: SlotId) -> Result<SlotId>;
    fn reset(&mut self, id: SlotId) -> Result<()>;
    fn close(&mut self, id: SlotId) -> Result<()>;
    fn save(&self, id: SlotId) -> Result<Vec<u8>>;
    fn is_finite(&self, id: SlotId) -> Result<bool>;
}

/// How many requests may wait.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Steps of a worker.
    pub(super) steps: usize,
    /// Steps of one stream.
    pub(super) of_stream: usize,
    /// Calls of a worker.
    pub(super) calls: usize,
}

/// A step that a stream shall make.
pub(super) struct Step<X, Y> {
    pub(super) id: SlotId,
    pub(super) x: X,
    pub(super) promise: Promise<Y>,
}

pub(super) enum Request<X, Y> {
    Step(Step<X, Y>),
    /// What concerns one stream comes after the earlier requests of that stream.
    Call(Option<SlotId>, Call),
}

impl<X, Y> Request<X, Y> {
    pub(super) fn id(&self) -> Option<SlotId> {
        match self {
            Request::Step(step) => Some(step.id),
            Request::Call(id, _) => *id,
        }
    }
}

/// Requests on their way from submitters to one worker.
pub(super) struct Queue<X, Y> {
    inner: Mutex<Inner<X, Y>>,
    came: Condvar,
    limits: Limits,
}

struct Inner<X, Y> {
    requests: VecDeque<Request<X, Y>>,
    /// Steps that no batch has taken yet, also those that the worker has taken out of `requests`.
    waiting: usize,
    waiting_of: IdMap<usize>,
    /// Calls that the worker has not begun, as `waiting`.
    calls: usize,
    ended: bool,
}

impl<X, Y> Queue<X, Y> {
    pub(super) fn new(limits: Limits) -> Self {
        let requests = VecDeque::new();
        let inner = Inner { requests, waiting: 0, waiting_of: IdMap::default(), calls: 0, ended: false };
        Queue { inner: Mutex::new(inner), came: Condvar::new(), limits }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<X, Y>> {
        // No code of the program runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a step.
    ///
    /// # Errors
    /// [`Error::Busy`] where as many wait as may, [`Error::Ended`].
    pub(super) fn step(&self, op: &'static str, step: Step<X, Y>) -> Result<()> {
        let mut inner = self.lock();
        if inner.ended {
            return Err(Error::Ended { op });
        }
        let busy = |what, waiting, limit| Err(Error::Busy { op, what, waiting, limit });
        let Limits { steps, of_stream: most, .. } = self.limits;
        if inner.waiting >= steps {
            return busy("steps", inner.waiting, steps);
        }
        let of_stream = inner.waiting_of.entry(step.id).or_default();
        if *of_stream >= most {
            return busy("steps of this stream", *of_stream, most);
        }
        *of_stream += 1;
        inner.waiting += 1;
        self.put(inner, Request::Step(step));
        Ok(())
    }

    /// Accepts a call.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub(super) fn call(&self, op: &'static str, id: Option<SlotId>, call: Call) -> Result<()> {
        let mut inner = self.lock();
        if inner.ended {
            return Err(Error::Ended { op });
        }
        let (waiting, limit) = (inner.calls, self.limits.calls);
        if waiting >= limit {
            return Err(Error::Busy { op, what: "requests beside steps", waiting, limit });
        }
        inner.calls += 1;
        self.put(inner, Request::Call(id, call));
        Ok(())
    }

    fn put(&self, mut inner: MutexGuard<'_, Inner<X, Y>>, request: Request<X, Y>) {
        inner.requests.push_back(request);
        let first = inner.requests.len() == 1;
        drop(inner);
        // The worker sleeps only where it has found the queue empty.
        if first {
            self.came.notify_one();
        }
    }

    /// Steps that wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Accepts nothing more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.came.notify_one();
    }

    /// Adds the requests that have come to `pending`, and waits for one if both are empty. False after the end.
    pub(super) fn take(&self, pending: &mut VecDeque<Request<X, Y>>) -> bool {
        let mut inner = self.lock();
        while inner.requests.is_empty() && pending.is_empty() {
            if inner.ended {
                return false;
            }
            inner = self.came.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if pending.is_empty() {
            std::mem::swap(pending, &mut inner.requests);
        } else {
            pending.append(&mut inner.requests);
        }
        true
    }

    /// These steps wait no longer.
    pub(super) fn started(&self, ids: &[SlotId]) {
        let mut inner = self.lock();
        inner.waiting -= ids.len();
        for id in ids {
            if let Some(waiting) = inner.waiting_of.get_mut(id) {
                *waiting -= 1;
                if *waiting == 0 {
                    inner.waiting_of.remove(id);
                }
            }
        }
    }

    /// A call waits no longer.
    pub(super) fn called(&self) {
        self.lock().calls -= 1;
    }

    /// Ends the queue, and the tickets of all that it holds say so.
    pub(super) fn abandon(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        let requests = std::mem::take(&mut inner.requests);
        (inner.waiting, inner.calls) = (0, 0);
        inner.waiting_of.clear();
        drop(inner);
        for request in requests {
            match request {
                Request::Step(Step { x, promise, .. }) => {
                    discard(x);
                    drop(promise);
                }
                Request::Call(_, call) => drop(call),
            }
        }
    }
}
