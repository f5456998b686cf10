//! What `tracing` is told.

use std::sync::{Arc, Mutex, OnceLock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata};

/// The warnings of this project's crates on this thread while `body` runs: fields and values of each in one text.
///
/// # Panics
/// As `body`.
pub fn warnings(body: impl FnOnce()) -> Vec<String> {
    events(Level::WARN, body)
}

/// The events of one level, as [`warnings`].
///
/// # Panics
/// As `body`.
pub fn events(level: Level, body: impl FnOnce()) -> Vec<String> {
    // With a single subscriber, `tracing` asks that of the thread that meets an event first, which may have none, and
    // remembers the answer for all threads.
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| {
        [(); 2].map(|()| Dispatch::new(Collect { level: Level::ERROR, said: Arc::default() }))
    });
    let said = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Collect { level, said: said.clone() }, body);
    let said = said.lock().unwrap();
    said.clone()
}

struct Collect {
    level: Level,
    said: Arc<Mutex<Vec<String>>>,
}
struct Text(String);
impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}
impl tracing::Subscriber for Collect {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("rnn_") && *metadata.level() == self.level
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.said.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
