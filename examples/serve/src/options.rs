//! The options of the program.

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
    /// Sessions that nobody uses for so long are closed.
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub idle_seconds: Duration,
    /// A generation ends after this time.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub generation_seconds: Duration,
    /// A client that takes nothing for so long loses its generation; the session stays.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub stall_seconds: Duration,
    /// A request that has not come whole after this time is refused.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub body_seconds: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.001..1e9).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "seconds, at least 0.001".into())
}
