//! The options of the program.

use anyhow::{Result, ensure};
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Serves a model that `char_lm --save` wrote: text that is continued symbol by symbol, in sessions that remember.
#[derive(Clone, Debug, Parser)]
#[command(name = "serve")]
pub struct Options {
    /// The model.
    #[arg(long)]
    pub model: PathBuf,
    /// The directory that sessions are saved in.
    #[arg(long, default_value = "sessions")]
    pub sessions: PathBuf,
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Threads that compute; by default one for every core.
    #[arg(long)]
    pub workers: Option<usize>,
    /// Connections that are open at a time, each an open file; others wait. Many systems allow a process 1024 files.
    #[arg(long, default_value_t = 900)]
    pub max_connections: usize,
    /// Sessions that are open at a time.
    #[arg(long, default_value_t = 1000)]
    pub max_sessions: usize,
    /// Sessions that generate at a time.
    #[arg(long, default_value_t = 256)]
    pub max_generations: usize,
    /// Rows of a batch.
    #[arg(long, default_value_t = 64)]
    pub max_batch: usize,
    /// Symbols of a request, and characters of a prompt.
    #[arg(long, default_value_t = 2000)]
    pub max_length: usize,
    /// Sessions that have changed are saved this often.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub save_seconds: Duration,
    /// Sessions that nobody uses for so long are closed, and so are WebSockets without a request.
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub idle_seconds: Duration,
    /// A generation ends after this time.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub generation_seconds: Duration,
    /// A client that takes nothing for so long loses its generation; the session stays.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub stall_seconds: Duration,
    /// The head of a request must come within this time, and then its body.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub body_seconds: Duration,
}

/// The most of what can be counted.
const MOST: usize = 1_000_000;

impl Options {
    /// Checks the limits.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, value) in [
            ("max-connections", self.max_connections),
            ("max-sessions", self.max_sessions),
            ("max-generations", self.max_generations),
            ("max-batch", self.max_batch),
            ("max-length", self.max_length),
        ] {
            ensure!((1..=MOST).contains(&value), "--{name} must be 1 to {MOST}, got {value}");
        }
        Ok(())
    }

    /// Bytes of a request's body, and of a WebSocket's message: a character takes at most 12 bytes in JSON.
    pub(crate) fn max_bytes(&self) -> usize {
        12 * self.max_length + 4096
    }
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..1e9).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "seconds, at least 0.001".into())
}
