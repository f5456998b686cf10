//! The curve of a range test as a drawing.

use super::range_test::LrRange;
use crate::units::round_values;
use std::fmt::{Result, Write};

const SIZE: [f64; 2] = [640.0, 360.0];
/// Left, right, top and bottom of the plot area.
const PLANE: [f64; 4] = [64.0, 620.0, 56.0, 308.0];
const INK: &str = "#222";
const CURVE: &str = "#1f5fa8";
const SUGGESTION: &str = "#c2500a";

impl LrRange {
    /// The loss over the rate as an SVG: single steps pale, the smoothed loss bold, the suggestion marked. The axis of rates
    /// is logarithmic. Losses far above the first one are cut off.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.draw(&mut out);
        out
    }

    fn draw(&self, out: &mut String) -> Result {
        let [width, height] = SIZE;
        let [left, right, top, bottom] = PLANE;
        writeln!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{INK}">"#
        )?;
        writeln!(out, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
        writeln!(
            out,
            r#"<text x="16" y="22" font-size="14" font-weight="bold">Learning-rate range test</text>"#
        )?;
        let said = match self.suggestion {
            Some(lr) => format!("suggested rate: {lr:.2e}, where the smoothed loss falls fastest"),
            None => "no suggestion: the loss never fell".into(),
        };
        writeln!(out, r#"<text x="16" y="42">{said}</text>"#)?;
        if let Some(axes) = Axes::of(self) {
            axes.draw(out)?;
            for trial in &self.trials {
                let [x, y] = axes.place(trial.lr, trial.loss);
                writeln!(out, r##"<circle cx="{x:.1}" cy="{y:.1}" r="2" fill="#9db8d6"/>"##)?;
            }
            let place = |lr: f64, loss: f64| {
                let [x, y] = axes.place(lr, loss);
                format!("{x:.1},{y:.1}")
            };
            let line: Vec<String> = self.trials.iter().map(|trial| place(trial.lr, trial.smoothed)).collect();
            writeln!(
                out,
                r#"<polyline points="{}" fill="none" stroke="{CURVE}" stroke-width="2"/>"#,
                line.join(" ")
            )?;
            if let Some(lr) = self.suggestion {
                let [x, _] = axes.place(lr, axes.loss[0]);
                writeln!(
                    out,
                    r#"<path d="M{x:.1} {top}V{bottom}" stroke="{SUGGESTION}" stroke-dasharray="5 4" stroke-width="2"/>"#
                )?;
            }
        }
        let [centre, middle] = [(left + right) / 2.0, (top + bottom) / 2.0];
        writeln!(
            out,
            r#"<text x="{centre}" y="{}" text-anchor="middle">learning rate</text>"#,
            bottom + 38.0
        )?;
        writeln!(
            out,
            r#"<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">loss</text>"#
        )?;
        out.push_str("</svg>\n");
        Ok(())
    }
}

/// The ranges of the axes.
struct Axes {
    lr: [f64; 2],
    loss: [f64; 2],
}

impl Axes {
    /// Absent without trials.
    fn of(range: &LrRange) -> Option<Self> {
        let (first, last) = (range.trials.first()?, range.trials.last()?);
        let smoothed = || range.trials.iter().map(|trial| trial.smoothed);
        let single = range.trials.iter().map(|trial| trial.loss).filter(|loss| loss.is_finite());
        let low = smoothed().chain(single).fold(f64::INFINITY, f64::min);
        // What explodes at the end would press the fall before it flat.
        let high =
            smoothed().fold(f64::NEG_INFINITY, f64::max).min(first.smoothed + (first.smoothed - low) / 2.0);
        let room = if high > low { 0.05 * (high - low) } else { 0.5 };
        let lr = if last.lr > first.lr { [first.lr, last.lr] } else { [first.lr / 2.0, first.lr * 2.0] };
        Some(Axes { lr, loss: [low - room, high + room] })
    }

    fn place(&self, lr: f64, loss: f64) -> [f64; 2] {
        let [left, right, top, bottom] = PLANE;
        let x = (lr / self.lr[0]).ln() / (self.lr[1] / self.lr[0]).ln();
        let y = ((loss - self.loss[0]) / (self.loss[1] - self.loss[0])).clamp(0.0, 1.0);
        [left + (right - left) * x, bottom - (bottom - top) * y]
    }

    fn draw(&self, out: &mut String) -> Result {
        let [left, right, top, bottom] = PLANE;
        let decades = self.lr.map(|lr| lr.log10());
        for power in decades[0].ceil() as i32..=decades[1].floor() as i32 {
            let [x, _] = self.place(10f64.powi(power), self.loss[0]);
            writeln!(out, r##"<path d="M{x:.1} {top}V{bottom}" stroke="#ddd"/>"##)?;
            writeln!(out, r#"<text x="{x:.1}" y="{}" text-anchor="middle">1e{power}</text>"#, bottom + 18.0)?;
        }
        let losses = round_values(self.loss[0], self.loss[1], 6);
        let apart = losses.windows(2).map(|pair| pair[1] - pair[0]).fold(1.0, f64::min);
        // As many digits as neighbours need to differ.
        let digits = (-apart.log10().floor()).clamp(0.0, 12.0) as usize;
        for loss in losses {
            let [_, y] = self.place(self.lr[0], loss);
            writeln!(out, r##"<path d="M{left} {y:.1}H{right}" stroke="#ddd"/>"##)?;
            writeln!(
                out,
                r#"<text x="{}" y="{:.1}" text-anchor="end">{loss:.digits$}</text>"#,
                left - 6.0,
                y + 4.0
            )?;
        }
        Ok(())
    }
}
