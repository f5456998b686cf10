//! Time over the batch size as an SVG: one panel per sweep, both axes logarithmic.

use super::crossover::Crossover;
use crate::common::machine::Machine;
use crate::common::svg;
use std::fmt::Write;

const CPU: &str = "#1f5fa8";
const GPU: &str = "#c2500a";
const INK: &str = "#222";
/// The size of a panel and of its plot area, in pixels.
const PANEL: [f64; 2] = [440.0, 320.0];
const PLANE: [f64; 2] = [340.0, 220.0];
/// The position of the plot area in the panel.
const CORNER: [f64; 2] = [70.0, 40.0];
const HEAD: f64 = 64.0;

/// The SVG, with two panels per row, in the given order.
pub(crate) fn svg(sweeps: &[Crossover], machine: &Machine) -> Result<String, std::fmt::Error> {
    let size = [2.0 * PANEL[0], HEAD + PANEL[1] * sweeps.len().div_ceil(2) as f64];
    let mut out = String::new();
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" font-family="sans-serif" font-size="12" fill="{INK}">"#,
        w = size[0],
        h = size[1],
    )?;
    writeln!(out, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
    let note = if machine.software { " - SOFTWARE adapter: says nothing about a GPU" } else { "" };
    let title = escape(&format!("{} ({}), {}{note}", machine.adapter, machine.backend, machine.dtype));
    writeln!(out, r#"<text x="16" y="22" font-size="14" font-weight="bold">{title}</text>"#)?;
    let threads = format!("CPU backend, {} threads", machine.threads);
    for (x, color, text) in [(16.0, CPU, threads.as_str()), (230.0, GPU, "GPU, upload and readback included")]
    {
        let end = x + 28.0;
        writeln!(out, r#"<path d="M{x} 42H{end}" stroke="{color}" stroke-width="2"/>"#)?;
        writeln!(out, r#"<text x="{}" y="46">{text}</text>"#, end + 6.0)?;
    }
    writeln!(out, r#"<path d="M510 34V50" stroke="{INK}" stroke-dasharray="4 3"/>"#)?;
    writeln!(out, r#"<text x="518" y="46">the GPU is faster from here on</text>"#)?;
    for (n, sweep) in sweeps.iter().enumerate() {
        let (x, y) = (PANEL[0] * (n % 2) as f64, HEAD + PANEL[1] * (n / 2) as f64);
        writeln!(out, r#"<g transform="translate({x} {y})">"#)?;
        panel(&mut out, sweep)?;
        writeln!(out, "</g>")?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

/// A logarithmic axis from one power of its base to another.
struct Axis {
    base: f64,
    first: i32,
    last: i32,
}

impl Axis {
    fn around(base: f64, values: impl Iterator<Item = f64> + Clone) -> Self {
        let powers = values.map(|value| value.ln() / base.ln());
        // Rounding must not move a power of the base into the next interval.
        let first = (powers.clone().fold(f64::INFINITY, f64::min) + 1e-9).floor() as i32;
        let last = (powers.fold(f64::NEG_INFINITY, f64::max) - 1e-9).ceil() as i32;
        Axis { base, first, last: last.max(first + 1) }
    }

    /// The position of a value on the axis, from 0 to 1.
    fn at(&self, value: f64) -> f64 {
        (value.ln() / self.base.ln() - f64::from(self.first)) / f64::from(self.last - self.first)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.first..=self.last).map(|power| self.base.powi(power))
    }
}

fn panel(out: &mut String, sweep: &Crossover) -> std::fmt::Result {
    let points = &sweep.points;
    let batches = Axis::around(2.0, points.iter().map(|point| point.batch as f64));
    let times = Axis::around(10.0, points.iter().flat_map(|point| [point.cpu_ms, point.gpu_ms]));
    let x = |batch: f64| CORNER[0] + PLANE[0] * batches.at(batch);
    let y = |ms: f64| CORNER[1] + PLANE[1] * (1.0 - times.at(ms));
    let (left, right, top, bottom) = (CORNER[0], CORNER[0] + PLANE[0], CORNER[1], CORNER[1] + PLANE[1]);

    let title = escape(&sweep.title());
    writeln!(out, r#"<text x="{left}" y="16" font-weight="bold">{title}</text>"#)?;
    writeln!(out, r#"<text x="{left}" y="32">{}</text>"#, sweep.verdict())?;
    for batch in batches.ticks() {
        let x = x(batch);
        writeln!(out, r##"<path d="M{x:.1} {top}V{bottom}" stroke="#ddd"/>"##)?;
        writeln!(out, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{batch}</text>"#, bottom + 16.0)?;
    }
    for ms in times.ticks() {
        let y = y(ms);
        writeln!(out, r##"<path d="M{left} {y:.1}H{right}" stroke="#ddd"/>"##)?;
        writeln!(out, r#"<text x="{}" y="{:.1}" text-anchor="end">{ms}</text>"#, left - 6.0, y + 4.0)?;
    }
    let (width, height) = (PLANE[0], PLANE[1]);
    writeln!(
        out,
        r#"<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="{INK}"/>"#
    )?;
    let middle = left + width / 2.0;
    writeln!(
        out,
        r#"<text x="{middle}" y="{}" text-anchor="middle">batch size B, rows</text>"#,
        bottom + 34.0
    )?;
    let (at, middle) = (20.0, top + height / 2.0);
    writeln!(
        out,
        r#"<text transform="translate({at} {middle}) rotate(-90)" text-anchor="middle">time of a run, ms</text>"#
    )?;
    if let Some(batch) = sweep.gpu_from_batch {
        let x = x(batch as f64);
        writeln!(out, r#"<path d="M{x:.1} {top}V{bottom}" stroke="{INK}" stroke-dasharray="4 3"/>"#)?;
    }
    let cpu: Vec<f64> = points.iter().map(|point| point.cpu_ms).collect();
    let gpu: Vec<f64> = points.iter().map(|point| point.gpu_ms).collect();
    for (color, times) in [(CPU, cpu), (GPU, gpu)] {
        let places: Vec<[f64; 2]> =
            points.iter().zip(times).map(|(point, ms)| [x(point.batch as f64), y(ms)]).collect();
        svg::curve(out, color, &places)?;
    }
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
