//! The charts of a run.

use super::chart::{Chart, Line, Mark};
use super::curve::Curve;
use super::heat::{Heat, Shades};
use super::history::{History, Scores};
use super::html::{number, put};
use crate::optim::Goal;

/// Axes are logarithmic beyond this quotient of values.
const SPREAD: f64 = 30.0;
/// The most rows of a heat map.
const MOST_ROWS: usize = 40;

pub(super) fn write(run: &History, out: &mut String) {
    if run.loss.is_empty() && run.scores.is_empty() {
        return;
    }
    out.push_str("<section><h2>Learning</h2><div class=\"charts\">");
    let (with_loss, apart): (Vec<&Scores>, Vec<&Scores>) =
        run.scores.iter().partition(|scores| is_like_the_loss(scores, &run.loss));
    loss(run, &with_loss).write(out);
    for scores in apart {
        score(run, scores).write(out);
    }
    rate(run).write(out);
    gradients(run).write(out);
    if run.ratios.len() != 1 {
        ratio(run).write(out);
    }
    out.push_str("</div>");
    ratios(run, out);
    out.push_str("</section>");
}

/// Whether a score is so near to the loss that one chart shows both: lower is better, and its middle is between a third of
/// the smallest and three times the largest loss.
pub(super) fn is_like_the_loss(scores: &Scores, loss: &Curve) -> bool {
    let means = || loss.buckets().iter().filter_map(|bucket| bucket.mean());
    let (low, high) =
        means().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), mean| (low.min(mean), high.max(mean)));
    let near =
        |mean: f64| low <= high && mean >= (low / 3.0).min(low * 3.0) && mean <= (high * 3.0).max(high / 3.0);
    scores.goal == Goal::Min && scores.values.mean().is_some_and(near)
}

/// Draws a baseline that stays the same as one level.
fn add_baseline(chart: &mut Chart, scores: &Scores, colour: usize) {
    let buckets = scores.baseline.buckets();
    let (Some(first), Some(last)) = (buckets.first(), scores.baseline.last()) else { return };
    match buckets.iter().all(|bucket| bucket.min == first.min && bucket.max == first.min) {
        true => chart.levels.push((format!("baseline of {}", scores.name), last)),
        false => {
            let name = format!("baseline of {}", scores.name);
            chart.lines.push(Line::of(name, colour, &scores.baseline, false).dashed(2));
        }
    }
}

fn add_best(chart: &mut Chart, run: &History, scores: &Scores, colour: usize) {
    if let Some(best) = run.best.as_ref().filter(|best| best.score.name == scores.name) {
        let at = (best.step as f64, best.score.value);
        chart.marks.push(Mark { name: format!("best {}", number(best.score.value)), colour, at });
    }
}

fn loss(run: &History, scores: &[&Scores]) -> Chart {
    let mut chart = Chart {
        title: if scores.is_empty() { "Training loss".into() } else { "Loss and validation".into() },
        x_name: "step",
        log_from: SPREAD,
        ..Chart::default()
    };
    let wide = run.loss.buckets().iter().any(|bucket| bucket.count > 1);
    if wide {
        chart.hint = "The pale area is the range of the single steps, the bold line a moving average.".into();
    }
    chart.lines.push(Line::of("training loss", 0, &run.loss, true).noisy());
    for (n, scores) in scores.iter().enumerate() {
        chart.lines.push(Line::of(format!("validation {}", scores.name), n + 1, &scores.values, false));
        add_best(&mut chart, run, scores, n + 1);
        add_baseline(&mut chart, scores, n + 1);
    }
    chart
}

fn score(run: &History, scores: &Scores) -> Chart {
    let sense = if scores.goal == Goal::Min { "Lower is better." } else { "Higher is better." };
    let mut chart = Chart {
        title: format!("Validation: {}", scores.name),
        hint: sense.into(),
        x_name: "step",
        log_from: SPREAD,
        ..Chart::default()
    };
    chart.lines.push(Line::of(format!("validation {}", scores.name), 1, &scores.values, false));
    add_best(&mut chart, run, scores, 1);
    add_baseline(&mut chart, scores, 1);
    chart
}

fn rate(run: &History) -> Chart {
    Chart {
        title: "Learning rate".into(),
        x_name: "step",
        lines: vec![Line::of("learning rate", 2, &run.rate, false)],
        log_from: f64::INFINITY,
        from_zero: true,
        ..Chart::default()
    }
}

fn gradients(run: &History) -> Chart {
    let mut chart = Chart {
        title: "Gradient norm".into(),
        hint: "Of all parameters together, before clipping.".into(),
        x_name: "step",
        lines: vec![Line::of("norm", 3, &run.grad_norm, true).noisy()],
        log_from: SPREAD,
        ..Chart::default()
    };
    if let Some(limit) = run.clip {
        let share = 100.0 * run.clipped.mean().unwrap_or(0.0);
        chart.levels.push(("clipped above".into(), limit));
        chart.hint =
            format!("Of all parameters together, before clipping. Clipped in {share:.0} % of the steps.");
    }
    chart
}

fn ratio(run: &History) -> Chart {
    Chart {
        title: "Update over parameters".into(),
        hint: "Norm of a step's change over the norm of all parameters; 1e−3 is usual.".into(),
        x_name: "step",
        lines: vec![Line::of("ratio", 4, &run.ratio, false)],
        log_from: 10.0,
        ..Chart::default()
    }
}

/// The ratios of every parameter over time, those of the most unusual ones if there are many.
fn ratios(run: &History, out: &mut String) {
    let mut rows: Vec<(&String, &Curve)> =
        run.ratios.iter().filter(|(_, curve)| curve.mean().is_some()).collect();
    let left_out = rows.len().saturating_sub(MOST_ROWS);
    if left_out > 0 {
        let unusual = |curve: &Curve| (curve.mean().unwrap_or(1e-3).max(1e-30).log10() + 3.0).abs();
        rows.sort_by(|a, b| unusual(b.1).total_cmp(&unusual(a.1)));
        rows.truncate(MOST_ROWS);
        rows.sort_by_key(|(name, _)| *name);
    }
    let widest = rows.iter().map(|(_, curve)| curve.buckets()).max_by_key(|buckets| buckets.len());
    let xs = widest.unwrap_or_default().iter().map(|bucket| number(bucket.middle().round())).collect();
    let values = |curve: &Curve| curve.buckets().iter().map(|bucket| bucket.mean()).collect();
    Heat {
        title: "Update over parameter, by parameter".into(),
        hint: "Around 1e−3 is usual. At 1e−1 a parameter is thrown about, at 1e−5 it hardly learns.".into(),
        rows: rows.iter().map(|(name, curve)| ((*name).clone(), values(curve))).collect(),
        x_name: "step",
        xs,
        shades: Shades::Log(1e-5, 1e-1),
        thin: false,
    }
    .write(out);
    if left_out > 0 {
        put(
            out,
            format_args!("<p class=\"soft\">{left_out} parameters with more usual ratios are left out.</p>"),
        );
    }
}
