//! One command that any owner of a GPU can run: what the GPU is, whether every kernel computes the right values on it, and
//! how fast. The folder that it leaves can be sent to the authors.
//!
//! ```sh
//! cargo run --release --example gpu_report -- OUT [--quick] [--seconds N] [--gpu gpu|gpu:N|gpu:NAME] [--only SECTION]...
//!   [--case NAME]...
//! ```
//! It takes at most 20 minutes, needs neither network nor compiler once built, and goes on after any failure.
//! `OUT/summary.md` is for reading, `OUT/report.jsonl` for programs; plots are SVG files. docs/devices.md says more.

// Cases, layers and measurements are those of the benches, and checks those of the tests: every one runs here with its
// own bounds. Their files look for these modules in the root.
#[path = "../../../../benches/common"]
mod common {
    pub(crate) mod case;
    pub(crate) mod machine;
    pub(crate) mod svg;
    #[path = "../../crates/rnn-runtime/tests/common/mod.rs"]
    mod tests;
    pub(crate) mod verify;
    pub(crate) use tests::*;
}
#[path = "../../../../benches/cpu_vs_gpu"]
#[allow(dead_code, reason = "the bench's own files; a part of them is needed")]
mod parts {
    pub(crate) mod copy;
    pub(crate) mod crossover;
    pub(crate) mod job;
    pub(crate) mod plot;
}
#[path = "../../../../crates/rnn-runtime/tests/ops/copy.rs"]
mod copy;
#[path = "../../../../crates/rnn-runtime/tests/ops/ctc.rs"]
mod ctc;
#[path = "../../../../crates/rnn-runtime/tests/ops/dropout.rs"]
mod dropout;
#[path = "../../../../crates/rnn-runtime/tests/ops/embed.rs"]
mod embed;
#[path = "../../../../crates/rnn-runtime/tests/ops/grad_norm.rs"]
mod grad_norm;
#[path = "../../../../crates/rnn-runtime/tests/ops/helpers.rs"]
mod helpers;
#[path = "../../../../crates/rnn-runtime/tests/ops/layer_norm.rs"]
mod layer_norm;
#[path = "../../../../crates/rnn-runtime/tests/ops/loss.rs"]
mod loss;
#[path = "../../../../crates/rnn-runtime/tests/ops/non_finite.rs"]
mod non_finite;
#[path = "../../../../crates/rnn-runtime/tests/ops/optim.rs"]
mod optim;
#[path = "../../../../crates/rnn-runtime/tests/pass/mod.rs"]
#[allow(dead_code, reason = "the test's own file; a part of it is needed")]
mod pass;
#[path = "../../../../crates/rnn-runtime/tests/ops/pointwise.rs"]
mod pointwise;
#[path = "../../../../crates/rnn-runtime/tests/ops/reduce.rs"]
mod reduce;
#[path = "../../../../crates/rnn-runtime/tests/ops/sequence_loss.rs"]
mod sequence_loss;
#[path = "../../../../crates/rnn-runtime/tests/ops/softmax.rs"]
mod softmax;

mod adapter;
mod correct;
mod micro;
mod plans;
mod setup;
mod speed;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use common::machine::warn_of_load;
use report::child;
use report::folder::Folder;
use report::runner::{self, Clock, Findings, Section, without_panic};
use setup::Setup;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

#[derive(Parser)]
struct Args {
    /// Folder for the report; it is made where it does not exist.
    out: PathBuf,
    /// A small report, to see that everything runs.
    #[arg(long)]
    quick: bool,
    /// Seconds for all sections together; 1080, or 150 with --quick.
    #[arg(long)]
    seconds: Option<u64>,
    /// The GPU: `gpu` for the best, `gpu:N` or `gpu:NAME`.
    #[arg(long, default_value = "gpu")]
    gpu: String,
    /// Only this section; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Only this case of the grid; may be given several times.
    #[arg(long)]
    case: Vec<String>,
    /// For the report's own processes: runs one section in so many seconds, and leaves its findings in the folder.
    #[arg(long, hide = true)]
    section: Option<String>,
}

/// In order of what is worth most if the time is short.
const SECTIONS: [Section<Setup>; 13] = [
    Section { name: "adapter", title: "Adapter", weight: 1, body: adapter::adapter },
    Section { name: "facts", title: "Planner: facts and plans", weight: 3, body: adapter::facts },
    Section { name: "registers", title: "Registers of the kernels", weight: 3, body: adapter::registers },
    Section {
        name: "recurrences",
        title: "Correct: cells, algorithms, fallbacks",
        weight: 8,
        body: correct::recurrences,
    },
    Section { name: "products", title: "Correct: matrix products", weight: 3, body: correct::products },
    Section { name: "ops", title: "Correct: every other op", weight: 6, body: correct::ops },
    Section {
        name: "options",
        title: "Correct: combinations of options",
        weight: 18,
        body: correct::options,
    },
    Section { name: "grid", title: "Time of layers", weight: 16, body: speed::grid },
    Section { name: "dispatch", title: "Dependent dispatches", weight: 2, body: micro::dispatch },
    Section { name: "gemm", title: "Rate of matrix products", weight: 4, body: micro::gemm },
    Section { name: "copies", title: "Copy rates", weight: 2, body: micro::copies },
    Section { name: "kernels", title: "Time of kernels by the GPU's clock", weight: 6, body: speed::kernels },
    Section { name: "plans", title: "Plans: rows, sharing, workgroups", weight: 8, body: plans::sweep },
];

/// The last section, because it uses all the time that is left.
const CROSSOVER: Section<Setup> =
    Section { name: "cpu_vs_gpu", title: "CPU against GPU", weight: 10, body: speed::cpu_vs_gpu };

/// Before all sections: whether there is a GPU, and the head of the summary.
const HEAD: Section<Setup> = Section { name: "head", title: "Head", weight: 0, body: setup::head };

/// A section that does not look at its clock has this much longer; after that its process is ended.
const GRACE: Duration = Duration::from_secs(60);

fn all_sections() -> Vec<Section<Setup>> {
    [&SECTIONS[..], &[CROSSOVER]].concat()
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.section {
        Some(name) => run_section(&args, name).map(|()| true),
        None => run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gpu_report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One section, in a process that the report has started.
fn run_section(args: &Args, name: &str) -> Result<()> {
    let section = all_sections().into_iter().chain([HEAD]).find(|section| section.name == name);
    let section = section.with_context(|| format!("--section: there is no {name:?}"))?;
    let clock = Clock::new(Duration::from_secs(args.seconds.unwrap_or(60)));
    // Failures of checks are collected; their backtraces would drown the report.
    std::panic::set_hook(Box::new(|_| ()));
    let setup = Setup::new(&args.gpu, args.quick, &args.case, Folder::open(&args.out)?);
    let findings = without_panic(|| (section.body)(&setup, clock)).unwrap_or_else(|error| Findings {
        failures: vec![format!("the section ended early: {error:#}")],
        ..Findings::default()
    });
    child::leave(&findings, &setup.folder.findings())
}

/// The process of a section.
fn process(args: &Args, name: &str, share: Duration) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program's own file")?);
    command.arg(&args.out).args(["--section", name, "--gpu", &args.gpu]);
    command.arg("--seconds").arg(share.as_secs().max(1).to_string());
    if args.quick {
        command.arg("--quick");
    }
    for case in &args.case {
        command.args(["--case", case]);
    }
    Ok(command)
}

/// Whether nothing failed.
fn run(args: &Args) -> Result<bool> {
    let all = all_sections();
    let known = |name: &String| all.iter().any(|section| section.name == name);
    let names: Vec<&str> = all.iter().map(|section| section.name).collect();
    for name in &args.only {
        ensure!(known(name), "--only must be one of {}, got {name:?}", names.join(", "));
    }
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let sections: Vec<_> = all.into_iter().filter(|section| wanted(section.name)).collect();
    warn_of_load();
    let folder = Folder::create(&args.out)?;
    let execute = |section: &Section<Setup>, share: Duration| {
        child::run(&mut process(args, section.name, share)?, &folder.findings(), share + GRACE)
    };
    let head = execute(&HEAD, Duration::from_secs(60)).unwrap_or_else(|error| Findings {
        text: vec![format!("An adapter that fails: {error:#}")],
        ..Findings::default()
    });
    if let Some(failure) = head.failures.first() {
        bail!("{failure}");
    }
    let head = head.text.join("\n\n");
    eprintln!("{head}");
    let seconds = args.seconds.unwrap_or(if args.quick { 150 } else { 1080 });
    let outcomes = runner::run(&sections, Duration::from_secs(seconds), execute, |outcomes| {
        let Some(last) = outcomes.last() else { return };
        let failures = &last.findings.failures;
        eprintln!("{:12} {:7.1} s  {}", last.name, last.seconds, last.findings.verdict());
        for failure in failures.iter().take(3) {
            eprintln!("  {}", failure.lines().next().unwrap_or_default());
        }
        if let Err(error) = folder.summary(&head, outcomes) {
            eprintln!("gpu_report: {error:#}");
        }
    });
    eprintln!("the report is in {}", args.out.display());
    Ok(outcomes.iter().all(|outcome| outcome.findings.failures.is_empty()))
}
