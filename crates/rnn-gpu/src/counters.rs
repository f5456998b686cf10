//! Counts of what a device has made and done, for [`DeviceStats`](rnn_base::stats::DeviceStats).

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts of created objects and of calls since the device was opened.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) buffers: AtomicUsize,
    pub(super) bytes: AtomicUsize,
    pub(super) pipelines: AtomicUsize,
    pub(super) layouts: AtomicUsize,
    pub(super) bind_groups: AtomicUsize,
    pub(super) dispatches: AtomicUsize,
    pub(super) submits: AtomicUsize,
    pub(super) waits: AtomicUsize,
}

impl Counters {
    pub(super) fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_buffer(&self, bytes: u64) {
        Self::count(&self.buffers);
        self.bytes.fetch_add(bytes as usize, Ordering::Relaxed);
    }
}
