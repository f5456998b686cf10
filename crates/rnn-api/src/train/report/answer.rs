//! The first part of a page: what came out.

use super::history::History;
use super::html::{duration, escape, grouped, number, put};
use super::memory::write_findings;
use super::state::State;
use crate::optim::Goal;
use crate::train::score::Score;

/// How a score compares with its baseline, and whether it is better.
pub(super) fn versus_baseline(score: &Score) -> Option<(String, bool)> {
    let baseline = score.baseline?;
    let better = score.is_better_than(&Score { value: baseline, ..score.clone() }, 0.0);
    let text = match (better, score.skill()) {
        (true, Ok(skill)) if score.value >= 0.0 => {
            format!("{:.0} % below the baseline, {}", 100.0 * skill, number(baseline))
        }
        (true, _) => format!("better than the baseline, {}", number(baseline)),
        (false, _) => format!("not better than the baseline, {}", number(baseline)),
    };
    Some((text, better))
}

pub(super) fn write(run: &History, state: State, out: &mut String) {
    out.push_str("<section>");
    lead(run, state, out);
    progress(run, state, out);
    tiles(run, out);
    write_findings(&run.insight.findings, out);
    if !run.notes.is_empty() {
        out.push_str("<div class=\"notes\"><strong>To know</strong><ul>");
        for note in &run.notes {
            put(out, format_args!("<li>{}</li>", escape(note)));
        }
        out.push_str("</ul></div>");
    }
    out.push_str("</section>");
}

/// One sentence with the answer, one with how the run ended.
fn lead(run: &History, state: State, out: &mut String) {
    out.push_str("<p class=\"lead\">");
    match &run.best {
        Some(best) => {
            let score = &best.score;
            put(
                out,
                format_args!(
                    "Best {} <strong>{}</strong> after step {}",
                    escape(&score.name),
                    number(score.value),
                    grouped(best.step)
                ),
            );
            match versus_baseline(score) {
                Some((text, true)) => put(out, format_args!(": {text}.")),
                Some((text, false)) => put(out, format_args!(": <span class=\"warn\">{text}</span>.")),
                None => out.push('.'),
            }
        }
        None if run.loss.is_empty() => out.push_str("No step was taken yet."),
        None => {
            let loss = run.epoch_loss.last().or(run.loss.last()).map_or("?".into(), number);
            put(out, format_args!("No validation: the last training loss is <strong>{loss}</strong>."));
        }
    }
    match (&run.end, state) {
        (Some(end), State::Failed) => {
            put(out, format_args!(" <span class=\"warn\">It ended: {}.</span>", escape(&end.words())))
        }
        (Some(end), _) => put(out, format_args!(" It ended: {}.", escape(&end.words()))),
        (None, State::Unfinished) => out.push_str(" The log has no end: the run goes on, or it was killed."),
        (None, _) => {}
    }
    out.push_str("</p>");
}

fn progress(run: &History, state: State, out: &mut String) {
    let planned = run.start.planned_steps;
    if !matches!(state, State::Running | State::Unfinished) || planned == 0 {
        return;
    }
    let share = (run.step as f64 / planned as f64).min(1.0);
    put(
        out,
        format_args!(
            "<div class=\"done\"><b style=\"width:{:.1}%\"></b></div><p class=\"soft\">Step {} of {}",
            100.0 * share,
            grouped(run.step),
            grouped(planned)
        ),
    );
    let left = run.seconds * (1.0 - share) / share;
    if state == State::Running && share > 0.0 && left.is_finite() && left > 0.0 {
        put(out, format_args!(", about {} left", duration(left)));
    }
    out.push_str("</p>");
}

fn tiles(run: &History, out: &mut String) {
    out.push_str("<div class=\"tiles\">");
    let mut tile = |value: String, below: String| {
        put(
            out,
            format_args!(
                "<div class=\"tile\"><b>{}</b><span>{}</span></div>",
                escape(&value),
                escape(&below)
            ),
        );
    };
    if let Some(best) = &run.best {
        let sense = match best.score.goal {
            Goal::Min => "lower is better",
            Goal::Max => "higher is better",
        };
        tile(
            number(best.score.value),
            format!("best {}, epoch {}; {sense}", best.score.name, best.epoch + 1),
        );
        if let Some(baseline) = best.score.baseline {
            tile(number(baseline), "baseline, which does not learn".into());
        }
    }
    if let Some(loss) = run.epoch_loss.last().or(run.loss.last()) {
        let of = if run.epoch_loss.is_empty() { "last step" } else { "last epoch" };
        tile(number(loss), format!("training loss of the {of}"));
    }
    let (steps, epochs) = (grouped(run.step), run.start.epochs);
    tile(steps, format!("steps, epoch {} of {epochs}", (run.epoch + 1).min(epochs.max(1))));
    let rate = run.step as f64 / run.seconds;
    let rate = if rate.is_finite() { format!("{} steps per second", number(rate)) } else { String::new() };
    tile(duration(run.seconds), rate);
    tile(grouped(run.start.num_parameters as u64), format!("parameters on {}", run.start.device));
    out.push_str("</div>");
}
