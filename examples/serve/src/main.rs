//! The server.
//!
//! ```sh
//! cargo run --release --example char_lm -- --save model.safetensors
//! cargo run --release -p rnn-serve --bin serve -- --model model.safetensors   # then open http://127.0.0.1:8080
//! ```

use anyhow::Result;
use clap::Parser;
use rnn_serve::{Options, Server};
use std::io::Write;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<()> {
    let server = Server::start(Options::parse()).await?;
    println!("listening on http://{}", server.address()?);
    std::io::stdout().flush()?;
    server.run(asked_to_end()).await
}

/// Returns at Ctrl-C, or when the system asks the process to end.
async fn asked_to_end() {
    let ctrl_c = tokio::signal::ctrl_c();
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = ctrl_c => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    // An error means that no signal can be waited for; the process then ends as the system ends it.
    if ctrl_c.await.is_err() {
        std::future::pending::<()>().await;
    }
}
