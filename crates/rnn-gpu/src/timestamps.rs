//! Durations of compute passes by the adapter's clock; see [`super::GpuOptions::timestamps`].
//!
//! A pass writes its begin time and its end time into a query set. Every submit copies its times to the host,
//! and a callback adds them up when they arrive.

use super::counters::Counters;
use rnn_base::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most passes of a submit.
pub(super) const MOST_PASSES: usize = 512;

/// Two for each pass of a submit.
const QUERIES: u32 = 2 * MOST_PASSES as u32;
const _: () = assert!(QUERIES <= wgpu::QUERY_SET_MAX_QUERIES);
const BYTES: u64 = QUERIES as u64 * wgpu::QUERY_SIZE as u64;

pub(super) struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Queries of the open command list.
    used: u32,
    /// Nanoseconds per tick.
    period: f64,
    arrived: Arc<Mutex<Arrived>>,
}

/// Times that the callbacks have added up.
#[derive(Default)]
struct Arrived {
    ticks: u64,
    failure: Option<String>,
    /// Host buffers that can be used again.
    free: Vec<wgpu::Buffer>,
}

/// Times on their way to the host.
pub(super) struct Pending {
    host: wgpu::Buffer,
    bytes: u64,
}

impl Timestamps {
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue, counters: &Counters) -> Self {
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("rnn times"),
            ty: wgpu::QueryType::Timestamp,
            count: QUERIES,
        });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        Timestamps {
            queries,
            resolved: buffer(device, counters, usage),
            used: 0,
            period: f64::from(queue.get_timestamp_period()),
            arrived: Arc::default(),
        }
    }

    /// Where the next pass of the open command list writes its times.
    pub(super) fn next_pass(&mut self) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = self.used;
        self.used += 2;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    /// Ends a command list with a copy of its times; `None` when it has no pass.
    pub(super) fn copy_out(
        &mut self,
        device: &wgpu::Device,
        counters: &Counters,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Option<Pending> {
        let used = std::mem::take(&mut self.used);
        if used == 0 {
            return None;
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let free = lock(&self.arrived).free.pop();
        let host = free.unwrap_or_else(|| buffer(device, counters, usage));
        let bytes = u64::from(used * wgpu::QUERY_SIZE);
        encoder.resolve_query_set(&self.queries, 0..used, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &host, 0, bytes);
        Some(Pending { host, bytes })
    }

    /// Adds the times up when they arrive; call after the submit.
    pub(super) fn collect(&self, pending: Pending) {
        let arrived = self.arrived.clone();
        let Pending { host, bytes } = pending;
        let mapped = host.clone();
        mapped.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            let sum = result.map_err(|error| error.to_string()).and_then(|()| sum(&host, bytes));
            let mut arrived = lock(&arrived);
            match sum {
                Ok(ticks) => {
                    arrived.ticks += ticks;
                    arrived.free.push(host);
                }
                Err(message) => arrived.failure = Some(message),
            }
        });
    }

    /// Seconds that arrived since the last call.
    pub(super) fn take_seconds(&self) -> Result<f64> {
        let mut arrived = lock(&self.arrived);
        let ticks = std::mem::take(&mut arrived.ticks);
        match arrived.failure.take() {
            Some(message) => Err(Error::Gpu { kind: "timestamps", message }),
            None => Ok(ticks as f64 * self.period * 1e-9),
        }
    }
}

fn buffer(device: &wgpu::Device, counters: &Counters, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    counters.count_buffer(BYTES);
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("rnn times"),
        size: BYTES,
        usage,
        mapped_at_creation: false,
    })
}

/// The sum over passes of the ticks between begin and end; unmaps the buffer.
fn sum(host: &wgpu::Buffer, bytes: u64) -> std::result::Result<u64, String> {
    let view = host.get_mapped_range(..bytes).map_err(|error| error.to_string())?;
    let ticks: &[u64] = bytemuck::cast_slice(&view);
    // The clock of some drivers may step back by a tick: that counts as zero, not as 2^64 ticks.
    let sum = ticks.chunks_exact(2).map(|pass| pass[1].saturating_sub(pass[0])).sum();
    drop(view);
    host.unmap();
    Ok(sum)
}

fn lock(arrived: &Mutex<Arrived>) -> MutexGuard<'_, Arrived> {
    // A sum and a list of handles: a panic in another thread leaves them consistent.
    arrived.lock().unwrap_or_else(PoisonError::into_inner)
}
