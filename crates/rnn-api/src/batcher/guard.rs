//! Code of the program that runs on a worker's thread: steps, wakers, and the `Drop` of inputs, outputs and errors. A panic
//! of it must not end the worker, which has other streams.

use crate::error::{Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the program; its panic is an error.
pub(super) fn guarded<T>(op: &'static str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|payload| Err(Error::Panicked { op, message: message(payload) }))
}

/// Runs code of the program from which nobody expects a result. A panic is reported.
pub(super) fn quietly(what: &'static str, run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        tracing::warn!(message = message(payload), "Batcher: {what} has panicked");
    }
}

/// Drops a value of the program.
pub(super) fn discard<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        quietly("the Drop of a value", || drop(value));
    }
}

/// The text of a panic.
pub(super) fn message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| payload.downcast_ref().cloned());
    // The payload is a value of the program. If its Drop panics, the payload of that panic stays in memory.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    text.unwrap_or_else(|| "a panic without a text".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb2);
        }
    }

    struct Bomb2;

    impl Drop for Bomb2 {
        fn drop(&mut self) {
            panic!("the payload of a payload");
        }
    }

    #[test]
    fn payloads_that_panic_are_caught() {
        let result = guarded("op", || -> Result<()> { std::panic::panic_any(Bomb) });
        assert!(
            matches!(result, Err(Error::Panicked { op: "op", message }) if message == "a panic without a text")
        );
        let result = guarded("op", || -> Result<()> { panic!("row {}", 7) });
        assert!(matches!(result, Err(Error::Panicked { message, .. }) if message == "row 7"));
        discard(Bomb2);
    }
}
