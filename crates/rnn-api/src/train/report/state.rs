//! The state of a run that its page shows.

use super::history::History;

/// How a page came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// By the run itself, which may not have ended.
    Run,
    /// From a log, whether or not it has an end.
    Log,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// The log has no end.
    Unfinished,
    Ended,
    /// It ended because a value was not finite.
    Failed,
}

impl State {
    pub(super) fn of(run: &History, origin: Origin) -> Self {
        match (&run.end, origin) {
            (Some(end), _) if end.failed() => State::Failed,
            (Some(_), _) => State::Ended,
            (None, Origin::Run) => State::Running,
            (None, Origin::Log) => State::Unfinished,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Unfinished => "unfinished",
            State::Ended => "ended",
            State::Failed => "failed",
        }
    }

    pub(super) fn badge(self) -> String {
        format!("<span class=\"state {0}\">{0}</span>", self.name())
    }
}
