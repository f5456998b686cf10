//! [`BatcherConfig`]: how many workers, of which devices, and what may wait.

use super::places::Places;
use super::queue::{Limits, Queue};
use super::worker::{Counts, Worker};
use super::{Batcher, Handle, Threads};
use crate::carried::Carried;
use crate::error::{Error, Result};
use crate::slots::Slots;
use rnn_runtime::{CpuOptions, Device};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

const CONFIG: &str = "BatcherConfig";
/// Most workers that are made by their number; as many as a CPU device has threads.
const MOST_WORKERS: usize = 1024;

/// The settings of a [`Batcher`].
#[derive(Clone, Debug)]
pub struct BatcherConfig {
    devices: Option<Vec<Device>>,
    workers: Option<usize>,
    max_batch: usize,
    max_streams: usize,
    queue: usize,
    queue_of_stream: usize,
    calls: usize,
    model: Option<String>,
}

impl Default for BatcherConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl BatcherConfig {
    /// A worker for every core, each with a CPU device of one thread; batches of up to 64 steps; any number of streams; up
    /// to 1024 waiting steps a worker, and 16 a stream; up to 1024 other waiting requests a worker.
    pub fn new() -> Self {
        BatcherConfig {
            devices: None,
            workers: None,
            max_batch: 64,
            max_streams: usize::MAX,
            queue: 1024,
            queue_of_stream: 16,
            calls: 1024,
            model: None,
        }
    }

    /// So many workers, 1 to 1024, each with a CPU device of one thread.
    #[must_use]
    pub fn with_workers(self, workers: usize) -> Self {
        BatcherConfig { workers: Some(workers), devices: None, ..self }
    }

    /// A worker for each of these devices, for example one for a GPU.
    #[must_use]
    pub fn with_devices(self, devices: Vec<Device>) -> Self {
        BatcherConfig { devices: Some(devices), ..self }
    }

    /// Most rows of a batch. More rows share the reading of the weights; fewer end sooner.
    #[must_use]
    pub fn with_max_batch(self, max_batch: usize) -> Self {
        BatcherConfig { max_batch, ..self }
    }

    /// Most streams that are open at a time, over all workers.
    #[must_use]
    pub fn with_max_streams(self, max_streams: usize) -> Self {
        BatcherConfig { max_streams, ..self }
    }

    /// Most steps of a worker's streams that wait for a batch.
    #[must_use]
    pub fn with_queue(self, queue: usize) -> Self {
        BatcherConfig { queue, ..self }
    }

    /// Most steps of one stream that wait for a batch.
    #[must_use]
    pub fn with_queue_of_stream(self, queue_of_stream: usize) -> Self {
        BatcherConfig { queue_of_stream, ..self }
    }

    /// Most requests beside steps (open, fork, load, reset, save, close and the like) that wait for a worker. They are few
    /// where callers wait for their tickets.
    #[must_use]
    pub fn with_calls(self, calls: usize) -> Self {
        BatcherConfig { calls, ..self }
    }

    /// Names the model in saved states; see [`Slots::with_model`].
    #[must_use]
    pub fn with_model(self, model: impl Into<String>) -> Self {
        BatcherConfig { model: Some(model.into()), ..self }
    }

    /// Starts the workers. `model` is called once for each, with the worker's device, and gives the state in which a
    /// stream starts, of one row, and the function that makes a step of a batch: from the inputs and states of its
    /// rows, in one order, to their outputs and new states.
    ///
    /// The step function runs on the worker's thread with the device's threads, so workers can share the weights of one
    /// model, and without recording a graph. It must not depend on who shares a batch: where it fails, by an error or a
    /// panic, it is called again with each row alone, so that only those rows fail that fail alone.
    ///
    /// # Errors
    /// A limit of 0, no worker or more than 1024 without devices, an error of `model`, a state that is not of one row, or no
    /// thread.
    pub fn start<S, X, Y, F>(&self, mut model: impl FnMut(&Device) -> Result<(S, F)>) -> Result<Batcher<X, Y>>
    where
        S: Carried + 'static,
        X: Send + 'static,
        Y: Send + 'static,
        F: FnMut(&[X], &S) -> Result<(Vec<Y>, S)> + Send + 'static,
    {
        let mut batcher = Batcher {
            workers: Vec::new(),
            threads: Mutex::new(Threads::default()),
            places: Arc::new(Places::new(self.max_streams)),
        };
        for (number, device) in self.devices()?.into_iter().enumerate() {
            let (initial, step) = model(&device)?;
            let mut slots = Slots::new(&device, initial);
            if let Some(model) = &self.model {
                slots = slots.with_model(model);
            }
            // A state that cannot be divided into rows is found now.
            let first = slots.open()?;
            slots.close(first)?;
            let limits = Limits { steps: self.queue, of_stream: self.queue_of_stream, calls: self.calls };
            let queue = Arc::new(Queue::new(limits));
            let counts = Arc::new(Counts::default());
            let worker = Worker {
                slots,
                step,
                queue: queue.clone(),
                counts: counts.clone(),
                places: (batcher.places.clone(), batcher.places.add_worker()),
                max_batch: self.max_batch,
            };
            let thread = started(number, move || device.install(|| worker.run()))?;
            batcher.workers.push(Handle { queue, counts, thread: thread.thread().id() });
            batcher.threads.get_mut().unwrap_or_else(PoisonError::into_inner).running.push(thread);
        }
        Ok(batcher)
    }

    /// The device of each worker.
    fn devices(&self) -> Result<Vec<Device>> {
        let outside = |field, expected: String, got: usize| Error::Config {
            config: CONFIG,
            field,
            expected,
            got: got.to_string(),
        };
        let refused = |field, got| outside(field, "at least 1".into(), got);
        let limits = [
            ("max_batch", self.max_batch),
            ("max_streams", self.max_streams),
            ("queue", self.queue),
            ("queue_of_stream", self.queue_of_stream),
            ("calls", self.calls),
        ];
        if let Some((field, got)) = limits.into_iter().find(|&(_, limit)| limit == 0) {
            return Err(refused(field, got));
        }
        if let Some(devices) = &self.devices {
            return if devices.is_empty() { Err(refused("devices", 0)) } else { Ok(devices.clone()) };
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        match self.workers.unwrap_or_else(cores) {
            0 => Err(refused("workers", 0)),
            workers if workers > MOST_WORKERS => {
                Err(outside("workers", format!("at most {MOST_WORKERS}"), workers))
            }
            workers => {
                let one = CpuOptions::new().with_threads(1);
                (0..workers).map(|_| Ok(Device::cpu_with(&one)?)).collect()
            }
        }
    }
}

/// The thread of worker `number`.
fn started(number: usize, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = Builder::new().name(format!("rnn-batcher-{number}")).spawn(run);
    thread.map_err(|error| Error::Unsupported {
        what: format!("worker {number} of a batcher"),
        why: format!("its thread does not start: {error}"),
    })
}
