//! One case of a self-test: what kernels have computed, what is right, and how they are compared. Results are read at once
//! where a thread may wait for a GPU, and in a browser while the device opens.

use super::GpuDevice;
use super::array::{GpuArray, cast, to_vec};
use super::waiting::CAN_WAIT;
use rnn_base::DType;
use rnn_base::error::{Error, Result};
use std::cell::Cell;

/// What kernels under test have computed, and what is right.
pub(crate) struct Trial {
    pub(crate) got: GpuArray,
    /// As many values as count, from the first on.
    pub(crate) want: Vec<f32>,
}

impl Trial {
    /// What the kernels computed. Waits for the device.
    pub(super) fn values(&self) -> Result<Vec<f32>> {
        to_vec(&self.got)
    }

    /// What the kernels computed, without blocking the thread.
    pub(super) async fn values_async(&self) -> Result<Vec<f32>> {
        let got = cast(&self.got, DType::F32)?;
        let mut values = vec![0.0; got.len()];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        got.buffer.start_read(bytes.len())?.finish(bytes).await?;
        Ok(values)
    }

    /// The largest difference.
    fn compare(&self, got: &[f32]) -> f32 {
        let differences = got.iter().zip(&self.want).map(|(got, want)| (got - want).abs());
        differences.fold(0.0, larger_or_nan)
    }
}

/// f32's `max` ignores NaN.
fn larger_or_nan(worst: f32, x: f32) -> f32 {
    if x <= worst { worst } else { x }
}

/// One result of the kernels under test.
pub(crate) struct Case {
    /// Kernels and result, for the error.
    pub(crate) what: String,
    pub(crate) trial: Trial,
    /// Largest difference that is right.
    pub(crate) tolerance: f32,
}

impl Case {
    pub(super) fn judge(&self, gpu: &GpuDevice, got: &[f32]) -> Result<()> {
        let right = |got: f32, want: f32| (got - want).abs() <= self.tolerance;
        let pairs = got.iter().zip(&self.trial.want).enumerate();
        let Some((at, (got, want))) = pairs.into_iter().find(|(_, (got, want))| !right(**got, **want)) else {
            return Ok(());
        };
        Err(Error::WrongResults {
            adapter: gpu.info().name.clone(),
            what: format!("{}[{at}]", self.what),
            expected: match self.tolerance {
                0.0 => want.to_string(),
                tolerance => format!("{want} within {tolerance}"),
            },
            got: got.to_string(),
        })
    }
}

thread_local! {
    static SIMPLEST_ONLY: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread uses no optional kernels now.
pub(super) fn simplest_only() -> bool {
    SIMPLEST_ONLY.get()
}

/// Until it is dropped, families of optional kernels count as failed on this thread.
pub(super) struct Simplest;

impl Simplest {
    pub(super) fn on() -> Self {
        SIMPLEST_ONLY.set(true);
        Simplest
    }
}

impl Drop for Simplest {
    fn drop(&mut self) {
        SIMPLEST_ONLY.set(false);
    }
}

impl GpuDevice {
    /// The families of optional kernels that this device has tested so far, by the names of
    /// [`GpuOptions::distrust`](crate::GpuOptions::distrust), and whether they passed. Waits for tests that run now.
    pub fn self_tests(&self) -> Vec<(&'static str, bool)> {
        self.0.self_tests.verdicts()
    }

    /// Whether the kernels of family `key` compute what `test` knows to be right, exactly: its operands are small
    /// integers. The test runs at the first call; see [`SelfTests`](super::self_test::SelfTests). In a browser it is
    /// only enqueued then, and the family counts as failed until [`GpuDevice::finish_self_tests`].
    pub(super) fn passes(
        &self,
        key: &'static str,
        test: impl FnOnce() -> Result<Vec<Trial>>,
    ) -> Result<bool> {
        if simplest_only() {
            return Ok(false);
        }
        let tests = &self.0.self_tests;
        if CAN_WAIT {
            let worst = |trials: Vec<Trial>| {
                let error = |trial: &Trial| Ok(trial.compare(&trial.values()?));
                trials.iter().try_fold(0.0, |worst, trial| Ok(larger_or_nan(worst, error(trial)?)))
            };
            return tests.passes(key, 0.0, || worst(test()?));
        }
        if let Some(verdict) = tests.verdict(key) {
            return Ok(verdict);
        }
        tests.defer(key, || Box::pin(worst_async(test())));
        Ok(false)
    }

    /// Runs the self-tests of all families, in turn because some need the verdict of others.
    ///
    /// # Errors
    /// A lost device.
    pub(super) async fn finish_self_tests(&self) -> Result<()> {
        loop {
            self.ask_for_product_self_tests()?;
            self.ask_for_self_tests()?;
            let pending = self.0.self_tests.take_pending();
            if pending.is_empty() {
                return Ok(());
            }
            for (key, result) in pending {
                let error = result.await;
                self.0.self_tests.passes(key, 0.0, || error)?;
            }
        }
    }
}

/// The largest error of kernels that have been enqueued.
async fn worst_async(trials: Result<Vec<Trial>>) -> Result<f32> {
    let mut worst = 0.0;
    for trial in trials? {
        worst = larger_or_nan(worst, trial.compare(&trial.values_async().await?));
    }
    Ok(worst)
}
