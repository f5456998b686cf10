//! Measurements of an adapter by repeated runs: what a run is, how its time is read, and what makes a time odd.

use rnn_base::error::Error;

/// Most seconds that all runs of a calibration may take together; compilation is not counted.
pub(super) const BUDGET: f64 = 0.3;

/// Seconds by which a run must exceed an almost empty one, so that the noise of a clock is small beside it.
const TARGET: f64 = 4e-4;

/// Runs of which the fastest counts: another program may disturb some.
const REPEATS: usize = 4;

/// Units of work of an almost empty run.
pub(super) const FEW: u32 = 2;

/// What the adapter does in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Task {
    /// Multiply-adds with one vector of weights, which stays in a register or the nearest cache.
    Multiply,
    /// Multiply-adds with other weights in every iteration.
    Stream,
    /// Two barriers in every iteration.
    Barrier,
    /// A block of memory read in every iteration.
    Read,
}

/// Equal dispatches that depend on each other, in one submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) task: Task,
    /// Invocations of a workgroup.
    pub(super) workgroup: usize,
    /// Workgroups of a dispatch.
    pub(super) groups: usize,
    /// Iterations of the kernel's loop.
    pub(super) iterations: u32,
    pub(super) dispatches: u32,
}

/// Seconds of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Timing {
    /// From the submit until the results are there.
    pub(super) wall: f64,
    /// By the adapter's own clock, where it has one.
    pub(super) device: Option<f64>,
}

/// An adapter that can be measured.
pub(super) trait Probe {
    /// # Errors
    /// What the driver reports.
    fn time(&mut self, run: Run) -> Result<Timing, Error>;
}

/// Why there is no measurement.
#[derive(Debug)]
pub(super) enum Unusable {
    Device(Error),
    /// The times contradict each other, or no adapter is like that.
    Odd(&'static str),
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Unusable::Device(error)
    }
}

/// What a clock says that stands still.
pub(super) const NO_TIME: &str = "work takes no time";

/// Runs within a budget.
pub(super) struct Meter<'a, P> {
    probe: &'a mut P,
    /// Seconds that all runs took.
    spent: f64,
    /// The budget so far.
    pub(super) limit: f64,
}

/// Seconds as a straight line over units of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Seconds of a unit.
    pub(super) each: f64,
    /// Seconds of no units.
    pub(super) fixed: f64,
    /// Units of the longest run.
    pub(super) units: u32,
}

impl<'a, P: Probe> Meter<'a, P> {
    pub(super) fn new(probe: &'a mut P) -> Self {
        Meter { probe, spent: 0.0, limit: 0.0 }
    }

    /// Seconds of one run, which is expected to take `expected` seconds.
    fn once(&mut self, run: Run, expected: f64) -> Result<f64, Unusable> {
        // A disturbed run may take twice as long.
        if self.spent + 2.0 * expected > self.limit {
            return Err(Unusable::Odd("the adapter is too slow to be measured in the time there is"));
        }
        let Timing { wall, device } = self.probe.time(run)?;
        if !(wall.is_finite() && wall >= 0.0) {
            return Err(Unusable::Odd("the time until the results came is no number"));
        }
        self.spent += wall;
        match device {
            None => Ok(wall),
            // A clock may be coarse, but a part cannot take longer than the whole.
            Some(device) if device >= 0.0 && device <= 1.1 * wall + 2e-5 => Ok(device),
            Some(_) => Err(Unusable::Odd("the adapter's clock contradicts the host's")),
        }
    }

    /// Seconds of the fastest of several runs.
    pub(super) fn best(&mut self, run: Run, expected: f64) -> Result<f64, Unusable> {
        let mut best = self.once(run, expected)?;
        for _ in 1..REPEATS {
            best = best.min(self.once(run, best)?);
        }
        Ok(best)
    }

    /// Measures how the time of a run grows with its units of work, at most `most` of them. A run of [`FEW`] units is
    /// expected to take `expected` seconds.
    pub(super) fn line(
        &mut self,
        run: impl Fn(u32) -> Run,
        most: u32,
        expected: f64,
    ) -> Result<Line, Unusable> {
        let empty = self.best(run(FEW), expected)?;
        let (mut units, mut expected) = (2 * FEW, empty);
        let grown = loop {
            let seconds = self.once(run(units), expected)?;
            let grown = seconds - empty;
            if grown >= TARGET {
                break grown;
            }
            if units == most {
                return Err(Unusable::Odd(NO_TIME));
            }
            // A short run says little of the time of a long one.
            let factor = (1.5 * TARGET / grown.max(TARGET / 8.0)).clamp(2.0, 8.0);
            units = ((f64::from(units) * factor) as u32).min(most);
            expected = empty + grown.max(0.0) * factor;
        };
        let half = self.best(run(units / 2), empty + grown / 2.0)?;
        let whole = self.best(run(units), empty + grown)?;
        let each = (whole - half) / f64::from(units - units / 2);
        let fixed = whole - each * f64::from(units);
        // NaN fits none of these.
        let grows = each > 0.0 && each * f64::from(units) >= 0.5 * (whole - empty);
        if !(grows && fixed >= -0.25 * whole) {
            return Err(Unusable::Odd("twice the work does not take twice the time"));
        }
        Ok(Line { each, fixed: fixed.max(0.0), units })
    }
}
