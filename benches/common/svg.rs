//! Parts of plots.

use std::fmt::{Result, Write};

/// A line through places in the drawing, with a dot at each.
pub(crate) fn curve(out: &mut String, color: &str, places: &[[f64; 2]]) -> Result {
    let line: Vec<String> = places.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    writeln!(
        out,
        r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>"#,
        line.join(" ")
    )?;
    for [x, y] in places {
        writeln!(out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"/>"#)?;
    }
    Ok(())
}
