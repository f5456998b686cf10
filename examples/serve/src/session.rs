//! One session and its generations.

use crate::engine::{Draw, Engine, Input};
use crate::metrics::{Metrics, count};
use crate::options::Options;
use crate::refused::Refused;
use rnn_api::StreamId;
use rnn_api::prelude::*;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant as Deadline, timeout};

/// WebSockets of a session at a time. A page that is loaded anew opens one before its old one is gone.
pub(crate) const SOCKETS: usize = 4;

/// A stream of text. The state of the network is in the batcher.
pub(crate) struct Session {
    pub(crate) name: String,
    pub(crate) stream: StreamId,
    pub(crate) seed: u64,
    /// Locked for each step and each save, so that a save has the progress that belongs to the state.
    pub(crate) progress: tokio::sync::Mutex<Progress>,
    /// One generation at a time.
    pub(crate) turn: Arc<Semaphore>,
    /// Places for WebSockets.
    pub(crate) sockets: Arc<Semaphore>,
    used: Mutex<Instant>,
}

/// What goes with the state of the network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The last symbol that was drawn: the network has not read it yet.
    pub(crate) next: Option<u32>,
    /// Symbols drawn so far.
    pub(crate) drawn: u64,
    /// Since the last save.
    pub(crate) changed: bool,
    pub(crate) closed: bool,
}

/// A request for text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generate {
    /// Text that the network reads first.
    #[serde(default)]
    pub(crate) prompt: String,
    /// Symbols to draw.
    #[serde(default = "hundred")]
    pub(crate) length: usize,
    #[serde(default = "one")]
    pub(crate) temperature: f32,
    #[serde(default)]
    pub(crate) top_k: Option<usize>,
    #[serde(default)]
    pub(crate) top_p: Option<f32>,
    #[serde(default)]
    pub(crate) min_p: Option<f32>,
}

impl Generate {
    /// How symbols are drawn, if that makes sense.
    fn sampling(&self) -> Result<Sampling, Refused> {
        let given = [("temperature", Some(self.temperature)), ("top_p", self.top_p), ("min_p", self.min_p)];
        for (name, value) in given {
            // The threads that draw take such a number as 0.
            if let Some(value) = value.filter(|value| value.is_subnormal()) {
                let least = f32::MIN_POSITIVE;
                return Err(Refused::invalid(format!(
                    "the least {name} above 0 is {least:e}, got {value:e}"
                )));
            }
        }
        let mut sampling = Sampling::new().with_temperature(self.temperature);
        (sampling.top_k, sampling.top_p, sampling.min_p) = (self.top_k, self.top_p, self.min_p);
        sampling.check().map_err(Refused::invalid)?;
        Ok(sampling)
    }
}

fn hundred() -> usize {
    100
}

fn one() -> f32 {
    1.0
}

/// What a generation sends.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(String),
    /// No more comes, for this reason: `length`, `time` or `stopped`.
    Done(&'static str),
    Failed(Refused),
}

/// A request that has been checked, and what it holds while it runs.
pub(crate) struct Generation {
    pub(crate) session: Arc<Session>,
    prompt: Vec<u32>,
    length: usize,
    sampling: Sampling,
    /// Set by a client that wants no more.
    pub(crate) stop: Arc<AtomicBool>,
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Session {
    pub(crate) fn new(name: String, stream: StreamId, seed: u64, progress: Progress) -> Arc<Self> {
        Arc::new(Session {
            name,
            stream,
            seed,
            progress: tokio::sync::Mutex::new(progress),
            turn: Arc::new(Semaphore::new(1)),
            sockets: Arc::new(Semaphore::new(SOCKETS)),
            used: Mutex::new(Instant::now()),
        })
    }

    pub(crate) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(crate) fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What generations need of the server.
pub(crate) struct Stage {
    pub(crate) engine: Engine,
    pub(crate) metrics: Metrics,
    pub(crate) options: Options,
    /// Places for connections.
    pub(crate) connections: Arc<Semaphore>,
    /// Places for generations.
    pub(crate) places: Arc<Semaphore>,
    /// True when the server ends.
    pub(crate) ending: watch::Sender<bool>,
}

/// Returns when the server ends.
pub(crate) async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error means that the server is gone already.
    let _ended_or_gone = ending.wait_for(|ending| *ending).await.is_ok();
}

impl Stage {
    pub(crate) fn new(engine: Engine, options: Options) -> Self {
        Stage {
            engine,
            metrics: Metrics::default(),
            connections: Arc::new(Semaphore::new(options.max_connections)),
            places: Arc::new(Semaphore::new(options.max_generations)),
            options,
            ending: watch::Sender::new(false),
        }
    }

    /// Checks a request and takes a place for it.
    pub(crate) fn admit(&self, session: &Arc<Session>, request: &Generate) -> Result<Generation, Refused> {
        if *self.ending.borrow() {
            return Err(Refused::ending());
        }
        let sampling = request.sampling()?;
        let prompt = self.prompt(request)?;
        let turn = session
            .turn
            .clone()
            .try_acquire_owned()
            .map_err(|_| Refused::conflict("the session is generating already"))?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            Refused::busy(format!("{} sessions are generating, as many as may", self.options.max_generations))
        })?;
        session.touch();
        let (session, stop) = (session.clone(), Arc::default());
        let length = request.length;
        Ok(Generation { session, prompt, length, sampling, stop, _turn: turn, _place: place })
    }

    /// The symbols of the prompt of a request that is not too long.
    fn prompt(&self, request: &Generate) -> Result<Vec<u32>, Refused> {
        let most = self.options.max_length;
        if !(1..=most).contains(&request.length) {
            return Err(Refused::invalid(format!("length must be 1 to {most}, got {}", request.length)));
        }
        let characters = request.prompt.chars().count();
        if characters > most {
            return Err(Refused::invalid(format!(
                "prompt must have at most {most} characters, got {characters}"
            )));
        }
        match &request.prompt[..] {
            "" => Ok(Vec::new()),
            prompt => self.engine.vocabulary.encode(prompt).map_err(Refused::invalid),
        }
    }

    /// Runs a generation to its end. Dropping the receiver stops it between two steps.
    pub(crate) async fn generate(&self, generation: Generation, out: mpsc::Sender<Piece>) {
        self.metrics.generating.fetch_add(1, Ordering::Relaxed);
        let last = match self.pieces(&generation, &out).await {
            Ok(reason) => Piece::Done(reason),
            Err(refused) => Piece::Failed(refused),
        };
        self.metrics.generating.fetch_sub(1, Ordering::Relaxed);
        generation.session.touch();
        // The session is free before the client reads that its text is complete.
        drop(generation);
        let _nobody_listens = timeout(self.options.stall_seconds, out.send(last)).await.is_err();
    }

    async fn pieces(
        &self,
        generation: &Generation,
        out: &mpsc::Sender<Piece>,
    ) -> Result<&'static str, Refused> {
        let end = Deadline::now() + self.options.generation_seconds;
        let mut prompt = generation.prompt.iter().copied().peekable();
        let mut drawn = 0;
        while drawn < generation.length {
            if *self.ending.borrow() || generation.stop.load(Ordering::Relaxed) {
                return Ok("stopped");
            }
            if out.is_closed() {
                count(&self.metrics.disconnected);
                return Ok("stopped");
            }
            if Deadline::now() >= end {
                return Ok("time");
            }
            let Some(symbol) = self.step(generation, &mut prompt).await? else { continue };
            drawn += 1;
            let text = self.engine.vocabulary.decode(&[symbol])?;
            match timeout(self.options.stall_seconds, out.send(Piece::Text(text))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    count(&self.metrics.disconnected);
                    return Ok("stopped");
                }
                Err(_) => {
                    count(&self.metrics.stalled);
                    return Ok("stopped");
                }
            }
        }
        Ok("length")
    }

    /// The network reads the next symbol, of the last draw or else of the prompt; where none is left after it, one is drawn.
    async fn step(
        &self,
        generation: &Generation,
        prompt: &mut std::iter::Peekable<impl Iterator<Item = u32>>,
    ) -> Result<Option<u32>, Refused> {
        let session = &generation.session;
        let mut progress = session.progress.lock().await;
        if progress.closed {
            return Err(Refused::unknown());
        }
        let symbol = match progress.next.or_else(|| prompt.next()) {
            Some(symbol) => symbol,
            // Nothing was read so far: a text starts behind the end of a line.
            None => match self.engine.vocabulary.encode("\n").map_err(Refused::invalid)?[..] {
                [symbol] => symbol,
                _ => return Err(Refused::invalid("this model needs a prompt")),
            },
        };
        let draw = Draw { sampling: generation.sampling, seed: session.seed, step: progress.drawn };
        let draw = prompt.peek().is_none().then_some(draw);
        let asked = Instant::now();
        let next = self.engine.batcher.submit(session.stream, Input { symbol, draw })?.await?;
        progress.next = next;
        progress.changed = true;
        if next.is_some() {
            progress.drawn += 1;
            self.metrics.symbol(asked.elapsed());
        }
        Ok(next)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
pub(crate) mod tests;
