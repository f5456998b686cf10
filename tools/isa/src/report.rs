//! Measures a list of kernels and prints what the driver says, as a table or as JSON lines.

use crate::kernels::{GRID, Listed, grid_kernels};
use crate::{Figures, Gpu};
use anyhow::Result;
use serde_json::{Value, json};
use std::fmt::Write;

/// A kernel and what the driver says of it.
pub struct Row {
    /// The kernel and its uses.
    pub listed: Listed,
    /// Or the driver's refusal.
    pub figures: Result<Figures>,
}

/// The kernels that the planner chooses for this device, over the whole grid.
///
/// # Errors
/// Only of the list. A kernel that does not compile is a row that says so.
pub fn grid(gpu: &Gpu) -> Result<Vec<Row>> {
    let all = grid_kernels(&gpu.adapter, gpu.half, GRID)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // Large and small kernels alternate, so every thread takes each n-th one.
    let measure = |first: usize| {
        let own = all.iter().enumerate().skip(first).step_by(threads);
        own.map(|(n, listed)| (n, gpu.measure(listed))).collect::<Vec<_>>()
    };
    let mut figures: Vec<(usize, Result<Figures>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn({
                    let measure = &measure;
                    move || measure(first)
                })
            })
            .collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(own) => own,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    });
    figures.sort_by_key(|&(n, _)| n);
    Ok(all.into_iter().zip(figures).map(|(listed, (_, figures))| Row { listed, figures }).collect())
}

const HEAD: [&str; 11] = [
    "regs",
    "spills",
    "scratch",
    "lds",
    "waves",
    "instr",
    "latency",
    "code",
    "lanes",
    "kernel",
    "first use (all)",
];

/// One line for each kernel.
pub fn table(rows: &[Row]) -> String {
    let lines: Vec<[String; 11]> = rows.iter().map(line).collect();
    let width = |column: usize| {
        lines.iter().map(|line| line[column].len()).chain([HEAD[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; 11] = std::array::from_fn(width);
    let mut out = String::new();
    for line in std::iter::once(&HEAD.map(String::from)).chain(&lines) {
        for (column, cell) in line.iter().enumerate() {
            // Numbers to the right, names to the left.
            let _ = match column < 9 {
                true => write!(out, "{cell:>width$}  ", width = widths[column]),
                false => write!(out, "{cell:<width$}  ", width = widths[column]),
            };
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

fn line(row: &Row) -> [String; 11] {
    let Listed { kernel, uses, .. } = &row.listed;
    let name = format!("{} {}", kernel.label.trim_end_matches("_Immediate"), row.listed.plan());
    let used = format!("{} ({})", uses[0], uses.len());
    let text = |value: Option<u64>| value.map_or("-".to_string(), |value| value.to_string());
    match &row.figures {
        Ok(f) => [
            text(f.registers),
            text(f.spills),
            text(f.scratch),
            text(f.workgroup),
            text(f.waves),
            text(f.instructions),
            text(f.latency),
            text(f.code),
            f.subgroup.to_string(),
            name,
            used,
        ],
        Err(error) => {
            let mut line: [String; 11] = std::array::from_fn(|_| "-".to_string());
            let error = format!("{error:#}");
            line[9] = format!("{name}: {}", error.lines().next().unwrap_or_default());
            line[10] = used;
            line
        }
    }
}

/// A kernel as one JSON object, with everything that the driver reports.
pub fn json(gpu: &Gpu, row: &Row) -> Value {
    let Listed { kernel, constants, uses } = &row.listed;
    let constants: serde_json::Map<String, Value> =
        constants.iter().map(|&(name, value)| (name.to_string(), json!(value))).collect();
    let mut object = json!({
        "device": gpu.name,
        "driver": gpu.driver,
        "kernel": kernel.label,
        "constants": constants,
        "uses": uses.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    match &row.figures {
        Ok(figures) => object["figures"] = json!(figures),
        Err(error) => object["error"] = json!(format!("{error:#}")),
    }
    object
}
