//! [`Places`]: how many streams each worker has.

use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The open streams of each worker, and those that are being opened.
pub(super) struct Places {
    /// None where the worker has ended.
    of_worker: Mutex<Vec<Option<usize>>>,
    /// Most streams of all workers.
    limit: usize,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Places { of_worker: Mutex::default(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<usize>>> {
        self.of_worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more worker, without streams. Its number counts up from 0.
    pub(super) fn add_worker(&self) -> usize {
        let mut of_worker = self.lock();
        of_worker.push(Some(0));
        of_worker.len() - 1
    }

    /// The streams of a worker that has ended are gone.
    pub(super) fn end(&self, worker: usize) {
        if let Some(streams) = self.lock().get_mut(worker) {
            *streams = None;
        }
    }

    /// Streams of all workers.
    pub(super) fn count(&self) -> usize {
        self.lock().iter().flatten().sum()
    }

    /// A place at a worker, or at the one with the fewest streams of those that have not ended.
    ///
    /// # Errors
    /// [`Error::Ended`] where there is no such worker; [`Error::Busy`] with as many streams as may be open.
    pub(super) fn take(self: &Arc<Self>, op: &'static str, worker: Option<usize>) -> Result<Place> {
        let mut of_worker = self.lock();
        let lives = |&worker: &usize| of_worker.get(worker).copied().flatten().is_some();
        let idlest = || (0..of_worker.len()).filter(lives).min_by_key(|&worker| of_worker[worker]);
        let worker = worker.map_or_else(idlest, |worker| Some(worker).filter(lives));
        let worker = worker.ok_or(Error::Ended { op })?;
        let waiting: usize = of_worker.iter().flatten().sum();
        if waiting >= self.limit {
            return Err(Error::Busy { op, what: "streams", waiting, limit: self.limit });
        }
        of_worker[worker] = of_worker[worker].map(|streams| streams + 1);
        Ok(Place { places: self.clone(), worker, kept: false })
    }

    /// A place that a stream has kept is free again.
    pub(super) fn free(&self, worker: usize) {
        if let Some(Some(streams)) = self.lock().get_mut(worker) {
            *streams = streams.saturating_sub(1);
        }
    }
}

/// A place for a stream, which is free again when this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    worker: usize,
    kept: bool,
}

impl Place {
    /// The worker whose place it is.
    pub(super) fn worker(&self) -> usize {
        self.worker
    }

    /// The stream is open and keeps its place.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.places.free(self.worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_have_ended_have_no_places() {
        let places = Arc::new(Places::new(3));
        for number in 0..3 {
            assert_eq!(places.add_worker(), number);
        }
        let take = |worker| places.take("op", worker).map(|place| (place.worker(), place.keep()).0);
        assert_eq!(take(None).unwrap(), 0);
        places.end(1);
        assert_eq!(take(None).unwrap(), 2, "worker 1 has fewer streams, but it has ended");
        assert!(matches!(take(Some(1)), Err(Error::Ended { op: "op" })));
        assert!(matches!(take(Some(9)), Err(Error::Ended { .. })));
        drop(places.take("op", Some(0)).unwrap());
        assert_eq!(take(Some(0)).unwrap(), 0);
        assert!(matches!(take(None), Err(Error::Busy { waiting: 3, limit: 3, .. })));
        // Streams that are gone take no place of others.
        places.end(0);
        places.free(0);
        assert_eq!((places.count(), take(None).unwrap()), (1, 2));
        places.end(2);
        assert!(matches!(take(None), Err(Error::Ended { .. })));
    }
}
