//! [`Ticket`]: a result that comes later.

use super::guard::{discard, quietly};
use crate::error::{Error, Result};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The result of a request to a [`Batcher`](super::Batcher), which comes later. [`wait`](Self::wait) blocks the thread; in
/// async code the ticket is a future. A dropped ticket does not take its request back.
#[must_use = "the request runs, but nobody learns its result"]
pub struct Ticket<T>(Arc<Place<T>>);

/// The other end of a ticket. Dropped without a result, it says that the batcher has ended.
pub(super) struct Promise<T> {
    op: &'static str,
    place: Option<Arc<Place<T>>>,
}

struct Place<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

struct State<T> {
    result: Option<Result<T>>,
    waker: Option<Waker>,
    /// The result has been given to a future.
    taken: bool,
    /// A thread waits.
    waits: bool,
}

impl<T> State<T> {
    /// The result for a future, if there is one.
    fn ready(&mut self) -> Option<Result<T>> {
        let result = self.result.take();
        let ready = result.or_else(|| self.taken.then(|| Err(taken())));
        self.taken |= ready.is_some();
        ready
    }
}

impl<T> Place<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code of the program runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A promise for `op`, and its ticket.
pub(super) fn pair<T>(op: &'static str) -> (Promise<T>, Ticket<T>) {
    let state = State { result: None, waker: None, taken: false, waits: false };
    let place = Arc::new(Place { state: Mutex::new(state), arrived: Condvar::new() });
    (Promise { op, place: Some(place.clone()) }, Ticket(place))
}

impl<T> Promise<T> {
    pub(super) fn keep(mut self, result: Result<T>) {
        self.put(result);
    }

    fn put(&mut self, result: Result<T>) {
        let Some(place) = self.place.take() else { return };
        let mut state = place.lock();
        state.result = Some(result);
        let (waker, waits) = (state.waker.take(), state.waits);
        drop(state);
        if waits {
            place.arrived.notify_one();
        }
        if let Some(waker) = waker {
            quietly("a waker", || waker.wake());
        }
        // With the ticket gone, this is the end of the result.
        discard(place);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.put(Err(Error::Ended { op: self.op }));
    }
}

impl<T> Ticket<T> {
    /// Whether the result has come, so that [`wait`](Self::wait) returns at once.
    pub fn is_ready(&self) -> bool {
        self.0.lock().result.is_some()
    }

    /// Blocks until the result comes. A step function must not wait for its own batcher.
    ///
    /// # Errors
    /// That of the request; see the method of [`Batcher`](super::Batcher) that gave the ticket.
    pub fn wait(self) -> Result<T> {
        let mut state = self.0.lock();
        state.waits = true;
        loop {
            match state.result.take() {
                Some(result) => return result,
                None if state.taken => return Err(taken()),
                None => state = self.0.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A future that is polled after it has returned its result.
fn taken() -> Error {
    Error::Runtime(rnn_runtime::Error::Consumed { op: "Ticket", what: "its result" })
}

impl<T> Future for Ticket<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let ready = self.0.lock().ready();
        if let Some(result) = ready {
            return Poll::Ready(result);
        }
        // Clone and Drop of a waker are code of the program.
        let waker = context.waker().clone();
        let mut state = self.0.lock();
        match state.ready() {
            Some(result) => {
                drop(state);
                Poll::Ready(result)
            }
            None => {
                let before = state.waker.replace(waker);
                drop(state);
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ready() { "Ticket(ready)" } else { "Ticket(waiting)" })
    }
}
