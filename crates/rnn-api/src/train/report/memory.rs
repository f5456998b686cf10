//! How far back a network learns and remembers, and its gates.

use super::chart::{Chart, Line};
use super::exhibit::histogram;
use super::heat::{Heat, Shades};
use super::html::{escape, grouped, number, put};
use super::insight::{Flow, Insight, layer_name};
use super::results::{bars, bars_with};
use crate::doctor::{Finding, GateSummary, LayerGates, MemoryHorizon, Severity};

/// The most units of a heat map.
const MOST_UNITS: usize = 256;

/// The findings, which belong to the answer.
pub(super) fn write_findings(findings: &[Finding], out: &mut String) {
    for finding in findings {
        let class = if finding.severity == Severity::Problem { "finding" } else { "finding mild" };
        put(out, format_args!("<div class=\"{class}\"><strong>{}</strong>", escape(&finding.sentence)));
        for text in [&finding.evidence, &finding.remedy].into_iter().filter(|text| !text.is_empty()) {
            put(out, format_args!("<p>{}</p>", escape(text)));
        }
        if !finding.code.is_empty() {
            put(out, format_args!("<pre>{}</pre>", escape(&finding.code)));
        }
        out.push_str("</div>");
    }
}

pub(super) fn write(insight: &Insight, out: &mut String) {
    if insight.flows.is_empty() && insight.gates.is_none() && insight.memory.is_none() {
        return;
    }
    out.push_str("<section><h2>Memory and gates</h2>");
    insight.flows.iter().for_each(|flow| by_time_step(flow, out));
    if let Some(memory) = &insight.memory {
        horizon(memory, out);
    }
    if let Some((step, gates)) = &insight.gates {
        gates.layers.iter().for_each(|layer| of_layer(layer, *step, out));
    }
    out.push_str("</section>");
}

/// Rows are training steps, columns steps back in time.
fn by_time_step(flow: &Flow, out: &mut String) {
    let relative = |norms: &Vec<f64>| {
        let largest = norms.iter().copied().fold(0.0, f64::max);
        norms.iter().map(|norm| (largest > 0.0).then(|| norm / largest)).collect()
    };
    let reach = match flow.horizon {
        Some(horizon) => format!(
            "At last it stays below a hundredth of its largest value from {horizon} of {} steps back on.",
            flow.steps
        ),
        None => format!("At last it reaches over all {} steps.", flow.steps),
    };
    let columns = flow.norms.iter().map(|(_, norms)| norms.len()).max().unwrap_or(0);
    Heat {
        title: format!("Gradient by time step: {}", flow.layer),
        hint: format!("How far back learning reaches. A row is a training step; the left end is the last time step, and values are shares of the largest. {reach}"),
        rows: flow.norms.iter().map(|(step, norms)| (number(*step as f64), relative(norms))).collect(),
        x_name: "steps back",
        xs: (0..columns).map(|column| (column * flow.width).to_string()).collect(),
        shades: Shades::Log(1e-4, 1.0),
        thin: true,
    }
    .write(out);
}

fn horizon(memory: &MemoryHorizon, out: &mut String) {
    let points = memory.lags.iter().map(|&lag| lag as f64).zip(memory.effect.iter().copied()).collect();
    Chart {
        title: "Memory: effect of an input on the output".into(),
        hint: "The change of the last output over that of the input so many steps before.".into(),
        x_name: "steps back",
        lines: vec![Line { name: "effect".into(), points, ..Line::default() }],
        log_from: 30.0,
        ..Chart::default()
    }
    .write(out);
}

fn of_layer(layer: &LayerGates, step: u64, out: &mut String) {
    let name = layer_name(&layer.layer, layer.stack_layer, layer.reverse);
    put(
        out,
        format_args!(
            "<h3>{}</h3><p class=\"hint\">Gates and states after step {}.</p><div class=\"charts small\">",
            escape(&name),
            grouped(step)
        ),
    );
    for gate in &layer.gates {
        let mut hint = format!("mean {}, deviation {}", number(gate.mean), number(gate.std));
        if gate.bounded {
            hint += &format!(
                "; {:.0} % at the lower, {:.0} % at the upper end",
                100.0 * gate.low,
                100.0 * gate.high
            );
        }
        bars(&title(&gate.name), &hint, &gate.histogram, (gate.range[0], gate.range[1]), out);
    }
    time_constants(layer, out);
    out.push_str("</div>");
    by_unit(layer, &name, out);
}

fn title(gate: &str) -> String {
    let words = match gate {
        "i" => "input gate",
        "f" => "forget gate",
        "o" => "output gate",
        "g" => "candidate",
        "r" => "reset gate",
        "z" => "update gate",
        "n" => "candidate",
        "c" => "cell state",
        "h" => "state",
        _ => return gate.to_string(),
    };
    format!("{gate}, {words}")
}

fn time_constants(layer: &LayerGates, out: &mut String) {
    let logarithms: Vec<f64> = layer.time_constants.iter().map(|steps| steps.log10()).collect();
    let (counts, from, to) = histogram(&logarithms);
    let steps = |logarithm: f64| number(10f64.powf(logarithm));
    let hint = "Steps until a unit has forgotten all but 1/e of its state, at its mean gate; logarithmic.";
    bars_with("Time constants of the units", hint, &counts, (from, to), steps, out);
}

/// What every unit's gates do on average, and how often they are at an end of their range.
fn by_unit(layer: &LayerGates, name: &str, out: &mut String) {
    let units = layer.gates.iter().map(|gate| gate.units.len()).max().unwrap_or(0);
    let shown = units.min(MOST_UNITS);
    let more = if shown < units { format!(" The first {shown} of {units} units.") } else { String::new() };
    let rows = |which: &dyn Fn(&GateSummary) -> bool, value: &dyn Fn(&crate::doctor::UnitSummary) -> f64| {
        let of = |gate: &GateSummary| gate.units.iter().take(shown).map(|unit| Some(value(unit))).collect();
        layer.gates.iter().filter(|gate| which(gate)).map(|gate| (title(&gate.name), of(gate))).collect()
    };
    let heat = |title: String, hint: String, rows| Heat {
        title,
        hint,
        rows,
        x_name: "unit",
        xs: (0..shown).map(|unit| unit.to_string()).collect(),
        shades: Shades::Linear(0.0, 1.0),
        thin: false,
    };
    let is_gate = |gate: &GateSummary| gate.bounded && gate.range == [0.0, 1.0];
    heat(
        format!("Openness of gates: {name}"),
        format!("The mean of each unit: 0 is shut, 1 is open.{more}"),
        rows(&is_gate, &|unit| unit.mean),
    )
    .write(out);
    let at_an_end = |unit: &crate::doctor::UnitSummary| unit.low + unit.high;
    heat(
        format!("Saturation: {name}"),
        format!("The share of values in the outer twentieths of the range, where gradients are small.{more}"),
        rows(&|gate| gate.bounded, &at_an_end),
    )
    .write(out);
}
