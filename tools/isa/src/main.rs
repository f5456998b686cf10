//! Prints what a GPU's compiler makes of the kernels of the grid; see README.md beside it.

use anyhow::{Context, Result, bail};
use clap::Parser;
use isa::budget::{self, Budget};
use isa::{Gpu, family, report};
use std::process::ExitCode;

/// Registers, scratch memory and occupancy of the kernels of benches/grid.json.
#[derive(Parser)]
struct Args {
    /// Compile for this GPU without having it, by Mesa's radeon driver, and compare with its table: navi31, navi21, vega10.
    #[arg(long)]
    family: Option<String>,
    /// A device whose name contains this text. Nothing is compared.
    #[arg(long, conflicts_with = "family")]
    device: Option<String>,
    /// JSON lines with everything that the driver reports.
    #[arg(long)]
    json: bool,
    /// Print no table, only what is wrong.
    #[arg(long)]
    quiet: bool,
    /// Write the family's table instead of comparing with it.
    #[arg(long, requires = "family")]
    bless: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("isa: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if let Some(family) = &args.family {
        family::choose(family)?;
    }
    let gpu = Gpu::open(args.device.as_deref())?;
    eprintln!("{}; {}", gpu.name, gpu.driver);
    let rows = report::grid(&gpu)?;
    if args.json {
        rows.iter().for_each(|row| println!("{}", report::json(&gpu, row)));
    } else if !args.quiet {
        print!("{}", report::table(&rows));
    }
    let Some(family) = &args.family else { return Ok(()) };
    let faults = budget::faults(&rows)?;
    faults.iter().for_each(|fault| eprintln!("{family}: {fault}"));
    if !faults.is_empty() {
        bail!("{} faults: a kernel has neither scratch memory nor spills", faults.len());
    }
    compare(family, &Budget::of(&gpu, &rows)?, args.bless)
}

/// Writes the table, or compares with it. Registers are compared with those of the same version of the driver only.
fn compare(family: &str, actual: &Budget, bless: bool) -> Result<()> {
    let path = budget::path(family);
    if bless {
        std::fs::write(&path, actual.text()).with_context(|| path.display().to_string())?;
        eprintln!("wrote {}", path.display());
        return Ok(());
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: no table; --bless writes one", path.display()))?;
    let table = Budget::parse(&text).with_context(|| path.display().to_string())?;
    if table.driver != actual.driver {
        eprintln!(
            "WARNING: the table is of {:?}, this is {:?}: registers are NOT COMPARED",
            table.driver, actual.driver
        );
        return Ok(());
    }
    let problems = table.problems(actual);
    if !problems.is_empty() {
        problems.iter().for_each(|problem| eprintln!("{family}: {problem}"));
        bail!("{} problems; where they are meant: --family {family} --bless", problems.len());
    }
    eprintln!("{family}: {} uses of kernels are within the table", actual.registers.len());
    Ok(())
}
