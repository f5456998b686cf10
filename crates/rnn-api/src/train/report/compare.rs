//! Several runs side by side.

use super::chart::{Chart, Line};
use super::curve::Curve;
use super::curves::is_like_the_loss;
use super::history::{History, Scores};
use super::html::{breakable, duration, escape, grouped, number, put, shortened};
use super::state::{Origin, State};
use crate::optim::Goal;
use std::collections::{BTreeMap, BTreeSet};

/// The number of colours; further runs have them again, with other dashes.
const COLOURS: usize = 8;

pub(super) fn write(runs: &[History], out: &mut String) {
    best(runs, out);
    charts(runs, out);
    differences(runs, out);
}

/// The runs with their best values, the best of them marked.
fn best(runs: &[History], out: &mut String) {
    let names: BTreeSet<&str> =
        runs.iter().filter_map(|run| Some(run.best.as_ref()?.score.name.as_str())).collect();
    lead(runs, &names, out);
    out.push_str("<div class=\"scroll\"><table class=\"runs\"><tr><th>run</th><th class=\"n\">best value</th><th class=\"n\">baseline</th><th class=\"n\">at step</th><th class=\"n\">steps</th><th class=\"n\">time</th><th>device</th><th>end</th></tr>");
    for (n, run) in runs.iter().enumerate() {
        let (mut value, mut baseline, mut at) = ("–".to_string(), "–".to_string(), "–".to_string());
        if let Some(best) = &run.best {
            value = format!("{} {}", best.score.name, number(best.score.value));
            (baseline, at) = (best.score.baseline.map_or("–".into(), number), grouped(best.step));
        }
        let class = if is_winner(runs, run) { "n win" } else { "n" };
        let end = run
            .end
            .as_ref()
            .map_or_else(|| State::of(run, Origin::Log).name().to_string(), |end| end.words());
        put(
            out,
            format_args!(
                "<tr><td><b class=\"dot best c{}\" style=\"position:static;display:inline-block;margin:0 .4rem 0 0\"></b>{}</td><td class=\"{class}\">{}</td><td class=\"n\">{baseline}</td><td class=\"n\">{at}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
                n % COLOURS,
                escape(&run.name),
                escape(&value),
                grouped(run.step),
                duration(run.seconds),
                escape(&run.start.device),
                escape(&end)
            ),
        );
    }
    out.push_str("</table></div>");
    let notes: Vec<String> = runs
        .iter()
        .flat_map(|run| run.notes.iter().map(move |note| format!("{}: {note}", run.name)))
        .collect();
    if !notes.is_empty() {
        out.push_str("<div class=\"notes\"><strong>To know</strong><ul>");
        notes.iter().for_each(|note| put(out, format_args!("<li>{}</li>", escape(note))));
        out.push_str("</ul></div>");
    }
}

fn lead(runs: &[History], names: &BTreeSet<&str>, out: &mut String) {
    let winner = runs.iter().find(|run| is_winner(runs, run)).and_then(|run| Some((run, run.best.as_ref()?)));
    match (winner, names.len()) {
        (Some((run, best)), 1) => put(
            out,
            format_args!(
                "<p class=\"lead\">Best is <strong>{}</strong> with {} {} after step {}.</p>",
                escape(&run.name),
                escape(&best.score.name),
                number(best.score.value),
                grouped(best.step)
            ),
        ),
        (_, 0) => out.push_str("<p class=\"lead\">No run has a validation, so none is the best.</p>"),
        _ => {
            out.push_str("<p class=\"lead\">The runs have different scores, so none is the best of all.</p>")
        }
    }
}

/// Whether no other run with a score of the same name has a better one.
fn is_winner(runs: &[History], run: &History) -> bool {
    let Some(own) = run.best.as_ref().map(|best| &best.score) else { return false };
    let others = runs.iter().filter_map(|other| Some(&other.best.as_ref()?.score));
    others.filter(|other| other.name == own.name).all(|other| !other.is_better_than(own, 0.0))
}

/// A chart of one curve of every run that has it.
fn overlaid<'a>(
    title: String,
    runs: &'a [History],
    curve: impl Fn(&'a History) -> Option<&'a Curve>,
) -> Chart {
    let line = |(n, run): (usize, &'a History)| {
        let curve = curve(run).filter(|curve| !curve.is_empty())?;
        Some(Line::of(run.name.clone(), n % COLOURS, curve, false).dashed(n / COLOURS % 4))
    };
    let lines = runs.iter().enumerate().filter_map(line).collect();
    Chart { title, x_name: "step", lines, log_from: 30.0, ..Chart::default() }
}

/// A chart with a moving average beside each line.
fn noisy(chart: Chart) -> Chart {
    let lines = chart.lines.into_iter().map(Line::noisy).collect();
    Chart { lines, hint: "The bold lines are moving averages.".into(), ..chart }
}

fn charts(runs: &[History], out: &mut String) {
    out.push_str("<section><h2>Learning</h2><div class=\"charts\">");
    let names: BTreeSet<&str> =
        runs.iter().flat_map(|run| run.scores.iter().map(|scores| scores.name.as_str())).collect();
    for name in names {
        let of = |run: &'_ History| run.scores.iter().position(|scores| scores.name == name);
        let mut chart =
            overlaid(format!("Validation: {name}"), runs, |run| Some(&run.scores[of(run)?].values));
        let found: Vec<&Scores> = runs.iter().filter_map(|run| Some(&run.scores[of(run)?])).collect();
        chart.hint = match found.iter().all(|scores| scores.goal == Goal::Min) {
            true => "Lower is better.".into(),
            false => "Higher is better.".into(),
        };
        let baselines: BTreeSet<u64> =
            found.iter().filter_map(|scores| Some(scores.baseline.last()?.to_bits())).collect();
        if let Some(&baseline) = baselines.first().filter(|_| baselines.len() == 1) {
            chart.levels.push(("baseline".into(), f64::from_bits(baseline)));
        }
        chart.write(out);
    }
    let title =
        match runs.iter().all(|run| run.scores.iter().any(|scores| is_like_the_loss(scores, &run.loss))) {
            true => "Training loss",
            false => "Training loss (another quantity than the score)",
        };
    noisy(overlaid(title.into(), runs, |run| Some(&run.loss))).write(out);
    let rates = overlaid("Learning rate".into(), runs, |run| Some(&run.rate));
    Chart { log_from: f64::INFINITY, from_zero: true, ..rates }.write(out);
    noisy(overlaid("Gradient norm".into(), runs, |run| Some(&run.grad_norm))).write(out);
    overlaid("Update over parameters".into(), runs, |run| Some(&run.ratio)).write(out);
    out.push_str("</div></section>");
}

/// The settings that are not the same in all runs.
fn differences(runs: &[History], out: &mut String) {
    let all: Vec<BTreeMap<String, String>> = runs.iter().map(History::settings).collect();
    let names: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    let differ = |name: &&String| all.iter().any(|settings| settings.get(*name) != all[0].get(*name));
    let (differing, same): (Vec<&String>, Vec<&String>) = names.into_iter().partition(differ);
    out.push_str("<section><h2>Settings that differ</h2>");
    if differing.is_empty() {
        out.push_str("<p>None: the logs have the same settings.</p>");
    } else {
        out.push_str("<div class=\"scroll\"><table class=\"wide\"><tr><th>setting</th>");
        runs.iter().for_each(|run| put(out, format_args!("<th>{}</th>", escape(&run.name))));
        out.push_str("</tr>");
        for name in differing {
            put(out, format_args!("<tr><th>{}</th>", breakable(name)));
            for settings in &all {
                let value = settings.get(name).map_or("–".into(), |value| shortened(value, 300));
                put(out, format_args!("<td>{}</td>", escape(&value)));
            }
            out.push_str("</tr>");
        }
        out.push_str("</table></div>");
    }
    if !same.is_empty() {
        put(
            out,
            format_args!(
                "<details><summary>{} settings are the same</summary><div class=\"scroll\"><table>",
                same.len()
            ),
        );
        for name in same {
            let value = all[0].get(name).map_or("", String::as_str);
            put(
                out,
                format_args!(
                    "<tr><th>{}</th><td>{}</td></tr>",
                    breakable(name),
                    escape(&shortened(value, 300))
                ),
            );
        }
        out.push_str("</table></div></details>");
    }
    out.push_str("</section>");
}
