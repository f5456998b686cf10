//! The line of a progress bar: as much of a run as a terminal has columns for.

use super::score::Score;
use console::measure_text_width;

/// The least and the largest number of columns of the bar itself.
const BAR: std::ops::RangeInclusive<usize> = 10..=30;

/// What a line shows of a run.
pub(super) struct View<'a> {
    /// The number of the epoch, from 1, and how many there are.
    pub(super) epoch: Option<[u64; 2]>,
    pub(super) step: u64,
    pub(super) total: u64,
    pub(super) loss: Option<f32>,
    pub(super) score: Option<&'a Score>,
    pub(super) steps_per_second: f64,
    /// The seconds that are left; `None` if they are not known.
    pub(super) left: Option<u64>,
}

/// The parts that a line goes without when it is too long, the first first.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Without {
    Nothing,
    Baseline,
    Epoch,
    Rate,
    TimeLeft,
    Loss,
    Bar,
}

impl View<'_> {
    /// A line of fewer than `columns` columns: with all of them, some terminals begin a new line. The position, and the
    /// score if there is one, are always there; a score that is too long is cut.
    pub(super) fn line(&self, columns: usize) -> String {
        use Without::{Bar, Baseline, Epoch, Loss, Nothing, Rate, TimeLeft};
        let room = columns.saturating_sub(1);
        for without in [Nothing, Baseline, Epoch, Rate, TimeLeft, Loss] {
            let text = self.text(without);
            let left = room.saturating_sub(measure_text_width(&text) + 1);
            if left >= *BAR.start() {
                return format!("{} {text}", self.bar(left.min(*BAR.end())));
            }
        }
        let mut line = self.text(Bar);
        while measure_text_width(&line) > room {
            line.pop();
        }
        line.trim_end().to_string()
    }

    fn text(&self, without: Without) -> String {
        let score = self.score.map(|score| match score.baseline {
            Some(_) if without < Without::Baseline => score.to_string(),
            _ => format!("{} {:.4}", score.name, score.value),
        });
        let loss = self.loss.filter(|_| without < Without::Loss).map(|loss| format!("loss {loss:.4}"));
        let rate = (without < Without::Rate).then(|| format!("{:.1} steps/s", self.steps_per_second));
        let left = self
            .left
            .filter(|_| without < Without::TimeLeft)
            .map(|seconds| format!("{} left", clock(seconds)));
        let parts: Vec<String> = [loss, score, rate, left].into_iter().flatten().collect();
        let (step, total) = (self.step, self.total);
        let epoch = self.epoch.filter(|_| without < Without::Epoch);
        let epoch = epoch.map(|[epoch, epochs]| format!("epoch {epoch}/{epochs}, step ")).unwrap_or_default();
        format!("{epoch}{step}/{total} {}", parts.join(", ")).trim_end().to_string()
    }

    /// `[====>   ]`, in ASCII, which has one width in every terminal.
    fn bar(&self, columns: usize) -> String {
        let inside = columns - 2;
        let share = self.step as f64 / self.total.max(1) as f64;
        let done = ((share * inside as f64) as usize).min(inside);
        let head = if done < inside && self.step > 0 { ">" } else { "" };
        format!("[{:<inside$}]", "=".repeat(done) + head)
    }
}

/// `59 s`, `1:05`, `2:03:20`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes}:{rest:02}"),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(columns: usize, score: &Score) -> String {
        let view = View {
            epoch: Some([2, 5]),
            step: 4987,
            total: 19950,
            loss: Some(1.23456),
            score: Some(score),
            steps_per_second: 152.04,
            left: Some(98),
        };
        view.line(columns)
    }

    #[test]
    fn lines_say_what_there_is_room_for() {
        let score = Score::min("nats", 1.5).with_baseline(2.474);
        let all = "[======>                     ] epoch 2/5, step 4987/19950 loss 1.2346, \
                   nats 1.5000 (baseline 2.4740), 152.0 steps/s, 1:38 left";
        assert_eq!(line(140, &score), all);
        let usual = "[===>           ] 4987/19950 loss 1.2346, nats 1.5000, 152.0 steps/s, 1:38 left";
        assert_eq!(line(80, &score), usual);
        assert_eq!(line(60, &score), "[==>       ] 4987/19950 loss 1.2346, nats 1.5000, 1:38 left");
        assert_eq!(line(24, &score), "4987/19950 nats 1.5000");
        assert_eq!(line(12, &score), "4987/19950");
    }

    #[test]
    fn no_line_is_as_wide_as_the_terminal() {
        let names =
            ["nats", "a name of many words for the mean of all errors", "\u{6b63}\u{7b54}\u{7387}", ""];
        for name in names {
            let score = Score::max(name, 0.25).with_baseline(0.125);
            for columns in 1..200 {
                let line = line(columns, &score);
                assert!(measure_text_width(&line) < columns, "{columns}: {line}");
                assert!(columns < 40 || line.contains("4987/19950"), "{columns}: {line}");
                assert!(columns < 70 || line.contains("0.25"), "{columns}: {line}");
            }
        }
    }

    #[test]
    fn the_ends_of_a_run() {
        let at = |step, total| {
            View { epoch: None, step, total, loss: None, score: None, steps_per_second: 0.0, left: None }
                .line(40)
        };
        assert_eq!(at(0, 8), "[                     ] 0/8 0.0 steps/s");
        assert_eq!(at(8, 8), "[=====================] 8/8 0.0 steps/s");
        assert!(at(u64::MAX, u64::MAX).len() < 40 && at(0, 0).contains("0/0"));
        assert_eq!([clock(59), clock(65), clock(7400)], ["59 s", "1:05", "2:03:20"]);
    }
}
