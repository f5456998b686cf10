//! Prints tables to the terminal.

use super::crossover::Crossover;
use super::rows::Row;

/// A number with three significant digits; `-` for none.
fn show(value: impl Into<Option<f64>>) -> String {
    match value.into() {
        None => "-".into(),
        Some(x) if x >= 100.0 => format!("{x:.0}"),
        Some(x) if x >= 10.0 => format!("{x:.1}"),
        Some(x) if x >= 1.0 => format!("{x:.2}"),
        Some(x) => format!("{x:.3}"),
    }
}

/// Prints columns: the first left-aligned, the others right-aligned.
fn print(lines: &[Vec<String>]) {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(n, (cell, &width))| match n {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}

const HEAD: [&str; 18] = [
    "case",
    "cell T B I H",
    "pass",
    "CPU cold ms",
    "GPU cold ms",
    "CPU ms",
    "GPU ms",
    "kernels ms",
    "CPU/GPU",
    "CPU of peak",
    "of roof",
    "bound",
    "GPU of GEMM",
    "of roof",
    "bound",
    "CPU MB",
    "GPU MB",
    "error",
];

pub(crate) fn cases(rows: &[Row]) {
    let mut lines = vec![HEAD.map(String::from).to_vec()];
    for all in rows {
        let row = &all.measured;
        let case = &row.case;
        lines.push(vec![
            case.name.clone(),
            format!("{} {} {} {} {}", case.cell, case.T, case.B, case.I, case.H),
            row.pass.name().into(),
            show(row.cpu_cold_ms),
            show(row.gpu_cold_ms),
            show(row.cpu_ms),
            show(row.gpu_ms),
            show(row.gpu_kernel_ms),
            show(row.cpu_over_gpu),
            show(all.cpu_of_peak),
            show(all.cpu_of_roof),
            all.cpu_bound.name().into(),
            show(all.gpu_of_gemm),
            show(all.gpu_of_roof),
            all.gpu_bound.name().into(),
            show(row.cpu_mb),
            show(row.gpu_mb),
            format!("{:.1e}", row.error),
        ]);
    }
    print(&lines);
}

pub(crate) fn crossovers(sweeps: &[Crossover]) {
    for sweep in sweeps {
        println!("\n{}; {}", sweep.title(), sweep.verdict());
        let line = |head: &str, value: &dyn Fn(usize) -> String| {
            let values = (0..sweep.points.len()).map(value);
            std::iter::once(head.to_string()).chain(values).collect::<Vec<_>>()
        };
        print(&[
            line("B", &|n| sweep.points[n].batch.to_string()),
            line("CPU ms", &|n| show(sweep.points[n].cpu_ms)),
            line("GPU ms", &|n| show(sweep.points[n].gpu_ms)),
        ]);
    }
}
