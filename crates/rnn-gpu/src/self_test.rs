//! Protection against adapters that compute wrong results: an optional family of kernels is tested on a small
//! known case before its first use on a device. A family that fails is not used on that device.
//!
//! A key names the family in the warning and in `GpuOptions::distrust`; `rnn/choice.rs` and `gemm.rs` have
//! examples.

use rnn_base::error::{Error, Result};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A self-test whose results have not been read yet. It gives the largest error.
type Pending = Pin<Box<dyn Future<Output = Result<f32>> + Send>>;

/// The self-test results of one device.
pub(super) struct SelfTests {
    adapter: String,
    distrust: &'static [&'static str],
    verdicts: Mutex<HashMap<&'static str, Slot>>,
    /// Families asked for in a browser, see `GpuDevice::passes`.
    pending: Mutex<HashMap<&'static str, Pending>>,
}

/// Whether a family passed, once that is known. The lock is held during the test, so another thread that asks
/// meanwhile waits for the result.
type Slot = Arc<Mutex<Option<bool>>>;

impl SelfTests {
    /// No results yet; families in `distrust` fail without being run.
    pub(super) fn new(adapter: &str, distrust: &'static [&'static str]) -> Self {
        SelfTests {
            adapter: adapter.to_string(),
            distrust,
            verdicts: Mutex::default(),
            pending: Mutex::default(),
        }
    }

    /// Whether a family passed, if that is known.
    pub(super) fn verdict(&self, key: &str) -> Option<bool> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        *verdicts.get(key)?.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The families tested so far and whether they passed, by name.
    pub(super) fn verdicts(&self) -> Vec<(&'static str, bool)> {
        let slots = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Not under the lock: a test that runs now may ask for others.
        let verdict = |slot: &Slot| *slot.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = slots.iter().filter_map(|(&key, slot)| Some((key, verdict(slot)?))).collect();
        found.sort_unstable();
        found
    }

    /// Starts a test whose results are read later, unless it has been started.
    pub(super) fn defer(&self, key: &'static str, start: impl FnOnce() -> Pending) {
        // Not under the lock: a test may ask for others.
        if !self.pending.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key) {
            let test = start();
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(key, test);
        }
    }

    /// The tests that were started since the last call.
    pub(super) fn take_pending(&self) -> Vec<(&'static str, Pending)> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    /// Whether the kernels of family `key` compute correct results on this device. `test` runs at the first
    /// call only and returns the largest error on its case. A failure is reported once through `tracing`.
    /// `test` may ask for tests of other families, but not for its own.
    ///
    /// # Errors
    /// A lost device: it says nothing about the kernels, so the next call tests again.
    pub(super) fn passes(
        &self,
        key: &'static str,
        tolerance: f32,
        test: impl FnOnce() -> Result<f32>,
    ) -> Result<bool> {
        let slot =
            self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let mut verdict = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passed) = *verdict {
            return Ok(passed);
        }
        let problem = if self.distrust.contains(&key) {
            Some("switched off by GpuOptions::distrust".to_string())
        } else {
            match test() {
                // Also refuses NaN.
                Ok(error) if error <= tolerance => None,
                Ok(error) => Some(format!("off by {error}, at most {tolerance} is right")),
                Err(lost @ Error::DeviceLost(_)) => return Err(lost),
                Err(error) => Some(error.to_string()),
            }
        };
        if let Some(problem) = &problem {
            tracing::warn!(
                adapter = self.adapter,
                kernels = key,
                problem,
                "self-test failed; simpler kernels are used"
            );
        }
        *verdict = Some(problem.is_none());
        Ok(problem.is_none())
    }
}

/// The parts of the base test that passed on a device, as bits; see `base_test.rs`.
#[derive(Default)]
pub(super) struct BaseTests(AtomicU32);

impl BaseTests {
    pub(super) fn passed(&self, bit: u32) -> bool {
        self.0.load(Ordering::Relaxed) & bit != 0
    }

    pub(super) fn pass(&self, bit: u32) {
        self.0.fetch_or(bit, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn tests(distrust: &'static [&'static str]) -> SelfTests {
        SelfTests::new("adapter", distrust)
    }

    #[test]
    fn a_family_is_tested_once_and_judged_by_its_error() {
        let registry = tests(&[]);
        for (key, error, passes) in [
            ("exact", 0.0, true),
            ("close", 1e-3, true),
            ("far", 2e-3, false),
            ("infinite", f32::INFINITY, false),
            ("nan", f32::NAN, false),
        ] {
            let runs = Cell::new(0);
            for _ in 0..3 {
                let test = || {
                    runs.set(runs.get() + 1);
                    Ok(error)
                };
                assert_eq!(registry.passes(key, 1e-3, test).unwrap(), passes, "{key}");
            }
            assert_eq!(runs.get(), 1, "{key}");
        }
    }

    #[test]
    fn a_distrusted_family_fails_without_being_run() {
        let registry = tests(&["shady"]);
        assert!(!registry.passes("shady", 1.0, || unreachable!("it is not run")).unwrap());
        assert!(registry.passes("honest", 1.0, || Ok(0.0)).unwrap());
    }

    #[test]
    fn kernels_that_do_not_run_fail_but_a_lost_device_decides_nothing() {
        let registry = tests(&[]);
        let lost = || Err(Error::DeviceLost("gone".into()));
        assert!(matches!(registry.passes("family", 1.0, lost), Err(Error::DeviceLost(_))));
        assert!(registry.passes("family", 1.0, || Ok(0.0)).unwrap());
        let refused = || Err(Error::Gpu { kind: "shader", message: "no".into() });
        assert!(!registry.passes("other", 1.0, refused).unwrap());
    }

    #[test]
    fn families_nest_and_threads_share_a_verdict() {
        let registry = tests(&[]);
        let runs = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let test = || {
                        runs.fetch_add(1, Ordering::Relaxed);
                        let part = registry.passes("part", 0.0, || Ok(0.0))?;
                        Ok(if part { 0.0 } else { 1.0 })
                    };
                    assert!(registry.passes("whole", 0.0, test).unwrap());
                });
            }
        });
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }
}
