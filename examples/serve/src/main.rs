//! The server.
//!
//! ```sh
//! cargo run --release --example char_lm -- --save model.safetensors
//! cargo run --release -p rnn-serve --bin serve -- --model model.safetensors   # then open http://127.0.0.1:8080
//! ```

use anyhow::Result;
use clap::Parser;
use rnn_serve::{Options, Server};
use std::io::{self, Write};

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve());
    // What was given up must not keep the process: a disk that does not answer, a thread that computes for ever.
    runtime.shutdown_background();
    served
}

async fn serve() -> Result<()> {
    let server = Server::start(Options::parse()).await?;
    println!("listening on http://{}", server.address()?);
    io::stdout().flush()?;
    let mut asked = Asked::new()?;
    let end = async move {
        asked.wait().await;
        tokio::spawn(async move {
            asked.wait().await;
            eprintln!("asked to end a second time: sessions may not be saved");
            std::process::exit(1);
        });
    };
    server.run(end).await
}

/// Ctrl-C, and the system that asks the process to end.
struct Asked {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
    #[cfg(windows)]
    ctrl_c: tokio::signal::windows::CtrlC,
}

#[cfg(unix)]
impl Asked {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Asked { signals: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?] })
    }

    async fn wait(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
impl Asked {
    fn new() -> io::Result<Self> {
        Ok(Asked { ctrl_c: tokio::signal::windows::ctrl_c()? })
    }

    async fn wait(&mut self) {
        self.ctrl_c.recv().await;
    }
}
