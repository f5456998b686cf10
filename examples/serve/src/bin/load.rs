//! Many sessions that generate at the same time, for a while: nothing may be lost, and every text must be the one that a session
//! alone gets.
//!
//! ```sh
//! cargo run --release -p rnn-serve --bin serve -- --model model.safetensors &
//! cargo run --release -p rnn-serve --bin load -- --sessions 200 --seconds 60
//! ```

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rnn_serve::client::Client;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Args {
    /// The server.
    #[arg(long, default_value = "127.0.0.1:8080")]
    server: String,
    /// Sessions that generate at the same time.
    #[arg(long, default_value_t = 200)]
    sessions: usize,
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Symbols of a request.
    #[arg(long, default_value_t = 100)]
    length: usize,
    /// Symbols a second that a session asks for at most: a reader's speed. 0 takes them as fast as they come.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    #[arg(long, default_value = "The ")]
    prompt: String,
}

/// Sessions with the same seed draw the same text.
const SEEDS: usize = 8;

/// Times in milliseconds.
#[derive(Default)]
struct Times {
    /// From a request to its first symbol.
    first: Vec<f32>,
    /// From a symbol to the next one.
    next: Vec<f32>,
    symbols: usize,
    requests: usize,
}

/// The texts of a session, one request after the other, as far as they were needed.
struct Expected {
    texts: Vec<String>,
}

fn request(args: &Args) -> Value {
    json!({ "prompt": args.prompt, "length": args.length, "temperature": 0.8 })
}

/// One session until the end of the run.
async fn session(
    client: Client,
    args: Arc<Args>,
    expected: Arc<Vec<Expected>>,
    n: usize,
    end: Instant,
) -> Result<Times> {
    let name = client.open((n % SEEDS) as u64).await?;
    let mut socket = client.connect(&name).await?;
    let (mut times, request) = (Times::default(), request(&args).to_string());
    while Instant::now() < end {
        let (start, mut last, mut text, mut count) = (Instant::now(), Instant::now(), String::new(), 0);
        socket.send(&request).await?;
        loop {
            let message = socket.next().await?.context("the server has closed the connection")?;
            let now = Instant::now();
            let Some(piece) = message["text"].as_str() else {
                ensure!(message["done"] == "length", "{message}");
                break;
            };
            let gap = (now - last).as_secs_f32() * 1e3;
            if count == 0 {
                times.first.push(gap)
            } else {
                times.next.push(gap)
            }
            text.push_str(piece);
            (last, count) = (now, count + 1);
            if args.rate > 0.0 {
                // It reads at its own speed; what has come in the meantime is read at once.
                tokio::time::sleep_until(
                    (start + Duration::from_secs_f64(f64::from(count) / args.rate)).into(),
                )
                .await;
                last = Instant::now();
            }
        }
        ensure!(count as usize == args.length, "{count} symbols of {}", args.length);
        if let Some(want) = expected[n % SEEDS].texts.get(times.requests) {
            ensure!(text == *want, "session {n}, request {}: another text than alone", times.requests);
        }
        times.symbols += args.length;
        times.requests += 1;
    }
    let answer = client.ask(hyper::Method::DELETE, &format!("/sessions/{name}"), "").await?;
    ensure!(answer.status == 204, "closing: {}", answer.text);
    Ok(times)
}

fn line(name: &str, mut values: Vec<f32>) {
    values.sort_by(f32::total_cmp);
    let at =
        |share: f64| values.get(((values.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(0.0);
    println!(
        "{name:<22} {:>9} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
        values.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<()> {
    let args = Arc::new(Args::parse());
    let client = Client::new(args.server.clone());
    // What a session gets while no other one runs.
    let mut expected = Vec::new();
    for seed in 0..SEEDS {
        let name = client.open(seed as u64).await?;
        let mut socket = client.connect(&name).await?;
        let mut texts = Vec::new();
        for _ in 0..5 {
            texts.push(socket.generate(&request(&args)).await?);
        }
        client.ask(hyper::Method::DELETE, &format!("/sessions/{name}"), "").await?;
        expected.push(Expected { texts });
    }
    let expected = Arc::new(expected);
    let (start, end) = (Instant::now(), Instant::now() + Duration::from_secs_f64(args.seconds));
    let tasks: Vec<_> = (0..args.sessions)
        .map(|n| tokio::spawn(session(client.clone(), args.clone(), expected.clone(), n, end)))
        .collect();
    let (mut all, mut failed) = (Times::default(), Vec::new());
    for task in tasks {
        match task.await? {
            Ok(times) => {
                all.first.extend(times.first);
                all.next.extend(times.next);
                all.symbols += times.symbols;
                all.requests += times.requests;
            }
            Err(error) => failed.push(error),
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} sessions, {seconds:.1} s: {} requests, {} symbols, {:.0} a second; {} sessions failed",
        args.sessions,
        all.requests,
        all.symbols,
        all.symbols as f64 / seconds,
        failed.len()
    );
    println!("{:<22} {:>9} {:>8} {:>8} {:>8} {:>8}", "milliseconds", "number", "p50", "p95", "p99", "max");
    line("to the first symbol", all.first);
    line("from symbol to symbol", all.next);
    if let Some(first) = failed.first() {
        bail!("{} sessions failed, the first one: {first:#}", failed.len());
    }
    Ok(())
}
