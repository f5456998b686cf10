//! Values that a thread has while a closure runs.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Runs `body` while `place` holds `value`. Returns the result and the value that `place` holds at the end. Then, also if
/// `body` panics, `place` holds its former value again.
pub(super) fn with_value<T, R>(
    place: &'static LocalKey<RefCell<Option<T>>>,
    value: T,
    body: impl FnOnce() -> R,
) -> (R, Option<T>) {
    struct Guard<T: 'static>(&'static LocalKey<RefCell<Option<T>>>, Option<T>);
    impl<T> Drop for Guard<T> {
        fn drop(&mut self) {
            self.0.replace(self.1.take());
        }
    }
    let _guard = Guard(place, place.replace(Some(value)));
    let result = body();
    (result, place.take())
}
