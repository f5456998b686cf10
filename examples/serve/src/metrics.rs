//! Counts in the text format of Prometheus.

use axum::http::StatusCode;
use rnn_api::BatcherStats;
use std::collections::BTreeMap;
use std::fmt::{Result, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of latencies, in seconds.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];

#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<u16, u64>>,
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) generating: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) stalled: AtomicU64,
    pub(crate) disconnected: AtomicU64,
    pub(crate) saved: AtomicU64,
    pub(crate) save_errors: AtomicU64,
    pub(crate) restored: AtomicU64,
    pub(crate) expired: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    pub(crate) fn request(&self, status: StatusCode) {
        if status == StatusCode::TOO_MANY_REQUESTS {
            count(&self.refused);
        }
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(status.as_u16()).or_default() += 1;
    }

    /// A symbol was drawn; it took so long from the request for the step.
    pub(crate) fn symbol(&self, latency: Duration) {
        let seconds = latency.as_secs_f64();
        let bucket = BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(BOUNDS.len());
        count(&self.buckets[bucket]);
        self.micros.fetch_add(latency.as_micros() as u64, Ordering::Relaxed);
    }

    /// # Errors
    /// Never, as text grows in memory.
    pub(crate) fn text(&self, stats: BatcherStats) -> std::result::Result<String, std::fmt::Error> {
        let mut out = String::new();
        let simple: [(&str, &str, &str, u64); 13] = [
            ("connections", "gauge", "Open connections, WebSockets included.", get(&self.connections)),
            ("sessions", "gauge", "Open sessions.", stats.streams as u64),
            ("generating", "gauge", "Sessions that generate.", get(&self.generating)),
            ("steps_waiting", "gauge", "Steps that wait for a batch.", stats.waiting as u64),
            ("steps_total", "counter", "Steps of the model, prompts included.", stats.steps),
            ("batches_total", "counter", "Batches that the steps were made in.", stats.batches),
            ("refused_total", "counter", "Requests refused as too many (429).", get(&self.refused)),
            (
                "stalled_total",
                "counter",
                "Generations ended because the client took nothing.",
                get(&self.stalled),
            ),
            ("disconnected_total", "counter", "Generations whose client went away.", get(&self.disconnected)),
            ("saved_total", "counter", "Sessions written to files.", get(&self.saved)),
            ("save_errors_total", "counter", "Sessions that could not be written.", get(&self.save_errors)),
            ("restored_total", "counter", "Sessions read at the start.", get(&self.restored)),
            ("expired_total", "counter", "Sessions closed because nobody used them.", get(&self.expired)),
        ];
        for (name, kind, help, value) in simple {
            header(&mut out, name, kind, help)?;
            writeln!(out, "serve_{name} {value}")?;
        }
        header(&mut out, "requests_total", "counter", "HTTP requests by status.")?;
        for (status, number) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            writeln!(out, "serve_requests_total{{status=\"{status}\"}} {number}")?;
        }
        self.latencies(&mut out)?;
        Ok(out)
    }

    fn latencies(&self, out: &mut String) -> Result {
        let name = "symbol_seconds";
        header(out, name, "histogram", "Time from the request for a symbol until it was drawn.")?;
        let mut total = 0;
        for (n, bucket) in self.buckets.iter().enumerate() {
            total += get(bucket);
            let bound = BOUNDS.get(n).map_or("+Inf".into(), f64::to_string);
            writeln!(out, "serve_{name}_bucket{{le=\"{bound}\"}} {total}")?;
        }
        writeln!(out, "serve_{name}_sum {}", get(&self.micros) as f64 / 1e6)?;
        writeln!(out, "serve_{name}_count {total}")
    }
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) -> Result {
    writeln!(out, "# HELP serve_{name} {help}\n# TYPE serve_{name} {kind}")
}
