//! Latency under load: streams whose steps are due at fixed instants, whether or not the ones before are done.

use crate::RATE;
use anyhow::{Context, Result, bail};
use rnn_api::prelude::*;
use rnn_api::{BatcherConfig, Error, StreamId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a run has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) units: usize,
    pub(crate) streams: usize,
    pub(crate) seconds: f64,
    /// Steps that were delivered.
    pub(crate) steps: usize,
    /// Steps that were refused.
    pub(crate) busy: usize,
    /// Mean rows of a batch.
    pub(crate) batch: f64,
    /// Milliseconds from the instant when a step is due until its output is delivered.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

pub(crate) const HEAD: &str = "units streams     steps  refused  rows   p50 ms   p99 ms   max ms";

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { units, streams, steps, busy, batch, p50, p99, most, .. } = self;
        write!(
            f,
            "{units:>5} {streams:>7} {steps:>9} {busy:>8} {batch:>5.1} {p50:>8.2} {p99:>8.2} {most:>8.2}"
        )
    }
}

/// An output with the time at which it was due. No program holds its ticket, so it is dropped when it is delivered.
struct Delivered {
    due: Instant,
    latencies: Arc<Mutex<Vec<f32>>>,
}

impl Drop for Delivered {
    fn drop(&mut self) {
        let latency = self.due.elapsed().as_secs_f32() * 1e3;
        if let Ok(mut latencies) = self.latencies.lock() {
            latencies.push(latency);
        }
    }
}

type Batcher = rnn_api::Batcher<(f32, Instant), Delivered>;

fn batcher([inputs, units]: [usize; 2], latencies: &Arc<Mutex<Vec<f32>>>) -> Result<Batcher> {
    let config = BatcherConfig::new().with_workers(1).with_max_batch(256).with_queue(1 << 16);
    Ok(config.start(|device| {
        let lstm = LstmConfig::new(inputs, units).init(device, 1)?;
        lstm.eval();
        let (initial, device, latencies) = (lstm.zero_state(1)?, device.clone(), latencies.clone());
        let step = move |rows: &[(f32, Instant)], state: &LstmState| {
            let x: Vec<f32> = rows.iter().flat_map(|&(x, _)| std::iter::repeat_n(x, inputs)).collect();
            let out = lstm.forward(&Tensor::from_vec(&device, x, &[1, rows.len(), inputs])?, Some(state))?;
            std::hint::black_box(out.y);
            let delivered = |&(_, due): &(f32, Instant)| Delivered { due, latencies: latencies.clone() };
            Ok((rows.iter().map(delivered).collect(), out.state))
        };
        Ok((initial, step))
    })?)
}

/// Gives every stream its steps at their instants; returns how many were refused.
fn submit(batcher: &Batcher, ids: &[StreamId], seconds: f64) -> Result<usize> {
    let (start, count) = (Instant::now(), (seconds * RATE) as usize * ids.len());
    // The streams take turns, at equal distances of time.
    let due = |n: usize| start + Duration::from_secs_f64(n as f64 / (RATE * ids.len() as f64));
    let (mut n, mut busy) = (0, 0);
    while n < count {
        let now = Instant::now();
        if due(n) > now {
            std::thread::sleep(due(n) - now);
        }
        while n < count && due(n) <= Instant::now() {
            match batcher.submit(ids[n % ids.len()], ((n % 7) as f32 / 7.0, due(n))) {
                Ok(ticket) => drop(ticket),
                Err(Error::Busy { .. }) => busy += 1,
                Err(error) => return Err(error.into()),
            }
            n += 1;
        }
    }
    Ok(busy)
}

pub(crate) fn run(sizes: [usize; 2], streams: usize, seconds: f64) -> Result<Point> {
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let batcher = batcher(sizes, &latencies)?;
    let ids: Result<Vec<StreamId>, _> = (0..streams).map(|_| batcher.open()?.wait()).collect();
    let ids = ids?;
    submit(&batcher, &ids, 1.0).context("warming up")?;
    while batcher.stats().waiting > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let before = batcher.stats();
    latencies.lock().map(|mut warm| warm.clear()).unwrap_or_default();
    let busy = submit(&batcher, &ids, seconds)?;
    batcher.finish()?;
    let stats = batcher.stats();
    let mut all = match latencies.lock() {
        Ok(mut latencies) => std::mem::take(&mut *latencies),
        Err(_) => bail!("the worker has failed"),
    };
    all.sort_by(f32::total_cmp);
    let at = |share: f64| f64::from(all[((all.len() - 1) as f64 * share) as usize]);
    let rows = (stats.steps - before.steps) as f64 / (stats.batches - before.batches) as f64;
    let [p50, p99, most] = [at(0.5), at(0.99), at(1.0)];
    Ok(Point { units: sizes[1], streams, seconds, steps: all.len(), busy, batch: rows, p50, p99, most })
}
