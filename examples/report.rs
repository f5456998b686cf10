//! Makes a page from logs of runs, which `--log` of other examples writes: of one run, or of several side by side.
//!
//! ```sh
//! cargo run --release --example char_lm -- --log runs/a.jsonl
//! cargo run --release --example report -- runs/a.jsonl                     # runs/a.html
//! cargo run --release --example report -- runs/a.jsonl runs/b.jsonl --out runs/both.html
//! ```

use anyhow::Result;
use clap::Parser;
use rnn_api::train::report_of_logs;
use std::path::PathBuf;

/// Makes a page from logs of runs.
#[derive(Parser)]
struct Args {
    /// Logs of --log, or of `JsonLog` in a program.
    #[arg(required = true)]
    logs: Vec<PathBuf>,
    /// The page; by default beside the only log under its name, or `report.html` beside the first of several.
    #[arg(long, value_name = "HTML")]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Args { logs, out } = Args::parse();
    let out = out.unwrap_or_else(|| match &logs[..] {
        [log] => log.with_extension("html"),
        logs => logs[0].with_file_name("report.html"),
    });
    report_of_logs(&logs, &out)?;
    println!("{}", out.display());
    Ok(())
}
