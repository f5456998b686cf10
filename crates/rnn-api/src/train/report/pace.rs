//! [`Pace`]: how often a report may cost something.

use web_time::Instant;

/// The share of a run's time that writing pages may take, and that watching steps may.
const WRITING: f64 = 0.005;
const WATCHING: f64 = 0.01;
/// Watched steps of a run, if all are cheap.
const WATCHED: u64 = 24;
/// How much longer a watched step takes than others, in steps: the assumption until the first one is measured.
const GUESS: f64 = 2.0;

/// Which steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// As many as the share of the time allows.
    Paced,
    /// Every step of this many; none for 0.
    Every(u64),
}

/// The times of a run and of what its report does.
#[derive(Debug)]
pub(super) struct Pace {
    watch: Steps,
    started: Instant,
    planned: u64,
    steps: u64,
    /// The end of the last event, from which a step is timed.
    mark: Instant,
    /// Seconds of a step that is not watched.
    usual: Option<f64>,
    watching: bool,
    next_watch: Option<u64>,
    writing: f64,
}

impl Pace {
    pub(super) fn new(watch: Steps) -> Self {
        let now = Instant::now();
        let (usual, next_watch) = (None, None);
        Pace {
            watch,
            started: now,
            planned: 0,
            steps: 0,
            mark: now,
            usual,
            watching: false,
            next_watch,
            writing: 0.0,
        }
    }

    /// At the start of a run with so many steps.
    pub(super) fn start(&mut self, planned: u64) {
        *self = Pace { planned, ..Pace::new(self.watch) };
        // A run of few steps has no time for it.
        self.next_watch = (WATCHING * planned as f64 >= GUESS).then_some(1);
    }

    /// Steps of this part of the run.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether the next step should be watched.
    pub(super) fn wants_watch(&self) -> bool {
        match self.watch {
            Steps::Every(every) => every > 0 && self.steps.is_multiple_of(every),
            Steps::Paced => self.usual.is_some() && self.next_watch.is_some_and(|next| self.steps >= next),
        }
    }

    /// The step under way is watched.
    pub(super) fn watched(&mut self) {
        self.watching = true;
    }

    /// After a step.
    pub(super) fn step(&mut self) {
        self.steps += 1;
        let took = self.mark.elapsed().as_secs_f64();
        if !std::mem::take(&mut self.watching) {
            self.usual = Some(self.usual.map_or(took, |usual| usual + 0.1 * (took - usual)));
            return;
        }
        let usual = self.usual.unwrap_or(took).max(1e-9);
        let cost = ((took - usual) / usual).max(0.0) / WATCHING;
        let apart = (cost.ceil() as u64).max(self.planned / WATCHED).max(1);
        self.next_watch = Some(self.steps.saturating_add(apart));
    }

    /// After any event but one in the middle of a step.
    pub(super) fn mark(&mut self) {
        self.mark = Instant::now();
    }

    /// Whether a page may be written now.
    pub(super) fn may_write(&self) -> bool {
        self.writing <= WRITING * self.started.elapsed().as_secs_f64()
    }

    /// A page was written in the time since then.
    pub(super) fn wrote(&mut self, since: Instant) {
        self.writing += since.elapsed().as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_are_not_watched_and_long_ones_now_and_then() {
        let watches = |planned: u64, watch: Steps| {
            let mut pace = Pace::new(watch);
            pace.start(planned);
            let mut found = Vec::new();
            for step in 1..=planned {
                if pace.wants_watch() {
                    pace.watched();
                    found.push(step);
                }
                // Steps of equal time: all that is measured is the clock.
                (pace.mark, pace.usual) = (Instant::now(), pace.usual.map(|_| 1.0));
                pace.step();
            }
            found
        };
        assert_eq!(watches(150, Steps::Paced), [0; 0]);
        let long = watches(2400, Steps::Paced);
        assert!(long[0] == 2 && (20..=25).contains(&long.len()), "{long:?}");
        assert_eq!(watches(7, Steps::Every(3)), [1, 4, 7]);
        assert_eq!(watches(7, Steps::Every(0)), [0; 0]);
    }

    #[test]
    fn steps_that_cost_more_are_further_apart() {
        let mut pace = Pace::new(Steps::Paced);
        pace.start(1000);
        (pace.usual, pace.mark) = (Some(0.001), Instant::now() - std::time::Duration::from_millis(4));
        pace.watched();
        pace.step();
        // Three more steps in time, of which one in a hundred is allowed.
        assert!(pace.next_watch.is_some_and(|next| (300..10_000).contains(&next)), "{:?}", pace.next_watch);
    }
}
