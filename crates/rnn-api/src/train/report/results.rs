//! What a program shows of its results: text, confusion matrices, forecasts, activations.

use super::chart::{Chart, Line};
use super::curve::Curve;
use super::exhibit::{Activations, Exhibit};
use super::heat::{Heat, Shades};
use super::history::History;
use super::html::{escape, grouped, number, put};

/// The bytes of a page from which on no further result is added.
const ROOM: usize = 1_000_000;

pub(super) fn write(run: &History, out: &mut String) {
    if run.exhibits.is_empty() {
        return;
    }
    out.push_str("<section><h2>Results</h2>");
    for (n, (title, exhibit)) in run.exhibits.iter().enumerate() {
        if out.len() > ROOM {
            let more = run.exhibits.len() - n;
            put(
                out,
                format_args!(
                    "<p class=\"soft\">{more} further results are left out: the page would be too large.</p>"
                ),
            );
            break;
        }
        match exhibit {
            Exhibit::Text(text) => {
                put(
                    out,
                    format_args!(
                        "<figure><figcaption>{}</figcaption><pre>{}</pre></figure>",
                        escape(title),
                        escape(text)
                    ),
                );
            }
            Exhibit::Confusion { names, counts, left_out } => confusion(title, names, counts, *left_out, out),
            Exhibit::Forecast { truth, predicted, errors, from, to } => {
                out.push_str("<div class=\"charts\">");
                forecast(title, truth, predicted).write(out);
                bars(&format!("{title}: errors"), "Prediction minus truth.", errors, (*from, *to), out);
                out.push_str("</div>");
            }
            Exhibit::Activations(activations) => strips(title, activations, out),
        }
    }
    out.push_str("</section>");
}

fn confusion(title: &str, names: &[String], counts: &[Vec<u64>], left_out: usize, out: &mut String) {
    put(
        out,
        format_args!(
            "<figure><figcaption>{}</figcaption><p class=\"hint\">Rows are labels, columns predictions; the colour is the share of the row.</p><div class=\"scroll\"><table class=\"matrix\"><tr><th></th>",
            escape(title)
        ),
    );
    for name in names {
        put(out, format_args!("<th>{}</th>", escape(name)));
    }
    out.push_str("<th>recall</th></tr>");
    for (label, row) in counts.iter().enumerate() {
        put(out, format_args!("<tr><th>{}</th>", escape(names.get(label).map_or("?", String::as_str))));
        let total: u64 = row.iter().sum();
        for (class, &count) in row.iter().enumerate() {
            let share = count as f64 / total.max(1) as f64;
            // The right ones are blue, mistakes orange.
            let depth = (7.0 * share).ceil() as usize;
            let colour = if class == label { 7 - depth.min(5) } else { 7 + depth.min(5) };
            let text = if count == 0 { "·".into() } else { grouped(count) };
            put(out, format_args!("<td class=\"v{colour}\">{text}</td>"));
        }
        let right = row.get(label).copied().unwrap_or(0);
        let recall =
            if total == 0 { "–".into() } else { format!("{:.0} %", 100.0 * right as f64 / total as f64) };
        put(out, format_args!("<th>{recall}</th></tr>"));
    }
    out.push_str("</table></div>");
    if left_out > 0 {
        put(out, format_args!("<p class=\"soft\">{left_out} further classes are left out.</p>"));
    }
    out.push_str("</figure>");
}

fn forecast(title: &str, truth: &Curve, predicted: &Curve) -> Chart {
    Chart {
        title: title.into(),
        x_name: "value",
        lines: vec![
            Line::of("truth", 6, truth, false),
            Line::of("prediction", 1, predicted, false).dashed(1),
        ],
        log_from: f64::INFINITY,
        ..Chart::default()
    }
}

/// A histogram over equal bins.
pub(super) fn bars(title: &str, hint: &str, counts: &[u64], range: (f64, f64), out: &mut String) {
    bars_with(title, hint, counts, range, number, out);
}

/// A histogram over equal bins, whose axis has its values in words.
pub(super) fn bars_with(
    title: &str,
    hint: &str,
    counts: &[u64],
    (from, to): (f64, f64),
    number: impl Fn(f64) -> String,
    out: &mut String,
) {
    let Some(most) = counts.iter().max().filter(|most| **most > 0) else { return };
    put(
        out,
        format_args!(
            "<figure><figcaption>{}</figcaption><p class=\"hint\">{}</p><div class=\"bars\">",
            escape(title),
            escape(hint)
        ),
    );
    let width = (to - from) / counts.len() as f64;
    for (n, count) in counts.iter().enumerate() {
        let (low, high) = (from + n as f64 * width, from + (n + 1) as f64 * width);
        let height = 100.0 * *count as f64 / *most as f64;
        put(
            out,
            format_args!(
                "<b style=\"height:{height:.1}%\" data-tip=\"{} to {}: {}\"></b>",
                number(low),
                number(high),
                grouped(*count)
            ),
        );
    }
    put(
        out,
        format_args!(
            "</div><p class=\"barx\"><i>{}</i><i>{}</i><i>{}</i></p></figure>",
            number(from),
            number((from + to) / 2.0),
            number(to)
        ),
    );
}

/// A strip per unit.
fn strips(title: &str, activations: &Activations, out: &mut String) {
    let Activations { units, values, labels, units_left_out, steps_left_out } = activations;
    let size = values.iter().flatten().flatten().fold(0f32, |size, value| size.max(value.abs()));
    let rows = units
        .iter()
        .zip(values)
        .map(|(unit, values)| (unit.clone(), values.iter().map(|value| value.map(f64::from)).collect()));
    let steps = values.first().map_or(0, Vec::len);
    let name = |step: usize| match labels.get(step) {
        Some(label) => format!("{step} {label}"),
        None => step.to_string(),
    };
    let mut hint = "A strip for every unit: what the network holds, from step to step.".to_string();
    if *units_left_out > 0 {
        hint += &format!(" {units_left_out} units that change less are left out.");
    }
    if *steps_left_out > 0 {
        hint += &format!(" {steps_left_out} later steps are left out.");
    }
    Heat {
        title: title.into(),
        hint,
        rows: rows.collect(),
        x_name: "step",
        xs: (0..steps).map(name).collect(),
        shades: Shades::Around(f64::from(size.max(f32::MIN_POSITIVE))),
        thin: true,
    }
    .write(out);
    if labels.iter().any(|label| label.chars().count() <= 2) && labels.len() <= 120 {
        out.push_str("<div class=\"symbols\">");
        for label in labels {
            put(out, format_args!("<i>{}</i>", escape(label)));
        }
        out.push_str("</div>");
    }
}
