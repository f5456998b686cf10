//! Prepares data on another thread while the device computes.

use super::error::{Place, Problem};
use crate::{Error, Result};
use std::any::Any;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Runs an iterator on its own thread, up to `capacity` items ahead.
///
/// Items and errors come in the order of the iterator. The thread ends with the iterator, or when this value is
/// dropped; dropping waits for the item that is being prepared. To resume a run, save the cursor that came with the
/// last item used, not the iterator's own, which is ahead.
#[derive(Debug)]
pub struct Prefetch<T> {
    /// `None` after the last item.
    items: Option<Receiver<Result<T>>>,
    thread: Option<JoinHandle<()>>,
}

/// The channel to the thread has memory for all items from the start.
const MOST_AHEAD: usize = 1 << 16;

impl<T: Send + 'static> Prefetch<T> {
    /// Starts the thread. A capacity of 0 prepares one item and waits until it is requested.
    ///
    /// # Errors
    /// The capacity exceeds 65,536, or the system cannot start a thread.
    pub fn new<I>(items: I, capacity: usize) -> Result<Self>
    where
        I: IntoIterator<Item = Result<T>>,
        I::IntoIter: Send + 'static,
    {
        if capacity > MOST_AHEAD {
            return Err(Error::value("Prefetch::new", "capacity", format!("at most {MOST_AHEAD}"), capacity));
        }
        let (sender, receiver) = sync_channel(capacity);
        let items = items.into_iter();
        let work = move || {
            for item in items {
                // The receiver was dropped, so the item is not needed.
                if sender.send(item).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("rnn-prefetch".into()).spawn(work);
        let thread = thread.map_err(|error| {
            let what = "a thread that prepares data".to_string();
            Error::Unsupported { what, why: error.to_string() }
        })?;
        Ok(Prefetch { items: Some(receiver), thread: Some(thread) })
    }
}

impl<T> Prefetch<T> {
    /// Waits for the thread; returns its message if it panicked.
    fn join(&mut self) -> Option<String> {
        self.items = None;
        let panic = self.thread.take()?.join().err()?;
        Some(message(panic.as_ref()))
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.items.as_ref()?.recv() {
            Ok(item) => Some(item),
            // The channel is closed: the iterator has ended or panicked.
            Err(_) => self.join().map(|message| Err(Problem::Panicked { message }.at(Place::default()))),
        }
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        if let Some(message) = self.join() {
            tracing::warn!("a thread that prepared data panicked: {message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn items_come_in_order_with_errors_among_them() {
        let items = (0..50).map(|k| match k {
            20 => Err(Problem::Missing.at(Place::sequence(k))),
            k => Ok(k),
        });
        let got: Vec<Result<usize>> = Prefetch::new(items, 3).unwrap().collect();
        assert_eq!(got.len(), 50);
        for (k, item) in got.into_iter().enumerate() {
            match item {
                Ok(value) => assert_eq!(value, k),
                Err(error) => assert!(k == 20 && error.to_string().starts_with("sequence 20")),
            }
        }
    }

    #[test]
    fn dropping_ends_the_thread_which_was_never_far_ahead() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let endless = std::iter::repeat_with(move || Ok(count.fetch_add(1, Ordering::SeqCst)));
        let mut prefetch = Prefetch::new(endless, 2).unwrap();
        assert_eq!(prefetch.next().unwrap().unwrap(), 0);
        drop(prefetch);
        // One taken, two waiting, one being prepared, and one more before the thread notices the end.
        assert!(made.load(Ordering::SeqCst) <= 5);
        // The thread has dropped its end of the channel, so it has ended.
        assert_eq!(Arc::strong_count(&made), 1);
    }

    #[test]
    fn a_panic_is_an_error() {
        let items = (0..5).map(|k| if k < 2 { Ok(k) } else { panic!("item {k} is bad") });
        let mut prefetch = Prefetch::new(items, 1).unwrap();
        assert_eq!(prefetch.by_ref().take(2).map(Result::unwrap).collect::<Vec<_>>(), [0, 1]);
        assert!(prefetch.next().unwrap().unwrap_err().to_string().ends_with("panicked: item 2 is bad"));
        assert!(prefetch.next().is_none() && prefetch.next().is_none());
    }

    #[test]
    fn a_capacity_beyond_the_memory_is_an_error() {
        for capacity in [MOST_AHEAD + 1, 1 << 40, usize::MAX] {
            let error = Prefetch::new(vec![Ok(1)], capacity).unwrap_err().to_string();
            assert!(error.contains("capacity must be at most 65536"), "{error}");
        }
        assert_eq!(Prefetch::new(vec![Ok(1)], MOST_AHEAD).unwrap().count(), 1);
    }

    #[test]
    fn an_ended_iterator_stays_ended() {
        let mut prefetch = Prefetch::new(vec![Ok(1)], 0).unwrap();
        assert_eq!(prefetch.next().unwrap().unwrap(), 1);
        assert!(prefetch.next().is_none() && prefetch.next().is_none());
    }
}
