//! Latency over the number of streams as an SVG: a panel for each size of the layer.

use super::load::Point;
use crate::common::svg;
use std::fmt::{Error, Write};

const P50: &str = "#1f5fa8";
const P99: &str = "#c2500a";
const INK: &str = "#222";
const PANEL: [f64; 2] = [440.0, 330.0];
/// Left, right, top and bottom of the plot area in a panel.
const PLANE: [f64; 4] = [62.0, 420.0, 34.0, 270.0];
const HEAD: f64 = 56.0;
/// Milliseconds on the vertical axis, which is logarithmic.
const TICKS: [f64; 13] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

pub(crate) fn svg(points: &[Point]) -> Result<String, Error> {
    let mut units: Vec<usize> = points.iter().map(|point| point.units).collect();
    units.sort_unstable();
    units.dedup();
    let [width, height] = [PANEL[0] * units.len() as f64, HEAD + PANEL[1]];
    let mut out = String::new();
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{INK}">"#
    )?;
    writeln!(out, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
    let title = "Latency of a step on one core, LSTM, 100 steps a second and stream";
    writeln!(out, r#"<text x="16" y="22" font-size="14" font-weight="bold">{title}</text>"#)?;
    for (x, color, name) in [(16.0, P50, "median"), (110.0, P99, "99th percentile")] {
        writeln!(out, r#"<path d="M{x} 42h24" stroke="{color}" stroke-width="2"/>"#)?;
        writeln!(out, r#"<text x="{}" y="46">{name}</text>"#, x + 30.0)?;
    }
    for (n, &units) in units.iter().enumerate() {
        let mut own: Vec<&Point> = points.iter().filter(|point| point.units == units).collect();
        own.sort_by_key(|point| point.streams);
        writeln!(out, r#"<g transform="translate({} {HEAD})">"#, PANEL[0] * n as f64)?;
        panel(&mut out, units, &own)?;
        writeln!(out, "</g>")?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

/// A round distance of four to eight ticks.
fn distance(most: f64) -> f64 {
    let power = 10f64.powf((most / 5.0).log10().floor());
    let enough = |step: &f64| most / (step * power) <= 8.0;
    [1.0, 2.0, 5.0].into_iter().find(enough).unwrap_or(10.0) * power
}

fn panel(out: &mut String, units: usize, points: &[&Point]) -> std::fmt::Result {
    let [left, right, top, bottom] = PLANE;
    let most = points.iter().map(|point| point.streams).max().unwrap_or(1) as f64 * 1.05;
    let values = points.iter().flat_map(|point| [point.p50, point.p99]);
    let (low, high) = values.fold((f64::INFINITY, 0f64), |(low, high), ms| (low.min(ms), high.max(ms)));
    let low = TICKS.into_iter().rfind(|&tick| tick <= low).unwrap_or(TICKS[0]);
    let high = TICKS.into_iter().find(|&tick| tick >= high).unwrap_or(high);
    let x = |streams: f64| left + (right - left) * streams / most;
    let y = |ms: f64| bottom - (bottom - top) * (ms / low).ln() / (high / low).ln();
    writeln!(out, r#"<text x="{left}" y="20" font-weight="bold">H = {units}</text>"#)?;
    let step = distance(most);
    for n in 0..=(most / step) as usize {
        let streams = n as f64 * step;
        let x = x(streams);
        writeln!(out, r##"<path d="M{x:.1} {top}V{bottom}" stroke="#ddd"/>"##)?;
        writeln!(out, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{streams}</text>"#, bottom + 16.0)?;
    }
    for ms in TICKS.into_iter().filter(|&ms| (low..=high).contains(&ms)) {
        let y = y(ms);
        writeln!(out, r##"<path d="M{left} {y:.1}H{right}" stroke="#ddd"/>"##)?;
        writeln!(out, r#"<text x="{}" y="{:.1}" text-anchor="end">{ms}</text>"#, left - 6.0, y + 4.0)?;
    }
    let [width, height] = [right - left, bottom - top];
    writeln!(
        out,
        r#"<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="{INK}"/>"#
    )?;
    let (centre, middle) = (left + width / 2.0, top + height / 2.0);
    writeln!(out, r#"<text x="{centre}" y="{}" text-anchor="middle">streams</text>"#, bottom + 36.0)?;
    writeln!(
        out,
        r#"<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">latency, ms</text>"#
    )?;
    for (color, index) in [(P50, 0), (P99, 1)] {
        let places: Vec<[f64; 2]> =
            points.iter().map(|point| [x(point.streams as f64), y([point.p50, point.p99][index])]).collect();
        svg::curve(out, color, &places)?;
    }
    Ok(())
}
